"""Why a run, or runs together, cannot be used."""

from collections.abc import Sequence

from mwaa_headroom.analysis.findings import Finding
from mwaa_headroom.analysis.report.sentences import says, told
from mwaa_headroom.analysis.report.words import lowered


@says("identity.not_finished")
def _(run_id: str, status: str) -> str:
    return f"Run {run_id} is incomplete ({'cut off' if status == 'running' else status}); rerun it."


@says("identity.incomplete_record")
def _(run_id: str, why: Finding | None) -> str:
    return f"Run {run_id} has an incomplete record: {lowered(told(why)) or 'a part is missing.'}"


@says("identity.environment_changed")
def _(run_id: str, names: Sequence[str]) -> str:
    return f"The environment of run {run_id} was changed while it ran: {', '.join(names)}."


@says("identity.generator_past_limits")
def _(run_id: str, why: Finding | None) -> str:
    return (
        f"In run {run_id} the load generator was past its limits: "
        f"{lowered(told(why)) or 'it was too busy.'}"
    )


@says("identity.unlike")
def _(what: str, values: Sequence[tuple[str, str]]) -> str:
    told_values = "; ".join(f"{value} ({who})" for value, who in values)
    return f"The runs differ in {what}: {told_values}."
