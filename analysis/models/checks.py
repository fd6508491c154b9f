"""What queueing theory expects of each stage, to be held against what was measured.

    low = S + W_q of G/G/c over all c = m k CPUs, service times all alike (Allen and Cunneen)
    high = R of M/M/k on each webserver alone at the rate X / m

X, S, m, k and the bound of the rate as in `models/loaded.py`. The low end is a perfect balancer and
equal calls, the high end one that sends each call anywhere by chance: with one CPU a webserver the
latter is S / (1 - rho), also the mean of processor sharing for any calls.

What a call takes beyond its CPU (network, database, waiting) is not known. The excess of the
calmest stage over the middle of its bracket, if it was at most half busy, is taken as a constant
and added to both ends; that stage then cannot be checked itself.

Callers who wait for answers are held against the bounds of `models/closed.py` instead.

Checks only, never in place of a measurement: twice off is where a model and its assumptions are no
longer of use. Sources: see `models/queueing.py`; Lazowska et al., Quantitative System Performance,
1984, ch. 3 and 5 (utilisation law, bound).
"""

from collections.abc import Sequence

from analysis.models.closed import closed_checks
from analysis.models.loaded import WITHIN, Loaded, calmest_of, hint, loaded_stages, span, text
from analysis.results import DemandResult, ModelCheck, StageStats
from analysis.setting import Setting


def model_checks(
    setting: Setting, stages: Sequence[StageStats], demand: DemandResult | None
) -> tuple[ModelCheck, ...]:
    """One check for each stage that had the same webservers all the time.

    Returns:
        Nothing when the service demand or the CPUs of a webserver are not known.
    """
    if demand is None or setting.webserver_cpu is None:
        return ()
    loaded = loaded_stages(stages, demand, setting.webserver_cpu)
    if setting.is_closed:
        return closed_checks(loaded, setting.think_time_s)
    evenly = setting.arrivals == "constant"
    calmest, beyond_cpu_s = _beyond_cpu(loaded, evenly=evenly)
    return tuple(
        _check(one, beyond_cpu_s, evenly=evenly, calibrates=one is calmest) for one in loaded
    )


def _beyond_cpu(loaded: Sequence[Loaded], *, evenly: bool) -> tuple[Loaded | None, float]:
    """The stage that tells it, and what a call takes beyond its CPU; without one, nothing."""
    calmest = calmest_of(loaded)
    if calmest is None:
        return None, 0.0
    middle_s = sum(calmest.bracket_s(evenly=evenly)) / 2
    excess_s = (calmest.stage.service_time_mean_s or 0.0) - middle_s
    return (calmest, excess_s) if excess_s > 0 else (None, 0.0)


def _check(one: Loaded, beyond_cpu_s: float, *, evenly: bool, calibrates: bool) -> ModelCheck:
    measured_s = one.stage.service_time_mean_s
    if not one.is_stable:
        return _unstable(one)
    low_s, high_s = (end + beyond_cpu_s for end in one.bracket_s(evenly=evenly))
    agrees = None
    if measured_s is not None and not calibrates:
        agrees = low_s / WITHIN <= measured_s <= high_s * WITHIN
    expected = (
        f"At {100 * one.utilisation:.0f} % utilisation theory expects {span(low_s, high_s)} a call"
    )
    if measured_s is None:
        explanation = f"{expected}; the mean was not measured, because calls were cut or none ended"
    elif calibrates:
        explanation = (
            f"In this calmest stage a call took {text(measured_s)}; {text(beyond_cpu_s)} of that "
            "are not explained by its CPU (network, database, waiting) and are added in all stages"
        )
    else:
        explanation = f"{expected}, measured {text(measured_s)}{hint(measured_s, high_s, agrees)}"
    return ModelCheck(
        stage=one.stage.index,
        webservers=one.webservers,
        utilisation=one.utilisation,
        measured_s=measured_s,
        low_s=low_s,
        high_s=high_s,
        bound_per_s=one.bound_per_s,
        agrees=agrees,
        explanation=f"{explanation}.",
    )


def _unstable(one: Loaded) -> ModelCheck:
    explanation = (
        f"Its {one.calls_per_s:.3g} calls/s are more than the {one.bound_per_s:.3g} calls/s that "
        "the CPU of its webservers allows, so calls pile up and theory expects no mean."
    )
    return ModelCheck(
        stage=one.stage.index,
        webservers=one.webservers,
        utilisation=one.utilisation,
        measured_s=one.stage.service_time_mean_s,
        low_s=None,
        high_s=None,
        bound_per_s=one.bound_per_s,
        agrees=None,
        explanation=explanation,
    )
