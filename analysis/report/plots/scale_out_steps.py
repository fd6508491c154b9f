"""The steps of a scale-out as rows of bars, one below the other, so that no two names collide."""

from collections.abc import Sequence
from typing import Final

from matplotlib.axes import Axes

from analysis.report import words
from analysis.report.plots.drawing import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    PAPER,
    PURPLE,
    VERMILLION,
    Key,
    heading,
    printable,
    text_width_px,
)
from analysis.scaling.steps import Step

ROW_IN: Final = 0.23
_LABEL_FONT: Final = 9.0
_COLOUR_OF_STEP: Final = {
    "load step": FAINT,
    "threshold passed": VERMILLION,
    "decision": PURPLE,
    "count rises": BLUE,
    "takes traffic": GREEN,
    "SLO restored": INK,
}


def draw_steps(panels: dict[str, Axes], steps: Sequence[Step], started_at_s: float) -> None:
    """A row for each step in the panel "steps", and its line through every other panel.

    A row is a bar for the gap before the step, then its name, time and gap.
    """
    axes = panels["steps"]
    axes.set_ylim(len(steps) - 0.4, -0.6)
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(bottom=False)
    before: float | None = None
    for row, step in enumerate(steps):
        x, colour = step.at_s - started_at_s, _COLOUR_OF_STEP.get(step.name, INK)
        if before is not None:
            axes.plot([before, x], [row, row], color=colour, linewidth=5, alpha=0.35)
        axes.plot([x], [row], marker="o", markersize=6, color=colour)
        _name_step(axes, step, x, x if before is None else min(before, x), row)
        for name, panel in panels.items():
            top = 1.0 if name != "steps" else 1 - (row + 0.6) / len(steps)
            panel.axvline(
                x, ymax=top, color=colour, linewidth=1.1, linestyle=(0, (3, 2)), zorder=1.8
            )
        before = x
    heading(axes, "Steps", Key("each bar: the gap since the step before", colour=FAINT))


def _name_step(axes: Axes, step: Step, x: float, bar_from: float, row: int) -> None:
    """Right of the point, or left of its bar where there is no room."""
    text = _row_text(step, x)
    room_px = axes.get_window_extent().x1 - axes.transData.transform((x, row))[0]
    is_left = text_width_px(axes, text, fontsize=_LABEL_FONT) > room_px
    axes.annotate(
        printable(text),
        (bar_from if is_left else x, row),
        xytext=(-9 if is_left else 9, 0),
        textcoords="offset points",
        ha="right" if is_left else "left",
        va="center",
        fontsize=_LABEL_FONT,
        color=INK,
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.0, "alpha": 0.85},
        zorder=3,
    )


def _row_text(step: Step, since_start_s: float) -> str:
    text = f"{step.name} {words.clock(since_start_s)}"
    if step.gap_s is not None:
        text += f", after {words.delay(step.gap_s)}"
    if step.resolution_s:
        text += f" (known to {words.delay(step.resolution_s)})"
    return text
