"""What a burst, or a whole trace, costs callers with a given MinWebservers and MaxWebservers.

The load is played against the scaling rule by `analysis.policy.simulate`: a fluid model with the
measured demand per call. A burst is a step from one rate to another while the minimum is in
service. It may begin anywhere in a metric period, and how long a webserver takes to start is
uncertain, so it is played for several beginnings and starting times; the span is of these.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean, median
from typing import Final

import numpy as np

from mwaa_headroom.analysis.calls import is_latency_limit
from mwaa_headroom.analysis.findings import Finding, note
from mwaa_headroom.analysis.mwaa import CONNECTIONS_ABOVE, CPU_ABOVE_PERCENT
from mwaa_headroom.analysis.planning.loads import busiest_day
from mwaa_headroom.analysis.planning.runs import SizedRun
from mwaa_headroom.analysis.policy.scaling_rule import PolicyParameters
from mwaa_headroom.analysis.policy.simulate import Simulated, simulate
from mwaa_headroom.analysis.policy.workload import Workload
from mwaa_headroom.analysis.policy.workload import workload_of as recorded_workload
from mwaa_headroom.analysis.results import RunAnalysis
from mwaa_headroom.analysis.scaling.delay import scale_out_delays
from mwaa_headroom.analysis.sizing.rate_uncertainty import pool
from mwaa_headroom.analysis.slo import Slo
from mwaa_headroom.analysis.statistics import Floats

WATCHED_S: Final = 1800
BEGINNINGS: Final = 4  # in a metric period
_LEAD_PERIODS: Final = 2  # of the rate before, so that the rule has seen it
USUAL_SLOW_SHARE: Final = 0.05  # where the SLO names none
PERIOD_S: Final = 60.0  # at which Amazon MWAA publishes
START_S: Final = 120.0  # AWS says "a few minutes" of a change of configuration, nothing of scaling


@dataclass(frozen=True, slots=True)
class Span:
    """A value with the least and the most of several simulations; None: not while watched."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class BurstCost:
    """What callers pay when the load jumps while MinWebservers are in service."""

    from_per_s: float
    to_per_s: float
    enough_after_s: Span  # until webservers for the load are in service; 0: they already are
    over_after_s: Span  # until no more calls are slow or fail than the SLO allows
    slow_calls: Span  # answered, but later than the SLO's limit, until both are the case
    failed_calls: Span  # cut by the service's time limit, until both are the case


@dataclass(frozen=True, slots=True)
class TraceCost:
    """What the trace comes to when it is played against the scaling rule."""

    simulated_s: float
    slow_share: float  # of all calls, failed ones included
    failed_share: float
    webserver_hours: float
    most_webservers: int  # in service at any time


@dataclass(frozen=True, slots=True)
class Autoscaling:
    """How autoscaling is taken to behave."""

    policy: PolicyParameters
    period_s: float  # of the metrics the rule sees
    start_s: tuple[float, ...]  # from decision to service: the likely value first, then the ends
    source: Finding  # measured, or not verified


@dataclass(frozen=True, slots=True)
class AllowedShares:
    """Shares of calls that the SLO lets be slow or fail; None: it has no line about that."""

    slow: float | None
    failed: float | None


def burst_cost(
    workload: Workload,
    autoscaling: Autoscaling,
    *,
    from_per_s: float,
    to_per_s: float,
    min_webservers: int,
    max_webservers: int,
    needed: int,
    allowed: AllowedShares,
) -> BurstCost:
    """Simulate the step.

    Args:
        workload: what a call costs on the class in question.
        autoscaling: the rule and its times.
        from_per_s: before the step.
        to_per_s: from the step on.
        min_webservers: in service at the step.
        max_webservers: most in service.
        needed: webservers that are enough for `to_per_s`.
        allowed: a second is over when no larger share of its calls is slow or failed.
    """
    lead_s = round(_LEAD_PERIODS * autoscaling.period_s)
    rates = np.concatenate([np.full(lead_s, from_per_s), np.full(WATCHED_S, to_per_s)])
    phases = np.arange(BEGINNINGS) * autoscaling.period_s / BEGINNINGS
    played = [
        simulate(
            rates,
            workload,
            autoscaling.policy,
            period_s=autoscaling.period_s,
            start_s=start_s,
            min_webservers=min_webservers,
            max_webservers=max_webservers,
            phase_s=phase_s,
        )
        for start_s, phase_s in product(autoscaling.start_s, phases.tolist())
    ]
    share = USUAL_SLOW_SHARE if allowed.slow is None else allowed.slow
    enough = [_enough_after_s(one, lead_s, needed) for one in played]
    over = [_over_after_s(one, lead_s, share * to_per_s, to_per_s) for one in played]
    slow, failed = [], []
    for one, *ends_s in zip(played, enough, over, strict=True):
        until_s = max(WATCHED_S if end_s is None else round(end_s) for end_s in ends_s)
        window = slice(lead_s, lead_s + until_s)
        slow.append(float(one.slow_share[window].sum() * to_per_s))
        failed.append(float(one.failed_per_s[window].sum()))
    return BurstCost(
        from_per_s=from_per_s,
        to_per_s=to_per_s,
        enough_after_s=_span(enough),
        over_after_s=_span(over),
        slow_calls=_span(slow),
        failed_calls=_span(failed),
    )


