"""Pictures of `headroom what-if`: a simulated load, and recorded runs beside their replays."""

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mwaa_headroom.analysis.mwaa import CONNECTIONS_ABOVE, CPU_ABOVE_PERCENT
from mwaa_headroom.analysis.policy.replay import Replay
from mwaa_headroom.analysis.policy.simulated_load import SimulatedLoad
from mwaa_headroom.analysis.report.plots import drawing
from mwaa_headroom.analysis.report.plots.drawing import (
    BLUE,
    FAINT,
    INK,
    ORANGE,
    SHADE,
    VERMILLION,
    Key,
    heading,
    stacked_panels,
    title,
)

_MOST_REPLAYS: Final = 6
_HOURS_FROM_S: Final = 3600.0


def draw_load(load: SimulatedLoad, caption: str, slow_calls: str) -> Figure:
    """Load, webservers, CPU, connections and lost calls over time.

    Args:
        load: simulated.
        caption: over all.
        slow_calls: what a slow call is; "": no call is.
    """
    figure, panels = _panels(5)
    x = np.array([point.at_s for point in load.points])
    rates, servers, cpu, connections, lost = panels
    for axes in panels:
        for spell in load.overloads:
            axes.axvspan(spell.from_s, spell.to_s, color=SHADE, linewidth=0, zorder=0.4)

    rates.plot(x, [point.rate_per_s for point in load.points], color=BLUE, linewidth=1.3)
    rates.set_ylim(0, load.peak_rate_per_s * 1.12 or 1)
    rates.set_ylabel("calls/s")
    heading(rates, "Load", Key("calls pile up", "■", SHADE))

    counts = [point.webservers for point in load.points]
    servers.fill_between(
        x,
        [point.fewest_webservers for point in load.points],
        [point.most_webservers for point in load.points],
        step="mid",
        color=BLUE,
        alpha=0.2,
        linewidth=0,
    )
    servers.plot(x, counts, color=INK, linewidth=1.4, drawstyle="steps-mid")
    _draw_limit(servers, load)
    heading(servers, "Webservers in service", Key("range", "■", BLUE))

    cpu.plot(x, [point.cpu_percent for point in load.points], color=ORANGE, linewidth=1.3)
    _threshold(cpu, CPU_ABOVE_PERCENT)
    cpu.set_ylim(0, 105)
    cpu.set_ylabel("%")
    heading(cpu, "CPU", Key("threshold of the rule", "╌", INK))

    connections.plot(x, [point.connections for point in load.points], color=BLUE, linewidth=1.3)
    _threshold(connections, CONNECTIONS_ABOVE)
    connections.set_ylim(0, max(CONNECTIONS_ABOVE, *(p.connections for p in load.points)) * 1.12)
    heading(connections, "Connections per webserver", Key("threshold of the rule", "╌", INK))

    failed = 100 * np.array([point.failed_share for point in load.points])
    slow = 100 * np.array([point.slow_share for point in load.points])
    lost.fill_between(x, 0, failed, color=VERMILLION, linewidth=0)
    lost.fill_between(x, failed, failed + slow, color=ORANGE, linewidth=0, alpha=0.8)
    for end in ("least_lost_share", "most_lost_share"):
        ends = [100 * getattr(point, end) for point in load.points]
        lost.plot(x, ends, color=INK, linewidth=0.7, linestyle=(0, (1, 2)))
    lost.set_ylim(0, 105)
    lost.set_ylabel("% of calls")
    keys = [Key("range of both", "╌", INK), Key("failed", "■", VERMILLION)]
    if slow_calls:
        keys.append(Key(slow_calls, "■", ORANGE))
    heading(lost, "Lost", *keys)

    _time_axes(panels, load.duration_s, "time")
    title(figure, caption)
    return figure


def draw_replays(replays: list[Replay]) -> Figure:
    """Webservers and CPU of recorded runs, as recorded and as simulated from their load.

    Of many runs the first, and the title says of how many.
    """
    found, replays = len(replays), replays[:_MOST_REPLAYS]
    figure, panels = _panels(2 * len(replays))
    for replay, servers, cpu in zip(replays, panels[::2], panels[1::2], strict=True):
        x = np.array([point.at_s for point in replay.points]) - replay.period_s / 2
        for axes, of in ((servers, "webservers"), (cpu, "cpu_percent")):
            for who, colour, width in (("recorded", BLUE, 3.0), ("simulated", INK, 1.2)):
                values = [getattr(point, f"{who}_{of}") for point in replay.points]
                known = np.array([np.nan if value is None else value for value in values])
                axes.plot(
                    x,
                    known,
                    color=colour,
                    linewidth=width,
                    alpha=0.45 if who == "recorded" else 1.0,
                    drawstyle="steps-mid" if of == "webservers" else "default",
                )
        most = max(point.recorded_webservers or 0 for point in replay.points)
        servers.set_ylim(0, (most + 1) * 1.1)
        servers.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        keys = (Key("recorded", "━", BLUE), Key("simulated from the load", "━", INK))
        heading(servers, f"Webservers, {replay.run_id}", *keys)
        _threshold(cpu, CPU_ABOVE_PERCENT)
        cpu.set_ylim(0, 105)
        cpu.set_ylabel("%")
        heading(cpu, "CPU", Key("threshold of the rule", "╌", INK))
        length_s = replay.points[-1].at_s
        _time_axes([servers, cpu], length_s, "time since the run's start")
    shown = f" (the first {len(replays)} of {found} runs)" if found > len(replays) else ""
    title(figure, f"{_replay_title(replays)}{shown}")
    return figure


def _replay_title(replays: list[Replay]) -> str:
    events = [event for replay in replays for event in replay.changes]
    matched = sum(event.verdict == "matched" for event in events)
    if not events:
        return "No change of the webserver count, recorded or simulated"
    changes = "change of the count at its" if len(events) == 1 else "changes of the count at their"
    return f"From the load alone: {matched} of {len(events)} {changes} time"


def _panels(number: int) -> tuple[Figure, list[Axes]]:
    figure, panels = stacked_panels(
        {str(place): 1.25 for place in range(number)},
        top_in=0.95,
        width_in=9.4,
        gap_in=0.45,
        share_x=False,
    )
    return figure, list(panels.values())


def _time_axes(panels: list[Axes], length_s: float, label: str) -> None:
    for axes in panels:
        drawing.time_axis(axes, length_s)
        if length_s >= _HOURS_FROM_S:
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _hours_minutes(x)))
        axes.tick_params(labelbottom=axes is panels[-1])
    panels[-1].set_xlabel(f"{label} ({'h:min' if length_s >= _HOURS_FROM_S else 'min:s'})")


def _hours_minutes(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours}:{minutes:02d}"


def _threshold(axes: Axes, value: float) -> None:
    axes.axhline(value, color=INK, linewidth=1.1, linestyle=(0, (5, 3)), zorder=1.5)


def _draw_limit(axes: Axes, load: SimulatedLoad) -> None:
    """The maximum as a line, unless so far above the counts that these would be flat."""
    most = max(point.most_webservers for point in load.points)
    is_near = load.max_webservers <= 2 * most
    axes.set_ylim(0, (load.max_webservers if is_near else most) * 1.12)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    if is_near:
        line = (0, (1, 2))
        axes.axhline(load.max_webservers, color=FAINT, linewidth=0.9, linestyle=line, zorder=1.5)
