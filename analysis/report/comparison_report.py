"""The documents of several runs held against each other: a comparison, and a history."""

import math
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from mwaa_headroom.analysis.comparison.compare import ComparedRun, Comparison
from mwaa_headroom.analysis.comparison.history import ChangePoint, History, MetricHistory
from mwaa_headroom.analysis.comparison.regression import MetricComparison
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.charts.over_time import history_chart
from mwaa_headroom.analysis.report.charts.rows import change_of_metrics
from mwaa_headroom.analysis.report.document import (
    Bullets,
    Case,
    Column,
    Document,
    Figure,
    Hint,
    Section,
    Status,
    Table,
    Text,
    table_of,
)
from mwaa_headroom.analysis.report.metric_words import (
    change,
    change_alone,
    change_told,
    median,
    metric_value,
    moment,
    p_value,
)
from mwaa_headroom.analysis.report.sentences import told, told_each
from mwaa_headroom.analysis.results import Difference
from mwaa_headroom.analysis.statistics import values_for_interval

if TYPE_CHECKING:  # who only prints text does without matplotlib
    from matplotlib.figure import Figure as Drawing

_HEADLINES: Final = {
    "pass": "Pass",
    "regression": "Regression",
    "inconclusive": "Inconclusive",
    "refused": "Not compared",
}
_STATUS: Final[dict[str, Status]] = {"pass": "good", "regression": "bad"}
_FEWEST_FOR_INTERVAL: Final = values_for_interval(50.0)
_MOST_BRIEF: Final = 6  # metrics beside the gate, where the answer is brief
_MOST_VALUES: Final = 3  # of a difference; seeds and hosts may be as many as runs


def comparison_document(comparison: Comparison) -> Document:
    """Two sets of runs held against each other."""
    sides = {"baseline": comparison.baseline, "contender": comparison.contender}
    sections = (
        _refusals("Cannot be compared", told_each(comparison.refusals)),
        _gate(comparison),
        _beside_the_gate(comparison),
        _differing(comparison.differences, comparison.meant_to_differ),
        _runs(**sides),
        _notes(_comparison_notes(comparison)),
    )
    return Document(
        kind="comparison",
        title="Comparison",
        headline=_HEADLINES[comparison.verdict],
        about="; ".join(_about(name, runs) for name, runs in sides.items() if runs),
        sentence=comparison_sentence(comparison),
        status=_STATUS.get(comparison.verdict, "unclear"),
        sections=tuple(filter(None, sections)),
        result=comparison,
        cases=tuple(_cases(comparison)),
        properties={
            each.what: "; ".join(f"{value} ({who})" for value, who in each.values)
            for each in comparison.meant_to_differ
        },
    )


def history_document(history: History) -> Document:
    """Many runs of one thing, and when it changed."""
    sections = (
        _refusals("Cannot be told", told_each(history.refusals)),
        _levels(history),
        _changes(history),
        _differing(history.differences, history.meant_to_differ),
        _runs(all=history.runs) if history.runs else None,
        _notes(_history_notes(history)),
    )
    count = sum(len(metric.change_points) for metric in history.metrics)
    headline = words.counted(count, "change") if count else "No change"
    return Document(
        kind="history",
        title="History",
        headline="No history" if history.refusals else headline,
        about=_about("all", history.runs) if history.runs else "",
        sentence=history_sentence(history),
        status="unclear" if history.refusals or count else "good",
        sections=tuple(filter(None, sections)),
        result=history,
    )


def comparison_sentence(comparison: Comparison) -> str:
    """The verdict in one sentence, with the metric that speaks for it most."""
    if comparison.refusals:
        return f"Not compared: {_first_of(told_each(comparison.refusals))}."
    verdict, margin = comparison.verdict, comparison.margin
    concerned = [each for each in comparison.gate if each.verdict == verdict]
    # Rounded, so that of equals it is the first one on every machine.
    worst = max(concerned, key=lambda each: round(_margins_worse(each, comparison), 9))
    name, changed = worst.metric.name, change_told(worst.metric, worst.change)
    if verdict == "regression":
        others = len(concerned) - 1
        more = f", and {words.counted(others, 'more metric')} got worse" if others else ""
        return f"Regression: {name}: {changed}{more}."
    if verdict == "inconclusive":
        return f"Inconclusive: {name}: {_undecided(worst, comparison)}."
    return (
        f"Pass: no gate metric is worse by more than {margin * 100:g} %; nearest to it is {name}: "
        f"{changed}."
    )


