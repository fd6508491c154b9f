"""What a run created in an environment that outlives it, and what of that is still there.

Known are the DAG runs that preflight triggered, the variables it created and the paused states it
found (events `created`, each written before the thing was done), and the load's own triggers: every
row of `trigger_dag_run` that may have reached Airflow stands for one. What was undone again is in
the events `cleaned_up`, of which the last one counts.
"""

from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from mwaa_headroom.analysis.findings import Finding, note, warning
from mwaa_headroom.analysis.outcomes import OUTCOMES_BEFORE_WEBSERVER
from mwaa_headroom.analysis.record import RunRecord

DAG_RUNS: Final = "dag_runs"
VARIABLES: Final = "variables"
PAUSED_STATES: Final = "paused_states"

TRIGGER: Final = "trigger_dag_run"
_NOTHING_CREATED: Final = (*OUTCOMES_BEFORE_WEBSERVER, "airflow_client_error")


def triggers(record: RunRecord) -> dict[str, pa.ChunkedArray]:
    """Per label of the mix that triggers a DAG, which rows may have triggered a run."""
    mix = record.manifest["scenario"]["traffic"]["mix"]
    operations, outcomes = (record.requests.column(name) for name in ("operation", "outcome"))
    may_exist = pc.invert(pc.is_in(outcomes, pa.array(_NOTHING_CREATED)))
    return {
        label: pc.and_(pc.is_in(operations, pa.array([label])), may_exist)
        for label, choice in mix.items()
        if choice["operation"] == TRIGGER
    }


def created_events(record: RunRecord, what: str) -> list[dict[str, Any]]:
    """What preflight created or changed of one sort, in order."""
    return [e for e in record.events if e["kind"] == "created" and e.get("what") == what]


def failed_to_undo(record: RunRecord, what: str) -> int | None:
    """How many things of one sort could not be undone; None: it was not tried, or cut off."""
    tries = [e for e in record.events if e["kind"] == "cleaned_up" and e.get("what") == what]
    return int(tries[-1]["failed"]) if tries else None


def left_behind(record: RunRecord) -> Finding | None:
    """What may still be in the environment; None: nothing, or the environment is gone itself."""
    if record.manifest.get("environment", {}).get("kind") != "aws":
        return None
    made = {
        DAG_RUNS: len(created_events(record, DAG_RUNS))
        + sum(pc.sum(rows).as_py() or 0 for rows in triggers(record).values()),
        VARIABLES: len(created_events(record, VARIABLES)),
        PAUSED_STATES: len(created_events(record, PAUSED_STATES)),
    }
    failed = {what: failed_to_undo(record, what) for what in made}
    left = {what: made[what] if failed[what] is None else failed[what] for what in made}
    if not any(left.values()):
        return None
    is_wanted = record.manifest["scenario"]["limits"]["clean_up"] is False
    values = {
        **left,
        "is_certain": all(failed[what] is not None for what in made if left[what]),
        "is_wanted": is_wanted,
        "answers": _answers(record),
        "directory": str(record.directory),
    }
    if is_wanted and not any(failed.values()):
        return note("run.left_behind", **values)
    return warning("run.left_behind", **values)


def _answers(record: RunRecord) -> tuple[int, ...]:
    """Statuses with which Airflow refused to undo something."""
    tries = [event for event in record.events if event["kind"] == "cleaned_up"]
    return tuple(sorted({status for event in tries for status in event.get("answers", ())}))
