"""Webservers in service against webservers needed: the elasticity metrics of the SPEC RG.

With d_t webservers needed and s_t in service in step t, over the steps with load:

    under-provisioning accuracy theta_U = mean of max(d - s, 0) / d
    over-provisioning accuracy  theta_O = mean of max(s - d, 0) / d
    time shares                 tau_U = share of steps with d > s,   tau_O = with s > d
    instability                 share of the moves t -> t+1 with sgn(s' - s) != sgn(d' - d)
    jitter                      (changes of s - changes of d) / time

all as fractions of 1, jitter per hour. theta is relative to the need, so it says little without
tau. d_t = max(ceil(offered_t / X_1), least webservers), X_1 the rate of the mix that holds one
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
    needed, had = _on_one_grid(known, rate, least)
    return elasticity_metrics(
        needed, had, known[0].period_s, needed_by=_needed_by(needed, rate, least, max_webservers)
    )


def elasticity_metrics(
    needed: Floats, had: Floats, step_s: float, *, needed_by: str = ""
) -> Elasticity:
    """The metrics of two step functions.

    Args:
        needed: webservers needed in each step, at least 1; NaN: left out.
        had: webservers in service in each step; NaN: left out.
        step_s: length of a step.
        needed_by: who says how many were needed.
    """
    known = np.isfinite(needed) & np.isfinite(had)
    lacking = (needed - had)[known]
    shares = lacking / needed[known]
    had_moves, needed_moves = np.sign(np.diff(had)), np.sign(np.diff(needed))
    moves = known[:-1] & known[1:]
    duration_s = float(len(lacking) * step_s)
    more_changes = np.count_nonzero(had_moves[moves]) - np.count_nonzero(needed_moves[moves])
    return Elasticity(
        under_provisioned=_mean(shares.clip(min=0)),
        over_provisioned=_mean((-shares).clip(min=0)),
        under_time=_mean(lacking > 0),
        over_time=_mean(lacking < 0),
        instability=_mean(had_moves[moves] != needed_moves[moves]),
        jitter_per_h=3600 * float(more_changes) / duration_s if duration_s else None,
        duration_s=duration_s,
        needed_by=needed_by,
    )


def _mean(values: Floats | np.ndarray[tuple[int], np.dtype[np.bool_]]) -> float | None:
    return float(values.mean()) if len(values) else None


def _on_one_grid(
    periods: Sequence[PeriodPoint], rate_of_one_per_s: float, least: int
) -> tuple[Floats, Floats]:
    """Needed and had, one element for each period of the time; NaN where a period is missing."""
    first, length_s = periods[0].start_s, periods[0].period_s
    places = [round((period.start_s - first) / length_s) for period in periods]
    needed = np.full(places[-1] + 1, np.nan)
    had = np.full(places[-1] + 1, np.nan)
    for place, period in zip(places, periods, strict=True):
        wanted = webservers_for(period.offered_per_s, rate_of_one_per_s)
        needed[place] = max(wanted or least, least)
        had[place] = period.webservers
    return needed, had


def _needed_by(needed: Floats, rate: float, least: int, most: int | None) -> str:
    text = (
        f"Needed are the offered rate / {rate:.3g} calls/s, which by the service demand hold one "
        f"webserver at the utilisation target, rounded up, and at least {least}."
    )
    known = needed[np.isfinite(needed)]
    above = float((known > most).mean()) if most else 0.0
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
        instability=None,
        jitter_per_h=None,
        duration_s=duration_s,
        needed_by="",
        refusal=reason,
    )
