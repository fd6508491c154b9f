"""The document of `headroom size`: which environment serves a load, and how sure that is."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from mwaa_headroom.analysis.planning.bursts import BurstCost, Span
from mwaa_headroom.analysis.planning.classes import Money
from mwaa_headroom.analysis.planning.options import ClassSize, SizeOption
from mwaa_headroom.analysis.planning.runs import SizedRun
from mwaa_headroom.analysis.planning.size import SizingAnswer
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.charts.planning import sizing_of_answer
from mwaa_headroom.analysis.report.document import (
    Block,
    Bullets,
    Case,
    Column,
    Document,
    Figure,
    Section,
    Text,
    table_of,
)
from mwaa_headroom.analysis.report.lines_to_paste import lines_to_paste
from mwaa_headroom.analysis.report.sentences import told, told_each
from mwaa_headroom.analysis.report.sentences.sizing import measured_cpu

if TYPE_CHECKING:  # matplotlib: not for those who only read text
    from matplotlib.figure import Figure as Drawing

PICTURE: Final = "webservers_needed"
_SETTING: Final[tuple[tuple[Column, Callable[[SizeOption], str]], ...]] = (
    (Column("class", right=False), lambda option: option.environment_class),
    (Column("min"), lambda option: str(option.min_webservers)),
    (Column("max"), lambda option: str(option.max_webservers)),
)
_SHORTEST_END: Final = 8  # characters of a run id
_BEYOND: Final = 1.5  # times the highest rate measured, from which on a size is an extrapolation


def size_document(answer: SizingAnswer) -> Document:
    """What to tell of a size, in the order in which it is read."""
    sections = (
        (Section("Why not", (Bullets(told_each(answer.refusals)),), brief=True),)
        if answer.refusals
        else (
            _conditions(answer),
            _runs(answer),
            _classes(answer),
            _options(answer),
            _trace(answer),
            _limitations(answer),
            Section("Assumptions", (Bullets(told_each(answer.assumptions)),)),
            _to_set_it(answer),
        )
    )
    slo = f"SLO: {', '.join(slo.text for slo in answer.slo)}" if answer.slo else "no SLO"
    return Document(
        kind="size",
        title="Size",
        headline=_headline(answer),
        about=f"Wanted: {told(answer.load)}; {slo}",
        sentence=_sentence(answer),
        status="unclear" if answer.chosen is None else "good",
        sections=tuple(section for section in sections if section),
        result=answer,
        cases=(
            Case(
                "size",
                told(answer.load),
                "error" if answer.chosen is None else "passed",
                _sentence(answer),
            ),
        ),
        pictures=(PICTURE,),
    )


def _headline(answer: SizingAnswer) -> str:
    option = answer.chosen
    if option is None:
        return "Out of reach" if answer.impossible else "No size"
    count = words.span(option.min_webservers, option.max_webservers)
    return f"{option.environment_class}, {count} {'webserver' if count == '1' else 'webservers'}"


# The answer in one sentence.


def _sentence(answer: SizingAnswer) -> str:
    if answer.refusals:
        return f"No size can be given: {words.lowered(told(answer.refusals[0]))}"
    if answer.impossible:
        return told(answer.impossible)
    chosen, peak = answer.chosen, words.calls_per_s(answer.high_per_s)
    if chosen is None and answer.options:
        shortcoming = words.lowered(told(answer.options[-1].shortcoming))
        return f"No setting meets the SLO surely enough: {shortcoming}"
    if chosen is None:
        last = answer.classes[-1]
        return (
            f"No environment class from {answer.classes[0].environment_class} on is sure enough to "
            f"serve {peak}: even {last.most_webservers} {last.environment_class} webservers are "
            f"enough with a probability of {words.chance(last.chances[-1].probability_at_peak)} "
            "only."
        )
    percent = words.share(answer.utilisation_target)
    met = "meets the SLO" if _by_slo(answer) else f"keeps the webservers' CPU at or below {percent}"
    sure = words.chance(min(chosen.probability, chosen.probability_at_peak))
    return (
        f"{'By extrapolation, ' if _is_extrapolated(answer, chosen) else ''}"
        f"{chosen.environment_class} with MinWebservers {chosen.min_webservers} and MaxWebservers "
        f"{chosen.max_webservers} {met} with a probability of {sure}{_for_money(answer, chosen)}"
        f"{'' if _by_slo(answer) or not answer.slo else '; this is for CPU only'}."
    )


def _size_of(answer: SizingAnswer, option: SizeOption) -> ClassSize:
    return next(s for s in answer.classes if s.environment_class == option.environment_class)


def _by_slo(answer: SizingAnswer) -> bool:
    return answer.judged_by == "slo_capacity"


def _is_extrapolated(answer: SizingAnswer, option: SizeOption) -> bool:
    return (
        _size_of(answer, option).webserver_cpu != answer.runs[0].webserver_cpu
        or answer.high_per_s > _BEYOND * answer.highest_rate_per_s
    )


def _for_money(answer: SizingAnswer, option: SizeOption) -> str:
    money = option.monthly
    if money is None or answer.prices is None:
        return ""
    amount = f"{money.high:.0f}"
    if round(money.low) != round(money.high):
        amount = f"{money.low:.0f} to {amount}"
    return f", for {amount} {answer.prices.currency} a month"


# Sections.


def _conditions(answer: SizingAnswer) -> Section | None:
    """What belongs to the sentence: how sure at which rate, what decides, when it holds."""
    option = answer.chosen
    if option is None:
        return None
    size, peak = _size_of(answer, option), words.calls_per_s(answer.high_per_s)
    found = []
    if option.trace is None and answer.low_per_s < answer.high_per_s:
        with_min = next(c for c in size.chances if c.webservers == option.min_webservers)
        found.append(
            f"The probability is that over the range; at {peak} it is "
            f"{words.chance(with_min.probability_at_peak)} with the minimum and "
            f"{words.chance(option.probability_at_peak)} with the maximum."
        )
    if len(answer.runs) == 1 and not answer.runs[0].between_runs:
        found.append("There is one run: how runs differ is not in the probability.")
    found += [_by_cpu(answer, size, option), *told_each(answer.latency)]
    found += _holds_if(answer, option)
    return Section("Conditions", (Bullets(tuple(found)),), brief=True)


def _by_cpu(answer: SizingAnswer, size: ClassSize, option: SizeOption) -> str:
    """How many the CPU asks for, and how that goes together with what is recommended."""
    peak, percent = words.calls_per_s(answer.high_per_s), words.share(answer.utilisation_target)
    if not _by_slo(answer):
        return f"At {percent} CPU, {peak} need {_between(size)}."
    needed = (
        "The rate at which the SLO broke in the runs decides; to stay at or below "
        f"{percent} CPU, {peak} would need {_between(size)}"
    )
    if size.webservers is not None and size.webservers <= option.max_webservers:
        return f"{needed}."
    limit = option.max_webservers
    of_class = ", the most one may set" if limit == size.most_webservers else ""
    return (
        f"{needed}, so with {limit}{of_class}, the CPU would be above {percent} and autoscaling "
        "would want more than it may have."
    )


def _between(size: ClassSize) -> str:
    if size.webservers is None:
        return "more than can be had"
    count = words.webservers(size.webservers)
    if size.webservers_low == size.webservers_high:
        return f"{count} (no other count is in the 95 % interval)"
    high = "more" if size.webservers_high is None else str(size.webservers_high)
    return f"{count} (95 % interval {size.webservers_low} to {high})"


def _holds_if(answer: SizingAnswer, option: SizeOption) -> list[str]:
    """What was not measured and has to be so for the size to hold."""
    holds = []
    if answer.environment_kind != "aws":
        holds.append(f"a vCPU of AWS is as fast as {measured_cpu(answer.environment_kind)}")
    if _is_extrapolated(answer, option):
        holds.append("what the webservers serve grows in proportion to their CPU and number")
    if not holds:
        return []
    measured = ""
    if answer.highest_rate_per_s:
        measured = (
            f"; the highest rate measured was {words.calls_per_s(answer.highest_rate_per_s)}, on "
            f"webservers with {answer.runs[0].webserver_cpu:g} CPU"
        )
    return [f"This holds if {' and '.join(holds)}{measured}."]


def _runs(answer: SizingAnswer) -> Section:
    runs = zip(answer.runs, _names(answer.runs), strict=True)
    at_target = f"calls/s at {words.share(answer.utilisation_target)}"
    capacity: tuple[tuple[Column, Callable[[tuple[SizedRun, str]], str]], ...] = (
        (Column("SLO breaks at", "calls/s"), lambda r: words.number_estimate(r[0].capacity_per_s)),
        (Column("on", "webservers"), lambda r: words.count(r[0].capacity_webservers)),
    )
    table = table_of(
        runs,
        (Column("run", right=False), lambda r: r[1]),
        (Column("CPU", "per webserver", dropped=1), lambda r: words.trimmed(r[0].webserver_cpu)),
        (
            Column("CPU time", "per call", dropped=2),
            lambda r: words.duration_estimate(r[0].demand_s),
        ),
        (
            Column("one webserver", at_target),
            lambda r: words.number_estimate(r[0].rate_of_one_per_s),
        ),
        *(capacity if any(run.capacity_per_s for run in answer.runs) else ()),
    )
    return Section("What a webserver serves", (table,))


def _names(runs: Sequence[SizedRun]) -> list[str]:
    """Of several runs the end of the id alone, which tells them apart where its beginning won't."""
    ids = [run.run_id for run in runs]
    longest = max(map(len, ids))
    ends = range(_SHORTEST_END, longest)
    end = next((n for n in ends if len({name[-n:] for name in ids}) == len(ids)), longest)
    return ids if len(ids) == 1 else [n if len(n) <= end + 1 else f"…{n[-end:]}" for n in ids]


