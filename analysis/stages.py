"""What happened in each stage, warm-up left out, and whether our own generator was in the way.

    measured window = [start + warm-up, end), calls chosen by their intended start
    lag limit       = max(100 ms, 10 % of the tightest latency threshold), at p99
    unsent limit    = 0.1 % of the arrivals

A stage whose generator was past a limit is neither a pass nor a fail of the environment, with two
exceptions, both fails: calls that were not sent because all senders were busy would have been load
on top, and a latency line that is broken even with the lag taken off, twice, is not broken by it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis.calls import Calls, Mask
from analysis.judge import Window, all_met, judge
from analysis.latency import nearest_rank, percentile
from analysis.outcomes import error_rate, error_rate_by_layer, outcome_counts
from analysis.results import Estimate, OperationStats, SloResult, StageStats
from analysis.setting import Setting, StagePlan
from analysis.slo import Slo
from analysis.windows import WebserverPeriod, periods_within

LAG_LIMIT_S = 0.1
LAG_LIMIT_OF_SLO = 0.1
UNSENT_LIMIT = 0.001
PERCENTILES = (50.0, 95.0, 99.0)
_WHOLE_STAGE = 0.95  # of the planned duration: stages end between two arrivals


@dataclass(frozen=True, slots=True)
class StageTimes:
    """When a stage was; `measured_from_s` leaves its warm-up out."""

    plan: StagePlan
    started_at_s: float
    measured_from_s: float
    ended_at_s: float
    complete: bool

    @property
    def measured_s(self) -> float:
        """Length of the measured window."""
        return max(self.ended_at_s - self.measured_from_s, 0.0)


def stage_times(
    setting: Setting, events: Sequence[dict[str, Any]], calls: Calls
) -> tuple[StageTimes, ...]:
    """The stages that began, by the events or, without events, by their calls."""
    started = _first_times(events, "stage_started")
    ended = _first_times(events, "stage_ended")
    found = []
    for plan in setting.stages:
        own = calls.intended_start_s[calls.stage == plan.index]
        if plan.index not in started and not len(own):
            continue
        start_s = started.get(plan.index, float(own.min()) if len(own) else 0.0)
        # Waiting for the last answers is no part of the stage.
        end_s = min(ended.get(plan.index, np.inf), start_s + plan.duration_s)
        if plan.index not in ended:
            end_s = min(end_s, float(own.max()) if len(own) else start_s)
        found.append(
            StageTimes(
                plan=plan,
                started_at_s=start_s,
                measured_from_s=min(start_s + plan.warmup_s, end_s),
                ended_at_s=end_s,
                complete=plan.index in ended and end_s - start_s >= _WHOLE_STAGE * plan.duration_s,
            )
        )
    return tuple(found)


def measured_window(
    times: StageTimes, calls: Calls, good: Mask, periods: Sequence[WebserverPeriod]
) -> Window:
    """Calls and metric periods of a stage's measured part."""
    mask = (calls.stage == times.plan.index) & (calls.intended_start_s >= times.measured_from_s)
    return Window(
        calls=calls.where(mask),
        good=good[mask],
        periods=periods_within(periods, times.measured_from_s, times.ended_at_s),
    )


def stage_stats(times: StageTimes, window: Window, slos: Sequence[Slo]) -> StageStats:
    """One stage in numbers, judged by every line of the SLO."""
    calls = window.calls
    sent = int(calls.sent.sum())
    lag_p99_s = _lag_p99_s(calls)
    judged = tuple(judge(slo, window) for slo in slos)
    late = "" if _slow_without_us(slos, window, lag_p99_s) else _lateness(lag_p99_s, slos)
    generator_reason = late or (
        "" if _broken_by_sent_calls(slos, judged) else _incompleteness(len(calls), sent)
    )
    webservers = [period.webservers for period in window.periods if period.webservers is not None]
    cpu = [period.cpu_percent for period in window.periods if period.cpu_percent is not None]
    connections = [p.connections for p in window.periods if p.connections is not None]
    return StageStats(
        index=times.plan.index,
        name=times.plan.name,
        rate_per_s=times.plan.rate_per_s,
        started_at_s=times.started_at_s,
        measured_from_s=times.measured_from_s,
        ended_at_s=times.ended_at_s,
        complete=times.complete,
        arrivals=len(calls),
        sent=sent,
        unsent=len(calls) - sent,
        offered_per_s=_per_s(len(calls), times),
        achieved_per_s=_per_s(sent, times),
        goodput_per_s=_per_s(int(window.good.sum()), times),
        latency_s=_percentiles(calls, "latency"),
        service_time_s=_percentiles(calls, "service_time"),
        lag_p99_s=lag_p99_s,
        error_rate=error_rate(calls),
        error_rate_by_layer=error_rate_by_layer(calls),
        outcomes=outcome_counts(calls),
        operations=_operations(calls),
        webservers_min=min(webservers, default=None),
        webservers_max=max(webservers, default=None),
        webserver_cpu_percent=sum(cpu) / len(cpu) if cpu else None,
        webserver_cpu_max_percent=max(map(_busiest, window.periods), default=None) if cpu else None,
        connections_max=max(connections, default=None),
        slo=judged,
        met_slo=all_met(judged),
        generator_ok=not generator_reason,
        generator_reason=generator_reason,
        censored=int(calls.censored.sum()),
    )


