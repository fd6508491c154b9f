"""Two runs side by side, as a document."""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

from mwaa_headroom.analysis.comparison.difference import (
    DemandPair,
    RunDifference,
    SettingChange,
    StagePair,
)
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.document import (
    Column,
    Document,
    Section,
    Table,
    Text,
    table_of,
)

_NO_VERDICT = (
    "Two runs of one and the same thing differ as well, so this is no verdict: `headroom compare` "
    "tells from several runs of each side what is more than chance."
)


def difference_document(found: RunDifference) -> Document:
    """What differs in the settings, and all figures of the stages."""
    changes = words.counted(len(found.settings), "setting")
    headline = f"{changes} differ{'s' if len(found.settings) == 1 else ''}"
    return Document(
        kind="difference",
        title="Two runs side by side",
        headline=headline,
        about=f"A: {found.first_run}; B: {found.second_run}",
        sentence=f"{headline}.",
        status="plain",
        sections=tuple(_sections(found)),
        result=found,
    )


def _sections(found: RunDifference) -> Iterator[Section]:
    yield Section("Settings that differ", tuple(_settings(found.settings)), brief=True)
    yield Section("Stages", (_stages(found.stages),), brief=True)
    if found.demands:
        yield Section("Service demand", (_demands(found.demands),), brief=True)
    yield Section("No verdict", (Text(_NO_VERDICT),), brief=True)


def _settings(changes: tuple[SettingChange, ...]) -> Iterator[Table | Text]:
    if not changes:
        yield Text("None: scenario, environment, versions and host are the same.")
    for group, of_group in groupby(changes, lambda change: change.group):
        table = table_of(
            of_group,
            (Column("key", right=False), lambda change: change.key),
            (Column("A", right=False), lambda change: _value(change.first)),
            (Column("B", right=False), lambda change: _value(change.second)),
        )
        yield replace(table, caption=f"Of the {group}:")


def _value(value: object) -> str:
    if value is None:
        return words.UNKNOWN
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _stages(pairs: tuple[StagePair, ...]) -> Table:
    rows = [
        (name, run, figures)
        for pair in pairs
        for name, run, figures in (
            (pair.stage, "A", pair.first),
            ("" if pair.first else pair.stage, "B", pair.second),
        )
        if figures
    ]
    return table_of(
        rows,
        (Column("stage", right=False), lambda row: row[0]),
        (Column("run", right=False), lambda row: row[1]),
        (Column("offered", "calls/s"), lambda row: words.rate(row[2].offered_per_s)),
        (Column("achieved", "calls/s"), lambda row: words.rate(row[2].achieved_per_s)),
        (Column("p50"), lambda row: words.duration(row[2].latency_p50_s)),
        (Column("p95"), lambda row: words.duration(row[2].latency_p95_s)),
        (Column("errors"), lambda row: words.share(row[2].error_rate)),
        (Column("CPU"), lambda row: words.percent(row[2].webserver_cpu_percent)),
    )


def _demands(pairs: tuple[DemandPair, ...]) -> Table:
    return table_of(
        pairs,
        (Column("operation", right=False), lambda pair: pair.operation),
        (Column("A"), lambda pair: words.duration(pair.first_s)),
        (Column("B"), lambda pair: words.duration(pair.second_s)),
    )