def _classes(answer: SizingAnswer) -> Section:
    counts = sorted({chance.webservers for size in answer.classes for chance in size.chances})
    table = table_of(
        answer.classes,
        (Column("class", right=False), lambda c: c.environment_class),
        (Column("vCPU"), lambda c: words.trimmed(c.webserver_cpu)),
        (
            Column("one webserver", "calls/s", dropped=1),
            lambda c: words.number_estimate(c.rate_of_one_per_s),
        ),
        (
            Column("needed", words.calls_per_s(answer.high_per_s)),
            lambda c: words.count(c.webservers),
        ),
        (Column("interval", "95 %"), _interval),
        *((Column(f"P({count})", "enough"), partial(_chance, count)) for count in counts),
    )
    blocks = [Text(_probability_is_about(answer))]
    if answer.deciding:
        blocks.append(Text(told(answer.deciding)))
    figure = Figure(
        PICTURE,
        "Webservers needed by load",
        partial(_draw, answer),
        partial(sizing_of_answer, answer),
    )
    return Section(
        "Webservers needed",
        (*blocks, figure, table),
        brief=True,
        brief_blocks=(table, *blocks[1:]),
    )


def _draw(answer: SizingAnswer) -> "Drawing | None":
    from mwaa_headroom.analysis.report.plots.sizing import draw_sizing_answer

    return draw_sizing_answer(answer)


