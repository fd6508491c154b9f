"""How long after an overload the SLO held again.

After a stage that broke the SLO the generator may go on with a light load. With the arrivals a_i of
that recovery phase in the order of time, w the end of watching, h the time the SLO has to hold and
e the end of the load

    recovered after = min { a_i : a_i + h <= w, every line holds over [a_i, a_i + h) } - e

A line holds over the arrivals of such a window exactly if `judge` says that it is met: with enough
calls for its percentile, and with what cut calls leave open counted against it. Every arrival has
to have been sent. Lines about webservers and about unsent arrivals are left out: metrics come too
seldom to tell seconds, and unsent arrivals rule a window out anyhow.

That no window held is the environment's doing only where it is not the generator's: when the calls
that were sent broke a line in every window, few were lost with their load process, and the load
processes kept their limits (`generator/limits.py`) all the time. Else it is not known when the SLO
held again.

All windows of one length over the arrivals of a recovery phase, and which of them hold.

Counts of calls over windows are differences of running sums, so all windows together cost as much
as one. r-th smallest < threshold  <=>  at least r values < threshold.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mwaa_headroom.analysis.caller_failures import failed_before, outcomes_before
from mwaa_headroom.analysis.calls import Calls, Mask, good_calls
from mwaa_headroom.analysis.findings import Finding, note, refusal, warning
from mwaa_headroom.analysis.generator.health import LostArrivals
from mwaa_headroom.analysis.generator.limits import LoadReport, number_in, own_trouble, use_within
from mwaa_headroom.analysis.host import HostReport, disturbance
from mwaa_headroom.analysis.results import RecoveryResult, StageStats
from mwaa_headroom.analysis.setting import Setting
from mwaa_headroom.analysis.slo import Slo
from mwaa_headroom.analysis.slo_judgement import Window, concerned_by, errors_of, judge
from mwaa_headroom.analysis.stages import lag_p99_s
from mwaa_headroom.analysis.statistics import Floats, nearest_rank, values_for_percentile

Counts = NDArray[np.int64]
_COMPARED: Final[Mapping[str, Callable[[Floats, float], Mask]]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


@dataclass(frozen=True, slots=True, eq=False)
class Phase:
    """The arrivals of one recovery phase in the order of time."""

    calls: Calls
    good: Mask
    rate_per_s: float
    watched_until_s: float


class Windows:
    """All windows of one length that begin at an arrival.

    Attributes:
        hold_s: their length.
        whole: which of them end before the end of watching.
        unsent: which of those have arrivals that were not sent.
    """

    def __init__(self, phase: Phase, hold_s: float) -> None:
        self._phase = phase
        self.hold_s = hold_s
        self._starts_s = phase.calls.intended_start_s
        self._first = np.searchsorted(self._starts_s, self._starts_s, side="left")
        self._beyond = np.searchsorted(self._starts_s, self._starts_s + hold_s, side="left")
        self.whole: Mask = self._starts_s + hold_s <= phase.watched_until_s
        self.unsent = self.whole & (self._count(~phase.calls.sent) > 0)

    def first_that_holds_s(self, slos: Sequence[Slo]) -> float | None:
        """When the first whole window begins over which all lines hold; None: there is none."""
        if not slos:
            return None
        held = self.whole & ~self.unsent
        for slo in slos:
            held &= self._holds(slo)
        return float(self._starts_s[np.argmax(held)]) if held.any() else None

    def doubtful(self, slos: Sequence[Slo]) -> Mask:
        """Whole windows with unsent arrivals in which the sent ones broke no line.

        Had those been sent, all lines might have held.
        """
        broken = np.full(len(self.whole), fill_value=False)
        for slo in slos:
            broken |= self._can_tell(slo) & ~self._holds(slo)
        return np.asarray(self.unsent & ~broken)

    def most_arrivals(self, slo: Slo) -> int:
        """The most arrivals that a line is about in any window."""
        return int(self._count(concerned_by(slo, self._phase.calls)).max(initial=0))

    def _can_tell(self, slo: Slo) -> Mask:
        """In which windows enough calls were sent to say whether a line holds."""
        calls = self._phase.calls
        concerned = concerned_by(slo, calls)
        sent = self._count(calls.sent & concerned)
        if slo.metric not in ("latency", "service_time"):
            return np.asarray(sent > 0)
        timed = self._count(calls.timed & concerned)
        needed = values_for_percentile(slo.percentile) if slo.percentile is not None else 1
        return np.asarray((timed >= needed) | ((timed == 0) & (sent > 0)))

    def _holds(self, slo: Slo) -> Mask:
        """Over which windows a line holds, by the calls that were sent."""
        calls = self._phase.calls
        concerned = concerned_by(slo, calls)
        if slo.metric in ("latency", "service_time"):
            return self._times_hold(slo, calls.timed & concerned)
        whole = calls.sent & concerned
        part = errors_of(slo, calls, whole) if slo.metric == "errors" else self._phase.good & whole
        number = self._count(whole)
        share = self._count(part) / np.maximum(number, 1)
        return np.asarray(_COMPARED[slo.comparison](share, slo.threshold) & (number > 0))

    def _times_hold(self, slo: Slo, timed: Mask) -> Mask:
        calls = self._phase.calls
        times_s = np.where(timed, calls.times_s(slo.metric, np.full(len(calls), True)), 0.0)
        number, cut = self._count(timed), self._count(timed & calls.censored)
        meeting = timed & _COMPARED[slo.comparison](times_s, slo.threshold)
        is_upper_limit = slo.comparison in ("<", "<=")
        if slo.function == "mean":
            mean_s = self._sum(times_s) / np.maximum(number, 1)
            met = _COMPARED[slo.comparison](mean_s, slo.threshold)
            return np.asarray(met & (number > 0) & (cut == 0 if is_upper_limit else True))
        ranks, needed = number, 1
        if slo.percentile is not None:
            ranks, needed = _ranks(number, slo.percentile), values_for_percentile(slo.percentile)
        if is_upper_limit:
            met = self._count(meeting & ~calls.censored) >= ranks
        else:
            met = self._count(timed & ~meeting) < ranks
        return np.asarray(met & (number >= needed))

    def _count(self, chosen: Mask) -> Counts:
        """How many of the chosen calls each window has."""
        running = np.concatenate([[0], np.cumsum(chosen)])
        return np.asarray(running[self._beyond] - running[self._first], dtype=np.int64)

    def _sum(self, values: Floats) -> Floats:
        running = np.concatenate([[0.0], np.cumsum(values)])
        return np.asarray(running[self._beyond] - running[self._first], dtype=np.float64)


def _ranks(numbers: Counts, percent: float) -> Counts:
    distinct, places = np.unique(numbers, return_inverse=True)
    ranks = np.array([nearest_rank(int(n), percent) for n in distinct], dtype=np.int64)
    return np.asarray(ranks[places])


JUDGED_METRICS: Final = ("latency", "service_time", "errors", "goodput")
# Of a Poisson process all gaps but 7 in 1000 are shorter than so many mean ones.
_LONGEST_GAP: Final = 5.0


def recoveries(
    setting: Setting,
    stages: Sequence[StageStats],
    events: Sequence[dict[str, Any]],
    run: Window,
    reports: Sequence[LoadReport],
    lost: LostArrivals,
    host: Sequence[HostReport] = (),
) -> tuple[RecoveryResult, ...]:
    """One result per recovery phase, in the order of the stages they came after.

    Args:
        setting: of the run.
        stages: all that were measured.
        events: of the run.
        run: all calls.
        reports: of the load processes.
        lost: with their load processes.
        host: of a local environment.
    """
    calls, good = run.calls, run.good
    started = _phase_events(events, "recovery_started")
    ended = _phase_events(events, "recovery_ended")
    seen = {-1 - int(stage) for stage in np.unique(calls.stage[calls.stage < 0])}
    found = []
    for stage in stages:
        if stage.index in seen or stage.index in started:
            own = calls.stage == -1 - stage.index
            phase = _phase(
                calls.where(own), good[own], started.get(stage.index), ended.get(stage.index)
            )
            from_s = _begin_s(started.get(stage.index), phase)
            use = use_within(reports, from_s, phase.watched_until_s)
            trouble = own_trouble(use, lag_p99_s(phase.calls), setting.slos) or disturbance(
                host, from_s, phase.watched_until_s
            )
            if trouble is None:
                window = Window(phase.calls, phase.good, ())
                judged = [judge(slo, window) for slo in call_lines(setting.slos)]
                trouble = failed_before(window, judged, outcomes_before(setting.transport))
            found.append(_result(setting, stage, phase, lost.of(-1 - stage.index), trouble))
    return tuple(found)


def call_lines(slos: Sequence[Slo]) -> tuple[Slo, ...]:
    """The lines of an SLO that a recovery is judged by."""
    return tuple(slo for slo in slos if slo.metric in JUDGED_METRICS)


def held_from_s(
    calls: Calls, slos: Sequence[Slo], hold_s: float, watched_until_s: float
) -> float | None:
    """When the first window of `hold_s` begins over which all lines hold; None: there is none.

    Args:
        calls: of one recovery phase, in any order.
        slos: lines as `call_lines` chooses them.
        hold_s: length of a window.
        watched_until_s: until when, in epoch seconds, every arrival is among `calls`.
    """
    phase = replace(_ordered(calls, good_calls(calls, slos)), watched_until_s=watched_until_s)
    return Windows(phase, hold_s).first_that_holds_s(slos)


def _phase_events(events: Sequence[dict[str, Any]], kind: str) -> dict[int, dict[str, Any]]:
    """By the index of the stage before."""
    found: dict[int, dict[str, Any]] = {}
    for event in events:
        stage = event.get("stage")
        if event["kind"] == kind and isinstance(stage, int):
            found.setdefault(stage if stage >= 0 else -1 - stage, event)
    return found


def _ordered(calls: Calls, good: Mask) -> Phase:
    order = np.argsort(calls.intended_start_s, kind="stable")
    calls = calls.where(order)
    until_s = float(calls.intended_start_s[-1]) if len(calls) else 0.0
    return Phase(calls, good[order], _rate_per_s(calls), until_s)


def _phase(
    calls: Calls, good: Mask, started: dict[str, Any] | None, ended: dict[str, Any] | None
) -> Phase:
    phase = _ordered(calls, good)
    rate_per_s = (number_in(started, "rate_per_s") if started else None) or phase.rate_per_s
    known_s = max((float(event["time_s"]) for event in (started, ended) if event), default=0.0)
    until_s = phase.watched_until_s
    if not len(phase.calls):
        until_s = known_s
    elif ended and rate_per_s:
        # Beyond the last arrival, but not for as long as its answer may have taken to come.
        until_s = max(until_s, min(known_s, until_s + _LONGEST_GAP / rate_per_s))
    return replace(phase, rate_per_s=rate_per_s, watched_until_s=until_s)


def _begin_s(started: dict[str, Any] | None, phase: Phase) -> float:
    if started is not None:
        return float(started["time_s"])
    return float(phase.calls.intended_start_s[0]) if len(phase.calls) else phase.watched_until_s


def _rate_per_s(calls: Calls) -> float:
    if len(calls) < 2:
        return 0.0
    return (len(calls) - 1) / max(float(np.ptp(calls.intended_start_s)), 1e-9)


def _result(
    setting: Setting, stage: StageStats, phase: Phase, lost: int, trouble: Finding | None
) -> RecoveryResult:
    judged = call_lines(setting.slos)
    windows = Windows(phase, setting.recovery_hold_s)
    held_at_s = windows.first_that_holds_s(judged)
    watched_s = max(phase.watched_until_s - stage.ended_at_s, 0.0)
    metrics = ("webserver.", "database.")
    about: dict[str, Any] = {
        "stage": stage.label,
        "without": tuple(slo for slo in setting.slos if slo.metric.startswith(metrics)),
    }
    if held_at_s is None:
        after_s = None
        why_not = _unknown(phase, windows, judged, watched_s, lost, trouble)
        explanation = (
            _not_recovered(phase, windows.hold_s, watched_s, **about)
            if why_not is None
            else refusal("recovery.not_known", reason=why_not, **about)
        )
    else:
        after_s = max(held_at_s - stage.ended_at_s, 0.0)
        about |= {"after_s": after_s, "hold_s": windows.hold_s, "rate_per_s": phase.rate_per_s}
        before = phase.calls.intended_start_s < held_at_s
        ours = _our_part(phase, windows, judged, before, lost, trouble)
        explanation = (
            note("recovery.held_at_once", **about)
            if held_at_s == phase.calls.intended_start_s[0]
            else note("recovery.held_again", perhaps_before=ours, **about)
        )
    return RecoveryResult(
        after_stage=stage.index,
        load_ended_at_s=stage.ended_at_s,
        watched_s=watched_s,
        rate_per_s=phase.rate_per_s,
        calls=len(phase.calls),
        hold_s=windows.hold_s,
        recovered_after_s=after_s,
        explanation=explanation,
    )


def _unknown(
    phase: Phase,
    windows: Windows,
    judged: Sequence[Slo],
    watched_s: float,
    lost: int,
    trouble: Finding | None,
) -> Finding | None:
    """Why it cannot be said when the SLO held again; None: it was seen not to."""
    hold_s = windows.hold_s
    if not len(phase.calls):
        return refusal("recovery.no_calls")
    if not judged:
        return refusal("recovery.no_call_lines")
    if not windows.whole.any():
        return refusal("recovery.watched_too_short", watched_s=watched_s, hold_s=hold_s)
    for slo in judged:
        needed = values_for_percentile(slo.percentile) if slo.percentile else 0
        if (most := windows.most_arrivals(slo)) < needed:
            return refusal(
                "recovery.few_calls", slo=slo, needed=needed, hold_s=hold_s, most_calls=most
            )
    return _our_part(phase, windows, judged, windows.whole, lost, trouble)


def _not_recovered(phase: Phase, hold_s: float, watched_s: float, **about: Any) -> Finding:
    last = phase.calls.intended_start_s >= phase.watched_until_s - hold_s
    return warning(
        "recovery.not_recovered",
        watched_s=watched_s,
        rate_per_s=phase.rate_per_s,
        last_calls=int(np.count_nonzero(last)),
        last_ok=int(np.count_nonzero(phase.calls.ok & last)),
        last_good=int(np.count_nonzero(phase.good & last)),
        **about,
    )


def _our_part(
    phase: Phase,
    windows: Windows,
    judged: Sequence[Slo],
    among: Mask,
    lost: int,
    trouble: Finding | None,
) -> Finding | None:
    """What the generator has to do with it that windows did not hold; None: nothing."""
    ruled_out, whole = windows.unsent & among, windows.whole & among
    mostly_lost = lost and 2 * np.count_nonzero(ruled_out) > np.count_nonzero(whole)
    if not mostly_lost and not (windows.doubtful(judged) & among).any():
        return trouble
    unsent = int(np.count_nonzero(~phase.calls.sent))
    return refusal("recovery.unsent", unsent=unsent, lost=lost, arrivals=len(phase.calls))
