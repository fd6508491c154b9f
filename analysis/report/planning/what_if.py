"""What `headroom what-if` answers, in words and tables."""

from collections.abc import Callable, Iterator
from typing import Final, Literal

from analysis.policy.results import (
    ComparedEvent,
    Figure,
    FittedParameter,
    PolicyFit,
    Replay,
    SimulatedLoad,
    WhatIf,
)
from analysis.report import words
from analysis.report.planning.answer import Answer, Section
from analysis.report.tables import Column, Table

LOAD_PICTURE: Final = "what-if"
REPLAY_PICTURE: Final = "replay"
_MOST_EVENTS: Final = 24
_HOURS_FROM_S: Final = 7200.0
_REPLAYS: Final = (
    "Of the rule: it is shown the recorded metrics. Of the load: metrics and webservers are "
    "simulated too."
)
_FEW: Final = 0.01  # share of calls slow or failed that still is a good answer
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


def what_if_answer(result: WhatIf) -> Answer:
    """Ready to be laid out."""
    return Answer(
        kind="what-if",
        headline=_headline(result),
        sentence=_sentence(result),
        tone=_tone(result),
        sections=tuple(_sections(result)),
        refusals=result.refusals,
        notes=(*result.fit.warnings, *result.fit.left_out, *result.notes),
    )


def _headline(result: WhatIf) -> str:
    if result.refusals:
        return "Not told"
    if result.load is None:
        return "The scaling rule, as runs tell it"
    return f"{result.load.name[0].upper()}{result.load.name[1:]}"


def _sentence(result: WhatIf) -> str:
    if result.refusals:
        return "The runs do not tell enough to answer."
    load = result.load
    if load is None:
        return _fit_sentence(result)
    limits = words.span(load.min_webservers, load.max_webservers)
    meeting = f"With {limits} webservers, {load.name}"
    if not load.overloads:
        return f"{meeting} would never pile up: {_calls_sentence(load)}."
    if load.caught_up_after_s.value is None:
        return f"{meeting} would not be caught up with: {_calls_sentence(load)}."
    after = _figure(load.caught_up_after_s, _time)
    piled = (
        "would pile up calls" if len(load.overloads) == 1 else "would pile up calls again and again"
    )
    longest = "" if len(load.overloads) == 1 else "at the longest "
    return f"{meeting} {piled} for {longest}{after}: {_calls_sentence(load)}."


def _calls_sentence(load: SimulatedLoad) -> str:
    failed = f"{_share(load.failed_share)} of the calls would fail"
    if load.slow_after_s is None:
        return failed
    slow = f"{_share(load.slow_share)} take longer than {limit(load.slow_after_s)}"
    return f"{failed} and {slow}"


def _fit_sentence(result: WhatIf) -> str:
    told = [each for each in result.fit.parameters if each.verdict == "determined"]
    of = [event for replay in result.replays if replay.kind == "rule" for event in replay.changes]
    matched = sum(event.verdict == "matched" for event in of)
    return (
        f"The fitted rule makes {matched} of {len(of)} changes of the webserver count at their "
        f"time; the runs determine {len(told)} of its {len(result.fit.parameters)} unknowns."
    )


def limit(seconds: float) -> str:
    """A latency limit as one sets it: "800 ms", "1 s"."""
    return f"{seconds * 1000:g} ms" if seconds < 1 else f"{seconds:g} s"


def _tone(result: WhatIf) -> Literal["good", "bad", "unsure"]:
    load = result.load
    if result.refusals or result.fit.mismatch_periods:
        return "unsure"
    if load is None:
        return "good"
    if load.overloads and load.caught_up_after_s.value is None:
        return "bad"
    lost = (load.slow_share.high or 0.0) + (load.failed_share.high or 0.0)
    return "good" if lost < _FEW else "unsure"


def _sections(result: WhatIf) -> Iterator[Section]:
    if result.load is not None:
        yield from _load_sections(result.load)
    if result.fit.parameters:
        yield _rule_section(result.fit)
    if result.replays:
        yield _replay_section(result.replays)


def _load_sections(load: SimulatedLoad) -> Iterator[Section]:
    yield Section(
        heading="What would happen",
        sentences=(
            f"{_time(load.duration_s)} of load, {words.calls_per_s(load.mean_rate_per_s)} on "
            f"average, {words.calls_per_s(load.peak_rate_per_s)} at its peak.",
        ),
        table=_figures(load),
        picture=LOAD_PICTURE,
    )
    if load.changes:
        yield Section("Scaling", _left_out(len(load.changes)), _events(load))
    if len(load.overloads) > 1:
        yield Section("Overloads", _left_out(len(load.overloads)), _overloads(load))


def _left_out(number: int) -> tuple[str, ...]:
    if number <= _MOST_EVENTS:
        return ()
    return (f"The first {_MOST_EVENTS} of {number}; all are in the JSON.",)


def _figures(load: SimulatedLoad) -> Table:
    rows: list[tuple[str, Figure, Callable[[float | None], str]]] = [
        ("failed calls", load.failed_calls, words.count),
        ("of all calls", load.failed_share, words.share),
    ]
    if load.slow_after_s is not None:
        rows += [
            (f"slow calls (over {limit(load.slow_after_s)})", load.slow_calls, words.count),
            ("of all calls", load.slow_share, words.share),
        ]
    rows += [
        ("time with calls piling up", load.overload_s, _time),
        ("longest until caught up", load.caught_up_after_s, _time),
        ("most webservers", load.most_webservers, words.count),
        ("webserver hours", load.webserver_hours, _hours),
        ("time with too few webservers", load.under_provisioned_time, words.share),
        ("time with too many", load.over_provisioned_time, words.share),
    ]
    columns = (Column("", right=False), Column("expected"), Column("range"))
    return Table(
        columns,
        tuple(
            (name, written(figure.value), _range(figure, written)) for name, figure, written in rows
        ),
    )


