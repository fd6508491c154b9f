"""When the SLO held again after an overload."""

from mwaa_headroom.analysis.findings import Finding
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.sentences import says, told
from mwaa_headroom.analysis.results import StageLabel
from mwaa_headroom.analysis.slo import Slo

says("recovery.no_calls", "No call was sent to find out.")
says("recovery.no_call_lines", "It has no line about calls.")

_Lines = tuple[Slo, ...]


@says("recovery.held_at_once")
def _(stage: StageLabel, without: _Lines, after_s: float, hold_s: float, rate_per_s: float) -> str:
    return _after(
        stage,
        f"the SLO held again at once: a light load began {_seconds(after_s)} after the load had "
        f"ended, and from its first call on the SLO held for {hold_s:g} s at {rate_per_s:.3g} "
        "calls/s",
        without,
    )


@says("recovery.held_again")
def _(
    stage: StageLabel,
    without: _Lines,
    after_s: float,
    hold_s: float,
    rate_per_s: float,
    perhaps_before: Finding | None,
) -> str:
    before = f"; it may have held before: {_clause(perhaps_before)}" if perhaps_before else ""
    return _after(
        stage,
        f"the SLO held again {_seconds(after_s)} after the load had ended, for {hold_s:g} s at "
        f"{rate_per_s:.3g} calls/s{before}",
        without,
    )


@says("recovery.not_known")
def _(stage: StageLabel, without: _Lines, reason: Finding) -> str:
    return _after(stage, f"it is not known when the SLO held again: {_clause(reason)}", without)


@says("recovery.not_recovered")
def _(
    stage: StageLabel,
    without: _Lines,
    watched_s: float,
    rate_per_s: float,
    last_calls: int,
    last_ok: int,
    last_good: int,
) -> str:
    return _after(
        stage,
        f"the SLO did not hold again within the {_seconds(watched_s)} it was watched at "
        f"{rate_per_s:.3g} calls/s: of the last {last_calls} calls {last_ok} ended ok and "
        f"{last_good} in time",
        without,
    )


@says("recovery.watched_too_short")
def _(watched_s: float, hold_s: float) -> str:
    return f"It was watched for {_seconds(watched_s)}, and has to hold for {hold_s:g} s."


@says("recovery.few_calls")
def _(slo: Slo, needed: int, hold_s: float, most_calls: int) -> str:
    return (
        f"{slo.function} needs at least {needed} calls in {hold_s:g} s, there were at most "
        f"{most_calls}; raise recovery.rate_per_s or recovery.hold_s."
    )


@says("recovery.unsent")
def _(unsent: int, lost: int, arrivals: int) -> str:
    told_first = f"{unsent} of {arrivals} arrivals of the light load were not sent"
    if not lost:
        return f"{told_first}, because all senders were busy; raise limits.max_in_flight."
    of_them = "" if lost == unsent else f"{lost} of them "
    return f"{told_first} ({of_them}lost with their load process); repeat the run."


def _after(stage: StageLabel, what: str, without: _Lines) -> str:
    lines = " and ".join(slo.text for slo in without)
    beside = f" (without {lines}, no line about calls)" if lines else ""
    return f"After {words.stage_label(*stage)} {what}{beside}."


def _clause(reason: Finding) -> str:
    return words.lowered(told(reason)).rstrip(".")


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds:.0f} s"
