"""The asymptotic bounds of stages whose callers wait for answers, beside what was measured.

    N / (N (S + E) + Z) <= X <= min(m (V - U0) / D, N / (S + E + Z))
    max(S + E, N D / (m (V - U0)) - Z) <= R <= N (S + E)

N users with mean think time Z, X and R rate and mean service time of their calls, E what a call
takes beyond its CPU; D, S, m, V and U0 as in `models/loaded.py`. No distribution is assumed; the
upper end of R is all users in one line, on a single webserver.

E is not known: it is what the calmest stage, if at most half busy, took above its lower bound with
E = 0; that stage then cannot be checked itself.

Source: Lazowska et al., Quantitative System Performance, 1984, ch. 5.
"""

from collections.abc import Sequence

from analysis.models.loaded import WITHIN, Loaded, calmest_of, hint, span, text
from analysis.models.queueing import ClosedBounds, closed_bounds
from analysis.results import ModelCheck


def closed_checks(loaded: Sequence[Loaded], think_s: float | None) -> tuple[ModelCheck, ...]:
    """One check for each stage; nothing when the think time is not known."""
    if think_s is None:
        return ()
    calmest, beyond_cpu_s = _beyond_cpu(loaded, think_s)
    return tuple(
        _check(one, _bounds(one, think_s, beyond_cpu_s), think_s, calibrates=one is calmest)
        for one in loaded
    )


def _bounds(one: Loaded, think_s: float, beyond_cpu_s: float = 0.0) -> ClosedBounds:
    return closed_bounds(
        users=one.stage.users or 1,
        demand_s=one.alone_s + beyond_cpu_s,
        largest_demand_s=1 / one.bound_per_s,
        think_s=think_s,
    )


def _beyond_cpu(loaded: Sequence[Loaded], think_s: float) -> tuple[Loaded | None, float]:
    """The stage that tells it, and what a call takes beyond its CPU; without one, nothing."""
    calmest = calmest_of(loaded)
    if calmest is None:
        return None, 0.0
    measured_s = calmest.stage.service_time_mean_s or 0.0
    excess_s = measured_s - _bounds(calmest, think_s).response_low_s
    return (calmest, excess_s) if excess_s > 0 else (None, 0.0)


def _check(one: Loaded, bounds: ClosedBounds, think_s: float, *, calibrates: bool) -> ModelCheck:
    measured_s = one.stage.service_time_mean_s
    low_s, high_s = bounds.response_low_s, bounds.response_high_s
    agrees = None
    if measured_s is not None and not calibrates:
        agrees = low_s / WITHIN <= measured_s <= high_s * WITHIN
    expected = (
        f"{_users(one.stage.users or 1, think_s)} can make {_rates(bounds)} calls/s of "
        f"{span(low_s, high_s)}; measured {one.calls_per_s:.3g} calls/s"
    )
    if measured_s is None:
        explanation = f"{expected}, but no mean, because calls were cut or none ended"
    elif calibrates:
        explanation = (
            f"{expected} of {text(measured_s)}; what of that its CPU does not explain (network, "
            "database, waiting) is in the bounds of all stages"
        )
    else:
        explanation = f"{expected} of {text(measured_s)}{hint(measured_s, high_s, agrees)}"
    return ModelCheck(
        stage=one.stage.index,
        webservers=one.webservers,
        utilisation=one.utilisation,
        measured_s=measured_s,
        low_s=low_s,
        high_s=high_s,
        bound_per_s=bounds.rate_high_per_s,
        agrees=agrees,
        explanation=f"{explanation}.",
    )


def _rates(bounds: ClosedBounds) -> str:
    low, high = f"{bounds.rate_low_per_s:.3g}", f"{bounds.rate_high_per_s:.3g}"
    return low if low == high else f"{low} to {high}"


def _users(users: int, think_s: float) -> str:
    thinking = f"{think_s:.3g} s between calls"
    return f"1 user who thinks {thinking}" if users == 1 else f"{users} users who think {thinking}"
