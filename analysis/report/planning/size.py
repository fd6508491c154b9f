"""The answer to `headroom size`, ready to be laid out."""

from collections.abc import Iterator, Sequence
from typing import Final

from mwaa_headroom.analysis.planning.classes import Money
from mwaa_headroom.analysis.planning.results import (
    BurstCost,
    ClassSize,
    SizedRun,
    SizeOption,
    SizingAnswer,
    Span,
)
from mwaa_headroom.analysis.planning.sentences import chance_in_words
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.planning.answer import Answer, Section
from mwaa_headroom.analysis.report.tables import Column, Table

SIZE_PICTURE: Final = "webservers_needed"
_SHORTEST_END: Final = 8  # characters of a run id


def size_sections(answer: SizingAnswer) -> Answer:
    """What to tell of a size, in the order in which it is read."""
    return Answer(
        kind="size",
        headline=_headline(answer),
        sentence=answer.sentence,
        tone="good" if answer.recommended is not None else "unsure",
        sections=tuple(_sections(answer)),
        refusals=answer.refusals,
        notes=(*answer.warnings, *answer.assumptions),
    )


def chance(probability: float) -> str:
    """A probability that never reads as certain: "83 %", "> 99 %", "< 1 %"."""
    in_words = chance_in_words(probability)
    return in_words.replace("more than", ">").replace("less than", "<")


def _headline(answer: SizingAnswer) -> str:
    if answer.recommended is None:
        return "No size"
    option = answer.options[answer.recommended]
    count = words.span(option.min_webservers, option.max_webservers)
    noun = "webserver" if count == "1" else "webservers"
    return f"{option.environment_class}, {count} {noun}"


def _sections(answer: SizingAnswer) -> Iterator[Section]:
    if answer.refusals:
        return
    yield Section("Load", (_load(answer),))
    yield Section("What a webserver serves", table=_run_table(answer))
    yield Section(
        "Webservers needed",
        sentences=(_probability_is_about(answer), *filter(None, [answer.deciding])),
        table=_class_table(answer),
        picture=SIZE_PICTURE,
    )
    if answer.options:
        yield Section("Options", tuple(_about_options(answer)), _option_table(answer))
    if any(option.trace for option in answer.options):
        yield Section("The trace, played against the scaling rule", table=_trace_table(answer))


def _load(answer: SizingAnswer) -> str:
    slo = f" SLO: {', '.join(answer.slo)}." if answer.slo else " The runs have no SLO."
    return f"Wanted: {answer.load}.{slo}"


def _probability_is_about(answer: SizingAnswer) -> str:
    one_run = " One run: how runs differ is not in it." if len(answer.runs) == 1 else ""
    if answer.judged_by == "slo_capacity":
        return (
            "P: probability that the SLO is met, by the rate at which it broke in the runs."
            f"{one_run}"
        )
    capped = any(run.capacity_per_s for run in answer.runs)
    return (
        "P: probability that the webservers' CPU stays at or below "
        f"{words.share(answer.utilisation_target)}, the target"
        f"{', and at most that the SLO does not break as it did in the runs' if capped else ''}."
        f"{one_run}"
    )


def _run_table(answer: SizingAnswer) -> Table:
    with_capacity = any(run.capacity_per_s for run in answer.runs)
    capacity = (Column("SLO breaks at", "calls/s"), Column("on", "webservers"))
    columns = (
        Column("run", right=False),
        Column("CPU", "per webserver"),
        Column("CPU time", "per call"),
        Column("one webserver", f"calls/s at {words.share(answer.utilisation_target)}"),
        *(capacity if with_capacity else ()),
    )
    names = _names(answer.runs)
    rows = (_run_row(*each, with_capacity) for each in zip(answer.runs, names, strict=True))
    return Table(columns, tuple(rows))


def _names(runs: Sequence[SizedRun]) -> list[str]:
    """Of several runs the end of the id alone, which tells them apart where its beginning won't."""
    ids = [run.run_id for run in runs]
    longest = max(map(len, ids))
    ends = range(_SHORTEST_END, longest)
    end = next((n for n in ends if len({name[-n:] for name in ids}) == len(ids)), longest)
    return ids if len(ids) == 1 else [n if len(n) <= end + 1 else f"…{n[-end:]}" for n in ids]


def _run_row(run: SizedRun, name: str, with_capacity: bool) -> tuple[str, ...]:
    row = (
        name,
        words.trimmed(run.webserver_cpu),
        words.duration_estimate(run.demand_s),
        words.number_estimate(run.rate_of_one_per_s),
    )
    if not with_capacity:
        return row
    return (*row, words.number_estimate(run.capacity_per_s), words.count(run.capacity_webservers))


