"""What a reader of one run should know beside its numbers: warnings and notes."""

from collections.abc import Sequence
from typing import Any

from mwaa_headroom.analysis.caller_failures import Expiry
from mwaa_headroom.analysis.findings import Finding, note, warning
from mwaa_headroom.analysis.leftovers import left_behind
from mwaa_headroom.analysis.record import RunRecord
from mwaa_headroom.analysis.results import StageStats
from mwaa_headroom.analysis.setting import Setting

CLOCK_TOLERANCE_S = 2.0
UNLIMITED_ERRORS = 0.01  # share of failed calls that deserves a line of the SLO


def run_warnings(
    record: RunRecord,
    setting: Setting,
    stages: Sequence[StageStats],
    *,
    has_metrics: bool,
    expiry: Expiry | None = None,
) -> list[Finding]:
    """Whatever makes the numbers of a run say less than they seem to."""
    found = [*filter(None, [left_behind(record)]), *_found(record.events, "warning")]
    if setting.is_closed:
        found.append(warning("run.closed_hides_waiting"))
    if not record.requests.num_rows:
        found.append(warning("run.no_calls"))
    if not has_metrics:
        found.append(warning("run.no_metrics"))
    offset_s = record.manifest.get("clock_offset_s")
    if offset_s is not None and abs(offset_s) > CLOCK_TOLERANCE_S:
        found.append(warning("run.clock_offset", offset_s=offset_s))
    if expiry and not any(stage.failed_before for stage in stages):
        found.append(warning("run.credentials_expired", at_s=expiry.at_s, code=expiry.code))
    found += [
        warning("run.environment_changed", member=member)
        for member in setting.environment.get("changed", ())
    ]
    found += dict.fromkeys(filter(None, map(_warning_of, record.events)))
    found += _warnings_of_slo(setting, [stage for stage in stages if not stage.spoilt_by])
    return found


def _warning_of(event: dict[str, Any]) -> Finding | None:
    match event["kind"]:
        case "aborted":
            return warning("run.aborted", reason=event.get("reason"))
        case "metrics_gap":
            return warning("run.metrics_gap", reason=event.get("reason"))
        case "webserver_died":
            name = event.get("webserver", "?")
            return warning("run.webserver_died", webserver=name, reason=event.get("detail"))
        case "environment_ended":
            return warning("run.environment_ended", logs=event.get("logs"))
        case "clock_stepped" if event.get("source") == "harness":  # the environment says it too
            return warning("run.clock_stepped", step_s=event.get("step_s"))
    return None


def _warnings_of_slo(setting: Setting, stages: Sequence[StageStats]) -> list[Finding]:
    found = [
        warning("run.operation_not_in_mix", slo=slo)
        for slo in setting.slos
        if slo.selector_key == "operation" and slo.selector_value not in setting.mix
    ]
    if setting.slos and not any(slo.metric in ("errors", "goodput") for slo in setting.slos):
        worst = max((stage.error_rate.value or 0.0 for stage in stages), default=0.0)
        if worst > UNLIMITED_ERRORS:
            found.append(warning("run.errors_not_limited", error_fraction=worst))
    return found


def run_notes(setting: Setting, events: Sequence[dict[str, Any]]) -> tuple[Finding, ...]:
    """What was told during the run, and where the environment is not what one may think."""
    messages = [event.get("message") for event in events if event["kind"] == "note"]
    found = [note("run.note", message=str(message)) for message in messages if message]
    found += _found(events, "note")
    facts = setting.environment.get("facts", {})
    if facts.get("cpu_limited") is False:
        found.append(note("run.cpu_not_limited", reason=facts.get("cpu_limit_reason")))
    return tuple(dict.fromkeys(found))


def _found(events: Sequence[dict[str, Any]], severity: str) -> list[Finding]:
    """Findings of that severity that were made before the load."""
    found = (Finding(**event["finding"]) for event in events if event["kind"] == "found")
    return [finding for finding in found if finding.severity == severity]
