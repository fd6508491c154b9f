"""The document of an upgrade experiment: the verdict, then what an engineer needs to act on it."""

from collections.abc import Iterator
from dataclasses import replace

from mwaa_headroom.analysis.comparison.metrics import MIX_DEMAND
from mwaa_headroom.analysis.comparison.regression import MetricComparison
from mwaa_headroom.analysis.comparison.upgrade import (
    GROWTH_CALLS,
    OperationChange,
    Side,
    UpgradeAnswer,
    WebserversNeeded,
)
from mwaa_headroom.analysis.mwaa import MOST_WEBSERVERS
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.comparison_report import comparison_document
from mwaa_headroom.analysis.report.document import (
    Bullets,
    Column,
    Document,
    Hint,
    Section,
    Text,
    table_of,
)
from mwaa_headroom.analysis.report.metric_words import change, change_alone, metric_value
from mwaa_headroom.analysis.report.sentences import told, told_each


def upgrade_document(answer: UpgradeAnswer) -> Document:
    """Both sides of an upgrade held against each other."""
    comparison = answer.comparison
    compared = comparison_document(comparison)
    before, after = answer.sides
    sections = (
        _operations(answer),
        _webservers(answer),
        _sides(answer),
        _behaviours(answer),
        _set_aside(answer),
    )
    first, *others = compared.sections
    return replace(
        compared,
        kind="upgrade",
        title="Upgrade",
        about=f"Airflow {before.airflow_version} (baseline) to {after.airflow_version} "
        f"(contender), {words.counted(answer.pairs, 'pair')} of runs",
        sections=(first, *filter(None, sections), *others),
        result=answer,
    )


def pair_told(answer: UpgradeAnswer) -> str:
    """The answer so far, in one line."""
    comparison = answer.comparison
    so_far = f"{words.counted(answer.pairs, 'pair')} of at most {answer.planned}"
    if comparison.refusals:
        return f"{so_far}: {told(comparison.refusals[0])}"
    mix = next((each for each in comparison.gate if each.metric == MIX_DEMAND), None)
    demand = f"; CPU per call of the mix {change(mix.metric, mix.change)}" if mix else ""
    finds = f", a change is found from {change_alone(mix.metric, mix.detectable)}" if mix else ""
    open_ones = sum(each.verdict == "inconclusive" for each in comparison.gate)
    left = f"; {open_ones} of {len(comparison.gate)} still unclear" if open_ones else ""
    return f"{so_far}{demand}{finds}{left}"


def _operations(answer: UpgradeAnswer) -> Section | None:
    if not answer.operations:
        return None
    table = table_of(
        answer.operations,
        (Column("operation", right=False), lambda o: o.operation),
        (Column("sent", dropped=4), lambda o: words.calls_per_s(o.rate_per_s)),
        (Column("CPU per call", "before"), lambda o: _value(o.demand, after=False)),
        (Column("CPU per call", "after"), lambda o: _value(o.demand, after=True)),
        (Column("ratio", "95 % interval"), lambda o: _change(o.demand)),
        (Column("p50", "before", dropped=1), lambda o: _value(o.p50, after=False)),
        (Column("p50", "after"), lambda o: _value(o.p50, after=True)),
        (Column("p95", "before", dropped=2), lambda o: _value(o.p95, after=False)),
        (Column("p95", "after", dropped=2), lambda o: _value(o.p95, after=True)),
        (Column("failed", "after", dropped=3), lambda o: words.share(o.failed[1])),
        (Column("answer", "after", dropped=3), lambda o: _size(o)),
        (Column("", right=False), lambda o: o.demand.verdict if o.demand else "~"),
    )
    return Section(
        "Each operation, sent alone",
        (
            table,
            Hint(
                "Not part of the verdict; medians over the runs, the ratio over the pairs. "
                '"~": no change of the CPU per call can be told.'
            ),
        ),
        brief=True,
        brief_blocks=(table,),
    )


def _value(each: MetricComparison | None, *, after: bool) -> str:
    if each is None:
        return words.UNKNOWN
    side = each.contender if after else each.baseline
    return metric_value(each.metric, side.value)


