"""DAG runs of a simulated Airflow, and how they are searched."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from itertools import chain, islice
from typing import Any, Final

QUEUED_FOR_S: Final = 0.3  # from the trigger until a scheduler starts the DAG run
RUNS_FOR_S: Final = 1.0
IN_ORDER_OF_CREATION: Final = frozenset(
    {"id", "start_date", "run_after", "updated_at", "logical_date", "execution_date"}
)


@dataclass(slots=True)
class DagRun:
    """One DAG run; its state follows from the time, so nothing has to run in the background."""

    dag_id: str
    run_id: str
    conf: dict[str, Any]
    note: str | None
    queued_s: float
    logical_date: str | None
    start_s: float | None  # None: waits for its DAG to be unpaused

    def state(self, now_s: float) -> str:
        """Airflow's word for where the DAG run is."""
        if self.start_s is None or now_s < self.start_s:
            return "queued"
        return "running" if now_s < self.start_s + RUNS_FOR_S else "success"


@dataclass(slots=True)
class Dag:
    """One DAG and its runs in the order of their creation."""

    dag_id: str
    is_paused: bool = False
    runs: dict[str, DagRun] = field(default_factory=dict)
    logical_dates: set[str] = field(default_factory=set)

    def set_paused(self, is_paused: bool, now_s: float) -> None:
        """Pause, or unpause and let the waiting DAG runs start."""
        if self.is_paused and not is_paused:
            for run in self.runs.values():
                if run.start_s is None:
                    run.start_s = now_s + QUEUED_FOR_S
        self.is_paused = is_paused

    def add(
        self,
        run_id: str,
        *,
        conf: dict[str, Any],
        note: str | None,
        logical_date: str | None,
        now_s: float,
    ) -> DagRun | None:
        """Add a DAG run; None if there is one with this id or this logical date."""
        if run_id in self.runs or logical_date in self.logical_dates:
            return None
        start_s = None if self.is_paused else now_s + QUEUED_FOR_S
        run = DagRun(self.dag_id, run_id, conf, note, now_s, logical_date, start_s)
        self.runs[run_id] = run
        if logical_date is not None:
            self.logical_dates.add(logical_date)
        return run

    def remove(self, run: DagRun) -> None:
        """Remove a DAG run."""
        del self.runs[run.run_id]
        if run.logical_date is not None:
            self.logical_dates.discard(run.logical_date)


@dataclass(frozen=True, slots=True)
class RunQuery:
    """The part of Airflow's query parameters for DAG runs that is understood here."""

    limit: int
    offset: int
    order_by: str
    run_id_pattern: str  # SQL LIKE, without regard to case; empty: any
    states: tuple[str, ...]

    def select(self, dags: Sequence[Dag], now_s: float) -> tuple[list[DagRun], int]:
        """One page of DAG runs and how many there are on all pages."""
        is_descending, column = self.order_by.startswith("-"), self.order_by.lstrip("-")
        page = slice(self.offset, self.offset + self.limit)
        is_filtered = self.run_id_pattern or self.states
        if column in IN_ORDER_OF_CREATION and len(dags) == 1 and not is_filtered:
            # the common question, asked thousands of times of ever more runs: no full walk
            runs = dags[0].runs
            ordered = reversed(runs.values()) if is_descending else iter(runs.values())
            return list(islice(ordered, page.start, page.stop)), len(runs)
        is_like = _like(self.run_id_pattern)
        all_runs = chain.from_iterable(dag.runs.values() for dag in dags)
        chosen = [
            run
            for run in all_runs
            if (not self.states or run.state(now_s) in self.states) and is_like.match(run.run_id)
        ]
        chosen.sort(key=lambda run: _sort_key(column, run, now_s), reverse=is_descending)
        return chosen[page], len(chosen)


def _sort_key(column: str, run: DagRun, now_s: float) -> float | str:
    if column in ("dag_run_id", "run_id"):
        return run.run_id
    if column == "dag_id":
        return run.dag_id
    # by creation where nothing else is known
    return run.state(now_s) if column == "state" else run.queued_s


def _like(patterns: str) -> re.Pattern[str]:
    """PostgreSQL's ILIKE of one of some patterns, divided by "|", anywhere in a text.

    % is anything, _ any one character, a backslash takes that meaning from both. By way of fnmatch,
    whose expressions do not try all ways of dividing a text.
    """
    globs = (
        "".join(map(_glob, re.findall(r"\\?.", one, re.DOTALL))) for one in patterns.split("|")
    )
    return re.compile("|".join(translate(f"*{one}*") for one in globs), re.IGNORECASE)


def _glob(part: str) -> str:
    if part in ("%", "_"):
        return "*" if part == "%" else "?"
    character = part[-1]
    return f"[{character}]" if character in "*?[" else character
