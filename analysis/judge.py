"""Judges one SLO line over one window of calls and metric periods."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.calls import Calls, Mask
from analysis.latency import percentile
from analysis.records.schema import LAYER_OF_OUTCOME
from analysis.results import SloResult
from analysis.slo import Slo
from analysis.windows import WebserverPeriod


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """What an SLO is judged by: the calls of some time and the metric periods wholly inside it."""

    calls: Calls
    good: Mask  # of `calls`: met the latency thresholds and ended ok
    periods: Sequence[WebserverPeriod]


def judge(slo: Slo, window: Window) -> SloResult:
    """The value a line talks about, and whether it meets the line.

    `met` is None, with a reason, when the window cannot tell.
    """
    observed, reason = _observed(slo, window)
    if observed is None:
        hopeless = slo.metric in ("latency", "service_time") and _only_failures(slo, window)
        return SloResult(slo.text, None, "not known", False if hopeless else None, reason)
    return SloResult(slo.text, observed, slo.observed_text(observed), slo.is_met_by(observed))


def all_met(results: Iterable[SloResult]) -> bool | None:
    """False when any line is broken, None when any cannot be judged (or there is none)."""
    verdicts = [result.met for result in results]
    if False in verdicts:
        return False
    return None if None in verdicts or not verdicts else True


def _observed(slo: Slo, window: Window) -> tuple[float | None, str]:
    if slo.metric in ("latency", "service_time"):
        return _observed_time(slo, window)
    if slo.metric.startswith("webserver."):
        return _observed_metric(slo, window.periods)
    return _observed_share(slo, window)


def _observed_time(slo: Slo, window: Window) -> tuple[float | None, str]:
    operation = slo.selector_value if slo.selector_key else None
    calls = window.calls.of_operation(operation)
    timed = calls.where(calls.timed)
    if not len(timed):
        what = f"call of {operation}" if operation else "call"
        return None, f"No {what} ended ok in this window."
    times_s = timed.latency_s if slo.metric == "latency" else timed.service_time_s
    if slo.percentile is not None:
        estimate = percentile(times_s, slo.percentile)
        return estimate.value, "" if estimate.value is not None else estimate.warnings[0]
    return float(times_s.max() if slo.function == "max" else times_s.mean()), ""


def _only_failures(slo: Slo, window: Window) -> bool:
    calls = window.calls.of_operation(slo.selector_value if slo.selector_key else None)
    return bool(calls.sent.any()) and not calls.timed.any()


def _observed_share(slo: Slo, window: Window) -> tuple[float | None, str]:
    concerned = np.full(len(window.calls), fill_value=True)
    if slo.selector_key == "operation":
        concerned = np.asarray(window.calls.operation == slo.selector_value)
    calls, good = window.calls.where(concerned), window.good[concerned]
    sent = calls.sent
    match slo.metric:
        case "errors":
            part, whole = int(_errors(slo, calls).sum()), int(sent.sum())
        case "unsent":
            part, whole = int((~sent).sum()), len(calls)
        case _:
            part, whole = int(good.sum()), len(calls)
    return (part / whole, "") if whole else (None, "There are no calls in this window.")


def _errors(slo: Slo, calls: Calls) -> Mask:
    failed = calls.sent & ~calls.ok
    if slo.selector_key == "layer":
        return np.asarray(failed & np.isin(calls.outcome, _outcomes_of(slo.selector_value)))
    if slo.selector_key == "outcome":
        return np.asarray(failed & (calls.outcome == slo.selector_value))
    return failed


def _outcomes_of(layer: str | None) -> list[str]:
    return [outcome for outcome, owner in LAYER_OF_OUTCOME.items() if owner == layer]


def _observed_metric(slo: Slo, periods: Sequence[WebserverPeriod]) -> tuple[float | None, str]:
    if not periods:
        return None, "No whole metric period lies in this window."
    values = [_metric_of(slo, period) for period in periods]
    known = [value for value in values if value is not None]
    if not known:
        return None, f"{slo.metric} was not reported in this window."
    match slo.function:
        case "max":
            return max(known), ""
        case "min":
            return min(known), ""
        case _:
            return sum(known) / len(known), ""


def _metric_of(slo: Slo, period: WebserverPeriod) -> float | None:
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


def _fraction(percent: float | None) -> float | None:
    return None if percent is None else percent / 100
