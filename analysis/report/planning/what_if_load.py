"""What would come of a load, in words and tables."""

from collections.abc import Callable, Iterator
from typing import Final

from mwaa_headroom.analysis.policy.results import Figure, SimulatedLoad
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.document import Column, Table
from mwaa_headroom.analysis.report.planning.answer import Section

LOAD_PICTURE: Final = "what-if"
_MOST_EVENTS: Final = 24
_HOURS_FROM_S: Final = 7200.0


def load_sentence(load: SimulatedLoad) -> str:
    """The answer in one sentence."""
    meeting = f"With {limits(load)}, {load.name}"
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


def titled(load: SimulatedLoad) -> str:
    """The load's name as a heading; a trace keeps the name of its file."""
    is_said = load.name.startswith(("a burst ", "the recorded "))
    return f"{load.name[0].upper()}{load.name[1:]}" if is_said else load.name


def limits(load: SimulatedLoad) -> str:
    """How many webservers there may be: "2-4 webservers"."""
    if load.min_webservers == load.max_webservers:
        return words.webservers(load.max_webservers)
    return f"{words.span(load.min_webservers, load.max_webservers)} webservers"


def limit(seconds: float) -> str:
    """A latency limit as one sets it: "800 ms", "1 s"."""
    return f"{seconds * 1000:g} ms" if seconds < 1 else f"{seconds:g} s"


def _calls_sentence(load: SimulatedLoad) -> str:
    failed = f"{_share(load.failed_share)} of the calls would fail"
    if load.slow_after_s is None:
        return failed
    slow = f"{_share(load.slow_share)} take longer than {limit(load.slow_after_s)}"
    return f"{failed} and {slow}"


def load_sections(load: SimulatedLoad) -> Iterator[Section]:
    """Figures, changes of the count and overloads."""
    yield Section(
        heading="What would happen",
        sentences=(
            f"{_time(load.duration_s)} of load, {words.calls_per_s(load.mean_rate_per_s)} on "
            f"average, {words.calls_per_s(load.peak_rate_per_s)} at its peak{_recorded(load)}. Its "
            f"calls are those of {load.calls_of}: {words.duration(load.demand_s)} of CPU each.",
        ),
        table=_figures(load),
        picture=LOAD_PICTURE,
    )
    if load.changes:
        yield Section("Scaling", _left_out(len(load.changes)), _events(load))
    if len(load.overloads) > 1:
        yield Section("Overloads", _left_out(len(load.overloads)), _overloads(load))


def _recorded(load: SimulatedLoad) -> str:
    return f", as {load.load_of} recorded it" if load.load_of else ""


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
        ("longest until caught up", load.caught_up_after_s, _until(load)),
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
                f"{event.from_count} -> {event.to_count}",
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


def _until(load: SimulatedLoad) -> Callable[[float | None], str]:
    """How to write the time until an overload is over, which may not be."""

    def written(seconds: float | None) -> str:
        return "never" if seconds is None and load.overloads else _time(seconds)

    return written


def _hours(hours: float | None) -> str:
    return words.trimmed(hours) if words.is_known(hours) else words.UNKNOWN
