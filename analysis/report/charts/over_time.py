"""Charts over the time of what was observed, simulated or played again, and over many runs."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Final

import numpy as np

from mwaa_headroom.analysis.comparison.compare import ComparedRun
from mwaa_headroom.analysis.comparison.history import History, MetricHistory
from mwaa_headroom.analysis.mwaa import CONNECTIONS_ABOVE, CPU_ABOVE_PERCENT
from mwaa_headroom.analysis.observed import Observed
from mwaa_headroom.analysis.policy.replay import Replay
from mwaa_headroom.analysis.policy.simulated_load import SimulatedLoad
from mwaa_headroom.analysis.report.charts.chart import Band, Chart, Panel, Series, extremes

_CPU_LINE: Final = ((CPU_ABOVE_PERCENT, f"scale-out above {CPU_ABOVE_PERCENT:g} %"),)
_CONNECTIONS_LINE: Final = ((CONNECTIONS_ABOVE, f"scale-out above {CONNECTIONS_ABOVE:g}"),)
_DAY_S: Final = 86_400.0
_MOST_REPLAYS: Final = 6


def observed_chart(observed: Observed) -> Chart | None:
    """Webservers, CPU and connections of days; None of fewer than two periods.

    Of very many periods the highest of neighbours is shown.
    """
    if len(observed.series) < 2:
        return None
    midnight_s = observed.from_s - observed.from_s % _DAY_S
    columns = np.array(observed.series, dtype=float).T
    edges = np.append(columns[0], max(observed.to_s, columns[0][-1])) - midnight_s
    width = extremes(edges, edges)[2]
    what = f", highest of {width} periods" if width > 1 else ""

    def steps(place: int, label: str, colour: str) -> tuple[Series]:
        x, highest, _ = extremes(edges, np.append(columns[place], columns[place][-1]))
        return (Series(label, colour, x, highest, "step"),)

    counts, cpu = steps(1, "in service", "ink"), steps(2, "mean", "blue")
    connections = steps(3, "per webserver", "blue")
    return Chart(
        title="What was observed",
        x_label="time (UTC)",
        x_unit="utc",
        start_s=midnight_s,
        from_x=observed.from_s - midnight_s,
        to_x=max(observed.to_s, observed.from_s + 1) - midnight_s,
        panels=(
            Panel("counts", f"Webservers{what}", "", counts),
            Panel("cpu", f"CPU{what}", "%", cpu, lines=_CPU_LINE),
            Panel("connections", f"Connections{what}", "", connections, lines=_CONNECTIONS_LINE),
        ),
    )


def load_chart(load: SimulatedLoad) -> Chart:
    """Load, webservers, CPU, connections and lost calls over simulated time."""
    points = load.points
    x = [point.at_s for point in points]

    def of(name: str, label: str, colour: str, factor: float = 1.0) -> Series:
        return Series(label, colour, x, [factor * getattr(point, name) for point in points])

    return Chart(
        title="Simulated load",
        x_label="time",
        x_unit="time",
        from_x=0.0,
        to_x=load.duration_s,
        panels=(
            Panel("load", "Load", "calls/s", (of("rate_per_s", "rate", "blue"),)),
            Panel(
                "counts",
                "Webservers in service",
                "",
                (
                    of("webservers", "expected", "ink"),
                    of("fewest_webservers", "fewest", "sky"),
                    of("most_webservers", "most", "sky"),
                ),
            ),
            Panel("cpu", "CPU", "%", (of("cpu_percent", "mean", "orange"),), lines=_CPU_LINE),
            Panel(
                "connections",
                "Connections",
                "",
                (of("connections", "per webserver", "blue"),),
                lines=_CONNECTIONS_LINE,
            ),
            Panel(
                "lost",
                "Lost",
                "%",
                (
                    of("failed_share", "failed", "vermillion", 100),
                    of("slow_share", "slow", "orange", 100),
                    of("least_lost_share", "failed or slow, least", "faint", 100),
                    of("most_lost_share", "failed or slow, most", "faint", 100),
                ),
            ),
        ),
        stages=tuple(
            Band("calls pile up", each.from_s, each.from_s, each.to_s, "overload")
            for each in load.overloads
        ),
    )


def replays_chart(replays: Sequence[Replay]) -> Chart:
    """Webservers and CPU of the first recorded runs, as recorded and as simulated."""
    shown = [replay for replay in replays if replay.points][:_MOST_REPLAYS]
    return Chart(
        title="Replays",
        x_label="time since the run's start",
        x_unit="time",
        from_x=0.0,
        to_x=max(replay.points[-1].at_s for replay in shown),
        panels=tuple(
            panel for place, replay in enumerate(shown) for panel in _replay_panels(place, replay)
        ),
    )


def _replay_panels(place: int, replay: Replay) -> tuple[Panel, Panel]:
    x = [point.at_s - replay.period_s / 2 for point in replay.points]

    def of(name: str) -> tuple[Series, Series]:
        recorded, simulated = (
            [getattr(point, f"{who}_{name}") for point in replay.points]
            for who in ("recorded", "simulated")
        )
        return (
            Series("recorded", "blue", x, recorded),
            Series("simulated from the load", "ink", x, simulated),
        )

    return (
        Panel(f"counts-{place}", f"Webservers, {replay.run_id}", "", of("webservers")),
        Panel(f"cpu-{place}", "CPU", "%", of("cpu_percent"), lines=_CPU_LINE),
    )


_UNIT: Final = {"s": (1.0, "s"), "fraction": (100.0, "%"), "1/s": (1.0, "1/s")}


def history_chart(history: History) -> Chart | None:
    """Every metric over the runs in the order of time, with its levels; None without values."""
    places = {run.run_id: place for place, run in enumerate(history.runs, start=1)}
    panels = tuple(
        _metric_panel(f"metric-{number}", each, places)
        for number, each in enumerate(history.metrics)
        if each.values
    )
    if not panels:
        return None
    return Chart(
        title="History",
        x_label="run, in the order of time",
        x_unit="count",
        from_x=0.4,
        to_x=len(history.runs) + 0.6,
        panels=panels,
        stages=tuple(_versions(history.runs)),
    )


def _metric_panel(name: str, metric: MetricHistory, places: dict[str, int]) -> Panel:
    factor, unit = _UNIT[metric.metric.unit]
    x = [places[run.run_id] for run in metric.runs]
    y = [factor * value for value in metric.values]
    borders = [0, *(point.index for point in metric.change_points), len(x)]
    edges = [x[begin] - 0.5 for begin in borders[:-1]] + [x[-1] + 0.5]
    levels = [median(y[begin:end]) for begin, end in pairwise(borders)]
    return Panel(
        name,
        metric.metric.name,
        unit,
        (
            Series("one run", "blue", x, y, "points", texts=[run.run_id for run in metric.runs]),
            Series("level", "ink", edges, [*levels, levels[-1]], "step"),
        ),
    )


def _versions(runs: Sequence[ComparedRun]) -> list[Band]:
    begins = [
        place
        for place, run in enumerate(runs)
        if not place or run.airflow_version != runs[place - 1].airflow_version
    ]
    names = [f"Airflow {runs[begin].airflow_version or 'unknown'}" for begin in begins]
    edges = pairwise([*(begin + 0.5 for begin in begins), len(runs) + 0.5])
    return [
        Band(name, from_x, from_x, to_x, "")
        for name, (from_x, to_x) in zip(names, edges, strict=True)
    ]