def history_sentence(history: History) -> str:
    """How often something changed, and when last."""
    if history.refusals:
        return f"No history: {_first_of(told_each(history.refusals))}."
    found = [point for metric in history.metrics for point in metric.change_points]
    judged = sum(not metric.refusal for metric in history.metrics)
    over = f"{words.counted(judged, 'metric')} of {len(history.runs)} runs"
    if not found:
        return f"No change in {over}."
    worse = sum(point.is_worse for point in found)
    last = max(found, key=lambda point: point.first_run.started_at_s)
    changes = words.counted(len(found), "change")
    return (
        f"{changes} in {over}, {worse} for the worse; the last began with run "
        f"{last.first_run.run_id}{_airflow_around(last)}."
    )


def _undecided(each: MetricComparison, comparison: Comparison) -> str:
    reason = words.lowered(told(each.reason)).rstrip(".")
    if each.change.value is None:
        return reason
    changed = change_told(each.metric, each.change)
    if reason:
        return f"{changed}; {reason}"
    fewest = min(len(each.baseline_values), len(each.contender_values))
    if each.runs_needed is None:
        advice = "no reasonable number of runs would tell, so make longer stages"
    elif each.runs_needed > fewest:
        runs = "runs per side" if comparison.looks is None else "pairs"
        advice = f"about {each.runs_needed} {runs} would tell"
    else:
        advice = f"a few more {'runs' if comparison.looks is None else 'pairs'} would tell"
    margin = (
        f"{comparison.share_margin * 100:g} points"
        if each.metric.is_share
        else f"{comparison.margin * 100:g} %"
    )
    return f"{changed}, which may or may not be worse by more than {margin}; {advice}"


def _margins_worse(each: MetricComparison, comparison: Comparison) -> float:
    """By how many margins a metric got worse; what is not known comes first."""
    value = each.change.value
    if value is None:
        return math.inf
    if each.metric.is_share:
        return value / comparison.share_margin
    ratio = 1 / value if each.metric.higher_is_better else value
    return math.log(ratio) / math.log1p(comparison.margin)


def _first_of(sentences: Sequence[str]) -> str:
    more = f" (and {len(sentences) - 1} more)" if len(sentences) > 1 else ""
    return f"{words.lowered(sentences[0]).rstrip('.')}{more}"


def _airflow_around(point: ChangePoint) -> str:
    before, since = point.run_before.airflow_version, point.first_run.airflow_version
    if not before or not since:
        return ""
    if before == since:
        return f" (Airflow {since} before and since)"
    return f" (Airflow {before} before, {since} since)"


def _about(name: str, runs: Sequence[ComparedRun]) -> str:
    """One side: "baseline: 6 runs of Airflow 3.2.1, 2026-11-01 to 2026-11-03"."""
    versions = ", ".join(dict.fromkeys(run.airflow_version or "unknown" for run in runs))
    days = sorted(moment(run.started_at_s)[:10] for run in runs)
    when = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    return f"{name}: {words.counted(len(runs), 'run')} of Airflow {versions}, {when}"


def _cases(comparison: Comparison) -> Iterator[Case]:
    """One for each gate metric and one for the verdict, red exactly when the exit code is not 0.

    A regression is a failure; what could not be told, and a refusal, is an error.
    """
    for each in comparison.gate:
        baseline, contender = (
            metric_value(each.metric, side.value) for side in (each.baseline, each.contender)
        )
        message = f"{baseline} to {contender}, change {change(each.metric, each.change)}"
        reason = f". {told(each.reason)}" if each.reason else ""
        yield _case("gate", each.metric.name, each.verdict, f"{message}{reason}")
    message = " ".join((comparison_sentence(comparison), *told_each(comparison.refusals)[1:]))
    yield _case("verdict", "verdict", comparison.verdict, message)


def _case(scope: str, name: str, verdict: str, message: str) -> Case:
    match verdict:
        case "pass":
            return Case(scope, name, "passed", message)
        case "regression":
            return Case(scope, name, "failure", message, failure_type=verdict)
        case _:
            return Case(scope, name, "error", message, failure_type=verdict)


def _refusals(title: str, sentences: tuple[str, ...]) -> Section | None:
    return Section(title, (Bullets(sentences),), brief=True) if sentences else None