def stage_label(stage: StageStats) -> str:
    """A stage as people count and call it: "stage 3 'burst'", or "stage 3" without a name."""
    number = f"stage {stage.index + 1}"
    return number if stage.name in ("", number) else f"{number} '{stage.name}'"


def tightest_latency_s(slos: Sequence[Slo]) -> float | None:
    """The smallest threshold of all lines about latency."""
    return min((slo.threshold for slo in slos if slo.metric == "latency"), default=None)


def whole_window(
    stages: Sequence[StageTimes],
    calls: Calls,
    good: Mask,
    periods: Sequence[WebserverPeriod],
) -> Window:
    """The measured parts of all stages together."""
    mask = np.full(len(calls), fill_value=False)
    inside: list[WebserverPeriod] = []
    for times in stages:
        mask |= (calls.stage == times.plan.index) & (
            calls.intended_start_s >= times.measured_from_s
        )
        inside += periods_within(periods, times.measured_from_s, times.ended_at_s)
    return Window(calls.where(mask), good[mask], tuple(inside))


def _first_times(events: Sequence[dict[str, Any]], kind: str) -> dict[int, float]:
    times: dict[int, float] = {}
    for event in events:
        if event["kind"] == kind and isinstance(event.get("stage"), int):
            times.setdefault(event["stage"], float(event["time_s"]))
    return times


def _lag_p99_s(calls: Calls) -> float | None:
    lag_s = np.sort(calls.lag_s[calls.sent])
    return float(lag_s[nearest_rank(len(lag_s), 99.0) - 1]) if len(lag_s) else None


def _lateness(lag_p99_s: float | None, slos: Sequence[Slo]) -> str:
    limit_s = max(LAG_LIMIT_S, LAG_LIMIT_OF_SLO * (tightest_latency_s(slos) or 0.0))
    if lag_p99_s is None or lag_p99_s <= limit_s:
        return ""
    return (
        f"Calls were sent up to {lag_p99_s * 1000:.0f} ms late (p99), "
        f"more than {limit_s * 1000:.0f} ms."
    )


def _slow_without_us(slos: Sequence[Slo], window: Window, lag_p99_s: float | None) -> bool:
    """Whether a latency line is broken even with all that late sending can have added taken off.

    That is the lag itself, and once more the lag for the burst that late calls come in.
    """
    calls = window.calls
    taken_off_s = np.where(calls.sent, -2 * (lag_p99_s or 0.0), np.nan)
    without_us = replace(window, calls=replace(calls, lag_s=taken_off_s))
    return any(judge(slo, without_us).met is False for slo in slos if slo.metric == "latency")


def _incompleteness(arrivals: int, sent: int) -> str:
    if not arrivals or (arrivals - sent) / arrivals <= UNSENT_LIMIT:
        return ""
    share = 100 * (arrivals - sent) / arrivals
    return (
        f"{arrivals - sent} of {arrivals} arrivals ({share:.2g} %) were never sent, more than "
        f"{100 * UNSENT_LIMIT:g} %, because all senders were busy; raise limits.max_in_flight."
    )


def _broken_by_sent_calls(slos: Sequence[Slo], judged: Sequence[SloResult]) -> bool:
    """Whether a line is broken that unsent arrivals do not enter."""
    return any(
        result.met is False and slo.metric not in ("unsent", "goodput")
        for slo, result in zip(slos, judged, strict=True)
    )


def _per_s(count: int, times: StageTimes) -> float:
    return count / times.measured_s if times.measured_s > 0 else 0.0


def _percentiles(calls: Calls, metric: str) -> dict[str, Estimate]:
    timed = calls.where(calls.timed)
    values_s = timed.latency_s if metric == "latency" else timed.service_time_s
    censored = int(timed.censored.sum())
    return {
        f"p{percent:g}": percentile(values_s, percent, censored=censored) for percent in PERCENTILES
    }


def _operations(calls: Calls) -> tuple[OperationStats, ...]:
    found = []
    for operation in np.unique(calls.operation).tolist():
        own = calls.of_operation(operation)
        latency_s = _percentiles(own, "latency")
        found.append(
            OperationStats(
                operation=operation,
                arrivals=len(own),
                ok=int(own.ok.sum()),
                latency_p50_s=latency_s["p50"],
                latency_p95_s=latency_s["p95"],
            )
        )
    return tuple(found)


def _busiest(period: WebserverPeriod) -> float:
    return period.cpu_max_percent or period.cpu_percent or 0.0
