"""How many webservers a rate of this mix needs, by the utilisation law.

    n = ceil( rate / X_1 ),  X_1 = (u V - U0) / D_mix

D_mix demand of the mix (CPU-s per call), U0 background CPUs of one webserver, V CPUs of one
webserver, u the utilisation not to be exceeded; X_1 and its interval come from `demand.py`, and the
interval's ends give the interval of n, and its distribution the probability that n webservers keep
the utilisation at or below u. Where the interval spans two counts, `sizing/probability.py` names
the measurement that would tell.

It assumes that demand stays what it was in the utilisation range it was measured in, that load
spreads evenly, and that nothing but CPU runs out first. `contradictions` holds it against the
measured stages.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from mwaa_headroom.analysis.mwaa import FEWEST_WEBSERVERS, MOST_WEBSERVERS
from mwaa_headroom.analysis.results import (
    CapacityResult,
    DemandResult,
    SizingResult,
    SizingRow,
    StageStats,
)
from mwaa_headroom.analysis.setting import Setting
from mwaa_headroom.analysis.sizing.probability import (
    MORE_PERIODS,
    belief_of,
    deciding_measurement,
    is_open,
    open_question,
)
from mwaa_headroom.analysis.stages import stage_label
from mwaa_headroom.analysis.statistics import Estimate

_ROUNDING = 1e-9


def size(setting: Setting, demand: DemandResult | None) -> SizingResult:
    """Webservers for the target and for the rate of every stage that sent the mix."""
    planned = _rates_of_the_mix(setting)
    target_rate = setting.target_rate_per_s or max(planned, default=None)
    refusal = _refusal(setting, demand)
    if refusal or demand is None or target_rate is None:
        return SizingResult(
            target_rate_per_s=target_rate,
            target=None,
            rows=(),
            utilisation_target=setting.utilisation_target,
            webserver_cpu=setting.webserver_cpu,
            explanation=f"No webserver count can be given: {refusal}",
        )
    rates = sorted(planned | {target_rate})
    rows = {rate: _row(demand, rate) for rate in rates}
    target = rows[target_rate]
    return SizingResult(
        target_rate_per_s=target_rate,
        target=target,
        rows=tuple(rows.values()),
        utilisation_target=setting.utilisation_target,
        webserver_cpu=setting.webserver_cpu,
        explanation=_explanation(setting, demand, target, rows.values()),
        warnings=demand.mix_s.warnings,
        deciding=_deciding(setting, demand, target_rate),
    )


def contradictions(
    setting: Setting,
    demand: DemandResult | None,
    capacity: CapacityResult | None,
    stages: Sequence[StageStats],
) -> tuple[str, ...]:
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
                f"{_capital(stage_label(stage))} met the SLO although the estimated demand needs "
                f"at least {_percent(low)} of its webservers' CPU: the estimate is too high."
            )
        stopped_inside = capacity.bottleneck in ("unknown", "connections", "webserver_cpu")
        stopped_here = stage.index == capacity.stopped_by_stage and stopped_inside
        if stopped_here and high < setting.utilisation_target:
            found.append(
                f"{_capital(stage_label(stage))} broke the SLO although the estimated demand needs "
                f"at most {_percent(high)} of its webservers' CPU: something other than CPU limits "
                "it, and more webservers by this estimate may not help."
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


def sized_webservers(
    count: int, environment: Mapping[str, object], webserver_cpu: float | None
) -> str:
    """A webserver count with the size it holds for.

    "3 mw1.small webservers (1 vCPU)" of a real environment, else "3 webservers with 0.25 CPU".

    Args:
        count: of webservers.
        environment: as in `RunAnalysis.environment`; only a real one has an environment_class.
        webserver_cpu: CPUs of one webserver; None: not known.
    """
    noun = "webserver" if count == 1 else "webservers"
    named = environment.get("environment_class")
    if named:
        size_text = "" if webserver_cpu is None else f" ({webserver_cpu:g} vCPU)"
        return f"{count} {named} {noun}{size_text}"
    size_text = "" if webserver_cpu is None else f" with {webserver_cpu:g} CPU"
    return f"{count} {noun}{size_text}"


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


def _refusal(setting: Setting, demand: DemandResult | None) -> str:
    if setting.is_closed:
        return "a closed workload has no rate to size for; run open arrivals."
    if setting.webserver_cpu is None:
        return (
            "the CPUs of one webserver are not known; set environment.webserver_cpu in the "
            "scenario."
        )
    if demand is None:
        return "no call reached a webserver."
    if demand.mix_s.value is None:
        why = demand.refusal or next(iter(demand.mix_s.warnings), "the demand is not known.")
        return why[:1].lower() + why[1:]
    if setting.target_rate_per_s is None and not _rates_of_the_mix(setting):
        return "no stage sent the mix at a rate; set question.target_rate_per_s."
    return ""


def _rates_of_the_mix(setting: Setting) -> set[float]:
    return {
        stage.rate_per_s
        for stage in setting.stages
        if stage.rate_per_s is not None and stage.operation is None
    }


def _row(demand: DemandResult, rate_per_s: float) -> SizingRow:
    one = demand.rate_per_webserver_per_s
    needed = webservers_for(rate_per_s, one.value)
    belief = belief_of(one)
    return SizingRow(
        rate_per_s=rate_per_s,
        webservers=needed,
        webservers_low=webservers_for(rate_per_s, one.high),
        webservers_high=webservers_for(rate_per_s, one.low),
        within_limits=needed is not None and needed <= MOST_WEBSERVERS,
        probability=float(belief.at_least(rate_per_s / needed)) if belief and needed else None,
    )


def _deciding(setting: Setting, demand: DemandResult, rate_per_s: float) -> str:
    """What to measure when the interval leaves the count open; "": it does not."""
    one = demand.rate_per_webserver_per_s
    if is_open(rate_per_s, one, fewest=FEWEST_WEBSERVERS, most=MOST_WEBSERVERS):
        return MORE_PERIODS
    question = open_question(rate_per_s, one, fewest=FEWEST_WEBSERVERS, most=MOST_WEBSERVERS)
    if question is None:
        return ""
    criterion = f"stay at or below {_percent(setting.utilisation_target)} CPU"
    return deciding_measurement(rate_per_s, question, periods=demand.periods, criterion=criterion)


def _value(estimate: Estimate) -> float:
    return estimate.value or 0.0


def _low(estimate: Estimate) -> float:
    return estimate.low if estimate.low is not None else _value(estimate)


def _high(estimate: Estimate) -> float:
    return estimate.high if estimate.high is not None else _value(estimate)


def _explanation(
    setting: Setting, demand: DemandResult, target: SizingRow, rows: Iterable[SizingRow]
) -> str:
    cpu = setting.webserver_cpu
    if target.webservers is None:
        return (
            f"No number of webservers with {cpu:g} CPU is enough: what they use without calls is "
            f"already above {_percent(setting.utilisation_target)}."
        )
    beyond = ""
    if not target.within_limits:
        beyond = f" Amazon MWAA allows at most {MOST_WEBSERVERS}: use a larger environment class."
    if any(row.webservers and row.webservers < FEWEST_WEBSERVERS for row in rows):
        beyond += f" Amazon MWAA runs at least {FEWEST_WEBSERVERS}, except in mw1.micro."
    one = demand.rate_per_webserver_per_s
    return (
        f"One call of this mix costs {_value(demand.mix_s) * 1000:.1f} ms of CPU, so a webserver "
        f"with {cpu:g} CPU serves {_value(one):.1f} calls/s ({_low(one):.1f}-{_high(one):.1f}) at "
        f"{_percent(setting.utilisation_target)} utilisation, and {target.rate_per_s:g} calls/s "
        f"need {target.webservers} of them.{beyond}"
    )


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.0f} %"
