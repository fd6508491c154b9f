"""The answer to `headroom capacity`, ready to be laid out."""

from collections.abc import Iterator, Sequence
from typing import Final

from mwaa_headroom.analysis.planning.capacity_curve import (
    AmdahlFit,
    CapacityCurve,
    CountCapacity,
    CountTrial,
)
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.planning.answer import Answer, Section
from mwaa_headroom.analysis.report.sentences import told
from mwaa_headroom.analysis.report.tables import Column, Table

CAPACITY_PICTURE: Final = "capacity_curve"
_MARKS: Final = {"pass": "✓", "fail": "✗", "undecided": "?"}


def capacity_sections(curve: CapacityCurve) -> Answer:
    """What to tell of the capacity, in the order in which it is read."""
    return Answer(
        kind="capacity",
        headline=headline(curve),
        sentence=curve.sentence,
        tone="good" if curve.exit_code == 0 else "unsure",
        sections=tuple(_sections(curve)),
        refusals=curve.refusals,
        notes=(*curve.notes, *_may_differ(curve)),
    )


def headline(curve: CapacityCurve) -> str:
    """The capacity in a few words."""
    known = [each for each in curve.counts if words.is_known(each.capacity_per_s.value)]
    if not known:
        return "No capacity"
    rates = [words.trimmed(each.capacity_per_s.value or 0.0) for each in known]
    if len(known) == 1:
        return f"{rates[0]} calls/s with {words.webservers(known[0].webservers)}"
    fewest, most = known[0].webservers, known[-1].webservers
    return f"{rates[0]} to {rates[-1]} calls/s with {fewest} to {most} webservers"


def _sections(curve: CapacityCurve) -> Iterator[Section]:
    if not curve.counts:
        return
    yield Section("SLO", (", ".join(curve.slo) or "The runs have no SLO.",))
    yield Section(
        "Capacity by webserver count",
        table=_count_table(curve.counts),
        picture=CAPACITY_PICTURE,
    )
    if curve.amdahl is not None:
        yield Section("How it grows", (_contention(curve.amdahl),))
    stops = [f"{words.webservers(n.webservers)}: {told(n.explanation)}" for n in curve.counts]
    yield Section("What stops it", tuple(stops))
    yield Section("What to try next", tuple(_next(curve.counts)))
    yield Section("Trials", table=_trial_table(curve.counts))


def _contention(fit: AmdahlFit) -> str:
    value, low, high = fit.contention.value, fit.contention.low, fit.contention.high
    return (
        f"Contention by Amdahl's law: {value:.2g} (95 %: {low:.2g} to {high:.2g}). "
        f"{fit.explanation}"
    )


def _count_table(counts: Sequence[CountCapacity]) -> Table:
    columns = (
        Column("webservers"),
        Column("capacity", "calls/s (95 %)"),
        Column("held up to", "calls/s"),
        Column("broke from", "calls/s"),
        Column("came through", "calls/s", dropped=2),
        Column("each adds", "calls/s (95 %)", dropped=1),
        Column("stopped by", right=False),
    )
    return Table(columns, tuple(_count_row(each) for each in counts))


def _count_row(each: CountCapacity) -> tuple[str, ...]:
    return (
        str(each.webservers),
        words.number_estimate(each.capacity_per_s),
        _rate(each.highest_pass_per_s),
        _rate(each.lowest_fail_per_s),
        _rate(each.throughput_per_s),
        words.number_estimate(each.gain_per_webserver_per_s),
        words.STOPPED_BY.get(each.bottleneck, each.bottleneck.replace("_", " ")),
    )


def _next(counts: Sequence[CountCapacity]) -> Iterator[str]:
    asked = [each.next_trial.sentence for each in counts if each.next_trial is not None]
    yield from asked
    if not asked:
        yield "Nothing: the capacity of every count is known well enough."


def _trial_table(counts: Sequence[CountCapacity]) -> Table:
    columns = (
        Column("webservers"),
        Column("rate", "calls/s"),
        Column("SLO"),
        Column("held", dropped=2),
        Column("stage", right=False, dropped=1),
        Column("run", right=False, dropped=3),
        Column("why", right=False),
    )
    rows = [
        (str(each.webservers), *_trial_row(trial))
        for each in counts
        for trial in sorted(each.trials, key=lambda trial: trial.rate_per_s)
    ]
    return Table(columns, tuple(rows))


def _trial_row(trial: CountTrial) -> tuple[str, ...]:
    return (
        words.trimmed(trial.rate_per_s),
        _MARKS[trial.verdict],
        words.delay(trial.duration_s),
        trial.stage,
        trial.run_id,
        trial.reason,
    )


def _may_differ(curve: CapacityCurve) -> Iterator[str]:
    if curve.meant_to_differ and not curve.refusals:
        names = [difference.what for difference in curve.meant_to_differ]
        yield f"The runs differ in {words.enumerated(names)}, as they may."


def _rate(per_s: float | None) -> str:
    return words.trimmed(per_s) if words.is_known(per_s) else words.UNKNOWN