def _gate(comparison: Comparison) -> Section | None:
    if not comparison.gate:
        return None
    rule = (
        f"Worse by more than {comparison.margin * 100:g} % ({comparison.share_margin * 100:g} "
        f"percentage points of a share) is a regression; one value per run, {_method(comparison)}, "
        "Holm over the gate."
    )
    few_turns = any(each.code == "comparison.no_turns" for each in comparison.notes)
    found = "4 times out of 5" + ", if no drift is found" * few_turns
    table = _metric_table(comparison.gate, "verdict")
    return Section(
        "Gate",
        (
            Text(rule),
            Figure(
                "forest",
                "Change of every gate metric with its interval, against the margin",
                lambda: _forest(comparison),
                lambda: change_of_metrics(comparison),
            ),
            Hint(
                "A line wholly in the shade is a regression, one wholly outside it a pass, any "
                "other needs more runs."
            ),
            table,
            Text(f"change: {_what_changed(comparison)}, not the ratio of the medians."),
            Hint(
                f'"finds from" is the smallest true change that so many runs find {found}. "±" is '
                "the farther end of the median's interval."
            ),
        ),
        brief=True,
        brief_blocks=(table,),
    )


def _method(comparison: Comparison) -> str:
    if comparison.looks is None:
        return "intervals and p by ranks"
    first, last = comparison.looks
    return (
        f"intervals and p by Student's t over the pairs, wide enough for a look after each from "
        f"{first} to {last}"
    )


def _what_changed(comparison: Comparison) -> str:
    if comparison.looks is None:
        return "the median over all pairs of a baseline and a contender run"
    return "the geometric mean over the pairs of runs"


def _forest(comparison: Comparison) -> "Drawing | None":
    from mwaa_headroom.analysis.report.plots.comparison import draw_forest

    return draw_forest(comparison, comparison_sentence(comparison).split(";")[0].rstrip("."))


def _beside_the_gate(comparison: Comparison) -> Section | None:
    every = comparison.informational
    if not every:
        return None
    changed = [each for each in every if each.verdict != "~"]
    unchanged = [each for each in every if each.verdict == "~"]
    untold = max(len(changed) - _MOST_BRIEF, 0)
    counts = [f"{untold} more changed"] if untold else []
    counts += [f"no change (~) in {len(unchanged)} of {len(every)}"] if unchanged else []
    return Section(
        "Beside the gate, not part of the verdict",
        (
            Hint(
                '"~": no change can be told; p is adjusted so that at most 5 % of what is called '
                "worse or better is neither."
            ),
            _metric_table([*changed, *unchanged], "change"),
        ),
        brief=True,
        brief_blocks=(
            *([_metric_table(changed[:_MOST_BRIEF], "change")] if changed else []),
            *([Text(f"{'; '.join(counts)}.")] if counts else []),
        ),
    )


def _metric_table(metrics: Sequence[MetricComparison], last: str) -> Table:
    return table_of(
        metrics,
        (Column("metric", right=False), lambda m: m.metric.name),
        (Column("baseline"), lambda m: median(m.metric, m.baseline)),
        (Column("contender"), lambda m: median(m.metric, m.contender)),
        (Column("change", "95 % interval"), lambda m: change(m.metric, m.change)),
        (Column("p", "adjusted", dropped=3), lambda m: p_value(m.p_adjusted)),
        (
            Column("n", dropped=2),
            lambda m: f"{len(m.baseline_values)}+{len(m.contender_values)}",
        ),
        (Column("finds", "from", dropped=1), lambda m: change_alone(m.metric, m.detectable)),
        (Column(last, right=False), lambda m: m.verdict),
    )


def _differing(
    forbidding: Sequence[Difference], meant_to_differ: Sequence[Difference]
) -> Section | None:
    found = (*forbidding, *meant_to_differ)
    if not found:
        return None
    table = table_of(
        (
            (difference.what if place == 0 else "", value, who)
            for difference in found
            for place, (value, who) in enumerate(_few(difference.values))
        ),
        (Column("", right=False), itemgetter(0)),
        (Column("value", right=False), itemgetter(1)),
        (Column("runs", right=False), itemgetter(2)),
    )
    return Section("What differs" if forbidding else "What differs, as it may", (table,))