def _probability_is_about(answer: SizingAnswer) -> str:
    if _by_slo(answer):
        return "P: probability that the SLO is met, by the rate at which it broke in the runs."
    capped = any(run.capacity_per_s for run in answer.runs)
    return (
        "P: probability that the webservers' CPU stays at or below "
        f"{words.share(answer.utilisation_target)}, the target"
        f"{', and at most that the SLO does not break as it did in the runs' if capped else ''}."
    )


def _interval(size: ClassSize) -> str:
    low, high = size.webservers_low, size.webservers_high
    return f"{low}-" if high is None else words.span(low, high)


def _chance(webservers: int, size: ClassSize) -> str:
    """Of a count; a class may not let one set it."""
    found = (words.short_chance(c.probability) for c in size.chances if c.webservers == webservers)
    return next(found, words.UNKNOWN)


def _options(answer: SizingAnswer) -> Section | None:
    if not answer.options:
        return None
    currency = answer.prices.currency if answer.prices else ""
    prices: tuple[tuple[Column, Callable[[SizeOption], str]], ...] = (
        (Column(currency, "a month"), lambda o: _money(o.monthly)),
        (Column("at most", "scaled out", dropped=2), lambda o: _money(o.monthly_at_most)),
    )
    table = table_of(
        answer.options,
        *_SETTING,
        (
            Column("P", "enough"),
            lambda o: words.short_chance(min(o.probability, o.probability_at_peak)),
        ),
        (Column("enough after", "a burst", dropped=1), lambda o: _after(o.burst.enough_after_s)),
        (Column("slow calls", "in a burst"), lambda o: _calls(o.burst.slow_calls)),
        (Column("failed", "in a burst", dropped=1), lambda o: _calls(o.burst.failed_calls)),
        *(prices if answer.prices else ()),
        (Column("", right=False), lambda o: _remark(o, answer.chosen)),
    )
    about = [Text(each) for each in _about_options(answer)]
    doubt = [Text(each) for each in _doubt_about_prices(answer)]
    brief: tuple[Block, ...] = (table, *doubt)
    return Section("Options", (*about, *brief), brief=True, brief_blocks=brief)


