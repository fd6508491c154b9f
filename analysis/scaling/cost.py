"""What scaling cost its callers, and what the environment did with each webserver count.

What a scale-out cost: errors and slow calls from the load step until the SLO held again.

    excess errors = errors - e calls,    excess slow calls = slow - l calls

over the calls sent, but for those that failed by the caller's own doing, that should have started
from the load step t0 until t5, when the SLO held again. When it was never broken, until the new
webserver came; when it did not hold again, until the load fell (`events.watched_until_s`). e and l
are the shares of errors and of slow calls before the load step: in measured parts of stages with no
more load than the stage before the step, outside the transients before; within a ramp or a trace,
in its own measured part before the step. They are 0 where there is no such time, so that then
everything counts as excess.

Slow is a call that ended ok, but past the tightest latency limit of the SLO (`calls.good_calls`).
Several scale-outs after one load step share its cost; the first of them has it.

Throughput, latency and errors at each webserver count: of the metric periods wholly inside measured
parts of stages whose webserver count is the same in the period before and after, so that it did not
change within them, and of the calls that should have started in these periods.

Webservers in service against webservers needed: how long and how far too few, or too many.

With d_t webservers needed and s_t in service in period t, over the periods with load:

    under-provisioning accuracy theta_U = mean of max(d - s, 0) / d
    over-provisioning accuracy  theta_O = mean of max(s - d, 0) / d
    time shares                 tau_U = share of periods with d > s,   tau_O = with s > d

all as fractions of 1. theta is relative to the need, so it says little without tau.
d_t = max(ceil(offered_t / X_1), least webservers), X_1 the rate of the mix that holds one
webserver at the utilisation target (`demand`); it may be above what the service allows, because a
maximum that is too low is under-provisioning.

Source: N. Herbst et al., Ready for Rain?, arXiv:1604.03470, there as percentages.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mwaa_headroom.analysis.caller_failures import CALLERS
from mwaa_headroom.analysis.calls import Calls, Mask
from mwaa_headroom.analysis.demand import steady_periods
from mwaa_headroom.analysis.findings import Finding, note, refusal
from mwaa_headroom.analysis.metric_periods import WebserverPeriod, periods_within
from mwaa_headroom.analysis.results import (
    CountRow,
    DemandResult,
    Elasticity,
    PeriodPoint,
    ScalingEvent,
    TransientCost,
)
from mwaa_headroom.analysis.scaling.events import load_of, watched_until_s
from mwaa_headroom.analysis.sizing.one_run import webservers_for
from mwaa_headroom.analysis.slo_judgement import Window
from mwaa_headroom.analysis.stages import StageTimes, share
from mwaa_headroom.analysis.statistics import Floats, known, mean_of, percentiles


def with_costs(
    events: Sequence[ScalingEvent], stages: Sequence[StageTimes], run: Window
) -> tuple[ScalingEvent, ...]:
    """The same events, all in the order of time, scale-outs with what they cost."""
    if not any(_rises(event) for event in events):
        return tuple(events)
    tally = _Tally(run.calls, run.good)
    costs: dict[float, TransientCost] = {}
    found = []
    for event in events:
        step_s = event.load_step_s
        if not _rises(event) or step_s is None or step_s in costs:
            found.append(event)
            continue
        costs[step_s] = _cost(event, step_s, stages, tally, list(costs.values()))
        found.append(replace(event, cost=costs[step_s]))
    return tuple(found)


class _Tally:
    """Counts calls sent, errors and slow calls between two times."""

    def __init__(self, calls: Calls, good: Mask) -> None:
        self.calls = calls
        self._sent = calls.sent & (calls.stage >= 0) & ~calls.outcome.are(*CALLERS)
        self._failed = self._sent & ~calls.outcome.are("ok")
        self._slow = self._sent & ~self._failed & ~good

    def between(self, from_s: float, to_s: float) -> tuple[int, int, int]:
        starts_s = self.calls.intended_start_s
        inside = (starts_s >= from_s) & (starts_s < to_s)
        sent, failed, slow = (
            int(np.count_nonzero(inside & kind)) for kind in (self._sent, self._failed, self._slow)
        )
        return sent, failed, slow


def _rises(event: ScalingEvent) -> bool:
    return event.to_count > event.from_count


def _cost(
    event: ScalingEvent,
    from_s: float,
    stages: Sequence[StageTimes],
    tally: _Tally,
    before: Sequence[TransientCost],
) -> TransientCost:
    to_s, ended = _end(event, from_s, stages, tally.calls)
    calls, errors, slow = tally.between(from_s, to_s)
    usual_errors, usual_slow = _usual_shares(from_s, stages, tally, before)
    return TransientCost(
        from_s=from_s,
        to_s=to_s,
        calls=calls,
        errors=errors,
        excess_errors=errors - usual_errors * calls,
        slow_calls=slow,
        excess_slow_calls=slow - usual_slow * calls,
        ended=ended,
    )


def _end(
    event: ScalingEvent, from_s: float, stages: Sequence[StageTimes], calls: Calls
) -> tuple[float, bool]:
    if event.slo_restored_s is not None:
        return event.slo_restored_s, True
    came_s = event.takes_traffic_s or event.count_changed_s
    if event.slo_broke is False and came_s is not None:
        return came_s, True
    return watched_until_s(stages, calls, from_s), False


def _usual_shares(
    step_s: float,
    stages: Sequence[StageTimes],
    tally: _Tally,
    transients: Sequence[TransientCost],
) -> tuple[float, float]:
    """Shares of errors and slow calls before a load step."""
    begun = [stage for stage in stages if stage.started_at_s < step_s]
    if not begun:
        return 0.0, 0.0
    usual_load = load_of(begun[-1])
    calls = errors = slow = 0
    for stage in begun:
        if load_of(stage) > usual_load:
            continue
        parts = [(stage.measured_from_s, min(stage.ended_at_s, step_s))]
        for transient in transients:
            parts = [part for whole in parts for part in _without(whole, transient)]
        for from_s, to_s in parts:
            counted = tally.between(from_s, to_s)
            calls, errors, slow = calls + counted[0], errors + counted[1], slow + counted[2]
    return errors / max(calls, 1), slow / max(calls, 1)


def _without(part: tuple[float, float], transient: TransientCost) -> list[tuple[float, float]]:
    from_s, to_s = part
    left = [(from_s, min(to_s, transient.from_s)), (max(from_s, transient.to_s), to_s)]
    return [(start_s, end_s) for start_s, end_s in left if start_s < end_s]


_BLOCK = 1 << 20  # calls looked at together: bounds the memory beside them


def by_webservers(stages: Sequence[StageTimes], run: Window) -> tuple[CountRow, ...]:
    """One row for each webserver count that was seen for a whole period, the fewest first."""
    calls, periods = run.calls, run.periods
    inside = {
        period.start_s
        for stage in stages
        for period in periods_within(periods, stage.measured_from_s, stage.ended_at_s)
    }
    chosen = [period for period in steady_periods(periods) if period.start_s in inside]
    count_of_call = _counts_at(calls, chosen)
    sent, ok, timed, cut = calls.sent, calls.ok, calls.timed, calls.censored
    rows = []
    for webservers in sorted({period.webservers for period in chosen if period.webservers}):
        own = [period for period in chosen if period.webservers == webservers]
        mine = count_of_call == webservers
        time_s = sum(period.period_s for period in own)
        goodput_per_s = int(np.count_nonzero(mine & run.good)) / time_s
        latency_s = percentiles(
            calls.times_s("latency", mine & timed),
            (50.0, 95.0),
            censored=int(np.count_nonzero(mine & cut)),
        )
        own_sent = int(np.count_nonzero(mine & sent))
        rows.append(
            CountRow(
                webservers=webservers,
                time_s=time_s,
                calls=own_sent,
                offered_per_s=int(np.count_nonzero(mine)) / time_s,
                goodput_per_s=goodput_per_s,
                goodput_per_webserver_per_s=goodput_per_s / webservers,
                cpu_percent=mean_of(known(period.cpu_percent for period in own)),
                latency_p50_s=latency_s[50.0],
                latency_p95_s=latency_s[95.0],
                error_rate=share(own_sent - int(np.count_nonzero(mine & ok)), own_sent),
            )
        )
    return tuple(rows)


def _counts_at(calls: Calls, periods: Sequence[WebserverPeriod]) -> NDArray[np.int32]:
    """The webserver count when each call should have started; 0: in none of the periods."""
    starts_s = np.array([period.start_s for period in periods])
    ends_s = np.array([period.end_s for period in periods])
    counts = np.array([period.webservers for period in periods], dtype=np.int32)
    found = np.zeros(len(calls), dtype=np.int32)
    if not len(periods):
        return found
    for first in range(0, len(calls), _BLOCK):
        block = slice(first, first + _BLOCK)
        times_s = calls.intended_start_s[block]
        place = np.maximum(np.searchsorted(starts_s, times_s, side="right") - 1, 0)
        inside = (times_s >= starts_s[place]) & (times_s < ends_s[place])
        found[block] = np.where(inside, counts[place], 0)
    return found


def elasticity(
    periods: Sequence[PeriodPoint],
    demand: DemandResult | None,
    *,
    min_webservers: int | None,
    max_webservers: int | None,
) -> Elasticity | None:
    """How well the webserver count followed the need, by metric periods with a load and a count.

    None when there are none; the limits of the environment may be unknown.
    """
    loaded = [p for p in periods if p.webservers is not None and p.offered_per_s > 0]
    if not loaded:
        return None
    rate = demand.rate_per_webserver_per_s.value if demand else None
    if not rate:
        duration_s = loaded[0].period_s * len(loaded)
        return Elasticity(None, None, None, None, duration_s, None, refusal("scaling.no_demand"))
    least = min_webservers or 1
    wanted = (webservers_for(period.offered_per_s, rate) or least for period in loaded)
    needed = np.array([max(count, least) for count in wanted], dtype=np.float64)
    had = np.array([period.webservers for period in loaded], dtype=np.float64)
    return provisioning(
        needed, had, loaded[0].period_s, needed_by=_needed_by(needed, rate, least, max_webservers)
    )


def provisioning(
    needed: Floats, had: Floats, step_s: float, *, needed_by: Finding | None = None
) -> Elasticity:
    """The shares of two step functions.

    Args:
        needed: webservers needed in each step, at least 1.
        had: webservers in service in each step.
        step_s: length of a step.
        needed_by: who says how many were needed.
    """
    lacking = needed - had
    shares = lacking / needed
    return Elasticity(
        under_provisioned=float(shares.clip(min=0).mean()),
        over_provisioned=float((-shares).clip(min=0).mean()),
        under_time=float((lacking > 0).mean()),
        over_time=float((lacking < 0).mean()),
        duration_s=float(len(lacking) * step_s),
        needed_by=needed_by,
    )


def _needed_by(needed: Floats, rate: float, least: int, most: int | None) -> Finding:
    return note(
        "scaling.needed_by_demand",
        rate_per_webserver_per_s=rate,
        least_webservers=least,
        most_webservers=most,
        above_most_fraction=float((needed > most).mean()) if most else 0.0,
    )
