"""What a simulated Airflow remembers: DAGs, DAG runs, variables. Shared by all its webservers."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

DAG_IDS = (
    "headroom_example",
    "headroom_pausable",
    "headroom_work",
    *(f"headroom_dag_{number:02d}" for number in range(1, 21)),
)
QUEUED_FOR_S = 0.3  # from the trigger until a scheduler starts the DAG run
RUNS_FOR_S = 1.0
IN_ORDER_OF_CREATION = frozenset(
    {"id", "start_date", "queued_at", "run_after", "logical_date", "execution_date"}
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

    def remove(self, run_id: str) -> bool:
        """Remove a DAG run; False if there is none."""
        run = self.runs.pop(run_id, None)
        if run is not None and run.logical_date is not None:
            self.logical_dates.discard(run.logical_date)
        return run is not None


@dataclass(slots=True)
class State:
    """Everything one simulated environment remembers."""

    dags: dict[str, Dag] = field(
        default_factory=lambda: {dag_id: Dag(dag_id) for dag_id in sorted(DAG_IDS)}
    )
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.dags["headroom_pausable"].is_paused = True

    def select_runs(
        self, dags: Iterable[Dag], query: "RunQuery", now_s: float
    ) -> tuple[list[DagRun], int]:
        """One page of DAG runs and how many there are on all pages."""
        dags = list(dags)
        page = slice(query.offset, query.offset + query.limit)
        by_creation = query.order_by.lstrip("-") in IN_ORDER_OF_CREATION
        if by_creation and len(dags) == 1 and not query.filters():
            # the common question, asked thousands of times of ever more runs: no full walk
            runs = dags[0].runs
            ordered: Iterator[DagRun] = iter(
                reversed(runs.values()) if query.is_descending else runs.values()
            )
            return list(islice(ordered, page.start, page.stop)), len(runs)
        chosen = [
            run
            for run in chain.from_iterable(dag.runs.values() for dag in dags)
            if query.matches(run, now_s)
        ]
        chosen.sort(key=lambda run: query.sort_key(run, now_s), reverse=query.is_descending)
        return chosen[page], len(chosen)


@dataclass(frozen=True, slots=True)
class RunQuery:
    """The part of Airflow's query parameters for DAG runs that is understood here."""

    limit: int
    offset: int = 0
    order_by: str = "id"
    run_id_pattern: str = ""  # SQL LIKE, without regard to case
    states: tuple[str, ...] = ()

    @property
    def is_descending(self) -> bool:
        """Whether the newest comes first."""
        return self.order_by.startswith("-")

    def filters(self) -> bool:
        """Whether some runs may not match."""
        return bool(self.run_id_pattern or self.states)

    def matches(self, run: DagRun, now_s: float) -> bool:
        """Whether the answer holds this run."""
        if self.states and run.state(now_s) not in self.states:
            return False
        return not self.run_id_pattern or _is_like(run.run_id, self.run_id_pattern)

    def sort_key(self, run: DagRun, now_s: float) -> float | str:
        """What the answer is ordered by; by creation where nothing else is known."""
        column = self.order_by.lstrip("-")
        if column in ("dag_run_id", "run_id"):
            return run.run_id
        if column == "dag_id":
            return run.dag_id
        return run.state(now_s) if column == "state" else run.queued_s


def _is_like(text: str, pattern: str) -> bool:
    """SQL's ILIKE: % is anything, _ any one character."""
    parts = (".*" if c == "%" else "." if c == "_" else re.escape(c) for c in pattern)
    return re.fullmatch("".join(parts), text, re.IGNORECASE | re.DOTALL) is not None