def _remark(option: SizeOption, chosen: SizeOption | None) -> str:
    if option is chosen:
        return "recommended"
    return "" if option.meets else "not sure enough"


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
    return "unknown" if amount is None else words.span(round(amount.low), round(amount.high))


def _about_options(answer: SizingAnswer) -> list[str]:
    burst, prices = answer.options[0].burst, answer.prices
    before = words.calls_per_s(burst.from_per_s) if burst.from_per_s else "no calls"
    found = [
        f"A burst: from {before} to {words.calls_per_s(burst.to_per_s)} at once, with the minimum "
        f"in service. {told(answer.autoscaling)}"
    ]
    if any(_is_quiet_though_not_enough(option.burst) for option in answer.options):
        found.append(
            "Slow and failed calls are simulated from CPU time alone: none where the webservers "
            "are not yet enough does not mean that the SLO holds."
        )
    if prices is not None:
        found.append(
            f"Prices of {prices.region} as of {prices.as_of} ({prices.source}): environment and "
            "webservers only, 730 h a month with the minimum in service; at most: with the maximum "
            "all the time, if autoscaled webservers are billed like others."
        )
    return found


def _doubt_about_prices(answer: SizingAnswer) -> tuple[str, ...]:
    if answer.prices is None:
        return (told(answer.price_refusal),)
    if not answer.prices.region_given:
        return (f"No region was given, so prices of {answer.prices.region} are shown.",)
    return ()


def _is_quiet_though_not_enough(burst: BurstCost) -> bool:
    return burst.enough_after_s.value != 0 and (burst.slow_calls.high or 0.0) < 1


def _trace(answer: SizingAnswer) -> Section | None:
    played = [(option, option.trace) for option in answer.options if option.trace is not None]
    if not played:
        return None
    table = table_of(
        played,
        *((column, lambda p, cell=cell: cell(p[0])) for column, cell in _SETTING),
        (Column("slow", "or failed"), lambda p: words.share(p[1].slow_share)),
        (Column("failed"), lambda p: words.share(p[1].failed_share)),
        (Column("webservers", "most"), lambda p: words.count(p[1].most_webservers)),
        (
            Column("webservers", "on average"),
            lambda p: words.trimmed(p[1].webserver_hours * 3600 / p[1].simulated_s),
        ),
    )
    return Section("The trace, played against the scaling rule", (table,))


def _to_set_it(answer: SizingAnswer) -> Section | None:
    if answer.chosen is None:
        return None
    return lines_to_paste(answer.chosen, environment_name=answer.environment_name)


def _limitations(answer: SizingAnswer) -> Section | None:
    if not answer.warnings:
        return None
    return Section("Limitations", (Bullets(told_each(answer.warnings)),), brief=True)
