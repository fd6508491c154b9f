"""Service demands by the utilisation law: CPU-seconds of the webservers one call costs.

    U_t m_t V = U0 m_t + sum_c X_{c,t} D_c + error,    D_c >= 0, U0 >= 0

U_t mean CPU (0..1) of the m_t webservers with V CPUs each in metric period t, X_{c,t} calls of
operation c per second that reached a webserver in it, D_c demand (CPU-s), U0 background CPUs of one
webserver. Which periods and how calls are counted: `demand_observations`; how it is solved and what
the intervals are: `demand_fit`.

    D_mix = sum_c w_c D_c,    w_c shares of the scenario's mix
    X_1 = (u V - U0) / D_mix

X_1 rate of this mix that holds one webserver at the utilisation u. Where operations can be told
apart, the mix is made of them, whatever shares the run sent. Where they cannot, a run that sent the
mix as it is still tells D_mix by one column of all calls,
D_mix = sum_t (U_t m_t V - U0 m_t) T / sum_t calls_t, and one that sent other shares does not.

Sources: Zhang, Cherkasova, Smirni, ICAC 2007 (regression); Lazowska et al., Quantitative System
Performance, 1984, ch. 3 (utilisation law).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.calls import Calls, Floats
from analysis.demand_fit import Fit, condition_number, crossing, fit
from analysis.demand_observations import (
    FEWEST_PERIODS,
    PERIODS_FOR_TRUST,
    Observations,
    in_usual_range,
    observe,
    usable_periods,
)
from analysis.demand_observations import steady_periods as steady_periods
from analysis.results import DemandResult, Estimate
from analysis.windows import WebserverPeriod

CONDITION_LIMIT = 30.0
_HIGHEST_LEVERAGE = 0.99  # above it one period alone decides a coefficient
_UNKNOWN_BACKGROUND = (
    "The load hardly varied, so CPU that webservers use without calls is counted into the demand "
    "of calls."
)
_COSTLIER_UNDER_LOAD = (
    "CPU grew faster than the number of calls, so a call costs less than this at low rates and "
    "more at high ones."
)
_AT_BOUND = "Only the upper limit is known: the estimate is at its bound of 0."
_NO_UPPER_LIMIT = (
    "No upper limit can be told: by these metric periods calls might cost no CPU at all; run "
    "longer stages with rates further apart."
)


@dataclass(frozen=True, slots=True, eq=False)
class _Mix:
    """A fit, and the factors that make demand and background of its coefficients."""

    found: Fit
    demand: Floats
    background: Floats | None  # None: not told apart from the demand


def estimate_demand(
    calls: Calls,
    periods: Sequence[WebserverPeriod],
    webserver_cpu: float | None,
    utilisation_target: float,
    mix: Mapping[str, float],
) -> DemandResult | None:
    """Demands of the mix and, where the periods can tell them apart, of each operation.

    Args:
        calls: all calls of the run.
        periods: those of `steady_periods` inside the measured parts, in the order of time.
        webserver_cpu: CPUs of one webserver.
        utilisation_target: 0..1, for the rate one webserver can serve.
        mix: label -> share, of the scenario; the run may have sent other shares.

    Returns:
        None when the CPUs per webserver are not known or no call reached a webserver.
    """
    if webserver_cpu is None:
        return None
    usable = usable_periods(periods)
    if usable < FEWEST_PERIODS:
        return _refused(_too_few(usable), usable)
    observed = observe(calls, periods, webserver_cpu)
    if not observed.operations:
        return None
    is_the_mix = observed.is_of(mix)
    seen, warnings = in_usual_range(observed, webserver_cpu, by_operation=not is_the_mix)
    if len(seen) < FEWEST_PERIODS or not seen.operations:
        return _refused(_too_few(len(seen)), len(seen))
    if len(seen) < PERIODS_FOR_TRUST:
        warnings.append(
            f"Only {len(seen)} metric periods were usable; with fewer than {PERIODS_FOR_TRUST} the "
            "interval is likely too narrow."
        )
    each, refusal = _told_apart(seen)
    whole = _by_shares(seen, each, mix) or (_as_sent(seen) if is_the_mix else None)
    if whole is None:
        result = _refused(_not_of_the_mix(seen, refusal, mix), len(seen))
    else:
        result = _of_mix(whole, utilisation_target * webserver_cpu, len(seen), warnings)
    is_single = len(seen.operations) == 1 and whole is not None
    per_operation_s = _of_each(each, seen, warnings)
    return replace(
        result,
        per_operation_s={seen.operations[0]: result.mix_s} if is_single else per_operation_s,
        refusal="" if is_single else refusal,
        condition_number=condition_number(seen.per_operation),
    )


def _as_sent(seen: Observations) -> _Mix:
    """All calls are one column; without the background where its column says the same."""
    if condition_number(seen.per_mix) > CONDITION_LIMIT:
        return _Mix(fit(seen.per_mix[:, :1], seen.cpus_used), np.ones(1), None)
    found = fit(seen.per_mix, seen.cpus_used)
    return _Mix(found, np.array([1.0, 0.0]), np.array([0.0, 1.0]))


def _by_shares(seen: Observations, each: Fit | None, mix: Mapping[str, float]) -> _Mix | None:
    """The demands of the operations, weighted; None: not all of them are known."""
    if each is None or not set(mix) <= set(seen.operations):
        return None
    shares = np.array([mix.get(operation, 0.0) for operation in seen.operations])
    background = np.append(np.zeros(len(shares)), 1.0)
    return _Mix(each, np.append(shares / shares.sum(), 0.0), background)


def _of_mix(whole: _Mix, limit: float, count: int, warnings: list[str]) -> DemandResult:
    """What is known of the mix; `limit` are the CPUs of one webserver that may be used."""
    if whole.background is None:
        warnings.append(_UNKNOWN_BACKGROUND)
        background = Estimate(value=0.0, n=count, warnings=tuple(warnings))
    else:
        if whole.found.interval(whole.background)[2] < 0:
            warnings.append(_COSTLIER_UNDER_LOAD)
        background = _estimate(whole.found, whole.background, count, warnings)
    offset = np.zeros_like(whole.demand) if whole.background is None else whole.background
    rate, low, high = crossing(whole.found, whole.demand, offset, limit)
    open_end = () if high is not None else (_NO_UPPER_LIMIT,)
    known = np.isfinite(rate)
    return DemandResult(
        mix_s=_estimate(whole.found, whole.demand, count, warnings),
        per_operation_s={},
        refusal="",
        condition_number=None,
        background_cpu_per_webserver=background,
        rate_per_webserver_per_s=Estimate(
            value=rate if known else None,
            low=low if known else None,
            high=high,
            n=count,
            warnings=(*warnings, *open_end),
        ),
        periods=count,
    )


def _of_each(each: Fit | None, seen: Observations, warnings: Sequence[str]) -> dict[str, Estimate]:
    if each is None:
        return {}
    factors = np.eye(len(seen.operations) + 1)
    return {
        operation: _estimate(each, factors[index], len(seen), warnings)
        for index, operation in enumerate(seen.operations)
    }


def _estimate(found: Fit, factors: Floats, count: int, warnings: Sequence[str]) -> Estimate:
    value, low, high = found.interval(factors)
    at_bound = (_AT_BOUND,) if value == 0 else ()
    return Estimate(
        value=value,
        low=min(max(low, 0.0), value),
        high=max(high, value),
        n=count,
        warnings=(*warnings, *at_bound),
    )


def _told_apart(seen: Observations) -> tuple[Fit | None, str]:
    """A fit with a coefficient for each operation, or why there is none."""
    count, operations = len(seen), len(seen.operations)
    needed = 2 * (operations + 1)
    if count < needed:
        return None, (
            f"Demands of {operations} operations need at least {needed} usable metric periods, "
            f"there are {count}; run longer stages."
        )
    if (own := condition_number(seen.calls_per_s)) > CONDITION_LIMIT:
        return None, (
            f"The operations varied together (condition number {own:.0f}, at most "
            f"{CONDITION_LIMIT:.0f} is usable), so their demands cannot be told apart; run stages "
            "with one operation each."
        )
    if (condition := condition_number(seen.per_operation)) > CONDITION_LIMIT:
        return None, (
            "Rates varied too little to tell operations from what webservers use without calls "
            f"(condition number {condition:.0f}, at most {CONDITION_LIMIT:.0f} is usable); run "
            "stages with one operation each, and one with hardly any calls."
        )
    found = fit(seen.per_operation, seen.cpus_used)
    if found.highest_leverage > _HIGHEST_LEVERAGE:
        return None, (
            "An operation was called in hardly more than one usable metric period, so its demand "
            "cannot be told; run longer stages."
        )
    return found, ""


def _refused(reason: str, periods: int) -> DemandResult:
    nothing = Estimate(value=None, n=periods, warnings=(reason,))
    return DemandResult(nothing, {}, reason, None, nothing, nothing, periods)


def _too_few(periods: int) -> str:
    return (
        f"A service demand needs at least {FEWEST_PERIODS} whole metric periods with 5 to 95 % CPU "
        f"and a constant webserver count, there are {periods}."
    )


def _not_of_the_mix(seen: Observations, refusal: str, mix: Mapping[str, float]) -> str:
    """Why there is no demand of the mix."""
    if refusal:
        return f"The calls did not come in the shares of the mix. {refusal}"
    missing = ", ".join(label for label in mix if label not in seen.operations)
    return (
        f"There are no calls of {missing} in usable metric periods, so the demand of the mix is "
        "not known; send them too, at a rate that keeps webservers below 70 % CPU."
    )
