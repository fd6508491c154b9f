"""Stages: when each was measured, what it saw, and what it says as a trial.

    measured window = [start + warm-up, end), calls chosen by their intended start

A stage of a closed workload has no rate of its own: the one it achieved stands in its place.

Shares of calls by outcome and layer have Wilson intervals.

    centre +- z sqrt(p(1-p)/n + z^2/(4 n^2)),  all over 1 + z^2/n,  centre = p + z^2/(2n)

p = failures / n, z = 1.96 for 95 %. Source: Wilson, J. Am. Stat. Assoc. 22 (1927) 209. Unlike the
textbook interval it does not end at 0 when no failure was seen: 0 of 300 may still be 1.26 %.
Assumes independent calls; errors come in bursts, so intervals are too narrow then.

A stage as a trial: did this load, on these webservers, meet the SLO?

    fail       some line of the SLO was broken, whatever else is wrong with the stage
    undecided  it did not run to its end, or a line could not be judged, or its latency was still
               rising when it ended, so that it would have got worse
    pass       every line was met

A stage in which the load generator was past its limits (`generator/limits.py`), calls failed
before the environment (`caller_failures.py`), or the host of a local environment was disturbed
(`host.py`), is undecided in any case: nobody knows what the environment would have done with the
load as it was meant to be.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mwaa_headroom.analysis.caller_failures import Expiry, failed_before, outcomes_before
from mwaa_headroom.analysis.calls import Calls, Mask
from mwaa_headroom.analysis.findings import Finding, refusal
from mwaa_headroom.analysis.generator.limits import GeneratorFigures, GeneratorUse, generator_reason
from mwaa_headroom.analysis.metric_periods import WebserverPeriod, periods_within
from mwaa_headroom.analysis.outcomes import LAYER_OF_OUTCOME, LAYERS
from mwaa_headroom.analysis.results import OperationStats, StageStats, SteadyState
from mwaa_headroom.analysis.setting import Setting, StagePlan
from mwaa_headroom.analysis.slo import Slo
from mwaa_headroom.analysis.slo_judgement import Window, all_met, judge
from mwaa_headroom.analysis.statistics import (
    Z95,
    Estimate,
    known,
    mean_of,
    percentiles,
    value_at_rank,
)

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


def _first_times(events: Sequence[dict[str, Any]], kind: str) -> dict[int, float]:
    times: dict[int, float] = {}
    for event in events:
        if event["kind"] == kind and isinstance(event.get("stage"), int):
            times.setdefault(event["stage"], float(event["time_s"]))
    return times


def measured_window(times: StageTimes, run: Window) -> Window:
    """A stage's measured part of all that was seen in a run."""
    mask = _measured(times, run.calls)
    return Window(
        calls=run.calls.where(mask),
        good=run.good[mask],
        periods=periods_within(run.periods, times.measured_from_s, times.ended_at_s),
        database=periods_within(run.database, times.measured_from_s, times.ended_at_s),
    )


def whole_window(stages: Sequence[StageTimes], run: Window) -> Window:
    """The measured parts of all stages together; its calls are those of the whole run."""
    spans = [(times.measured_from_s, times.ended_at_s) for times in stages]
    mask = np.full(len(run.calls), fill_value=False)
    for times in stages:
        mask |= _measured(times, run.calls)
    return replace(
        run,
        inside=mask,
        periods=tuple(p for span in spans for p in periods_within(run.periods, *span)),
        database=tuple(p for span in spans for p in periods_within(run.database, *span)),
    )


def _measured(times: StageTimes, calls: Calls) -> Mask:
    own = calls.stage == times.plan.index
    return np.asarray(own & (calls.intended_start_s >= times.measured_from_s))


def stage_stats(
    times: StageTimes,
    window: Window,
    slos: Sequence[Slo],
    *,
    use: GeneratorUse = GeneratorUse(),  # noqa: B008 - frozen, and empty
    lost: int = 0,
    lost_with_users: tuple[int, ...] = (),
    steady: SteadyState | None = None,
    transport: str = "lean",
    expiry: Expiry | None = None,
    pinned_webservers: int | None = None,
    host: Finding | None = None,
) -> StageStats:
    """One stage in numbers, judged by every line of the SLO.

    Args:
        times: when it was.
        window: its measured part.
        slos: the lines of the SLO.
        use: of the load processes in that part.
        lost: arrivals of that part that were lost with their load process.
        lost_with_users: load processes that a closed workload lost in it.
        steady: whether it settled.
        transport: of the run.
        expiry: of the run's credentials.
        pinned_webservers: how many there are where no metric says it.
        host: how the host of a local environment was disturbed.
    """
    calls = window.calls
    sent = int(np.count_nonzero(calls.sent))
    figures = GeneratorFigures(
        arrivals=len(calls),
        unsent=len(calls) - sent,
        lost=lost,
        lag_p99_s=lag_p99_s(calls),
        use=use,
        lost_with_users=lost_with_users,
    )
    judged = tuple(judge(slo, window) for slo in slos)
    objection = generator_reason(figures, window, judged)
    failed = failed_before(window, judged, outcomes_before(transport), expiry)
    trial, trial_reason = judge_trial(
        times.complete, not objection, all_met(judged), steady, failed or host
    )
    achieved_per_s = _per_s(sent, times)
    webservers = known(period.webservers for period in window.periods) or known([pinned_webservers])
    cpu = known(period.cpu_percent for period in window.periods)
    return StageStats(
        index=times.plan.index,
        name=times.plan.name,
        rate_per_s=achieved_per_s if times.plan.rate_per_s is None else times.plan.rate_per_s,
        started_at_s=times.started_at_s,
        measured_from_s=times.measured_from_s,
        ended_at_s=times.ended_at_s,
        complete=times.complete,
        arrivals=len(calls),
        sent=sent,
        unsent=len(calls) - sent,
        offered_per_s=_per_s(len(calls), times),
        achieved_per_s=achieved_per_s,
        goodput_per_s=_per_s(int(np.count_nonzero(window.good)), times),
        latency_s=_percentiles(calls, "latency"),
        service_time_s=_percentiles(calls, "service_time"),
        lag_p99_s=figures.lag_p99_s,
        error_rate=error_rate(calls),
        error_rate_by_layer=error_rate_by_layer(calls),
        outcomes=outcome_counts(calls),
        operations=tuple(_operation(calls, name) for name in calls.operation.counts()),
        webservers_min=min(webservers, default=None),
        webservers_max=max(webservers, default=None),
        webserver_cpu_percent=mean_of(cpu),
        webserver_cpu_max_percent=max(map(_busiest, window.periods), default=None) if cpu else None,
        connections_max=max(known(p.connections for p in window.periods), default=None),
        slo=judged,
        met_slo=all_met(judged),
        generator_ok=not objection,
        generator_reason=objection,
        failed_before=failed,
        host_disturbed=host,
        censored=int(np.count_nonzero(calls.censored)),
        users=times.plan.users,
        generator_cpu_fraction=use.cpu_fraction,
        generator_stalled_fraction=use.stalled_fraction,
        rate_is_mean=times.plan.varies,
        steady=steady,
        trial=trial,
        trial_reason=trial_reason,
        service_time_mean_s=_mean_service_time_s(calls),
        database_cpu_percent=mean_of(known(p.cpu_percent for p in window.database)),
        database_connections_max=max(known(p.connections for p in window.database), default=None),
    )


