"""Judges one SLO line over one window of calls and metric periods.

A call that was cut at a time limit would have taken at least as long as it did. A percentile, mean
or maximum of times therefore lies between its value with the cut calls as recorded and its value
with them taking for ever. A line that both ends meet is met, one that neither meets is broken, and
any other cannot be judged.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mwaa_headroom.analysis.calls import Calls, Mask
from mwaa_headroom.analysis.findings import Finding, refusal
from mwaa_headroom.analysis.metric_periods import DatabasePeriod, WebserverPeriod
from mwaa_headroom.analysis.outcomes import LAYER_OF_OUTCOME
from mwaa_headroom.analysis.results import SloResult
from mwaa_headroom.analysis.slo import Slo
from mwaa_headroom.analysis.statistics import Floats, value_at_rank, values_for_percentile
from mwaa_headroom.analysis.trend import memory_trend_per_h


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """What an SLO is judged by: the calls of some time and the metric periods wholly inside it."""

    calls: Calls
    good: Mask  # of `calls`: met the latency thresholds and ended ok
    periods: Sequence[WebserverPeriod]
    inside: Mask | None = None  # which of `calls` the window is about; None: all
    database: Sequence[DatabasePeriod] = ()  # periods of the metadata database wholly inside


def judge(slo: Slo, window: Window) -> SloResult:
    """The value a line talks about, and whether it meets the line.

    `met` is None, with a reason, when the window cannot tell.
    """
    if slo.metric in ("latency", "service_time"):
        return _judge_time(slo, window)
    if slo.function == "trend":
        return _judge_trend(slo, window)
    if slo.metric.startswith("webserver."):
        observed = _observed_metric(slo, [_of_webservers(slo, p) for p in window.periods])
    elif slo.metric.startswith("database."):
        observed = _observed_metric(slo, [_of_database(slo, p) for p in window.database])
    else:
        observed = _observed_share(slo, window)
    if isinstance(observed, Finding):
        return SloResult(slo, None, None, observed)
    return SloResult(slo, observed, slo.is_met_by(observed))


def judge_times(slo: Slo, times_s: Floats, cut: Mask) -> tuple[float, bool, bool | None]:
    """A line about times, by at least one call, however few they are for a percentile.

    Args:
        slo: a line about latency or service time.
        times_s: of the timed calls.
        cut: which of them were cut at a time limit.

    Returns:
        What was observed, whether that is merely a lower bound, and whether the line is met; None:
        it cannot be told.
    """
    observed = _statistic(slo, times_s)
    met = slo.is_met_by(observed)
    if not cut.any():
        return observed, False, met
    at_most = _statistic(slo, np.where(cut, np.inf, times_s))
    return observed, observed < at_most, met if slo.is_met_by(at_most) == met else None


def all_met(results: Iterable[SloResult]) -> bool | None:
    """False when any line is broken, None when any cannot be judged (or there is none)."""
    verdicts = [result.met for result in results]
    if False in verdicts:
        return False
    return None if None in verdicts or not verdicts else True


def concerned_by(slo: Slo, calls: Calls) -> Mask:
    """The calls a line is about: all, or those of its operation."""
    if slo.selector_key == "operation":
        return calls.operation.are(str(slo.selector_value))
    return np.full(len(calls), fill_value=True)


def errors_of(slo: Slo, calls: Calls, sent: Mask) -> Mask:
    """Which of the calls sent ended as a line about errors counts them."""
    failed = sent & ~calls.outcome.are("ok")
    if slo.selector_key == "layer":
        return failed & calls.outcome.are(*_outcomes_of(slo.selector_value))
    if slo.selector_key == "outcome":
        return failed & calls.outcome.are(str(slo.selector_value))
    return failed


def _concerned_in(window: Window, slo: Slo) -> Mask:
    concerned = concerned_by(slo, window.calls)
    return concerned if window.inside is None else concerned & window.inside


def _judge_time(slo: Slo, window: Window) -> SloResult:
    calls, concerned = window.calls, _concerned_in(window, slo)
    timed = calls.timed & concerned
    count = int(np.count_nonzero(timed))
    if not count:
        hopeless = bool((calls.sent & concerned).any())
        why = refusal("judge.none_ok", operation=slo.selector_value)
        return SloResult(slo, None, False if hopeless else None, why)
    needed = values_for_percentile(slo.percentile) if slo.percentile is not None else 1
    if count < needed:
        why = refusal("judge.few_calls", function=slo.function, needed=needed, calls=count)
        return SloResult(slo, None, None, why)
    cut = calls.censored[timed]
    observed, is_lower_bound, met = judge_times(slo, calls.times_s(slo.metric, timed), cut)
    reason = None
    if met is None:
        count = int(np.count_nonzero(cut))
        reason = refusal("judge.cut_calls", slo=slo, cut_calls=count, at_least=observed)
    return SloResult(slo, observed, met, reason, is_lower_bound)


def _judge_trend(slo: Slo, window: Window) -> SloResult:
    grown = memory_trend_per_h(window.periods)
    if grown.value is None or grown.low is None or grown.high is None:
        return SloResult(slo, None, None, next(iter(grown.warnings), None))
    met = slo.is_met_by(grown.value)
    if slo.is_met_by(grown.low) == slo.is_met_by(grown.high):
        return SloResult(slo, grown.value, met)
    return SloResult(slo, grown.value, None, refusal("judge.trend_open", per_h=grown))


def _statistic(slo: Slo, times_s: Floats) -> float:
    if slo.percentile is not None:
        return value_at_rank(times_s, slo.percentile)
    return float(times_s.max() if slo.function == "max" else times_s.mean())


def _observed_share(slo: Slo, window: Window) -> float | Finding:
    calls, concerned = window.calls, _concerned_in(window, slo)
    match slo.metric:
        case "errors":
            whole = calls.sent & concerned
            part = errors_of(slo, calls, whole)
        case "unsent":
            part, whole = concerned & ~calls.sent, concerned
        case _:
            part, whole = window.good & concerned, concerned
    count = int(np.count_nonzero(whole))
    if not count:
        return refusal("judge.no_calls")
    return int(np.count_nonzero(part)) / count


def _outcomes_of(layer: str | None) -> list[str]:
    return [outcome for outcome, owner in LAYER_OF_OUTCOME.items() if owner == layer]


def _observed_metric(slo: Slo, values: Sequence[float | None]) -> float | Finding:
    if not values:
        return refusal("judge.no_periods", metric=slo.metric)
    known = [value for value in values if value is not None]
    if not known:
        return refusal("judge.not_reported", metric=slo.metric)
    match slo.function:
        case "max":
            return max(known)
        case "min":
            return min(known)
        case _:
            return sum(known) / len(known)


def _of_webservers(slo: Slo, period: WebserverPeriod) -> float | None:
    match slo.metric:
        case "webserver.cpu":
            busiest = slo.function == "max" and period.cpu_max_percent is not None
            return _fraction(period.cpu_max_percent if busiest else period.cpu_percent)
        case "webserver.memory":
            return _fraction(period.memory_percent)
        case "webserver.connections":
            return period.connections_per_webserver
        case _:
            return None if period.webservers is None else float(period.webservers)


def _of_database(slo: Slo, period: DatabasePeriod) -> float | None:
    if slo.metric == "database.cpu":
        return _fraction(period.cpu_percent)
    return period.connections


def _fraction(percent: float | None) -> float | None:
    return None if percent is None else percent / 100
