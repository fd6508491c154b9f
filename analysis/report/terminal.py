"""A document as text for a terminal, a CI log and summary.txt: the answer first."""

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text as Line

from mwaa_headroom.analysis.report import (
    notes,
    sending,
    story,
    story_scaling,
    tables,
    tables_sizing,
    tables_webservers,
    words,
)
from mwaa_headroom.analysis.report.document import (
    MARKS,
    STATUS_OF,
    Block,
    Bullets,
    Document,
    Section,
    Status,
    Table,
    Text,
    Ticks,
)
from mwaa_headroom.analysis.report.layout import INDENT, STYLE_OF_MARK, laid_out
from mwaa_headroom.analysis.report.pen import Pen
from mwaa_headroom.analysis.report.sentences import told
from mwaa_headroom.analysis.report.sentences.verdict import verdict_sentence
from mwaa_headroom.analysis.results import RunAnalysis, SloResult

_LEAST_WIDTH: Final = 72
_LEAST_TEXT: Final = 8  # columns a clipped first column keeps
_INDENT: Final = (0, 0, 0, 2)
_STYLES: Final[dict[Status, str]] = {
    "good": "green",
    "bad": "red",
    "unclear": "yellow",
    "plain": "",
}


def render_terminal(document: Document, *, verbose: bool, width: int, colour: bool) -> str:
    """The document without a final newline.

    Args:
        document: What to show.
        verbose: All sections in full; else the brief ones, briefly.
        width: Columns that may be used; fewer than 72 are treated as 72.
        colour: Whether to write ANSI colours; without them the text is plain.
    """
    text = io.StringIO()
    console = Console(
        file=text,
        width=max(width, _LEAST_WIDTH),
        height=100,  # else rich asks the terminal for its width as well
        force_terminal=colour,
        color_system="standard" if colour else None,
        no_color=not colour,
        highlight=False,
        markup=False,
        emoji=False,
    )
    for part in _parts(document, console, verbose=verbose):
        # Whatever cannot be made narrower is left to the terminal, not cut off.
        console.print(part, crop=False)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def _parts(document: Document, console: Console, *, verbose: bool) -> Iterator[RenderableType]:
    yield Line(document.title, "bold")
    yield Line(document.sentence, f"bold {_STYLES[document.status]}".strip())
    if document.about:
        yield Padding(Line(document.about), _INDENT)
    for section in document.sections:
        if not (verbose or section.brief):
            continue
        shown = [part for block in blocks_of(section, verbose) for part in _block(block, console)]
        if shown:
            yield ""
            yield Line(section.title, "bold")
            yield from shown


def blocks_of(section: Section, verbose: bool) -> tuple[Block, ...]:
    """What a section shows in full, or briefly."""
    return section.blocks if verbose or not section.brief_blocks else section.brief_blocks


def _block(block: Block, console: Console) -> Iterator[RenderableType]:
    if isinstance(block, Text):
        yield Padding(Line(block.text, _STYLES[block.status]), _INDENT)
    elif isinstance(block, Bullets) and block.items:
        yield _bullets(block)
    elif isinstance(block, Ticks) and block.items:
        yield _tick_grid(block, console.width)
    elif isinstance(block, Table):
        if block.caption:
            yield Padding(Line(block.caption), _INDENT)
        yield _fitted(block, console)


def _bullets(bullets: Bullets) -> RenderableType:
    grid = Grid.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column()
    for item in bullets.items:
        grid.add_row("-", item)
    return Padding(grid, _INDENT)