def trace_cost(
    trace_per_s: Floats,
    workload: Workload,
    autoscaling: Autoscaling,
    *,
    min_webservers: int,
    max_webservers: int,
) -> tuple[TraceCost, Floats, Floats]:
    """Play the busiest day of a trace.

    Returns:
        The cost; for each second played, the calls per second and the webservers in service.
    """
    played_per_s = busiest_day(trace_per_s)
    one = simulate(
        played_per_s,
        workload,
        autoscaling.policy,
        period_s=autoscaling.period_s,
        start_s=autoscaling.start_s[0],
        min_webservers=min_webservers,
        max_webservers=max_webservers,
    )
    cost = TraceCost(
        simulated_s=float(len(played_per_s)),
        slow_share=(one.slow_calls + one.failed_calls) / one.calls,
        failed_share=one.failed_calls / one.calls,
        webserver_hours=one.webserver_hours,
        most_webservers=int(one.webservers.max()),
    )
    return cost, played_per_s, one.webservers.astype(np.float64)


def _enough_after_s(one: Simulated, lead_s: int, needed: int) -> float | None:
    """Until so many are in service; None: not while it was watched."""
    has = one.webservers[lead_s:] >= needed
    if not has.any():
        return None
    # A webserver in service from the first second on was there before.
    first = int(np.argmax(has))
    return 0.0 if one.webservers[lead_s - 1] >= needed else float(first + 1)


def _over_after_s(
    one: Simulated, lead_s: int, allowed_per_s: float, rate_per_s: float
) -> float | None:
    """Until the last second with too many slow or failed calls; None: not while watched."""
    late_per_s = rate_per_s * one.slow_share[lead_s:] + one.failed_per_s[lead_s:]
    bad = np.flatnonzero(late_per_s > allowed_per_s)
    if not len(bad):
        return 0.0
    return None if bad[-1] >= len(late_per_s) - 1 else float(bad[-1] + 1)


def _span(values: Sequence[float | None]) -> Span:
    """Mean of those with the likely starting time, least and most of all; None: not all ended."""
    known = [each for each in values if each is not None]
    likely = [each for each in values[:BEGINNINGS] if each is not None]
    return Span(
        value=fmean(likely) if len(likely) == BEGINNINGS else None,
        low=min(known, default=None),
        high=max(known) if len(known) == len(values) else None,
    )


def allowance_of(slos: Sequence[Slo]) -> AllowedShares:
    """Shares of calls that may be slow or fail, by the strictest lines about all calls."""
    overall = [slo for slo in slos if slo.selector_value is None]
    slow = [1.0 - (slo.percentile or 100.0) / 100.0 for slo in overall if is_latency_limit(slo)]
    failed = [
        slo.threshold for slo in overall if slo.metric == "errors" and slo.comparison[0] == "<"
    ]
    return AllowedShares(min(slow, default=None), min(failed, default=None))


def workload_of(
    runs: Sequence[RunAnalysis], sized: Sequence[SizedRun], webserver_cpu: float
) -> Workload:
    """Calls as all runs together show them, on webservers with so many CPUs.

    Raises:
        ValueError: such a webserver has no CPU left for calls.
    """
    demand_s = pool([run.demand_s for run in sized]).estimate.value or 0.0
    background = fmean(run.background_cpu.value or 0.0 for run in sized)
    limits_s = [slo.threshold for slo in runs[0].slos if is_latency_limit(slo)]
    recorded = [found for run in runs if isinstance(found := recorded_workload(run), Workload)]
    return Workload(
        demand_s=demand_s,
        background_cpu=background,
        webserver_cpu=webserver_cpu,
        latency_s=median([each.latency_s for each in recorded] or [0.0]),
        slow_after_s=min(limits_s, default=None),
        connections_per_call=median([each.connections_per_call for each in recorded] or [1.0]),
    )


def autoscaling_of(runs: Sequence[RunAnalysis]) -> Autoscaling:
    """The documented rule with the times that the runs show, or else usual ones."""
    facts = runs[0].environment.get("facts")
    facts = facts if isinstance(facts, dict) else {}
    policy = PolicyParameters(
        cpu_above_percent=float(facts.get("scale_out_cpu_percent", CPU_ABOVE_PERCENT)),
        connections_above=float(facts.get("scale_out_connections", CONNECTIONS_ABOVE)),
    )
    start_s = _start_s(runs, policy)
    if start_s is None:
        source = note("size.start_assumed", start_s=START_S, period_s=PERIOD_S)
        return Autoscaling(policy, PERIOD_S, (START_S,), source)
    period_s = runs[0].periods[0].period_s
    on_aws = runs[0].environment.get("kind") == "aws"
    source = note("size.start_measured", start_s=start_s, period_s=period_s, on_aws=on_aws)
    return Autoscaling(policy, period_s, start_s, source)


def _start_s(runs: Sequence[RunAnalysis], policy: PolicyParameters) -> tuple[float, ...] | None:
    """From decision to service: the mean over the runs' scale-outs and the ends of its interval."""
    delays = scale_out_delays([event for run in runs for event in run.scaling])
    found = delays.provisioning
    if found.value is None or not runs[0].periods:
        return None
    # Where nobody tells of decisions, the first of the rule's periods had just ended.
    early_s = 0.0
    if delays.detected_by != "decision":
        early_s = (policy.datapoints_to_alarm - 1) * runs[0].periods[0].period_s
    ends = (found.value, found.low, found.high)
    shown = [max(0.0, round(end - early_s, 1)) for end in ends if end is not None]
    return tuple(dict.fromkeys(shown))