def _few(values: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    if len(values) <= _MOST_VALUES:
        return values
    return (*values[: _MOST_VALUES - 1], (f"and {len(values) - _MOST_VALUES + 1} others", ""))


def _runs(**sides: Sequence[ComparedRun]) -> Section:
    table = table_of(
        ((name, run) for name, runs in sides.items() for run in runs),
        (Column("run", right=False), lambda each: each[1].run_id),
        (Column("side", right=False), lambda each: each[0]),
        (Column("began", "UTC", right=False), lambda each: moment(each[1].started_at_s)),
        (Column("Airflow", right=False), lambda each: each[1].airflow_version or words.UNKNOWN),
    )
    return Section("Runs", (table,))


def _notes(sentences: Iterator[str]) -> Section | None:
    found = tuple(dict.fromkeys(sentences))
    return Section("Notes", (Bullets(found),), brief=True) if found else None


def _comparison_notes(comparison: Comparison) -> Iterator[str]:
    """Reasons of single verdicts, then what a careful reader must know."""
    for each in (*comparison.gate, *comparison.informational):
        if each.reason and each.verdict != "~":
            yield f"{each.metric.name}: {told(each.reason)}"
    fewest = min(len(comparison.baseline), len(comparison.contender))
    if comparison.gate and comparison.looks is None and fewest < _FEWEST_FOR_INTERVAL:
        yield (
            f"Medians have an interval (±) from {_FEWEST_FOR_INTERVAL} runs on; the interval of "
            "the change needs fewer."
        )
    yield from told_each(comparison.notes)


def _history_notes(history: History) -> Iterator[str]:
    """Metrics that could not be searched, then the runs left out."""
    for each in history.metrics:
        if each.refusal:
            yield f"{each.metric.name}: {told(each.refusal)}"
    yield from told_each(history.notes)


def _levels(history: History) -> Section | None:
    if not history.metrics:
        return None
    table = table_of(
        history.metrics,
        (Column("metric", right=False), lambda m: m.metric.name),
        (Column("runs"), lambda m: words.count(len(m.values))),
        (Column("least"), lambda m: _ranked(m, 0)),
        (Column("median"), lambda m: _ranked(m, len(m.values) // 2)),
        (Column("most"), lambda m: _ranked(m, -1)),
        (Column("changes"), lambda m: "too few" if m.refusal else str(len(m.change_points))),
    )
    return Section(
        "Metrics",
        (
            Hint(
                "One point a run. A level lasts until the runs after it can hardly have the same "
                "one."
            ),
            Figure(
                "history",
                "Every metric over the runs, with its levels and where they changed",
                lambda: _drawn_history(history),
                lambda: history_chart(history),
            ),
            table,
        ),
        brief=True,
    )


def _drawn_history(history: History) -> "Drawing | None":
    from mwaa_headroom.analysis.report.plots.comparison import draw_history

    return draw_history(history, history_sentence(history).rstrip("."))


def _ranked(each: MetricHistory, place: int) -> str:
    return metric_value(each.metric, sorted(each.values)[place] if each.values else None)


def _changes(history: History) -> Section | None:
    found = [(metric.metric, point) for metric in history.metrics for point in metric.change_points]
    if not found:
        return None
    upgraded = any(p.run_before.airflow_version != p.first_run.airflow_version for _, p in found)
    table = table_of(
        found,
        (Column("metric", right=False), lambda each: each[0].name),
        (Column("before"), lambda each: metric_value(each[0], each[1].before)),
        (Column("since"), lambda each: metric_value(each[0], each[1].after)),
        (Column("change"), lambda each: change(each[0], each[1].change)),
        (Column("", right=False), lambda each: "worse" if each[1].is_worse else "better"),
        (Column("p", dropped=2), lambda each: p_value(each[1].p)),
        (Column("first run", right=False), lambda each: each[1].first_run.run_id),
        (
            Column("Airflow", right=False, dropped=0 if upgraded else 1),
            lambda each: _airflow_column(each[1]),
        ),
    )
    hint = Hint(
        "The run named is the first of the new level. Since the same runs chose where to cut, a "
        "change is rather smaller than it says."
    )
    return Section("Changes", (hint, table), brief=True)


def _airflow_column(point: ChangePoint) -> str:
    before, since = point.run_before.airflow_version, point.first_run.airflow_version
    if not (before or since):
        return words.UNKNOWN
    return before if before == since else f"{before or '?'} → {since or '?'}"
