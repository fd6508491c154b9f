"""How the work done grows with the calls in service, from the stages of one run.

    N = X R                                                               (Little's law)

X calls that ended ok per second, R their mean service time, N the calls in service on average; one
point a stage, and the Universal Scalability Law (`models/usl.py`) through them. Calls that were too
slow for the SLO count: they keep the webservers as busy as the others.

Only stages on one webserver count, of one mix, with a healthy generator, hardly any errors (a
throttle that refuses calls is no peak of the webservers) and a latency that did not go on rising:
Little's law wants as many calls to end as to come.

Sources: Gunther, Guerrilla Capacity Planning, 2007, ch. 6 (software at a fixed size of hardware);
Lazowska et al., Quantitative System Performance, 1984, 3.3 (Little's law).
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from analysis.errors import AnalysisError
from analysis.models.usl import FARTHEST, PARAMETERS, UslFit, fit_usl
from analysis.results import Estimate, ScalabilityPoint, ScalabilityResult, StageStats
from analysis.stages import stage_label

MOST_ERRORS = 0.05  # of the calls sent
OTHER_MIX = 0.25  # of the calls would have to be other ones
NARROWEST_RANGE = 4.0  # largest over smallest concurrency
POINTS_PAST_PEAK = 2
BETTER_EFFICIENCY = 1.1  # calls that get faster by more than this under load: not by chance


def scalability(stages: Sequence[StageStats]) -> ScalabilityResult | None:
    """The law over the concurrency at the webserver count with the most usable stages.

    Returns:
        None when no usable stage had the same webservers all the time.
    """
    usable = [stage for stage in stages if _is_usable(stage)]
    if not usable:
        return None
    counts = Counter(stage.webservers_min for stage in usable)
    webservers, _ = max(counts.items(), key=lambda item: (item[1], item[0] or 0))
    alike = _of_one_mix([stage for stage in usable if stage.webservers_min == webservers])
    alike.sort(key=_concurrency)
    points = tuple(
        ScalabilityPoint(stage.index, _concurrency(stage), _ok_per_s(stage)) for stage in alike
    )
    refusal = _why_too_narrow(points)
    try:
        fit = fit_usl(
            np.array([point.concurrency for point in points]),
            np.array([point.ok_per_s for point in points]),
        )
    except AnalysisError as exc:
        refusal = f"{str(exc).rstrip('.')} on {_named(webservers or 0)}."
    if refusal:
        return _refused(webservers or 0, points, refusal)
    return _result(webservers or 0, points, fit, _faster_with_load(alike))


def _is_usable(stage: StageStats) -> bool:
    return (
        stage.webservers_min is not None
        and stage.webservers_min == stage.webservers_max
        and stage.generator_ok
        and bool(stage.service_time_mean_s)
        and not (stage.steady is not None and stage.steady.verdict == "rising")
        and not stage.rate_is_mean
        and stage.outcomes.get("ok", 0) > (1 - MOST_ERRORS) * stage.sent
    )


def _of_one_mix(stages: Sequence[StageStats]) -> list[StageStats]:
    """Those with nearly the mix of the stage with the most calls."""
    usual = _mix(max(stages, key=lambda stage: stage.arrivals))
    return [stage for stage in stages if _moved(usual, _mix(stage)) <= OTHER_MIX]


def _mix(stage: StageStats) -> Counter[str]:
    return Counter({own.operation: own.arrivals for own in stage.operations})


def _moved(one: Counter[str], other: Counter[str]) -> float:
    """The part of the calls that would have to be other ones to make the mixes equal."""
    ones, others = max(one.total(), 1), max(other.total(), 1)
    return sum(abs(one[name] / ones - other[name] / others) for name in one | other) / 2


def _ok_per_s(stage: StageStats) -> float:
    return stage.outcomes.get("ok", 0) / (stage.ended_at_s - stage.measured_from_s)


def _concurrency(stage: StageStats) -> float:
    return _ok_per_s(stage) * (stage.service_time_mean_s or 0.0)


def _why_too_narrow(points: Sequence[ScalabilityPoint]) -> str:
    least, most = points[0].concurrency, points[-1].concurrency
    if most >= NARROWEST_RANGE * least:
        return ""
    return (
        f"The stages had {least:.2g} to {most:.2g} calls in service; the Universal Scalability Law "
        f"needs a range of {NARROWEST_RANGE:g} to 1, so add lighter or heavier stages."
    )


def _refused(
    webservers: int, points: tuple[ScalabilityPoint, ...], refusal: str
) -> ScalabilityResult:
    nothing = Estimate(None, n=len(points), warnings=(refusal,))
    return ScalabilityResult(
        webservers=webservers,
        points=points,
        rate_of_one_per_s=nothing,
        contention=nothing,
        coherency=nothing,
        leave_one_out={},
        peak_concurrency=None,
        peak_rate_per_s=None,
        believed_to_concurrency=FARTHEST * points[-1].concurrency,
        refusal=refusal,
    )


def _result(
    webservers: int, points: tuple[ScalabilityPoint, ...], fit: UslFit, doubt: str
) -> ScalabilityResult:
    peak = fit.curve.peak_concurrency
    believed = peak is not None and peak <= fit.believed_to_concurrency
    past = sum(believed and point.concurrency > (peak or 0.0) for point in points)
    warnings = [doubt] if doubt else []
    if past < POINTS_PAST_PEAK:
        warnings.append(
            f"{_number_of(past)} went past the peak and at least {POINTS_PAST_PEAK} should, so how "
            "much calls hinder each other (coherency), and with it the peak, is hardly known."
        )
    rate_of_one, contention, coherency = fit.estimates
    return ScalabilityResult(
        webservers=webservers,
        points=points,
        rate_of_one_per_s=rate_of_one,
        contention=contention,
        coherency=coherency,
        leave_one_out=dict(zip(PARAMETERS, fit.leave_one_out, strict=True)),
        peak_concurrency=peak if believed else None,
        peak_rate_per_s=fit.curve.peak_rate_per_s if believed else None,
        believed_to_concurrency=fit.believed_to_concurrency,
        farthest_rate_per_s=fit.predict_per_s(fit.believed_to_concurrency),
        ceiling_per_s=fit.curve.ceiling_per_s,
        knee_concurrency=fit.curve.knee_concurrency,
        warnings=tuple(warnings),
    )


def _faster_with_load(stages: Sequence[StageStats]) -> str:
    """A warning when calls were faster with more of them in service; stages in that order."""
    slowest = stages[0]
    for stage in stages[1:]:
        slowest_s, own_s = slowest.service_time_mean_s or 0.0, stage.service_time_mean_s or 0.0
        if own_s * BETTER_EFFICIENCY < slowest_s:
            return (
                f"Calls took {1000 * own_s:.3g} ms in {stage_label(stage)} but "
                f"{1000 * slowest_s:.3g} ms in {stage_label(slowest)} with fewer in service, which "
                "no load explains: something else changed, such as caches that had to fill."
            )
        slowest = max(slowest, stage, key=lambda one: one.service_time_mean_s or 0.0)
    return ""


def _number_of(stages: int) -> str:
    return "No stage" if stages == 0 else f"Only {stages} stage" + ("s" if stages > 1 else "")


def _named(webservers: int) -> str:
    return f"{webservers} webserver" + ("" if webservers == 1 else "s")
