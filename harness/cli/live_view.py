"""A run on a terminal while it goes on: stages, load, latency against the SLO, what limits it."""

from typing import Final

from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mwaa_headroom.analysis.report import words
from mwaa_headroom.harness.live.state import LiveState
from mwaa_headroom.harness.live.words import Row, end_words, latency_words, live_rows, phase_words

FEWEST_COLUMNS, FEWEST_LINES = 60, 13
_BARS: Final = "▁▂▃▄▅▆▇█"
_STYLES: Final = {"good": "green", "bad": "bold red", "unclear": "yellow", "plain": ""}
_LABEL_COLUMNS: Final = 11
_WIDE_COLUMNS: Final = 110  # from here on the end of the run has room for all it says


def live_panel(state: LiveState, columns: int) -> Table:
    """At most 13 lines of at most so many columns."""
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(width=_LABEL_COLUMNS, no_wrap=True, style="bold")
    grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    stage_left = f"{words.clock(state.stage_left_s)} left" if state.stage_s else ""
    grid.add_row("", Text(phase_words(state), "bold"))
    grid.add_row("Stage", _bar(state.stage_s, state.stage_left_s, stage_left, columns))
    ends = end_words(state, brief=columns < _WIDE_COLUMNS)
    grid.add_row("Run", _bar(state.run_s, state.run_left_s, ends, columns))
    slo, ended, limited, load, counts, *others = live_rows(state)
    for row in (slo, ended, limited, load, counts):
        _add(grid, row)
    for percentile, history, now_s in (
        (50, state.p50_history, state.p50_s),
        (95, state.p95_history, state.p95_s),
    ):
        limit = state.latency_limit
        limit_s = limit.threshold if limit and limit.percentile == percentile else None
        grid.add_row(f"p{percentile}", _sparkline(history, now_s, limit_s, columns))
    for row in others:
        _add(grid, row)
    return grid


def _add(grid: Table, row: Row) -> None:
    text = Text(row.text, _STYLES[row.status])
    text.no_wrap = len(row.text) < 60  # a sentence about the generator may take two lines
    grid.add_row(row.label, text)


def _bar(whole_s: float, left_s: float, text: str, columns: int) -> Table:
    line = Table.grid(padding=(0, 1))
    width = max(columns - _LABEL_COLUMNS - 44, 10)
    bar = ProgressBar(total=max(whole_s, 1e-9), completed=whole_s - left_s, width=width)
    line.add_row(bar, Text(text))
    return line


def _sparkline(
    history: tuple[float | None, ...], now_s: float | None, limit_s: float | None, columns: int
) -> Text:
    """Heights from 0 to the highest seen, at least to the limit; what is past it is red."""
    shown = history[-max(columns - _LABEL_COLUMNS - 36, 10) :]
    top_s = max([value for value in shown if value is not None] + [limit_s or 0.0, 1e-9])
    line = Text()
    for value in shown:
        if value is None:
            line.append(" ")
            continue
        past = limit_s is not None and value > limit_s
        height = min(int(value / top_s * len(_BARS)), len(_BARS) - 1)
        line.append(_BARS[height], "red" if past else "cyan")
    line.append(f" {latency_words(now_s)}", "bold")
    if limit_s is not None:
        line.append(f", SLO {words.duration(limit_s)}")
    return line
