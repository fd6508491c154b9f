"""Charts whose y axis lists things by name, each a point with its interval along x."""

from collections.abc import Iterable, Sequence
from typing import Final

from mwaa_headroom.analysis.comparison.compare import Comparison
from mwaa_headroom.analysis.comparison.regression import MetricComparison
from mwaa_headroom.analysis.report import metric_words, words
from mwaa_headroom.analysis.report.charts.chart import Band, Chart, Mark, Panel, Series
from mwaa_headroom.analysis.results import DemandResult
from mwaa_headroom.analysis.statistics import Estimate

_COLOUR_OF_VERDICT: Final = {
    "pass": "green",
    "regression": "vermillion",
    "inconclusive": "orange",
}
_BELOW: Final = 0.26  # of a row: single runs, below the interval they led to
_ROOM: Final = 0.06

_Place = tuple[float, float | None, float | None]  # a value and the ends of its interval


def change_of_metrics(comparison: Comparison) -> Chart | None:
    """The change of every gate metric as a multiple of its margin; None when none is known.

    Ratios and differences of shares so have one axis: 0 is no change, above 1 is worse than the
    margin. What is said of each is in its own unit.
    """
    known = [each for each in comparison.gate if words.is_known(each.change.value)]
    if not known:
        return None
    places = [_margins(each, comparison) for each in known]
    dots = [_runs(each, comparison) for each in known]
    shown = [0.0, 1.0, *(x for place in places for x in place if x is not None)]
    shown += [x for row in dots for x, _ in row]
    from_x, to_x = _ends(shown)
    verdicts = [each.verdict for each in known]
    series = _spans(verdicts, places, _COLOUR_OF_VERDICT)
    if runs := sorted((x, row + _BELOW, text) for row, own in enumerate(dots) for x, text in own):
        x, y, texts = zip(*runs, strict=True)
        series.append(Series("one contender run", "faint", x, y, "points", texts=texts))
    margin = f"{comparison.margin * 100:g} %"
    if any(each.metric.is_share for each in known):
        margin += f"; of shares {comparison.share_margin * 100:g} points"
    return Chart(
        title="Change of every gate metric",
        x_label=f"change for the worse, in margins (1 = {margin})",
        from_x=from_x,
        to_x=to_x,
        panels=(
            _panel(
                "change",
                "Change",
                series,
                [
                    (each.metric.name, metric_words.change(each.metric, each.change))
                    for each in known
                ],
            ),
        ),
        stages=(
            Band("better", from_x, from_x, 0.0, ""),
            Band("within the margin", 0.0, 0.0, 1.0, ""),
            Band("worse than the margin", 1.0, 1.0, to_x, "overload"),
        ),
        events=(Mark(0.0, "no change", "faint"), Mark(1.0, "the margin", "ink")),
    )


def demand_of_operations(demand: DemandResult) -> Chart | None:
    """Webserver CPU time of one call of each operation, the dearest on top; None: not known."""
    costs = [(name, each) for name, each in demand.per_operation_s.items() if _is_known(each)]
    if not costs:
        return None
    costs.sort(key=lambda cost: cost[1].value or 0.0, reverse=True)
    kinds = ["one operation"] * len(costs)
    if _is_known(demand.mix_s):
        costs.append(("the mix", demand.mix_s))
        kinds.append("mean of the mix")
    places = [_in_ms(each) for _, each in costs]
    _, to_x = _ends([0.0, *(x for place in places for x in place if x is not None)])
    return Chart(
        title="Webserver CPU time per call",
        x_label="webserver CPU time of one call (ms)",
        from_x=0.0,
        to_x=to_x,
        panels=(
            _panel(
                "demand",
                "CPU time per call",
                _spans(kinds, places, {"one operation": "blue", "mean of the mix": "faint"}),
                [(name, words.duration_estimate(each)) for name, each in costs],
            ),
        ),
    )


def _is_known(estimate: Estimate) -> bool:
    return words.is_known(estimate.value)


def _in_ms(estimate: Estimate) -> _Place:
    low, high = (
        1000 * end if words.is_known(end) else None for end in (estimate.low, estimate.high)
    )
    return 1000 * (estimate.value or 0.0), low, high


def _ends(shown: Sequence[float]) -> tuple[float, float]:
    room = _ROOM * (max(shown) - min(shown))
    return min(shown) - room, max(shown) + room


def _panel(
    name: str, title: str, series: Iterable[Series], rows: Sequence[tuple[str, str]]
) -> Panel:
    ends = (-0.5, len(rows) - 0.5)
    return Panel(name, title, "", tuple(series), range=ends, rows=tuple(rows))


def _spans(
    labels: Sequence[str], places: Sequence[_Place], colours: dict[str, str]
) -> list[Series]:
    """A series for each label, whose points rise along x."""
    series = []
    for label, colour in colours.items():
        own = sorted((place[0], row) for row, place in enumerate(places) if labels[row] == label)
        if own:
            series.append(
                Series(
                    label,
                    colour,
                    [x for x, _ in own],
                    [row for _, row in own],
                    "span",
                    low=[places[row][1] for _, row in own],
                    high=[places[row][2] for _, row in own],
                )
            )
    return series


def _margins(each: MetricComparison, comparison: Comparison) -> _Place:
    change, (nothing, margin) = each.change, _scale(each, comparison)
    value, low, high = (
        (end - nothing) / margin if words.is_known(end) else None
        for end in (change.value, change.low, change.high)
    )
    return value or 0.0, low, high


def _runs(each: MetricComparison, comparison: Comparison) -> list[tuple[float, str]]:
    """Every contender run against the baseline's median, in margins and in words."""
    nothing, margin = _scale(each, comparison)
    centre = each.baseline.value or 0.0
    if each.metric.is_share:
        changes = [value - centre for value in each.contender_values]
    else:
        changes = [value / centre for value in each.contender_values if centre and value]
    return [
        ((change - nothing) / margin, metric_words.change_alone(each.metric, change))
        for change in changes
    ]


def _scale(each: MetricComparison, comparison: Comparison) -> tuple[float, float]:
    """What is no change, and the margin."""
    return (0.0, comparison.share_margin) if each.metric.is_share else (1.0, comparison.margin)
