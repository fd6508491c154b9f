"""Capacity of one webserver count: the rate at which the SLO breaks, between the stages.

    capacity = min over the lines of the SLO of { rate : ratio(rate) = limit }

ratios and limits as in `capacity/evidence.py`, curves and their replicates as in
`capacity/curves.py`. The minimum is taken in every replicate; the interval's ends are the 2.5 % and
97.5 % quantiles. A lower end below the stages is 0, an upper end above them None, and a warning
says which stage would tell it.

Undecided stages are left out. Lines that have no curve only judge their stages: when one of them
is broken at a rate below the crossing of the others, there is no estimate.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from analysis.calls import Floats
from analysis.capacity.curves import Curve, crossings, curve_of
from analysis.capacity.evidence import StageEvidence, line_of, stage_evidence
from analysis.estimate import Estimate
from analysis.judge import Window
from analysis.results import StageStats
from analysis.setting import Setting
from analysis.slo import Slo

WIDE_BRACKET: Final = 2.0
FEWEST_INDEPENDENT: Final = 6.0  # blocks of a stage beside the crossing
_ENDS = (0.025, 0.975)
_STEP: Final = 1.5  # how far from the last stage the next one is proposed


def capacity_estimate(
    setting: Setting, stages: Sequence[StageStats], windows: Sequence[Window]
) -> tuple[Estimate, int | None]:
    """Capacity, in calls/s, of the webserver count at which a run's stages meet and break the SLO.

    Args:
        setting: an open workload.
        stages: those measured, judged, in any order.
        windows: their measured parts, in the same order.

    Returns:
        The estimate, and which webserver count it is of. Without a value, and with the reason, when
        no count has both a pass and a fail; without a count when it is of no single one.
    """
    told = [
        stage_evidence(setting, stage, window)
        for stage, window in zip(stages, windows, strict=True)
    ]
    if setting.is_closed:
        return _refused("A closed workload has no rate of its own, so it has no capacity."), None
    by_count: dict[int | None, list[StageEvidence]] = {}
    for each in told:
        by_count.setdefault(each.webservers, []).append(each)
    changing = by_count.pop(None, [])
    if not by_count:
        why = (
            "No stage had one webserver count from its beginning to its end; pin it with "
            "MinWebservers = MaxWebservers."
            if changing
            else "No stage was measured."
        )
        return _refused(why), None
    bracketing = [
        count
        for count, each in by_count.items()
        if {"pass", "fail"} <= {stage.verdict for stage in each}
    ]
    if len(by_count) == 1 or len(bracketing) == 1:
        (count,) = bracketing or by_count
        return capacity_of(setting.slos, by_count[count]), count
    why = (
        "The webserver count changed between the stages that met the SLO and those that broke it; "
        "pin it with MinWebservers = MaxWebservers."
    )
    return _refused(why), None


def capacity_of(slos: Sequence[Slo], stages: Sequence[StageEvidence]) -> Estimate:
    """Capacity, in calls/s, from stages at one webserver count, of one run or of several like runs.

    The same stages always give the same interval.
    """
    decided = sorted(
        (stage for stage in stages if stage.verdict != "undecided"),
        key=lambda stage: stage.rate_per_s,
    )
    calls = sum(stage.arrivals for stage in decided)
    refusal = _no_bracket(slos, decided)
    if refusal:
        return _refused(refusal, calls)
    random = np.random.default_rng(0)
    found = [(curve, *crossings(curve, random)) for curve in _curves(slos, decided, random)]
    value = min((crossing for _, crossing, _ in found), default=np.inf)
    unseen = _broken_without_a_curve(slos, decided, value)
    if unseen:
        return _refused(unseen, calls)
    if not np.isfinite(value):
        return _refused(_not_crossed(decided, value), calls)
    replicates = np.min([each for _, _, each in found], axis=0)
    curve = next(curve for curve, crossing, _ in found if crossing == value)
    low, high = _interval(replicates, value)
    return Estimate(
        value=value,
        low=low,
        high=high,
        n=calls,
        warnings=(
            *_bracket_warnings(curve, value),
            *_open_ends(decided, low, high),
            *_left_out(slos),
        ),
    )


def next_rate_above(rate_per_s: float) -> float:
    """A stage to add when the highest one still met the SLO."""
    return _rounded(rate_per_s * _STEP)


def next_rate_below(rate_per_s: float) -> float:
    """A stage to add when even the lowest one broke the SLO."""
    return _rounded(rate_per_s / _STEP)


def _curves(
    slos: Sequence[Slo], stages: Sequence[StageEvidence], random: np.random.Generator
) -> Iterator[Curve]:
    for slo in slos:
        line = line_of(slo)
        curve = curve_of(line, stages, random) if line else None
        if curve is not None:
            yield curve


def _interval(replicates: Floats, value: float) -> tuple[float, float | None]:
    """0 and None stand for ends that lie beyond the stages."""
    low, high = np.quantile(replicates, _ENDS, method="closest_observation")
    return (
        min(float(low), value) if np.isfinite(low) else 0.0,
        max(float(high), value) if np.isfinite(high) else None,
    )


def _refused(why: str, calls: int = 0) -> Estimate:
    return Estimate(value=None, n=calls, warnings=(why,))


def _no_bracket(slos: Sequence[Slo], decided: Sequence[StageEvidence]) -> str:
    if not slos:
        return "The SLO has no lines, so there is nothing that could break."
    if not decided:
        return "No stage could be judged; see why in the table of stages."
    if all(stage.verdict == "pass" for stage in decided):
        return _not_crossed(decided, np.inf)
    if all(stage.verdict == "fail" for stage in decided):
        return _not_crossed(decided, -np.inf)
    return ""


def _not_crossed(decided: Sequence[StageEvidence], value: float) -> str:
    lowest, highest = decided[0].rate_per_s, decided[-1].rate_per_s
    broken = [stage.rate_per_s for stage in decided if stage.verdict == "fail"]
    if value > 0 and broken:
        return (
            f"The SLO broke at {min(broken):.4g} calls/s, but all stages taken together it held up "
            f"to {highest:.4g} calls/s, the highest rate; hold these stages again and for longer."
        )
    if value > 0:
        return (
            f"The SLO still held at {highest:.4g} calls/s, the highest rate; add a stage at about "
            f"{next_rate_above(highest):g} calls/s."
        )
    return (
        f"The SLO was broken even at {lowest:.4g} calls/s, the lowest rate; add a stage at about "
        f"{next_rate_below(lowest):g} calls/s."
    )


def _broken_without_a_curve(
    slos: Sequence[Slo], decided: Sequence[StageEvidence], value: float
) -> str:
    """Why a line that only judges stages forbids the estimate; "": none does."""
    for slo in slos:
        broken = [stage.rate_per_s for stage in decided if slo.text in stage.broken]
        if line_of(slo) is None and broken and min(broken) <= value:
            return (
                f"'{slo.text}' broke at {min(broken):.4g} calls/s; where between two stages it "
                "breaks cannot be told from a line of its kind."
            )
    return ""


def _bracket_warnings(curve: Curve, value: float) -> Iterator[str]:
    place = int(np.clip(np.searchsorted(curve.rates_per_s, value), 1, len(curve.rates_per_s) - 1))
    below, above = curve.rates_per_s[place - 1 : place + 1]
    if above > WIDE_BRACKET * below:
        yield (
            f"Nothing was measured between {below:.4g} and {above:.4g} calls/s; add a stage at "
            f"about {_rounded(float(np.sqrt(below * above))):g} calls/s."
        )
    if curve.line.scale != "linear" and min(curve.independent[place - 1 : place + 1]) < (
        FEWEST_INDEPENDENT
    ):
        yield (
            "The stages beside it are short against their own ups and downs, so the interval is "
            "likely too narrow; hold them for longer."
        )


def _open_ends(decided: Sequence[StageEvidence], low: float, high: float | None) -> Iterator[str]:
    lowest, highest = decided[0].rate_per_s, decided[-1].rate_per_s
    if low == 0:
        yield (
            f"The interval goes below the lowest rate, {lowest:.4g} calls/s; add a stage at about "
            f"{next_rate_below(lowest):g} calls/s."
        )
    if high is None:
        yield (
            f"The interval goes above the highest rate, {highest:.4g} calls/s; add a stage at "
            f"about {next_rate_above(highest):g} calls/s."
        )


def _left_out(slos: Sequence[Slo]) -> Iterator[str]:
    names = [f"'{slo.text}'" for slo in slos if line_of(slo) is None]
    if names:
        verb = "has no curve" if len(names) == 1 else "have no curves"
        yield f"{', '.join(names)} {verb} over the rate and only judged the stages."


def _rounded(rate_per_s: float) -> float:
    """Two significant digits: nobody types more."""
    return float(f"{rate_per_s:.2g}")
