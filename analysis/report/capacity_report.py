"""The document of `headroom capacity`: the capacity over webserver counts, from several runs."""

from functools import partial
from typing import TYPE_CHECKING, Final

from mwaa_headroom.analysis.planning.capacity_curve import (
    CapacityCurve,
    NextTrial,
)
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.charts.planning import capacity_of_counts
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
from mwaa_headroom.analysis.statistics import Estimate

if TYPE_CHECKING:  # matplotlib: not for those who only read text
    from matplotlib.figure import Figure as Drawing

PICTURE: Final = "capacity_curve"
_MARKS: Final = {"pass": "✓", "fail": "✗", "undecided": "?"}


def capacity_document(curve: CapacityCurve) -> Document:
    """What to tell of the capacity, in the order in which it is read."""
    sections = (
        (Section("Why not", (Bullets(told_each(curve.refusals)),), brief=True),)
        if curve.refusals
        else (
            _counts(curve),
            _growth(curve),
            _what_stops_it(curve),
            _next_trials(curve),
            _trials(curve),
            _notes(curve),
        )
    )
    return Document(
        kind="capacity",
        title="Capacity",
        headline=headline(curve),
        about=_about(curve),
        sentence=_sentence(curve),
        status="good" if curve.exit_code == 0 else "unclear",
        sections=tuple(section for section in sections if section),
        result=curve,
        cases=_cases(curve),
        pictures=(PICTURE,),
    )


def headline(curve: CapacityCurve) -> str:
    """The capacity in a few words."""
    if not curve.known:
        return "No capacity"
    first, last = curve.known[0], curve.known[-1]
    rates = [words.trimmed(each.capacity_per_s.value or 0.0) for each in (first, last)]
    if first is last:
        return f"{rates[0]} calls/s with {words.webservers(first.webservers)}"
    counts = f"{first.webservers} to {last.webservers} webservers"
    return f"{rates[0]} to {rates[1]} calls/s with {counts}"


def _about(curve: CapacityCurve) -> str:
    runs = f"{len(curve.runs)} run{'' if len(curve.runs) == 1 else 's'}"
    if not curve.counts:
        return runs
    return f"{runs}; SLO: {', '.join(slo.text for slo in curve.slo) or 'none'}"


def _sentence(curve: CapacityCurve) -> str:
    if curve.refusals:
        return f"No capacity: {words.lowered(told(curve.refusals[0]))}"
    if not curve.known:
        count = curve.counts[0]
        why = words.lowered(told(count.capacity_per_s.warnings[0]))
        return f"No capacity: with {words.webservers(count.webservers)}, {why}"
    capacities = ", ".join(
        f"{_with_interval(each.capacity_per_s)} with {words.webservers(each.webservers)}"
        for each in curve.known
    )
    stopped = {each.bottleneck for each in curve.known}
    cause = words.STOPPED_BY.get(stopped.pop()) if len(stopped) == 1 else None
    by = f"; stopped by {cause}" if cause else ""
    return f"The SLO holds up to {capacities} (95 % intervals){by}."


def _with_interval(estimate: Estimate) -> str:
    value, low, high = estimate.value or 0.0, estimate.low or 0.0, estimate.high
    if high is None:
        return f"{value:.3g} calls/s (at least {low:.3g})"
    return f"{value:.3g} calls/s ({low:.3g}-{high:.3g})"


def _counts(curve: CapacityCurve) -> Section:
    table = table_of(
        curve.counts,
        (Column("webservers"), lambda n: str(n.webservers)),
        (Column("capacity", "calls/s (95 %)"), lambda n: words.number_estimate(n.capacity_per_s)),
        (Column("held up to", "calls/s"), lambda n: words.number(n.highest_pass_per_s)),
        (Column("broke from", "calls/s"), lambda n: words.number(n.lowest_fail_per_s)),
        (Column("came through", "calls/s", dropped=2), lambda n: words.number(n.throughput_per_s)),
        (
            Column("each adds", "calls/s (95 %)", dropped=1),
            lambda n: words.number_estimate(n.gain_per_webserver_per_s),
        ),
        (
            Column("stopped by", right=False),
            lambda n: words.STOPPED_BY.get(n.bottleneck, n.bottleneck.replace("_", " ")),
        ),
    )
    figure = Figure(
        PICTURE,
        "Capacity by webserver count, with its trials",
        partial(_draw, curve),
        partial(capacity_of_counts, curve),
    )
    return Section("Capacity by webserver count", (figure, table), brief=True)


