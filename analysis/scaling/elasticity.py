"""Webservers in service against webservers needed: how long and how far too few, or too many.

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

import numpy as np

from analysis.calls import Floats
from analysis.results import DemandResult, Elasticity, PeriodPoint
from analysis.sizing.one_run import webservers_for


def elasticity(
    periods: Sequence[PeriodPoint],
    demand: DemandResult | None,
    *,
    min_webservers: int | None,
    max_webservers: int | None,
) -> Elasticity | None:
    """How well the webserver count followed the need, by metric periods.

    Periods without load or without a count say nothing and are left out.

    Args:
        periods: of the whole run, in the order of time.
        demand: None: not known.
        min_webservers: of the environment; None: 1.
        max_webservers: of the environment, to tell when it was in the way.

    Returns:
        None when no period has both a load and a count.
    """
    known = [p for p in periods if p.webservers is not None and p.offered_per_s > 0]
    if not known:
        return None
    rate = demand.rate_per_webserver_per_s.value if demand else None
    if not rate:
        return _refused(known[0].period_s * len(known))
    least = min_webservers or 1
    wanted = (webservers_for(period.offered_per_s, rate) or least for period in known)
    needed = np.array([max(count, least) for count in wanted], dtype=np.float64)
    had = np.array([period.webservers for period in known], dtype=np.float64)
    return provisioning(
        needed, had, known[0].period_s, needed_by=_needed_by(needed, rate, least, max_webservers)
    )


def provisioning(needed: Floats, had: Floats, step_s: float, *, needed_by: str = "") -> Elasticity:
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


def _needed_by(needed: Floats, rate: float, least: int, most: int | None) -> str:
    text = (
        f"Needed are the offered rate / {rate:.3g} calls/s, which by the service demand hold one "
        f"webserver at the utilisation target, rounded up, and at least {least}."
    )
    above = float((needed > most).mean()) if most else 0.0
    if above:
        text += f" In {100 * above:.0f} % of the time that is more than the {most} allowed."
    return text


def _refused(duration_s: float) -> Elasticity:
    reason = (
        "How many webservers a load needs is known only with a service demand, and there is none "
        "of this run."
    )
    return Elasticity(
        under_provisioned=None,
        over_provisioned=None,
        under_time=None,
        over_time=None,
        duration_s=duration_s,
        needed_by="",
        refusal=reason,
    )