def _events(load: SimulatedLoad) -> Table:
    columns = (
        Column("decided", "min:s"),
        Column("ready", "min:s"),
        Column("web", "servers"),
        Column("because", right=False),
    )
    return Table(
        columns,
        tuple(
            (
                words.clock(event.decided_s),
                words.clock(event.ready_s),
                _counts(event.from_count, event.to_count),
                event.reason,
            )
            for event in load.changes[:_MOST_EVENTS]
        ),
    )


def _overloads(load: SimulatedLoad) -> Table:
    columns = (
        Column("from", "min:s"),
        Column("until", "min:s"),
        Column("slow", "calls"),
        Column("failed", "calls"),
    )
    return Table(
        columns,
        tuple(
            (
                words.clock(each.from_s),
                words.clock(each.to_s) if each.caught_up else "the end",
                words.count(each.slow_calls),
                words.count(each.failed_calls),
            )
            for each in load.overloads[:_MOST_EVENTS]
        ),
    )


def _rule_section(fit: PolicyFit) -> Section:
    runs = f"{len(fit.runs_used)} run{'' if len(fit.runs_used) == 1 else 's'}"
    back = [each for each in fit.parameters if each.name.startswith("scale_in")]
    is_silent = not any(each.values for each in back)
    told = [each for each in fit.parameters if not (is_silent and each in back)]
    columns = (
        Column("unknown", right=False),
        Column("taken"),
        Column("verdict", right=False),
        Column("what fits as well", right=False),
    )
    return Section(
        heading="The rule, as far as the runs tell it",
        sentences=(
            f"Documented: CPU above 70 % or more than 15 connections adds webservers. Fitted to "
            f"{fit.changes} change{'' if fit.changes == 1 else 's'} in {runs}.",
            *(_silent_way_back(back) if is_silent else ()),
        ),
        table=Table(columns, tuple(_parameter(each) for each in told)),
    )


def _silent_way_back(back: list[FittedParameter]) -> Iterator[str]:
    taken = ", ".join(f"{_NAMES[each.name]} {each.used}" for each in back)
    yield f"The way back is unknown, because {back[0].why}; taken: {taken}."


def _parameter(each: FittedParameter) -> tuple[str, ...]:
    fits = ", ".join(each.values) if each.verdict != "unknown" else ""
    told = "; ".join(part for part in (fits, each.why) if part)
    return (_NAMES.get(each.name, each.name), each.used, each.verdict, told)


def _replay_section(replays: tuple[Replay, ...]) -> Section:
    columns = (
        Column("replay of", right=False),
        Column("web", "servers"),
        Column("recorded", "min:s"),
        Column("simulated", "min:s"),
        Column("difference"),
        Column("", right=False),
        Column("run", right=False, dropped=1),
    )
    rows = [
        (replay.kind, *_compared(event), replay.run_id)
        for replay in replays
        for event in replay.changes
    ]
    return Section(
        heading="The recorded runs, replayed",
        sentences=(_REPLAYS, *_replay_sentences(replays)),
        table=Table(columns, tuple(rows)) if rows else None,
        picture=REPLAY_PICTURE,
    )


def _replay_sentences(replays: tuple[Replay, ...]) -> Iterator[str]:
    for replay in replays:
        if replay.refusal:
            yield replay.refusal
        if replay.cpu_off_percent is not None:
            yield (
                f"{replay.run_id}: the CPU simulated from its load is off by "
                f"{replay.cpu_off_percent:.1f} percentage points on average."
            )


def _compared(event: ComparedEvent) -> tuple[str, ...]:
    recorded = words.clock(event.recorded_s)
    if event.recorded_s is not None and event.recorded_from_s != event.recorded_s:
        recorded = f"{words.clock(event.recorded_from_s)}-{recorded}"
    return (
        _counts(event.from_count, event.to_count),
        recorded,
        words.clock(event.simulated_s),
        words.UNKNOWN if event.difference_s is None else f"{round(event.difference_s):+d} s",
        event.verdict,
    )


def _counts(from_count: int, to_count: int) -> str:
    return f"{from_count} -> {to_count}"


def _figure(figure: Figure, written: Callable[[float | None], str]) -> str:
    span = _range(figure, written)
    return written(figure.value) + (f" ({span})" if span else "")


def _share(figure: Figure) -> str:
    return _figure(figure, words.share)


def _range(figure: Figure, written: Callable[[float | None], str]) -> str:
    low, high = figure.low, figure.high
    if low is None:
        return ""
    if high is None:
        return f"{written(low)} or more"
    return "" if written(low) == written(high) else f"{written(low)} to {written(high)}"


def _time(seconds: float | None) -> str:
    if words.is_known(seconds) and seconds >= _HOURS_FROM_S:
        return f"{seconds / 3600:.1f} h"
    return words.delay(seconds)


def _hours(hours: float | None) -> str:
    return words.trimmed(hours) if words.is_known(hours) else words.UNKNOWN