def _draw(curve: CapacityCurve) -> "Drawing | None":
    from mwaa_headroom.analysis.report.plots.capacity_curve import draw_capacity_curve

    return draw_capacity_curve(curve, headline(curve))


def _growth(curve: CapacityCurve) -> Section | None:
    if curve.amdahl is None:
        return None
    contention = curve.amdahl.contention
    value, low, high = contention.value or 0.0, contention.low or 0.0, contention.high or 0.0
    if low <= 0 <= high:
        meaning = (
            "Every webserver adds as much as the first, as far as can be told: contention is at "
            f"most {high:.2g}."
        )
    elif high < 0:
        meaning = (
            "Capacity grows faster than the webservers, for a call finds an idle one more often "
            "the more there are."
        )
    else:
        meaning = (
            f"A share of {value:.2g} of the work of a call does not get faster by more webservers."
        )
    fit = f"Contention by Amdahl's law: {value:.2g} (95 %: {low:.2g} to {high:.2g})."
    return Section("How it grows", (Text(f"{fit} {meaning}"),))


def _what_stops_it(curve: CapacityCurve) -> Section:
    stops = (f"{words.webservers(n.webservers)}: {told(n.explanation)}" for n in curve.counts)
    return Section("What stops it", (Bullets(tuple(stops)),))


def _next_trials(curve: CapacityCurve) -> Section:
    asked = tuple(_asked(each.next_trial) for each in curve.counts if each.next_trial)
    known = "Nothing: the capacity of every count is known well enough."
    return Section("What to try next", (Bullets(asked or (known,)),), brief=True)


def _asked(trial: NextTrial) -> str:
    length = trial.duration_s
    lasting = f"{length:.0f} s" if length <= 60 else f"{length / 60:.0f} minutes"
    return (
        f"Hold {words.webservers(trial.webservers)} at {trial.rate_per_s:g} calls/s for "
        f"{lasting}{' once more' if trial.repeats else ''}."
    )


def _trials(curve: CapacityCurve) -> Section:
    trials = (
        (count.webservers, trial)
        for count in curve.counts
        for trial in sorted(count.trials, key=lambda trial: trial.rate_per_s)
    )
    table = table_of(
        trials,
        (Column("webservers"), lambda t: str(t[0])),
        (Column("rate", "calls/s"), lambda t: words.trimmed(t[1].rate_per_s)),
        (Column("SLO"), lambda t: _MARKS[t[1].verdict]),
        (Column("held", dropped=1), lambda t: words.delay(t[1].duration_s)),
        (Column("stage", right=False), lambda t: words.stage_label(t[1].stage_index, t[1].stage)),
        (Column("run", right=False, dropped=2), lambda t: t[1].run_id),
        (Column("why", right=False), lambda t: told(t[1].reason)),
    )
    return Section("Trials", (table,))


def _notes(curve: CapacityCurve) -> Section | None:
    found = list(told_each(curve.notes))
    if curve.meant_to_differ:
        names = [difference.what for difference in curve.meant_to_differ]
        found.append(f"The runs differ in {words.enumerated(names)}, as they may.")
    return Section("Notes", (Bullets(tuple(found)),)) if found else None


def _cases(curve: CapacityCurve) -> tuple[Case, ...]:
    """Of each webserver count, whether its capacity is known."""
    if curve.refusals:
        return (Case("capacity", "runs", "error", " ".join(told_each(curve.refusals))),)
    return tuple(
        Case(
            "capacity",
            words.webservers(count.webservers),
            "passed" if count in curve.known else "error",
            _with_interval(count.capacity_per_s)
            if count in curve.known
            else told(count.capacity_per_s.warnings[0]),
        )
        for count in curve.counts
    )
