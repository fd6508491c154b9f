"""Whether the load generator itself can have bent the numbers of a run.

It has not when no stage is past a limit (`generator/limits.py`) and every arrival has its row. The
generator ends its record by comparing the two (`rows_checked`). Arrivals are those that were due by
the schedule in a phase that ran to its end; in one that was cut short, and in one of a closed
workload, which has no schedule, those that the load processes counted. Rows that are missing, or
too many, spoil the whole run: nobody can say which calls they were. A run that ended without the
comparison, for its master was killed, may lack rows of its last moments.

Each load process measures on a clock of its own; its rows are placed by the master's:

    row on the master's clock = row on the worker's clock - offset

The offset is measured several times. What it moved in between, and what each measurement leaves
open, is how far rows may be misplaced beside those of other processes and beside metrics. Latency,
lag and service time are differences on one clock and are not touched by it.

What a client's own retries did:

    repeated            calls with more than one attempt
    repeated and ok     of these, ended ok: the first attempt failed and nobody would have known
    duplicate triggers  of these, `trigger_dag_run` answered 409: an attempt before had been taken,
                        although the client was told otherwise

A repeated call's service time contains the waits between its attempts, and its outcome is that of
its last one. What the attempts before it ended as is not recorded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mwaa_headroom.analysis.findings import Finding, refusal, warning
from mwaa_headroom.analysis.generator.limits import LoadReport, largest, number_in, worker_of
from mwaa_headroom.analysis.record import BROKE_DOWN
from mwaa_headroom.analysis.results import GeneratorHealth, RetryResult, StageStats, WorkerHealth
from mwaa_headroom.analysis.schema import WORKER_LOST
from mwaa_headroom.analysis.setting import Setting

TRIGGER = "trigger_dag_run"
CONFLICT = 409  # of Airflow: a DAG run of that id exists


def retries_of(setting: Setting, requests: pa.Table) -> RetryResult | None:
    """The retries of a run; None: they were off.

    Args:
        setting: names the retry mode and the operation of each label.
        requests: the record's requests table.
    """
    if setting.retries == "off":
        return None
    attempts = requests.column("attempts")  # 0: unsent
    repeated = requests.filter(pc.greater(attempts, 1))
    triggers = {label for label, name in setting.operations.items() if name == TRIGGER}
    conflicts = repeated.filter(pc.equal(repeated.column("airflow_status"), CONFLICT))
    return RetryResult(
        mode=setting.retries,
        sent=int(pc.sum(pc.greater(attempts, 0)).as_py() or 0),
        attempts=int(pc.sum(attempts).as_py() or 0),
        repeated=repeated.num_rows,
        repeated_ok=repeated.column("outcome").to_pylist().count("ok"),
        duplicate_triggers=sum(
            label in triggers for label in conflicts.column("operation").to_pylist()
        ),
    )


def retry_warnings(retries: RetryResult | None) -> list[Finding]:
    """What retries do to other numbers of the report."""
    if retries is None:
        return []
    found = [warning("retries.waits_in_latency", mode=retries.mode)]
    if retries.mode == "adaptive":
        found.append(warning("retries.held_back"))
    if retries.repeated:
        found.append(warning("retries.demand_too_high"))
    return found


CLOCK_LIMIT_S = 0.05
_FIRST_THAT_COUNTS = 2  # version of the record


@dataclass(frozen=True, slots=True, eq=False)
class LostArrivals:
    """One element per arrival that was lost with its load process."""

    stage: NDArray[np.int32]
    start_s: NDArray[np.float64]  # intended

    def of(self, stage: int, from_s: float = -np.inf) -> int:
        """How many a stage, or a recovery phase by its negative number, lost from a time on."""
        return int(np.count_nonzero((self.stage == stage) & (self.start_s >= from_s)))


@dataclass(frozen=True, slots=True)
class _Offset:
    """One measurement of a worker's clock minus the master's."""

    offset_s: float
    uncertainty_s: float


def generator_health(
    requests: pa.Table,
    events: Sequence[dict[str, Any]],
    reports: Sequence[LoadReport],
    stages: Sequence[StageStats],
    *,
    complete: bool,
    version: int,
) -> GeneratorHealth:
    """The verdict on the generator, with the lag of the stage in which it was worst.

    Args:
        requests: the record's requests table.
        events: of the record.
        reports: `load_reports` of these events.
        stages: all that were measured.
        complete: whether the record is whole; one that was cut may have rows beyond the last count.
        version: of the record; those of version 1 have no count.
    """
    rows = requests.num_rows
    arrivals = _arrivals(events)
    counted = arrivals is not None or version < _FIRST_THAT_COUNTS or not (rows or stages)
    if arrivals is None:
        arrivals = rows
    elif not complete:
        arrivals = max(arrivals, rows)
    while_loaded = [
        report for report in reports if any(_mostly_inside(report, stage) for stage in stages)
    ]
    reasons = [
        refusal("generator.ended", reason=event["reason"])
        for event in events
        if event["kind"] == "generator_ended"
    ]
    reasons += [
        refusal("generator.in_stage", stage=stage.label, reason=stage.generator_reason)
        for stage in stages
        if not stage.generator_ok
    ]
    if rows != arrivals:
        reasons.append(_miscount(rows, arrivals))
    if not counted:
        reasons.append(refusal("generator.not_counted"))
    return GeneratorHealth(
        ok=not reasons,
        arrivals=arrivals,
        rows=rows,
        unsent=int(pc.sum(_is(requests, "outcome", "unsent")).as_py() or 0),
        lag_p99_s=largest(stage.lag_p99_s for stage in stages),
        longest_stall_s=largest(report.longest_stall_s for report in while_loaded),
        cpu_fraction_max=largest(report.cpu_fraction for report in while_loaded),
        workers=_workers(requests, events, while_loaded),
        reasons=tuple(reasons),
        counted=counted,
    )


def rows_miscounted(health: GeneratorHealth, status: str) -> Finding | None:
    """Why nothing can be said of a run at all; None: every arrival has its row.

    That nobody counted says no more than the status of a run that broke down: such a run answers
    nothing anyhow, and its stages that came to their end are whole.
    """
    if health.rows != health.arrivals:
        return _miscount(health.rows, health.arrivals)
    if health.counted or status in BROKE_DOWN:
        return None
    return refusal("generator.not_counted")


def lost_arrivals(requests: pa.Table) -> LostArrivals:
    """The arrivals of a record's requests table that were lost with their load process."""
    lost = requests.filter(_is(requests, "error_code", WORKER_LOST))
    return LostArrivals(
        stage=lost.column("stage").to_numpy(), start_s=lost.column("intended_start_s").to_numpy()
    )


