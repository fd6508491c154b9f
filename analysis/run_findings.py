"""What a reader of one run should know beside its numbers: warnings and notes."""

from collections.abc import Sequence
from typing import Any

from mwaa_headroom.analysis.record import RunRecord
from mwaa_headroom.analysis.results import StageStats
from mwaa_headroom.analysis.setting import Setting

CLOCK_TOLERANCE_S = 2.0
CLOSED_HIDES_WAITING = (
    "The workload is closed: a user waits for its answer before it calls again, so slow answers "
    "thin out the calls, and latencies hide the waiting that callers who do not wait for each "
    "other would feel."
)
UNLIMITED_ERRORS = 0.01  # share of failed calls that deserves a line of the SLO


def run_warnings(
    record: RunRecord, setting: Setting, stages: Sequence[StageStats], *, has_metrics: bool
) -> list[str]:
    """Whatever makes the numbers of a run say less than they seem to."""
    found = []
    if setting.is_closed:
        found.append(CLOSED_HIDES_WAITING)
    if not record.requests.num_rows:
        found.append("The record has no calls.")
    if not has_metrics:
        found.append(
            "The record has no webserver metrics, so neither webserver CPU nor a webserver count "
            "can be told."
        )
    offset_s = record.manifest.get("clock_offset_s")
    if offset_s is not None and abs(offset_s) > CLOCK_TOLERANCE_S:
        found.append(
            f"The environment's clock differs from this host's by {offset_s:.1f} s, so metric "
            "periods and calls do not lie beside each other exactly; synchronise this host's clock."
        )
    found += [
        f"{member} of the environment changed during the run."
        for member in setting.environment.get("changed", ())
    ]
    found += _warnings_of_events(record.events)
    found += _warnings_of_slo(setting, stages)
    return found


def _warnings_of_events(events: Sequence[dict[str, Any]]) -> list[str]:
    found = []
    for event in events:
        match event["kind"]:
            case "aborted":
                found.append(f"The run was aborted: {_sentence(event.get('reason'))}")
            case "metrics_gap":
                reason = _sentence(event.get("reason"))
                found.append(f"Metrics could not be read for a while: {reason}")
            case "webserver_died":
                name, detail = event.get("webserver", "?"), event.get("detail")
                found.append(f"The webserver {name} died: {_sentence(detail)}")
    return list(dict.fromkeys(found))


def _warnings_of_slo(setting: Setting, stages: Sequence[StageStats]) -> list[str]:
    found = [
        f"The SLO '{slo.text}' names the operation '{slo.selector_value}', which is not in the mix."
        for slo in setting.slos
        if slo.selector_key == "operation" and slo.selector_value not in setting.mix
    ]
    if setting.slos and not any(slo.metric in ("errors", "goodput") for slo in setting.slos):
        worst = max((stage.error_rate.value or 0.0 for stage in stages), default=0.0)
        if worst > UNLIMITED_ERRORS:
            found.append(
                f"Up to {100 * worst:.1f} % of the calls of a stage failed and no line of the SLO "
                "limits errors; add one such as 'rate(errors) < 1%'."
            )
    return found


def run_notes(setting: Setting, events: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """What was told during the run, and where the environment is not what one may think."""
    found = [str(event.get("message", "")) for event in events if event["kind"] == "note"]
    facts = setting.environment.get("facts", {})
    if facts.get("cpu_limited") is False:
        reason = _sentence(facts.get("cpu_limit_reason"))
        found.append(f"The webservers shared the host, their CPU was not limited: {reason}")
    return tuple(dict.fromkeys(text for text in found if text))


def _sentence(text: object) -> str:
    return f"{str(text or 'no reason was recorded').rstrip('.')}."
