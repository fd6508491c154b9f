"""The document of `headroom observe`: what an environment's webservers did, and what they need."""

from functools import partial
from typing import TYPE_CHECKING, Final

from mwaa_headroom.analysis.mwaa import CONNECTIONS_ABOVE, CPU_ABOVE_PERCENT
from mwaa_headroom.analysis.observed import CountNeeded, Observed, Spread
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.charts.over_time import observed_chart
from mwaa_headroom.analysis.report.document import (
    Bullets,
    Case,
    Column,
    Document,
    Figure,
    Section,
    Text,
    table_of,
)
from mwaa_headroom.analysis.report.sentences import told, told_each

if TYPE_CHECKING:  # matplotlib: not for those who only read text
    from matplotlib.figure import Figure as Drawing

PICTURE: Final = "observed"
_MOST_CHANGES: Final = 10


def observed_document(observed: Observed) -> Document:
    """What to tell of it, in the order in which it is read."""
    sections = (
        _summary(observed),
        _busiest(observed),
        _needed(observed),
        _changes(observed),
        Section("Findings", (Bullets(told_each(observed.findings)),), brief=True),
    )
    span = f"{words.moment(observed.from_s)} to {words.moment(observed.to_s)}"
    sentence = _sentence(observed)
    return Document(
        kind="observed",
        title=f"Environment {observed.environment.name}",
        headline=_headline(observed),
        about=f"{span}, from CloudWatch alone",
        sentence=sentence,
        status="unclear" if observed.exit_code else "good",
        sections=tuple(section for section in sections if section),
        result=observed,
        cases=(Case("observe", "metrics", "error" if observed.exit_code else "passed", sentence),),
        started_at_s=observed.from_s,
        length_s=observed.to_s - observed.from_s,
        pictures=(PICTURE,),
    )


def _headline(observed: Observed) -> str:
    if observed.cpu_percent is None:
        return "No metrics"
    peak = words.percent(observed.cpu_percent.highest)
    if observed.enough is None:
        return f"CPU up to {peak}, too much for any class"
    grown = "" if observed.growth == 1 else f" for {observed.growth:g} times as much"
    return f"CPU up to {peak}, {_count(observed.enough)} needed{grown}"


def _count(needed: CountNeeded) -> str:
    name = f"{needed.environment_class} " if needed.environment_class else ""
    number = needed.in_busiest_window
    return f"{number} {name}webserver{'' if number == 1 else 's'}"


def _sentence(observed: Observed) -> str:
    if observed.cpu_percent is None:
        return told(observed.findings[0])
    above = words.share(observed.above_cpu_fraction)
    text = (
        f"The webservers' CPU was {words.percent(observed.cpu_percent.mean)} on average and above "
        f"{CPU_ABOVE_PERCENT:g} % for {above} of the time"
    )
    if observed.at_most_fraction is not None:
        at_most = words.share(observed.at_most_fraction)
        text += f"; all {observed.environment.max_webservers} webservers ran for {at_most} of it"
    enough = observed.enough
    if enough is None:
        return f"{text}."
    grown = "" if observed.growth == 1 else f" of {observed.growth:g} times this traffic"
    return (
        f"{text}. In the busiest five minutes{grown}, {_count(enough)} would keep it at or below "
        f"{CPU_ABOVE_PERCENT:g} %, in 99 % of them {enough.in_99_percent}."
    )


def _summary(observed: Observed) -> Section | None:
    rows = (
        ("CPU (%), mean of the webservers", observed.cpu_percent),
        ("connections, all together", observed.connections),
        ("webservers", observed.webservers),
        ("calls/s", observed.calls_per_s),
    )
    known: list[tuple[str, Spread]] = [(name, spread) for name, spread in rows if spread]
    if not known:
        return None
    table = table_of(
        known,
        (Column("", right=False), lambda row: row[0]),
        (Column("mean"), lambda row: words.number(row[1].mean)),
        (Column("p95"), lambda row: words.number(row[1].p95)),
        (Column("p99"), lambda row: words.number(row[1].p99)),
        (Column("highest"), lambda row: words.number(row[1].highest)),
        (Column("at", right=False, dropped=1), lambda row: words.moment(row[1].highest_at_s)),
    )
    figure = Figure(
        PICTURE,
        "Webservers, CPU and connections over time",
        partial(_draw, observed),
        partial(observed_chart, observed),
    )
    above = (
        f"Above {CPU_ABOVE_PERCENT:g} % CPU: {words.share(observed.above_cpu_fraction)} of the "
        f"time; above {CONNECTIONS_ABOVE:g} connections: "
        f"{words.share(observed.above_connections_fraction)}. Either adds webservers."
    )
    title = f"What happened (periods of {words.delay(observed.period_s)})"
    return Section(title, (figure, table, Text(above)), brief=True)


def _draw(observed: Observed) -> "Drawing | None":
    from mwaa_headroom.analysis.report.plots.observed import draw_observed

    return draw_observed(observed, _headline(observed))


def _busiest(observed: Observed) -> Section | None:
    if not observed.busiest_hours:
        return None
    has_calls = observed.calls_per_s is not None
    table = table_of(
        observed.busiest_hours,
        (Column("from", right=False), lambda hour: words.moment(hour.start_s)),
        (Column("busy", "webservers"), lambda hour: words.number(hour.busy_webservers)),
        (Column("of", "webservers"), lambda hour: words.number(hour.webservers)),
        (Column("CPU", "mean"), lambda hour: words.percent(hour.cpu_percent)),
        (Column("CPU", "highest"), lambda hour: words.percent(hour.cpu_highest_percent)),
        (
            Column("connections", "highest", dropped=1),
            lambda hour: words.number(hour.connections_highest),
        ),
        *([(Column("calls/s", "mean"), lambda hour: words.number(hour.calls_per_s))] * has_calls),
    )
    return Section("Busiest hours", (table,), brief=True)


def _needed(observed: Observed) -> Section | None:
    if not observed.needed:
        return None
    table = table_of(
        observed.needed,
        (Column("class", right=False), lambda n: n.environment_class or words.UNKNOWN),
        (Column("vCPU", "of each"), lambda n: words.number(n.webserver_cpu)),
        (Column("busiest", "5 min"), lambda n: str(n.in_busiest_window)),
        (Column("99 %", "of them"), lambda n: str(n.in_99_percent)),
        (Column("allowed"), lambda n: words.count(n.most_webservers)),
    )
    grown = "" if observed.growth == 1 else f", {observed.growth:g} times the traffic"
    return Section(
        f"Webservers needed for at most {CPU_ABOVE_PERCENT:g} % CPU{grown}", (table,), brief=True
    )


def _changes(observed: Observed) -> Section | None:
    changes = observed.changes
    if not observed.series:
        return None
    outs = sum(change.to_count > change.from_count for change in changes)
    texts = [Text(f"Webservers were added {outs} times and removed {len(changes) - outs} times.")]
    if not changes:
        return Section("Scaling", tuple(texts))
    table = table_of(
        changes[-_MOST_CHANGES:],
        (Column("in the period from", right=False), lambda change: words.moment(change.at_s)),
        (Column("from"), lambda change: str(change.from_count)),
        (Column("to"), lambda change: str(change.to_count)),
    )
    if len(changes) > _MOST_CHANGES:
        texts.append(Text(f"The last {_MOST_CHANGES}:"))
    return Section("Scaling", (*texts, table))
