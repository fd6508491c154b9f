"""What a reader of one run should know beside its numbers: warnings and notes."""

from collections.abc import Sequence
from typing import Any

import pyarrow.compute as pc

from mwaa_headroom.analysis.caller_failures import Expiry
from mwaa_headroom.analysis.findings import Finding, note, warning
from mwaa_headroom.analysis.leftovers import left_behind
from mwaa_headroom.analysis.mwaa import AWS_PERIOD_S
from mwaa_headroom.analysis.record import RunRecord
from mwaa_headroom.analysis.results import StageStats
from mwaa_headroom.analysis.setting import Setting

METRICS_COLLECTED = "metrics_collected"
CLOCK_TOLERANCE_S = 2.0
UNLIMITED_ERRORS = 0.01  # share of failed calls that deserves a line of the SLO


def run_warnings(
    record: RunRecord,
    setting: Setting,
    stages: Sequence[StageStats],
    *,
    known_until_s: float | None,
    expiry: Expiry | None = None,
) -> list[Finding]:
    """Whatever makes the numbers of a run say less than they seem to.

    Args:
        record: of the run.
        setting: of the run.
        stages: as they were measured.
        known_until_s: the end of the last metric period; None: there is none.
        expiry: of the credentials.
    """
    found = [*filter(None, [left_behind(record)]), *_found(record.events, "warning")]
    if setting.is_closed:
        found.append(warning("run.closed_hides_waiting"))
    if not record.requests.num_rows:
        found.append(warning("run.no_calls"))
    if known_until_s is None:
        found.append(warning("run.no_metrics"))
    found += filter(None, [_late_metrics(record, known_until_s), _shared_throttle(record)])
    offset_s = record.manifest.get("clock_offset_s")
    if offset_s is not None and abs(offset_s) > CLOCK_TOLERANCE_S:
        found.append(warning("run.clock_offset", offset_s=offset_s))
    if expiry and not any(stage.failed_before for stage in stages):
        found.append(warning("run.credentials_expired", at_s=expiry.at_s, code=expiry.code))
    found += [
        warning("run.environment_changed", member=member)
        for member in setting.environment.get("changed", ())
    ]
    gaps = open_gaps(record.events)
    events = (each for each in record.events if each["kind"] != "metrics_gap" or each in gaps)
    found += dict.fromkeys(filter(None, map(_warning_of, events)))
    found += _warnings_of_slo(setting, [stage for stage in stages if not stage.spoilt_by])
    return found


def open_gaps(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Times without metrics that nobody has read again since."""
    read_again_s = max((e["time_s"] for e in events if e["kind"] == METRICS_COLLECTED), default=0.0)
    gaps = [event for event in events if event["kind"] == "metrics_gap"]
    return [e for e in gaps if e.get("source") != "collector" or e["time_s"] > read_again_s]


def _late_metrics(record: RunRecord, known_until_s: float | None) -> Finding | None:
    """Periods of the load whose metrics are not in the record, though AWS has or will have them."""
    of_load_s = [event["time_s"] for event in record.events if event.get("source") == "generator"]
    environment = record.manifest.get("environment") or {}
    if environment.get("kind") != "aws" or not of_load_s:
        return None
    until_s = max(of_load_s) // AWS_PERIOD_S * AWS_PERIOD_S
    missing_s = until_s - max(known_until_s or 0.0, min(of_load_s))
    if missing_s <= 0:
        return None
    return warning("run.metrics_late", missing_s=missing_s, directory=str(record.directory))


def _shared_throttle(record: RunRecord) -> Finding | None:
    """The throttle is the environment's, as AWS says itself: whoever else calls it has a part."""
    environment = record.manifest.get("environment") or {}
    throttled = pc.sum(pc.equal(record.requests.column("outcome"), "throttled")).as_py()
    if environment.get("kind") != "aws" or not throttled:
        return None
    return warning("run.throttle_shared", throttled=throttled, calls=record.requests.num_rows)


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