def judge_trial(
    complete: bool,
    generator_ok: bool,
    met_slo: bool | None,
    steady: SteadyState | None,
    spoilt_by: Finding | None = None,
) -> tuple[str, Finding | None]:
    """Pass, fail or undecided, and why undecided.

    Args:
        complete: whether the stage ran to its end.
        generator_ok: whether the load generator kept within its limits.
        met_slo: whether every line was met; None: some line could not be judged.
        steady: whether the stage settled; None, or not checked: that hinders nothing.
        spoilt_by: that too many calls failed before the environment, or its host had other things
            to do; None: neither.
    """
    if not generator_ok:
        return "undecided", refusal("trial.generator_was_the_limit")
    if spoilt_by is not None:
        return "undecided", spoilt_by
    if met_slo is False:
        return "fail", None
    if not complete:
        return "undecided", refusal("trial.not_to_its_end")
    if met_slo is None:
        return "undecided", refusal("trial.not_judged")
    if steady is not None and steady.verdict == "rising":
        return "undecided", steady.reason
    return "pass", None


def share(part: int, whole: int) -> Estimate:
    """`part` of `whole` as a fraction with its Wilson interval."""
    if whole == 0:
        return Estimate(value=None, warnings=(refusal("share.no_calls"),))
    observed = part / whole
    scale = 1 + Z95**2 / whole
    centre = (observed + Z95**2 / (2 * whole)) / scale
    half = Z95 * math.sqrt(observed * (1 - observed) / whole + Z95**2 / (4 * whole**2)) / scale
    return Estimate(
        value=observed,
        low=0.0 if part == 0 else max(0.0, centre - half),
        high=1.0 if part == whole else min(1.0, centre + half),
        n=whole,
    )


def outcome_counts(calls: Calls) -> dict[str, int]:
    """How many arrivals ended as what, the most frequent first."""
    counts = calls.outcome.counts()
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def error_rate(calls: Calls) -> Estimate:
    """Calls that did not end ok, as a fraction of calls sent."""
    sent = int(calls.sent.sum())
    return share(sent - int(calls.ok.sum()), sent)


def error_rate_by_layer(calls: Calls) -> dict[str, Estimate]:
    """The same for every layer that had errors; `generator` is unsent / arrivals."""
    counts = outcome_counts(calls)
    sent = int(calls.sent.sum())
    rates = {}
    for layer in LAYERS:
        failed = sum(count for name, count in counts.items() if LAYER_OF_OUTCOME[name] == layer)
        if failed:
            rates[layer] = share(failed, len(calls) if layer == "generator" else sent)
    return rates


def lag_p99_s(calls: Calls) -> float | None:
    """How late the latest in a hundred calls were sent; None: none was sent."""
    lag_s = calls.lag_s[calls.sent]
    return value_at_rank(lag_s, 99.0) if len(lag_s) else None


def _per_s(count: int, times: StageTimes) -> float:
    return count / times.measured_s if times.measured_s > 0 else 0.0


def _percentiles(calls: Calls, metric: str) -> dict[str, Estimate]:
    times_s = calls.times_s(metric, calls.timed)
    censored = int(np.count_nonzero(calls.censored))
    found = percentiles(times_s, PERCENTILES, censored=censored)
    return {f"p{percent:g}": estimate for percent, estimate in found.items()}


def _mean_service_time_s(calls: Calls) -> float | None:
    """Of the calls timed; None: there are none, or some were cut, so that the mean is unknown."""
    times_s = calls.times_s("service_time", calls.timed)
    return float(times_s.mean()) if len(times_s) and not calls.censored.any() else None


def _operation(calls: Calls, operation: str) -> OperationStats:
    own = calls.of_operation(operation)
    latency_s = _percentiles(own, "latency")
    ok = int(np.count_nonzero(own.ok))
    return OperationStats(operation, len(own), ok, latency_s["p50"], latency_s["p95"])


def _busiest(period: WebserverPeriod) -> float:
    return period.cpu_max_percent or period.cpu_percent or 0.0