def lost_with_users(
    users: int | None, started_at_s: float, events: Sequence[dict[str, Any]]
) -> tuple[int, ...]:
    """The load processes that a stage of a closed workload lost, and their users with them.

    Those lost from the end of the stage before, for users are shared out a little ahead of their
    time, to the end of the last call, for the rows of calls in flight are gone too, without a
    trace. The next stage shares all its users among the processes that are left.

    Args:
        users: of the stage; None: its workload is open.
        started_at_s: its start.
        events: of the run.
    """
    if users is None:
        return ()
    drained_s = [float(event["time_s"]) for event in events if event["kind"] == "drained"]
    from_s = max((at_s for at_s in drained_s if at_s <= started_at_s), default=-np.inf)
    until_s = min((at_s for at_s in drained_s if at_s > started_at_s), default=np.inf)
    return tuple(
        worker_of(event)
        for event in events
        if event["kind"] == "worker_lost" and from_s < event["time_s"] <= until_s
    )


def worker_warnings(events: Sequence[dict[str, Any]]) -> list[Finding]:
    """What a careful reader must know of load processes that were lost or whose clock moved."""
    found = list(_lost(events).values())
    for worker, measured in _offsets(events).items():
        moved_s = max(m.offset_s for m in measured) - min(m.offset_s for m in measured)
        open_s = max(m.uncertainty_s for m in measured)
        if moved_s + open_s > CLOCK_LIMIT_S:
            found.append(
                warning(
                    "generator.clock_moved", worker=worker, moved_s=moved_s, uncertainty_s=open_s
                )
            )
    return found


def _arrivals(events: Sequence[dict[str, Any]]) -> int | None:
    checks = [event for event in events if event["kind"] == "rows_checked"]
    counted = number_in(checks[-1], "arrivals") if checks else None
    return None if counted is None else int(counted)


def _miscount(rows: int, arrivals: int) -> Finding:
    if rows < arrivals:
        return refusal("generator.rows_missing", missing=arrivals - rows, arrivals=arrivals)
    return refusal("generator.rows_too_many", surplus=rows - arrivals, arrivals=arrivals)


def _mostly_inside(report: LoadReport, stage: StageStats) -> bool:
    inside_s = report.inside_s(stage.started_at_s, stage.ended_at_s)
    return inside_s >= report.length_s / 2


def _workers(
    requests: pa.Table, events: Sequence[dict[str, Any]], reports: Sequence[LoadReport]
) -> tuple[WorkerHealth, ...]:
    counted = pc.value_counts(requests.column("worker")).to_pylist()
    rows = {int(each["values"]): int(each["counts"]) for each in counted}
    lost, offsets = _lost(events), _offsets(events)
    joined = {worker_of(event) for event in events if event["kind"] == "worker_joined"}
    found = []
    for worker in sorted(rows.keys() | lost.keys() | joined):
        own = [report for report in reports if report.worker == worker]
        farthest = max(
            offsets.get(worker, ()), key=lambda measured: abs(measured.offset_s), default=None
        )
        found.append(
            WorkerHealth(
                worker=worker,
                rows=rows.get(worker, 0),
                cpu_fraction_max=largest(report.cpu_fraction for report in own),
                longest_stall_s=largest(report.longest_stall_s for report in own),
                clock_offset_s=farthest.offset_s if farthest else None,
                clock_uncertainty_s=farthest.uncertainty_s if farthest else None,
                lost=lost.get(worker),
            )
        )
    return tuple(found)


def _lost(events: Sequence[dict[str, Any]]) -> dict[int, Finding]:
    return {
        worker_of(event): warning(
            "generator.worker_lost", worker=worker_of(event), reason=event.get("reason")
        )
        for event in events
        if event["kind"] == "worker_lost"
    }


def _offsets(events: Sequence[dict[str, Any]]) -> dict[int, list[_Offset]]:
    found: dict[int, list[_Offset]] = {}
    for event in events:
        offset_s = number_in(event, "offset_s")
        if event["kind"] == "clock_offset" and offset_s is not None:
            measured = _Offset(offset_s, number_in(event, "uncertainty_s") or 0.0)
            found.setdefault(worker_of(event), []).append(measured)
    return found


def _is(requests: pa.Table, column: str, word: str) -> pa.ChunkedArray:
    """Which rows have a word in a column; nulls have none."""
    return pc.fill_null(pc.equal(requests.column(column), word), False)
