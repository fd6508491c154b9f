"""How many webservers a rate of this mix needs, by the utilisation law.

    n = ceil( rate / X_1 ),  X_1 = (u V - U0) / D_mix

D_mix demand of the mix (CPU-s per call), U0 background CPUs of one webserver, V CPUs of one
webserver, u the utilisation not to be exceeded; X_1 and its interval come from `demand.py`, widened
by what runs differ (`rate_uncertainty.py`), and the interval's ends give the interval of n, and its
distribution the probability that n webservers keep the utilisation at or below u. Where the
interval spans two counts, `sizing/probability.py` names the measurement that would tell.

It assumes that demand stays what it was in the utilisation range it was measured in, that load
spreads evenly, and that nothing but CPU runs out first. `contradictions` holds it against the
measured stages.
"""

import math
from collections.abc import Sequence

from mwaa_headroom.analysis.findings import Finding, note, refusal, warning
from mwaa_headroom.analysis.mwaa import FEWEST_WEBSERVERS, MICRO, MOST_WEBSERVERS
from mwaa_headroom.analysis.results import (
    CapacityResult,
    DemandResult,
    SizingResult,
    SizingRow,
    StageStats,
)
from mwaa_headroom.analysis.setting import Setting
from mwaa_headroom.analysis.sizing.rate_limit import RateLimit
from mwaa_headroom.analysis.sizing.rate_uncertainty import (
    UncertainRate,
    of_one_run,
    spread_between_runs,
    what_would_decide,
)
from mwaa_headroom.analysis.statistics import Estimate

_ROUNDING = 1e-9


def size(
    setting: Setting, demand: DemandResult | None, limit: RateLimit | None = None
) -> SizingResult:
    """Webservers for the target and for the rate of every stage that sent the mix.

    Args:
        setting: of the run.
        demand: of a call.
        limit: of the rate, whatever the number of webservers is; None: none is known.
    """
    planned = _rates_of_the_mix(setting)
    target_rate = setting.target_rate_per_s or max(planned, default=None)
    refused = _refusal(setting, demand)
    if refused or demand is None or target_rate is None:
        return SizingResult(
            target_rate_per_s=target_rate,
            target=None,
            rows=(),
            utilisation_target=setting.utilisation_target,
            webserver_cpu=setting.webserver_cpu,
            explanation=refusal("sizing.no_count", reason=refused),
            impossible=limit.forbids(target_rate) if limit and target_rate else None,
        )
    most = most_webservers(setting)
    between = spread_between_runs(setting.environment.get("kind"))
    one = of_one_run(demand.rate_per_webserver_per_s, between)
    rows = {rate: _row(one, rate, most) for rate in sorted(planned | {target_rate})}
    target = rows[target_rate]
    impossible = limit.forbids(target_rate) if limit else None
    if impossible is None and target.webservers and not target.within_limits:
        impossible = refusal("sizing.more_than_allowed", target=target, most_webservers=most)
    return SizingResult(
        target_rate_per_s=target_rate,
        target=target,
        rows=tuple(rows.values()),
        utilisation_target=setting.utilisation_target,
        webserver_cpu=setting.webserver_cpu,
        explanation=_explanation(setting, demand, one, target, tuple(rows.values())),
        warnings=demand.mix_s.warnings,
        rate_of_one_per_s=one.estimate,
        deciding=what_would_decide(
            target_rate,
            one,
            range(FEWEST_WEBSERVERS, most + 1),
            periods=demand.periods,
            utilisation_target=setting.utilisation_target,
        ),
        impossible=impossible,
    )


def most_webservers(setting: Setting) -> int:
    """How many the service allows: its quota, or more where the environment has more already."""
    if setting.environment.get("environment_class") == MICRO:
        return 1
    return max(MOST_WEBSERVERS, setting.environment.get("max_webservers") or 0)