def _change(each: MetricComparison | None) -> str:
    return words.UNKNOWN if each is None else change(each.metric, each.change)


def _size(each: OperationChange) -> str:
    size = each.answer_bytes[1]
    return words.UNKNOWN if size is None else words.byte_size(size)


def _webservers(answer: UpgradeAnswer) -> Section | None:
    if all(side.rate_per_webserver_per_s is None for side in answer.sides):
        return None
    table = table_of(
        answer.webservers,
        (Column("this mix at"), lambda n: words.calls_per_s(n.rate_per_s)),
        (Column("webservers", "before"), lambda n: words.count(n.baseline)),
        (Column("webservers", "after"), lambda n: words.count(n.contender)),
        (Column("a month", "USD"), _month),
    )
    about = f"At {words.share(answer.utilisation_target)} of their CPU, by the CPU per call alone"
    counts = [n for need in answer.webservers for n in (need.baseline, need.contender) if n]
    if max(counts, default=0) > MOST_WEBSERVERS:
        about += f" (MWAA allows {MOST_WEBSERVERS}, or more on request)"
    prices = answer.prices
    cost = (
        f"; an additional webserver of {prices.environment_class} in {prices.region}, prices of "
        f"{prices.as_of}"
        if prices and any(need.change_per_month for need in answer.webservers)
        else ""
    )
    return Section("Webservers for the same load", (table, Text(f"{about}{cost}.")), brief=True)


def _month(need: WebserversNeeded) -> str:
    if need.change_per_month is None:
        same = need.baseline is not None and need.baseline == need.contender
        return "same" if same else words.UNKNOWN
    low, high = sorted((need.change_per_month.low, need.change_per_month.high), key=abs)
    amounts = dict.fromkeys(f"{each:+.0f}" for each in (low, high))
    return " to ".join(amounts)


def _sides(answer: UpgradeAnswer) -> Section:
    before, after = answer.sides
    rows = (
        ("memory of a webserver at the start", _memory(before), _memory(after)),
        (f"its growth by {GROWTH_CALLS:,} calls", _growth(before), _growth(after)),
        (
            "CPU of the database, busier mix",
            words.percent(before.database_cpu_percent),
            words.percent(after.database_cpu_percent),
        ),
        (
            "connections to it, most",
            words.count(before.database_connections),
            words.count(after.database_connections),
        ),
        (
            "rate of one webserver",
            words.calls_per_s(before.rate_per_webserver_per_s),
            words.calls_per_s(after.rate_per_webserver_per_s),
        ),
        (
            "the host's reference work",
            words.duration(before.reference_s),
            words.duration(after.reference_s),
        ),
    )
    table = table_of(
        [row for row in rows if row[1:] != (words.UNKNOWN, words.UNKNOWN)],
        (Column("", right=False), lambda row: row[0]),
        (Column(before.airflow_version, "baseline"), lambda row: row[1]),
        (Column(after.airflow_version, "contender"), lambda row: row[2]),
    )
    return Section("Memory, database and host", (table,), brief=True)


def _memory(side: Side) -> str:
    return _of_memory(side, side.memory_at_start_percent, "")


def _growth(side: Side) -> str:
    return _of_memory(side, side.memory_growth_percent, "+")


def _of_memory(side: Side, percent: float | None, sign: str) -> str:
    if percent is None:
        return words.UNKNOWN
    if side.webserver_memory_mib is None:
        return f"{percent:{sign}.2f} points" if sign else words.percent(percent)
    mib = percent / 100 * side.webserver_memory_mib
    return f"{mib:{sign}.1f} MiB" if sign else f"{mib:.0f} MiB"


def _behaviours(answer: UpgradeAnswer) -> Section | None:
    if not answer.behaviours:
        return None
    return Section("Answers that changed", (Bullets(told_each(answer.behaviours)),), brief=True)


def _set_aside(answer: UpgradeAnswer) -> Section | None:
    if not answer.set_aside:
        return None
    return Section("Pairs that do not count", (Bullets(tuple(_reasons(answer))),), brief=True)


def _reasons(answer: UpgradeAnswer) -> Iterator[str]:
    for number, why in answer.set_aside:
        yield f"Pair {number}: {told(why)}"
