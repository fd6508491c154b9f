"""The document of a what-if: what a load would do, the fitted rule, and the runs replayed by it."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from mwaa_headroom.analysis.policy.fit import FittedParameter, PolicyFit
from mwaa_headroom.analysis.policy.replay import ComparedEvent, Replay
from mwaa_headroom.analysis.policy.simulated_load import SimulatedLoad, WithRange
from mwaa_headroom.analysis.policy.what_if import WhatIf
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.charts.over_time import load_chart, replays_chart
from mwaa_headroom.analysis.report.document import (
    Block,
    Bullets,
    Column,
    Document,
    Figure,
    Section,
    Status,
    Table,
    Text,
    table_of,
)
from mwaa_headroom.analysis.report.sentences import told, told_each

if TYPE_CHECKING:  # who only prints text does without matplotlib
    from matplotlib.figure import Figure as Drawing

_FEW: Final = 0.01  # share of calls slow or failed that still is a good answer
_MOST_EVENTS: Final = 24
_HOURS_FROM_S: Final = 7200.0
_NAMES: Final = {
    "datapoints_to_alarm": "periods until scale-out",
    "statistic": "CPU statistic",
    "connections_scope": "connections counted",
    "scale_out_step": "scale-out step",
    "scale_out_cooldown_s": "scale-out cooldown",
    "start_s": "time to start",
    "scale_in_periods": "quiet periods until scale-in",
    "scale_in_cpu_below_percent": "quiet: CPU below",
    "scale_in_connections_below": "quiet: connections below",
    "scale_in_step": "scale-in step",
    "scale_in_cooldown_s": "scale-in cooldown",
}


def what_if_document(result: WhatIf) -> Document:
    """The answer to `headroom what-if`."""
    load, fit = result.load, result.fit
    sections = (
        _refusals(result),
        _what_would_happen(load) if load else None,
        _scaling(load) if load else None,
        _overloads(load) if load else None,
        _rule(fit, in_brief=load is None) if fit.parameters else None,
        _replays(result.replays, in_brief=load is None) if result.replays else None,
        _notes(result),
    )
    return Document(
        kind="what-if",
        title="What if",
        headline=_headline(result),
        about=f"Learned from {words.counted(len(result.runs), 'run')}: {', '.join(result.runs)}",
        sentence=_sentence(result),
        status=_status(result),
        sections=tuple(filter(None, sections)),
        result=result,
        pictures=("what-if", "replay"),
    )


def _headline(result: WhatIf) -> str:
    if result.refusals:
        return "Not told"
    if result.load is None:
        return "The scaling rule, as runs tell it"
    return _meeting(result.load)


def _sentence(result: WhatIf) -> str:
    if result.refusals:
        return "The runs do not tell enough to answer."
    if result.load is None:
        return _fit_sentence(result)
    return _load_sentence(result.load)


def _fit_sentence(result: WhatIf) -> str:
    determined = sum(each.verdict == "determined" for each in result.fit.parameters)
    of = [event for replay in result.replays if replay.kind == "rule" for event in replay.changes]
    matched = sum(event.verdict == "matched" for event in of)
    noun, whose = ("change", "its") if len(of) == 1 else ("changes", "their")
    return (
        f"The fitted rule makes {matched} of {len(of)} {noun} of the webserver count at {whose} "
        f"time; the runs determine {determined} of its {len(result.fit.parameters)} unknowns."
    )


def _status(result: WhatIf) -> Status:
    load = result.load
    if result.refusals or result.fit.mismatch_periods:
        return "unclear"
    if load is None:
        return "good"
    if load.overloads and load.caught_up_after_s.value is None:
        return "bad"
    lost = (load.slow_share.high or 0.0) + (load.failed_share.high or 0.0)
    return "good" if lost < _FEW else "unclear"


def _load_sentence(load: SimulatedLoad) -> str:
    meeting = _meeting(load)
    if not load.overloads:
        return f"{meeting} would never pile up calls: {_lost(load)}."
    if load.caught_up_after_s.value is None:
        return f"{meeting} would not be caught up with: {_lost(load)}."
    after = _with_range(load.caught_up_after_s, _time)
    piled = (
        "would pile up calls" if len(load.overloads) == 1 else "would pile up calls again and again"
    )
    longest = "" if len(load.overloads) == 1 else "at the longest "
    return f"{meeting} {piled} for {longest}{after}: {_lost(load)}."


def _meeting(load: SimulatedLoad) -> str:
    return f"With {_limits(load)}, {load.name}"


def _limits(load: SimulatedLoad) -> str:
    """How many webservers there may be: "2-4 webservers"."""
    if load.min_webservers == load.max_webservers:
        return words.webservers(load.max_webservers)
    return f"{words.span(load.min_webservers, load.max_webservers)} webservers"


def _latency_limit(seconds: float) -> str:
    """A latency limit as one sets it: "800 ms", "1 s"."""
    return f"{seconds * 1000:g} ms" if seconds < 1 else f"{seconds:g} s"


def _lost(load: SimulatedLoad) -> str:
    failed = f"{_share(load.failed_share)} of the calls would fail"
    if load.slow_after_s is None:
        return failed
    slow = f"{_share(load.slow_share)} take longer than {_latency_limit(load.slow_after_s)}"
    return f"{failed} and {slow}"


def _refusals(result: WhatIf) -> Section | None:
    if not result.refusals:
        return None
    return Section("Cannot be told", (Bullets(told_each(result.refusals)),), brief=True)


def _what_would_happen(load: SimulatedLoad) -> Section:
    recorded = f", as {load.load_of} recorded it" if load.load_of else ""
    about = (
        f"{_time(load.duration_s)} of load, {words.calls_per_s(load.mean_rate_per_s)} on average, "
        f"{words.calls_per_s(load.peak_rate_per_s)} at its peak{recorded}. Its calls are those of "
        f"{load.calls_of}: {words.duration(load.demand_s)} of CPU each."
    )
    picture = Figure(
        "what-if",
        "Load, webservers, CPU, connections and lost calls over time",
        lambda: _drawn_load(load),
        lambda: load_chart(load),
    )
    return Section("What would happen", (Text(about), picture, _figures(load)), brief=True)


def _drawn_load(load: SimulatedLoad) -> "Drawing":
    from mwaa_headroom.analysis.report.plots.what_if import draw_load

    slower = "" if load.slow_after_s is None else f"slower than {_latency_limit(load.slow_after_s)}"
    return draw_load(load, _meeting(load), slower)


def _figures(load: SimulatedLoad) -> Table:
    rows: list[tuple[str, WithRange, Callable[[float | None], str]]] = [
        ("failed calls", load.failed_calls, words.count),
        ("of all calls", load.failed_share, words.share),
    ]
    if load.slow_after_s is not None:
        rows += [
            (
                f"slow calls (over {_latency_limit(load.slow_after_s)})",
                load.slow_calls,
                words.count,
            ),
            ("of all calls", load.slow_share, words.share),
        ]
    rows += [
        ("time with calls piling up", load.overload_s, _time),
        ("longest until caught up", load.caught_up_after_s, _until(load)),
        ("most webservers", load.most_webservers, words.count),
        ("webserver hours", load.webserver_hours, _hours),
        ("time with too few webservers", load.under_provisioned_time, words.share),
        ("time with too many", load.over_provisioned_time, words.share),
    ]
    return table_of(
        rows,
        (Column("", right=False), lambda row: row[0]),
        (Column("expected"), lambda row: row[2](row[1].value)),
        (Column("range"), lambda row: _range(row[1], row[2])),
    )


def _scaling(load: SimulatedLoad) -> Section | None:
    if not load.changes:
        return None
    table = table_of(
        load.changes[:_MOST_EVENTS],
        (Column("decided", "min:s"), lambda event: words.clock(event.decided_s)),
        (Column("ready", "min:s"), lambda event: words.clock(event.ready_s)),
        (Column("web", "servers"), lambda event: f"{event.from_count} -> {event.to_count}"),
        (Column("because", right=False), lambda event: told(event.reason)),
    )
    return Section("Scaling", (*_left_out(len(load.changes)), table), brief=True)


def _overloads(load: SimulatedLoad) -> Section | None:
    if len(load.overloads) < 2:
        return None
    table = table_of(
        load.overloads[:_MOST_EVENTS],
        (Column("from", "min:s"), lambda each: words.clock(each.from_s)),
        (
            Column("until", "min:s"),
            lambda each: words.clock(each.to_s) if each.caught_up else "the end",
        ),
        (Column("slow", "calls"), lambda each: words.count(each.slow_calls)),
        (Column("failed", "calls"), lambda each: words.count(each.failed_calls)),
    )
    return Section("Overloads", (*_left_out(len(load.overloads)), table))


def _left_out(number: int) -> tuple[Text, ...]:
    if number <= _MOST_EVENTS:
        return ()
    return (Text(f"The first {_MOST_EVENTS} of {number}; all are in the JSON."),)


def _rule(fit: PolicyFit, *, in_brief: bool) -> Section:
    """What is left of every unknown."""
    back = [each for each in fit.parameters if each.name.startswith("scale_in")]
    is_silent = not any(each.values for each in back)
    shown = [each for each in fit.parameters if not (is_silent and each in back)]
    about = (
        "Documented: CPU above 70 % or more than 15 connections adds webservers. Fitted to "
        f"{words.counted(fit.changes, 'change')} in {words.counted(len(fit.runs_used), 'run')}."
    )
    return Section(
        "The rule, as far as the runs tell it",
        (
            Text(about),
            *([_silent_way_back(back)] if is_silent else []),
            table_of(
                shown,
                (Column("unknown", right=False), lambda each: _NAMES[each.name]),
                (Column("taken"), lambda each: each.used),
                (Column("verdict", right=False), lambda each: each.verdict),
                (Column("what fits as well", right=False), _fits),
            ),
        ),
        brief=in_brief,
    )


def _silent_way_back(back: Sequence[FittedParameter]) -> Text:
    taken = ", ".join(f"{_NAMES[each.name]} {each.used}" for each in back)
    return Text(
        f"The way back is unknown, because {told(back[0].why)}; taken: {taken}. "
        "Ranges hold the quickest and the slowest way back that were tried."
    )


def _fits(each: FittedParameter) -> str:
    fits = ", ".join(each.values) if each.verdict != "unknown" else ""
    return "; ".join(part for part in (fits, told(each.why)) if part)


def _replays(replays: tuple[Replay, ...], *, in_brief: bool) -> Section:
    """Recorded changes of the count beside those of the replays."""
    changes = [(replay, event) for replay in replays for event in replay.changes]
    table = table_of(
        changes,
        (Column("replay of", right=False), lambda each: each[0].kind),
        (Column("web", "servers"), lambda each: f"{each[1].from_count} -> {each[1].to_count}"),
        (Column("recorded", "min:s"), lambda each: _recorded(each[1])),
        (Column("simulated", "min:s"), lambda each: words.clock(each[1].simulated_s)),
        (Column("difference"), lambda each: _difference(each[1])),
        (Column("", right=False), lambda each: each[1].verdict),
        (Column("run", right=False, dropped=1), lambda each: each[0].run_id),
    )
    about = (
        "Of the rule: it is shown the recorded metrics. Of the load: metrics and webservers are "
        "simulated too."
    )
    picture = Figure(
        "replay",
        "Webservers and CPU as recorded, and as simulated from the recorded load",
        lambda: _drawn_replays(replays),
        lambda: replays_chart(replays),
    )
    blocks: tuple[Block, ...] = (Text(about), *map(Text, _replay_sentences(replays)), picture)
    tables = (table,) if changes else ()
    return Section("The recorded runs, replayed", (*blocks, *tables), brief=in_brief)


def _drawn_replays(replays: Sequence[Replay]) -> "Drawing | None":
    from mwaa_headroom.analysis.report.plots.what_if import draw_replays

    drawn = [replay for replay in replays if replay.points]
    return draw_replays(drawn) if drawn else None


def _replay_sentences(replays: tuple[Replay, ...]) -> Iterator[str]:
    for replay in replays:
        if replay.refusal:
            yield told(replay.refusal)
        if replay.cpu_off_percent is not None:
            yield (
                f"{replay.run_id}: the CPU simulated from its load is off by "
                f"{replay.cpu_off_percent:.1f} percentage points on average."
            )
        lost = [
            f"{words.count(calls.recorded)} {what} calls recorded, {words.count(calls.simulated)} "
            "simulated"
            for what, calls in (("failed", replay.failed), ("slow", replay.slow))
            if calls is not None
        ]
        if lost:
            yield f"{replay.run_id}: {'; '.join(lost)}."


def _recorded(event: ComparedEvent) -> str:
    recorded = words.clock(event.recorded_s)
    if event.recorded_s is not None and event.recorded_from_s != event.recorded_s:
        return f"{words.clock(event.recorded_from_s)}-{recorded}"
    return recorded


def _difference(event: ComparedEvent) -> str:
    return words.UNKNOWN if event.difference_s is None else f"{round(event.difference_s):+d} s"


def _notes(result: WhatIf) -> Section | None:
    fit = result.fit
    found = told_each((*fit.warnings, *fit.left_out, *result.notes))
    return Section("Notes", (Bullets(found),), brief=True) if found else None


def _with_range(number: WithRange, written: Callable[[float | None], str]) -> str:
    span = _range(number, written)
    return written(number.value) + (f" ({span})" if span else "")


def _share(number: WithRange) -> str:
    return _with_range(number, words.share)


def _range(number: WithRange, written: Callable[[float | None], str]) -> str:
    low, high = number.low, number.high
    if low is None:
        return ""
    if high is None:
        return f"{written(low)} or more"
    return "" if written(low) == written(high) else f"{written(low)} to {written(high)}"


def _time(seconds: float | None) -> str:
    if words.is_known(seconds) and seconds >= _HOURS_FROM_S:
        return f"{seconds / 3600:.1f} h"
    return words.delay(seconds)


def _until(load: SimulatedLoad) -> Callable[[float | None], str]:
    """How to write the time until an overload is over, which may not be."""

    def written(seconds: float | None) -> str:
        return "never" if seconds is None and load.overloads else _time(seconds)

    return written


def _hours(hours: float | None) -> str:
    return words.trimmed(hours) if words.is_known(hours) else words.UNKNOWN