def contradictions(
    setting: Setting,
    demand: DemandResult | None,
    capacity: CapacityResult | None,
    stages: Sequence[StageStats],
) -> tuple[Finding, ...]:
    """Warnings where the law and a measured stage cannot both be right."""
    if demand is None or capacity is None or demand.mix_s.value is None:
        return ()
    found = []
    for stage in stages:
        low, high = _expected_cpu(setting, demand, stage)
        if low is None or high is None:
            continue
        if stage.index == capacity.highest_stage and low > 1.0:
            found.append(
                warning("sizing.demand_too_high", stage=stage.label, at_least_cpu_fraction=low)
            )
        stopped_inside = capacity.bottleneck in ("unknown", "connections", "webserver_cpu")
        stopped_here = stage.index == capacity.stopped_by_stage and stopped_inside
        if stopped_here and high < setting.utilisation_target:
            found.append(
                warning("sizing.not_for_want_of_cpu", stage=stage.label, at_most_cpu_fraction=high)
            )
    return tuple(found)


def webservers_for(rate_per_s: float, rate_of_one_per_s: float | None) -> int | None:
    """The fewest webservers that serve a rate, ceil(rate / X_1) and at least 1.

    None when a webserver serves nothing at all. A rate that is a whole multiple of X_1 but for
    rounding needs no webserver more.
    """
    if not rate_of_one_per_s:
        return None
    return max(1, math.ceil(rate_per_s / rate_of_one_per_s - _ROUNDING))


def _expected_cpu(
    setting: Setting, demand: DemandResult, stage: StageStats
) -> tuple[float | None, float | None]:
    """Utilisation (0..1) the law expects in a stage, by the low and the high end of the demand."""
    if not stage.webservers_min or not stage.webservers_max or not setting.webserver_cpu:
        return None, None
    ends = []
    for webservers, pick in ((stage.webservers_max, _low), (stage.webservers_min, _high)):
        work = stage.achieved_per_s * pick(demand.mix_s) / webservers
        ends.append((work + pick(demand.background_cpu_per_webserver)) / setting.webserver_cpu)
    return ends[0], ends[1]


def _refusal(setting: Setting, demand: DemandResult | None) -> Finding | None:
    if setting.is_closed:
        return refusal("sizing.closed")
    if setting.webserver_cpu is None:
        return refusal("sizing.cpu_not_known")
    if demand is None:
        return refusal("sizing.no_call_reached_a_webserver")
    if demand.mix_s.value is None:
        return demand.refusal or demand.mix_s.warnings[0]
    if setting.target_rate_per_s is None and not _rates_of_the_mix(setting):
        return refusal("sizing.no_rate_of_the_mix")
    return None


def _rates_of_the_mix(setting: Setting) -> set[float]:
    return {
        stage.rate_per_s
        for stage in setting.stages
        if stage.rate_per_s is not None and stage.operation is None
    }


def _row(rate_of_one: UncertainRate, rate_per_s: float, most: int) -> SizingRow:
    one = rate_of_one.estimate
    needed = webservers_for(rate_per_s, one.value)
    return SizingRow(
        rate_per_s=rate_per_s,
        webservers=needed,
        webservers_low=webservers_for(rate_per_s, one.high),
        webservers_high=webservers_for(rate_per_s, one.low),
        within_limits=needed is not None and needed <= most,
        probability=float(rate_of_one.at_least(rate_per_s / needed)) if needed else None,
    )


def _explanation(
    setting: Setting,
    demand: DemandResult,
    rate_of_one: UncertainRate,
    target: SizingRow,
    rows: Sequence[SizingRow],
) -> Finding:
    if target.webservers is None:
        return refusal(
            "sizing.never_enough",
            webserver_cpu=setting.webserver_cpu,
            utilisation_target=setting.utilisation_target,
        )
    one = rate_of_one.estimate
    too_few = any(row.webservers and row.webservers < FEWEST_WEBSERVERS for row in rows)
    return note(
        "sizing.needed",
        target=target,
        demand_s=demand.mix_s.value,
        webserver_cpu=setting.webserver_cpu,
        utilisation_target=setting.utilisation_target,
        rate_of_one_per_s=(one.value, _low(one), _high(one)),
        between_runs=rate_of_one.between,
        fewest_webservers=FEWEST_WEBSERVERS if too_few else None,
    )


def _low(estimate: Estimate) -> float:
    return (estimate.value or 0.0) if estimate.low is None else estimate.low


def _high(estimate: Estimate) -> float:
    return (estimate.value or 0.0) if estimate.high is None else estimate.high
