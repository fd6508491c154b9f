"""Capacity of each webserver count, and webservers needed for each rate, as charts."""

import math
from collections.abc import Iterable
from typing import Final

import numpy as np

from mwaa_headroom.analysis.mwaa import MOST_WEBSERVERS
from mwaa_headroom.analysis.planning.capacity_curve import CapacityCurve, amdahl_capacity
from mwaa_headroom.analysis.planning.options import ClassSize, SizeOption
from mwaa_headroom.analysis.planning.size import SizingAnswer
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.charts.chart import Band, Chart, Panel, Series
from mwaa_headroom.analysis.report.run_tables import stage_name, stage_verdict
from mwaa_headroom.analysis.results import RunAnalysis, SizingResult
from mwaa_headroom.analysis.statistics import Estimate

_COLOUR_OF_TRIAL: Final = {
    "pass": ("trial held", "green"),
    "fail": ("trial broke", "vermillion"),
    "undecided": ("trial undecided", "orange"),
}
_ASIDE: Final = 0.16  # trials stand left of the capacity they led to
_MOST_STEPS: Final = 200


def capacity_of_counts(curve: CapacityCurve) -> Chart | None:
    """The capacity over webserver counts with its trials; None of fewer than two trials."""
    if sum(len(each.trials) for each in curve.counts) < 2:
        return None
    known = curve.known
    capacities = [each.capacity_per_s for each in known]
    series = [
        Series(
            "capacity",
            "blue",
            [each.webservers for each in known],
            [each.value for each in capacities],
            "interval",
            low=[each.low for each in capacities],
            high=[each.high for each in capacities],
        ),
        *(_trials(curve, verdict) for verdict in _COLOUR_OF_TRIAL),
    ]
    to_x = curve.counts[-1].webservers + 0.9
    if fit := curve.amdahl:
        counts = np.linspace(known[0].webservers, to_x, 40)
        series.append(Series("Amdahl", "purple", counts, amdahl_capacity(fit, counts), "curve"))
    return Chart(
        title="Capacity by webserver count",
        x_label="webservers",
        x_unit="count",
        from_x=curve.counts[0].webservers - 0.6,
        to_x=to_x,
        panels=(Panel("capacity", "Capacity", "calls/s", tuple(s for s in series if len(s.x))),),
    )


def _trials(curve: CapacityCurve, verdict: str) -> Series:
    points = [
        (each.webservers - _ASIDE, trial.rate_per_s, each.webservers)
        for each in curve.counts
        for trial in each.trials
        if trial.verdict == verdict
    ]
    label, colour = _COLOUR_OF_TRIAL[verdict]
    return Series(
        label,
        colour,
        [x for x, _, _ in points],
        [rate for _, rate, _ in points],
        "points",
        texts=[words.webservers(count) for _, _, count in points],
    )


def needed_by_law(of_one: Estimate, to_per_s: float) -> list[Series]:
    """Webservers needed over rates up to one, as exact steps, with their interval.

    Args:
        of_one: what one webserver serves; without a value there are no steps.
        to_per_s: the highest rate shown, above 0.
    """
    ends = (
        ("at least", "sky", of_one.high),
        ("at most", "sky", of_one.low),
        ("needed", "blue", of_one.value),
    )
    return [
        _steps(label, colour, rate_per_s, to_per_s)
        for label, colour, rate_per_s in ends
        if rate_per_s and to_per_s / rate_per_s <= _MOST_STEPS
    ]


def _steps(label: str, colour: str, of_one_per_s: float, to_per_s: float) -> Series:
    number = math.ceil(to_per_s / of_one_per_s)
    edges = [of_one_per_s * place for place in range(number)] + [to_per_s]
    return Series(label, colour, edges, [*range(1, number + 1), number], "step")