def _class_table(answer: SizingAnswer) -> Table:
    counts = sorted({chance.webservers for size in answer.classes for chance in size.chances})
    columns = (
        Column("class", right=False),
        Column("vCPU"),
        Column("one webserver", "calls/s", dropped=1),
        Column("needed", words.calls_per_s(answer.high_per_s)),
        Column("interval", "95 %"),
        *(Column(f"P({count})", "enough") for count in counts),
    )
    return Table(columns, tuple(_class_row(size, counts) for size in answer.classes))


def _class_row(size: ClassSize, counts: list[int]) -> tuple[str, ...]:
    chances = {each.webservers: chance(each.probability) for each in size.chances}
    high = size.webservers_high
    interval = (
        words.span(size.webservers_low, high) if high is not None else f"{size.webservers_low}-"
    )
    return (
        size.environment_class,
        words.trimmed(size.webserver_cpu),
        words.number_estimate(size.rate_of_one_per_s),
        words.count(size.webservers),
        interval,
        *(chances.get(count, words.UNKNOWN) for count in counts),
    )


def _option_table(answer: SizingAnswer) -> Table:
    currency = answer.prices.currency if answer.prices else ""
    prices = (Column(currency, "a month"), Column("at most", "scaled out", dropped=2))
    columns = (
        Column("class", right=False),
        Column("min"),
        Column("max"),
        Column("P", "enough"),
        Column("enough after", "a burst", dropped=1),
        Column("slow calls", "until enough"),
        Column("failed", "until enough"),
        *(prices if answer.prices else ()),
        Column("", right=False),
    )
    rows = (
        _option_row(option, index == answer.recommended, with_price=answer.prices is not None)
        for index, option in enumerate(answer.options)
    )
    return Table(columns, tuple(rows))


def _option_row(option: SizeOption, recommended: bool, *, with_price: bool) -> tuple[str, ...]:
    burst = option.burst
    row: tuple[str, ...] = (
        option.environment_class,
        str(option.min_webservers),
        str(option.max_webservers),
        chance(min(option.probability, option.probability_at_peak)),
        _after(burst.enough_after_s),
        _calls(burst.slow_calls),
        _calls(burst.failed_calls),
    )
    if with_price:
        row += (_money(option.monthly), _money(option.monthly_at_most))
    remark = "recommended" if recommended else "" if option.meets else "not sure enough"
    return (*row, remark)


def _trace_table(answer: SizingAnswer) -> Table:
    columns = (
        Column("class", right=False),
        Column("min"),
        Column("max"),
        Column("slow", "or failed"),
        Column("failed"),
        Column("webservers", "most"),
        Column("webservers", "on average"),
    )
    rows = (
        (
            option.environment_class,
            str(option.min_webservers),
            str(option.max_webservers),
            words.share(trace.slow_share),
            words.share(trace.failed_share),
            words.count(trace.most_webservers),
            words.trimmed(trace.webserver_hours * 3600 / trace.simulated_s),
        )
        for option in answer.options
        if (trace := option.trace) is not None
    )
    return Table(columns, tuple(rows))


def _about_options(answer: SizingAnswer) -> Iterator[str]:
    burst = answer.options[0].burst
    yield (
        f"A burst: from {_rate(burst.from_per_s)} to {words.calls_per_s(burst.to_per_s)} at once, "
        f"with the minimum in service. {answer.autoscaling}"
    )
    if any(_is_quiet_though_not_enough(option.burst) for option in answer.options):
        yield (
            "Slow and failed calls are simulated from CPU time alone: none where the webservers "
            "are not yet enough does not mean that the SLO holds."
        )
    if answer.prices is None:
        yield answer.price_refusal
        return
    prices = answer.prices
    if not prices.region_given:
        yield f"No region was given, so prices of {prices.region} are shown."
    yield (
        f"Prices of {prices.region} as of {prices.as_of} ({prices.source}): environment and "
        "webservers only, 730 h a month with the minimum in service; at most: with the maximum "
        "all the time, if autoscaled webservers are billed like others."
    )


def _is_quiet_though_not_enough(burst: BurstCost) -> bool:
    return burst.enough_after_s.value != 0 and (burst.slow_calls.high or 0.0) < 1


def _rate(per_s: float) -> str:
    return words.calls_per_s(per_s) if per_s else "no calls"


def _after(span: Span) -> str:
    if span.value == 0:
        return "at once"
    if span.value is None:
        return "never" if span.low is None else f"{span.low:.0f} s or never"
    if span.low is None or span.high is None:
        return words.delay(span.value)
    return f"{span.value:.0f} s ({span.low:.0f}-{span.high:.0f})"


def _calls(span: Span) -> str:
    if span.value is None or span.low is None or span.high is None:
        return words.UNKNOWN
    if span.high < 1:
        return "0"
    value, low, high = (f"{each:.0f}" for each in (span.value, span.low, span.high))
    return value if low == high else f"{value} ({low}-{high})"


def _money(amount: Money | None) -> str:
    if amount is None:
        return "unknown"
    return words.span(round(amount.low), round(amount.high))
