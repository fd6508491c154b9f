"""The runs a size is drawn from: whether they may be used together, and what they say.

For a class whose webservers have V' CPUs instead of the V of the runs, with the same demand per
call and the same background of a webserver:

    X_1(V') = (u V' - U0) / D

Its interval comes from those of D, U0 and X_1(V), of which the last knows how the other two err
together (`analysis/demand.py`, Fieller). With g = s_U0 / (u V - U0), s_D and s_X the errors of
ln(u V - U0), ln D and ln X_1(V), half of the intervals / 1.96, the correlation of U0 and D is

    r = (s_X^2 - g^2 - s_D^2) / (2 g s_D),   s_X'^2 = g'^2 + s_D^2 + 2 r g' s_D

so that V' = V gives back the interval of X_1(V); its ends keep their proportions on the logarithm.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mwaa_headroom.analysis.findings import Finding, refusal
from mwaa_headroom.analysis.identity import SIZE, each_run, unlike, unlike_runs, unusable
from mwaa_headroom.analysis.results import RunAnalysis
from mwaa_headroom.analysis.sizing.rate_uncertainty import (
    UncertainRate,
    estimate_times,
    pool,
    spread_between_runs,
)
from mwaa_headroom.analysis.statistics import Z95, Estimate

MOVED_BY_WEBSERVERS = ("webserver_cpu",)
PERHAPS_MOVED = ("connections", "unknown")  # calls waited for something, and it was not CPU
NOT_MOVED = ("throttle", "database", *PERHAPS_MOVED)  # or not known to be


@dataclass(frozen=True, slots=True)
class SizedRun:
    """What one run says that sizing needs."""

    run_id: str
    directory: str
    webserver_cpu: float  # CPUs
    periods: int  # metric periods behind the demand
    demand_s: Estimate  # CPU-seconds per call of the mix
    background_cpu: Estimate  # CPUs of a webserver without calls
    rate_of_one_per_s: Estimate  # at the utilisation target
    capacity_per_s: Estimate | None  # where the SLO breaks; None: not found
    capacity_webservers: int | None  # in service then
    bottleneck: str  # as in `CapacityResult`; "": the run asked for none
    between_runs: float = 0.0  # `spread_between_runs`


def refusals_of(runs: Sequence[RunAnalysis]) -> tuple[Finding, ...]:
    """Why these runs cannot say together how many webservers are needed; empty: they can."""
    if not runs:
        return (refusal("planning.no_run"),)
    names = [run.run_id for run in runs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        return (refusal("size.run_given_twice", run_id=twice[0]),)
    unusable = [found for run in runs if (found := _objection(run))]
    return (*unusable, *unlike_runs(unlike(each_run(runs), SIZE)), *_unlike_targets(runs))


def sized_run(run: RunAnalysis) -> SizedRun:
    """What a run that `refusals_of` does not refuse has to say."""
    demand, sizing, capacity = run.demand, run.sizing, run.capacity
    if demand is None or sizing is None or sizing.webserver_cpu is None:
        raise ValueError(f"run {run.run_id} has no service demand")
    at = capacity.rate_per_s if capacity else None
    on = capacity.rate_webservers if capacity else None
    known = at is not None and at.value is not None and on is not None
    return SizedRun(
        run_id=run.run_id,
        directory=run.directory,
        webserver_cpu=sizing.webserver_cpu,
        periods=demand.periods,
        demand_s=demand.mix_s,
        background_cpu=demand.background_cpu_per_webserver,
        rate_of_one_per_s=demand.rate_per_webserver_per_s,
        capacity_per_s=at if known else None,
        capacity_webservers=on if known else None,
        bottleneck=capacity.bottleneck if capacity else "",
        between_runs=spread_between_runs(run.environment.get("kind")),
    )


def rate_of_one(
    runs: Sequence[SizedRun], webserver_cpu: float, utilisation: float
) -> UncertainRate:
    """X_1 of a webserver with so many CPUs, from all runs.

    Args:
        runs: alike.
        webserver_cpu: V'.
        utilisation: u.
    """
    return pool([_scaled(run, webserver_cpu, utilisation) for run in runs], _between(runs))


def capacity_of_one(runs: Sequence[SizedRun]) -> UncertainRate:
    """Rate per webserver at which the SLO breaks, of runs that more webservers would help."""
    return pool(
        [
            estimate_times(run.capacity_per_s, 1 / run.capacity_webservers)
            for run in runs
            if run.capacity_per_s
            and run.capacity_webservers
            and run.bottleneck in MOVED_BY_WEBSERVERS
        ],
        _between(runs),
    )


def fixed_capacity(runs: Sequence[SizedRun]) -> UncertainRate:
    """Rate at which the SLO breaks for a reason that more webservers are not known to remove."""
    return pool(
        [run.capacity_per_s for run in runs if run.capacity_per_s and run.bottleneck in NOT_MOVED]
    )


def _between(runs: Sequence[SizedRun]) -> float:
    return max((run.between_runs for run in runs), default=0.0)


def _objection(run: RunAnalysis) -> Finding | None:
    """Why nothing can be sized from a run; None: it can."""
    if found := unusable(run):
        return found
    if reason := _no_demand(run):
        return refusal("size.unusable_run", run_id=run.run_id, reason=reason)
    return None


def _no_demand(run: RunAnalysis) -> Finding | None:
    demand, sizing = run.demand, run.sizing
    if sizing is None or sizing.webserver_cpu is None:
        return refusal("sizing.cpu_not_known")
    if demand is None:
        return refusal("sizing.no_call_reached_a_webserver")
    if not demand.mix_s.value:
        return demand.refusal or next(iter(demand.mix_s.warnings), refusal("size.no_cpu_cost"))
    if not demand.rate_per_webserver_per_s.value:
        return refusal(
            "sizing.never_enough",
            webserver_cpu=sizing.webserver_cpu,
            utilisation_target=sizing.utilisation_target,
        )
    return None


def _unlike_targets(runs: Sequence[RunAnalysis]) -> Iterator[Finding]:
    targets = {run.sizing.utilisation_target for run in runs if run.sizing}
    if len(targets) > 1:
        yield refusal("size.targets_differ", utilisations=tuple(sorted(targets)))


def _scaled(run: SizedRun, webserver_cpu: float, utilisation: float) -> Estimate:
    measured = run.rate_of_one_per_s
    if webserver_cpu == run.webserver_cpu:
        return measured
    demand_s, background = run.demand_s.value, run.background_cpu.value or 0.0
    left, left_before = (
        utilisation * cpu - background for cpu in (webserver_cpu, run.webserver_cpu)
    )
    if not demand_s or left <= 0:
        return replace(measured, value=0.0, low=0.0, high=0.0)
    value = left / demand_s
    before = measured.value
    if not before or not measured.low or measured.high is None:
        return replace(measured, value=value, low=None, high=None)
    stretch = _stretch(run, left_before, left)
    return replace(
        measured,
        value=value,
        low=value * (measured.low / before) ** stretch,
        high=value * (measured.high / before) ** stretch,
    )


def _stretch(run: SizedRun, left_before: float, left: float) -> float:
    """s_X' / s_X; see the module."""
    rate, demand, background = run.rate_of_one_per_s, run.demand_s, run.background_cpu
    s_rate, s_demand = _log_error(rate), _log_error(demand)
    s_background = ((background.high or 0.0) - (background.low or 0.0)) / (2 * Z95)
    if s_rate == 0 or left_before <= 0:
        return 1.0
    g, g_new = s_background / left_before, s_background / left
    r = 0.0
    if g * s_demand > 0:
        r = min(max((s_rate**2 - g**2 - s_demand**2) / (2 * g * s_demand), -1.0), 1.0)
    before = g**2 + s_demand**2 + 2 * r * g * s_demand
    new = g_new**2 + s_demand**2 + 2 * r * g_new * s_demand
    return math.sqrt(max(new, 0.0) / before) if before > 0 else 1.0


def _log_error(estimate: Estimate) -> float:
    if not estimate.low or not estimate.high:
        return 0.0
    return math.log(estimate.high / estimate.low) / (2 * Z95)