def sizing_of_run(sizing: SizingResult, analysis: RunAnalysis) -> Chart | None:
    """Webservers needed against the rate, and what served in each stage; None if not known."""
    one, rows = sizing.rate_of_one_per_s, [r for r in sizing.rows if words.is_known(r.webservers)]
    if not rows or one is None or not words.is_known(one.value):
        return None
    achieved = [stage.achieved_per_s for stage in analysis.stages]
    to_x = 1.03 * max([*(row.rate_per_s for row in rows), *achieved])
    series = [*needed_by_law(one, to_x), *_measured(analysis)]
    target = sizing.target
    if target and words.is_known(target.webservers):
        series.append(Series("target", "green", [target.rate_per_s], [target.webservers], "points"))
    return needed_chart(series, to_x, MOST_WEBSERVERS, f"service limit ({MOST_WEBSERVERS})")


def sizing_of_answer(answer: SizingAnswer) -> Chart | None:
    """The class that is recommended, or else the last one tried; None when nothing is known."""
    shown = shown_class(answer)
    if shown is None:
        return None
    size, option = shown
    capacities = sorted(
        (run.capacity_per_s.value, run.capacity_webservers, run.run_id)
        for run in answer.runs
        if run.webserver_cpu == size.webserver_cpu
        and run.capacity_per_s
        and run.capacity_per_s.value
        and run.capacity_webservers
    )
    to_x = max([answer.high_per_s * 1.25, *(rate * 1.05 for rate, _, _ in capacities)])
    series = needed_by_law(size.rate_of_one_per_s, to_x)
    if capacities:
        rates, counts, runs = zip(*capacities, strict=True)
        series.append(Series("SLO broke", "vermillion", rates, counts, "points", texts=runs))
    if option is not None:
        at = [answer.high_per_s]
        for label, count in (("min", option.min_webservers), ("max", option.max_webservers)):
            series.append(Series(f"recommended {label}", "green", at, [count], "points"))
    load_per_s = (answer.low_per_s, answer.high_per_s)
    limit = f"limit {size.most_webservers}"
    return needed_chart(series, to_x, size.most_webservers, limit, load_per_s)


def shown_class(answer: SizingAnswer) -> tuple[ClassSize, SizeOption | None] | None:
    """The class that is recommended, or else the last one tried; None when nothing is known."""
    if (option := answer.chosen) is not None:
        sizes = {size.environment_class: size for size in answer.classes}
        return sizes[option.environment_class], option
    known = [size for size in answer.classes if words.is_known(size.rate_of_one_per_s.value)]
    return (known[-1], None) if known else None


def _measured(analysis: RunAnalysis) -> Iterable[Series]:
    """The webservers of each stage, as an interval where their count changed."""
    for met, label, colour in (
        (True, "SLO met with", "ink"),
        (False, "not met with", "vermillion"),
    ):
        stages = sorted(
            (
                stage
                for stage in analysis.stages
                if stage_verdict(stage) is met and words.is_known(stage.webservers_max)
            ),
            key=lambda stage: stage.achieved_per_s,
        )
        if stages:
            yield Series(
                label,
                colour,
                [stage.achieved_per_s for stage in stages],
                [stage.webservers_max for stage in stages],
                "interval",
                low=[stage.webservers_min for stage in stages],
                high=[stage.webservers_max for stage in stages],
                texts=[f"stage {stage_name(stage)}" for stage in stages],
            )


def needed_chart(
    series: Iterable[Series],
    to_per_s: float,
    most_webservers: int,
    limit: str,
    load_per_s: tuple[float, float] | None = None,
) -> Chart:
    """Series of webservers over rates, with the most there may be, and the load as a band."""
    low, high = load_per_s or (0.0, 0.0)
    return Chart(
        title="Webservers needed",
        x_label="rate of this mix (calls/s)",
        from_x=0.0,
        to_x=to_per_s,
        panels=(
            Panel("needed", "Webservers", "", tuple(series), lines=((most_webservers, limit),)),
        ),
        stages=(Band("load", low, low, high, "capacity"),) if load_per_s else (),
    )
