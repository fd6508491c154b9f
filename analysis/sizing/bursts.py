"""What a burst, or a whole trace, costs callers with a given MinWebservers and MaxWebservers.

The load is played against the scaling rule by `analysis.policy.simulate`: a fluid model with the
measured demand per call. A burst is a step from one rate to another while the minimum is in
service. It may begin anywhere in a metric period, and how long a webserver takes to start is
uncertain, so it is played for several beginnings and starting times; the span is of these.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean
from typing import Final

import numpy as np

from analysis.policy.parameters import PolicyParameters
from analysis.policy.simulate import Simulated, simulate
from analysis.policy.workload import Workload
from analysis.sizing.loads import Floats, busiest_day
from analysis.sizing.results import BurstCost, Span, TraceCost

WATCHED_S: Final = 1800
BEGINNINGS: Final = 4  # in a metric period
_LEAD_PERIODS: Final = 2  # of the rate before, so that the rule has seen it
USUAL_SLOW_SHARE: Final = 0.05  # where the SLO names none


@dataclass(frozen=True, slots=True)
class Autoscaling:
    """How autoscaling is taken to behave."""

    policy: PolicyParameters
    period_s: float  # of the metrics the rule sees
    start_s: tuple[float, ...]  # from decision to service: the likely value first, then the ends
    source: str  # one sentence: measured, or not verified


@dataclass(frozen=True, slots=True)
class Allowance:
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
    allowed: Allowance,
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
    likely = played[:BEGINNINGS]
    share = USUAL_SLOW_SHARE if allowed.slow is None else allowed.slow
    enough = [_enough_after_s(one, lead_s, needed) for one in played]
    over = [_over_after_s(one, lead_s, share * to_per_s, to_per_s) for one in played]
    slow, failed = [], []
    for one, *ends_s in zip(played, enough, over, strict=True):
        until_s = max(WATCHED_S if end_s is None else round(end_s) for end_s in ends_s)
        window = slice(lead_s, lead_s + until_s)
        slow.append(float(one.slow_share[window].sum() * to_per_s))
        failed.append(float(one.failed_per_s[window].sum()))
    count = len(likely)
    return BurstCost(
        from_per_s=from_per_s,
        to_per_s=to_per_s,
        enough_after_s=_span(enough, count),
        over_after_s=_span(over, count),
        slow_calls=_span(slow, count),
        failed_calls=_span(failed, count),
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


def _span(values: Sequence[float | None], likely: int) -> Span:
    """Mean of the likely ones, least and most of all; None when one has no end."""
    known = [each for each in values if each is not None]
    usual = [each for each in values[:likely] if each is not None]
    return Span(
        value=fmean(usual) if len(usual) == likely else None,
        low=min(known, default=None),
        high=max(known) if len(known) == len(values) else None,
    )
