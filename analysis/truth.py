"""Estimates of a run against simulated webservers, beside the truth they were set to.

    D_mix = sum_c w_c D_c,   X_1 = (u V - U0) / D_mix,   n = ceil(rate / X_1)

w_c share of operation c in the mix, D_c its demand as set, U0 background CPUs of one webserver, V
its CPUs, u the utilisation not to be exceeded. With contention a call costs more the more calls are
in service, so that there is no single truth: nothing is compared then.
"""

import math
from collections.abc import Iterator, Mapping

from mwaa_headroom.analysis.results import DemandResult, SizingResult, TruthCheck
from mwaa_headroom.analysis.setting import Setting
from mwaa_headroom.analysis.sizing.one_run import webservers_for
from mwaa_headroom.analysis.statistics import Estimate


def truth_checks(
    setting: Setting, demand: DemandResult | None, sizing: SizingResult | None
) -> tuple[TruthCheck, ...]:
    """Demands, rate of one webserver and webserver count; empty where the truth is not known."""
    demands_s = _demands_by_label(setting)
    if not demands_s or demand is None or setting.webserver_cpu is None:
        return ()
    return tuple(_checks(setting, demands_s, setting.webserver_cpu, demand, sizing))


def _checks(
    setting: Setting,
    demands_s: Mapping[str, float],
    webserver_cpu: float,
    demand: DemandResult,
    sizing: SizingResult | None,
) -> Iterator[TruthCheck]:
    mix_s = sum(share * demands_s[label] for label, share in setting.mix.items())
    background = float(setting.environment["facts"].get("background_cpu", 0.0))
    rate_per_s = (setting.utilisation_target * webserver_cpu - background) / mix_s
    yield _check("service demand of the mix", "s", demand.mix_s, mix_s)
    for label, estimate in demand.per_operation_s.items():
        yield _check(f"service demand of {label}", "s", estimate, demands_s[label])
    yield _check("rate of one webserver", "1/s", demand.rate_per_webserver_per_s, rate_per_s)
    if sizing is None or sizing.target is None:
        return
    row = sizing.target
    needed = webservers_for(row.rate_per_s, max(rate_per_s, 0.0))
    if needed is not None:
        counted = Estimate(
            value=_number(row.webservers),
            low=_number(row.webservers_low),
            high=_number(row.webservers_high),
            n=demand.periods,
        )
        yield _check(f"webservers for {row.rate_per_s:g} calls/s", "webservers", counted, needed)


def _demands_by_label(setting: Setting) -> dict[str, float]:
    facts = setting.environment.get("facts", {})
    known = facts.get("demand_s")
    if not isinstance(known, Mapping) or facts.get("contention"):
        return {}
    if not all(operation in known for operation in setting.operations.values()):
        return {}
    return {label: float(known[operation]) for label, operation in setting.operations.items()}


def _check(what: str, unit: str, estimate: Estimate, truth: float) -> TruthCheck:
    within = None
    if estimate.value is not None and estimate.low is not None:
        high = math.inf if estimate.high is None else estimate.high
        within = estimate.low <= truth <= high
    return TruthCheck(what, unit, estimate, truth, within)


def _number(count: int | None) -> float | None:
    return None if count is None else float(count)