def _tick_grid(ticks: Ticks, width: int) -> RenderableType:
    grid = Grid.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(max_width=width // 2)
    grid.add_column(" ")
    for met, what, seen in ticks.items:
        grid.add_row(_marked(MARKS[met]), what, "", seen)
    return Padding(grid, _INDENT)


def _fitted(table: Table, console: Console) -> RenderableType:
    """The table without the columns it has no width for, those that may be dropped.

    Then text is wrapped between words, and in the end the first column is clipped.
    """
    unlimited = console.options.update(max_width=10_000)
    while True:
        grid = _grid(table)
        measured = console.measure(grid, options=unlimited)
        if measured.maximum <= console.width:
            return grid
        droppable = max(table.columns, key=lambda column: column.dropped)
        if not droppable.dropped:
            break
        table = _without(table, table.columns.index(droppable))
    if (excess := measured.minimum - console.width) > 0:
        first = grid.columns[0]
        first.no_wrap, first.overflow = True, "ellipsis"
        first.width = max((first.min_width or 0) - excess, _LEAST_TEXT)
    return grid


def _grid(table: Table) -> Grid:
    has_units = any(column.unit for column in table.columns)
    grid = Grid(box=None, padding=(0, 0, 0, 2), header_style="dim")
    for index, column in enumerate(table.columns):
        cells = [column.heading, column.unit, *(row[index] for row in table.rows)]
        words = cells if column.right else [*cells[:2], *(w for c in cells for w in c.split())]
        least = max(map(cell_len, words))
        grid.add_column(
            f"{column.heading}\n{column.unit}" if has_units else column.heading,
            justify="right" if column.right else "left",
            # Else rich takes width from a column that has none to give, and the line gets too long.
            no_wrap=least == max(map(cell_len, cells)),
            min_width=least,
        )
    for row in table.rows:
        grid.add_row(*map(_marked, row))
    return grid


def _without(table: Table, index: int) -> Table:
    columns = table.columns[:index] + table.columns[index + 1 :]
    rows = tuple(row[:index] + row[index + 1 :] for row in table.rows)
    return replace(table, columns=columns, rows=rows)


def _marked(cell: str) -> Line:
    return Line(cell, _STYLES[STATUS_OF.get(cell, "plain")])


# --- The run's report of before, until it is a `Document` ---


_MOST_CHANGES: Final = 6  # of the webserver count, told one by one


def render_summary(analysis: RunAnalysis, *, colour: bool, width: int) -> str:
    """The whole summary, without a final newline.

    Args:
        analysis: What to tell.
        colour: Whether to write ANSI colours; without them the text is plain.
        width: Columns that may be used; fewer than 72 are treated as 72.
    """
    pen = Pen(colour=colour, width=width)
    lines = [pen.style(analysis.scenario_name, "bold")]
    lines.extend(pen.wrapped(story.identity(analysis)))
    lines.extend(pen.wrapped(sending.load(analysis)))
    if sending.is_virtual(analysis):
        lines.extend(pen.wrapped(sending.VIRTUAL_TIME))
    for section in _SECTIONS:
        body = list(section(analysis, pen))
        if body:
            lines.extend(("", *body))
    lines.extend(("", *_verdict(analysis, pen)))
    return "\n".join(line.rstrip() for line in lines)


def _judgements(analysis: RunAnalysis, pen: Pen) -> Iterator[str]:
    judged = story.judgement(analysis)
    if judged.lines:
        yield pen.style(f"SLO ({judged.scope})", "bold")
        yield from _ticks([_slo_tick(line) for line in judged.lines], pen)
    if analysis.expectations:
        yield pen.style("Expectations", "bold")
        yield from _ticks(
            [(words.MARKS[each.met], each.name, each.detail) for each in analysis.expectations], pen
        )


def _slo_tick(line: SloResult) -> tuple[str, str, str]:
    return words.MARKS[line.met], line.slo.text, story.observed(line)


def _ticks(ticks: list[tuple[str, str, str]], pen: Pen) -> Iterator[str]:
    longest = min(max(len(name) for _, name, _ in ticks), pen.width // 2)
    for mark, name, detail in ticks:
        start = f"{INDENT}{mark} {name.ljust(longest)}{INDENT}"
        lines = list(pen.wrapped(detail, first=start, rest=" " * (6 + longest)))
        yield lines[0].replace(mark, pen.style(mark, STYLE_OF_MARK[mark]), 1)
        yield from lines[1:]


def _stages(analysis: RunAnalysis, pen: Pen) -> Iterator[str]:
    if not analysis.stages:
        yield "No stage was measured."
        return
    yield pen.style("Stages (latency from the intended start)", "bold")
    yield from laid_out(tables.stage_table(analysis, details=False), pen.width, pen.style)
    if any(stage.rate_is_mean for stage in analysis.stages):
        yield from pen.wrapped(tables.MEAN_RATE)
    for remark in story.trial_remarks(analysis):
        yield from pen.wrapped(remark, rest=INDENT * 2)


def _capacity(analysis: RunAnalysis, pen: Pen) -> Iterator[str]:
    sentence = story.capacity_sentence(analysis.capacity)
    if sentence:
        yield from pen.wrapped(f"Capacity: {sentence}", first="", rest=INDENT)


def _generator(analysis: RunAnalysis, pen: Pen) -> Iterator[str]:
    health = analysis.generator
    verdict = f"Load generator: {sending.generator(health)}."
    sentence, *more = pen.wrapped(verdict, first="", rest=INDENT)
    yield pen.style(sentence, *(() if health.ok else ("yellow",)))
    yield from more
    for reason in health.reasons:
        yield from pen.wrapped(told(reason), first=f"{INDENT}- ", rest=INDENT * 2)
    table = sending.worker_table(health)
    if table:
        yield from laid_out(table, pen.width, pen.style)


def _latency(analysis: RunAnalysis, pen: Pen) -> Iterator[str]:
    stage = story.decisive_stage(analysis)
    known = stage and [e for e in stage.latency_s.values() if words.is_known(e.value)]
    if stage and known:
        interval = f" ({words.share(known[0].confidence)} interval)"
        yield pen.style(f"Stage {tables.stage_name(stage)}{interval}", "bold")
        yield from laid_out(tables.latency_table(stage), pen.width, pen.style)


def _errors(analysis: RunAnalysis, pen: Pen) -> Iterator[str]:
    table = tables.error_table(analysis)
    if table:
        yield pen.style("Errors by layer", "bold")
        yield from laid_out(table, pen.width, pen.style)


def _retries(analysis: RunAnalysis, pen: Pen) -> Iterator[str]:
    if analysis.retries is None:
        return
    yield pen.style(f"Retries of the client ({analysis.retries.mode})", "bold")
    for sentence in sending.retries(analysis.retries):
        yield from pen.wrapped(sentence)


def _webservers(analysis: RunAnalysis, pen: Pen) -> Iterator[str]:
    table = tables_webservers.webserver_table(analysis)
    if table:
        yield pen.style("Webservers", "bold")
        yield from laid_out(table, pen.width, pen.style)


def _scaling(analysis: RunAnalysis, pen: Pen) -> Iterator[str]:
    changes = list(_changes(analysis))
    if analysis.elasticity and analysis.elasticity.under_time:
        shortage = story_scaling.shortage(analysis.elasticity)
        changes.append(f"{shortage} {told(analysis.elasticity.needed_by)}")
    if changes:
        yield pen.style("Scaling", "bold")
    for sentence in changes:
        yield from pen.wrapped(sentence, rest=INDENT * 2)


def _changes(analysis: RunAnalysis) -> Iterator[str]:
    for event in analysis.scaling[:_MOST_CHANGES]:
        yield story_scaling.scaling_sentence(event, analysis.started_at_s)
        if cost := story_scaling.cost_sentence(event):
            yield cost
    if (untold := len(analysis.scaling) - _MOST_CHANGES) > 0:
        yield f"(and {untold} more changes of the webserver count, which the page shows)"


def _by_count(analysis: RunAnalysis, pen: Pen) -> Iterator[str]:
    if len(analysis.by_webservers) > 1:
        yield pen.style("By webserver count", "bold")
        table = tables_webservers.count_table(analysis.by_webservers, details=False)
        yield from laid_out(table, pen.width, pen.style)


def _recovery(analysis: RunAnalysis, pen: Pen) -> Iterator[str]:
    if analysis.recoveries:
        yield pen.style("Recovery", "bold")
    for result in analysis.recoveries:
        yield from pen.wrapped(told(result.explanation), rest=INDENT * 2)


def _demand(analysis: RunAnalysis, pen: Pen) -> Iterator[str]:
    demand = analysis.demand
    if demand is None:
        return
    yield pen.style("Service demand (webserver CPU time one call costs)", "bold")
    yield from laid_out(tables_sizing.demand_table(demand, analysis.mix), pen.width, pen.style)
    if demand.refusal:
        yield from pen.wrapped(told(demand.refusal))


def _sizing(analysis: RunAnalysis, pen: Pen) -> Iterator[str]:
    sizing = analysis.sizing
    if sizing is None:
        return
    goal = words.share(sizing.utilisation_target)
    yield pen.style(f"Webservers needed (at most {goal} of their CPU)", "bold")
    if sizing.rows:
        yield from laid_out(tables_sizing.sizing_table(sizing), pen.width, pen.style)
    yield from pen.wrapped(told(sizing.explanation))
    if sizing.deciding:
        yield from pen.wrapped(told(sizing.deciding))


def _truth(analysis: RunAnalysis, pen: Pen) -> Iterator[str]:
    sentence = story.truth_sentence(analysis.truth)
    if sentence:
        yield pen.style("Known truth", "bold")
        yield from pen.wrapped(sentence, rest=INDENT * 2)


def _notes(analysis: RunAnalysis, pen: Pen) -> Iterator[str]:
    every = notes.notes(analysis)
    if every:
        yield pen.style("Notes", "bold")
    for note in every:
        yield from pen.wrapped(note, first=f"{INDENT}- ", rest=INDENT * 2)


def _verdict(analysis: RunAnalysis, pen: Pen) -> Iterator[str]:
    for reason in story.reasons(analysis):
        yield from pen.wrapped(reason, first="", rest=INDENT)
    styles = {0: ("bold", "green"), 3: ("bold", "red")}.get(
        analysis.verdict.exit_code, ("bold", "yellow")
    )
    for line in pen.wrapped(verdict_sentence(analysis), first="", rest=""):
        yield pen.style(line, *styles)


_SECTIONS: Final = (
    _judgements,
    _stages,
    _capacity,
    _generator,
    _latency,
    _errors,
    _retries,
    _webservers,
    _scaling,
    _by_count,
    _recovery,
    _demand,
    _sizing,
    _truth,
    _notes,
)
