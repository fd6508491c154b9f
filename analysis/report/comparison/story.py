"""The sentences of comparisons and histories."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from mwaa_headroom.analysis.comparison.results import (
    ComparedRun,
    Comparison,
    History,
    MetricComparison,
)
from mwaa_headroom.analysis.report.comparison import tables
from mwaa_headroom.analysis.report.tables import Table
from mwaa_headroom.analysis.results import Difference
from mwaa_headroom.analysis.statistics import values_for_interval

HEADLINES: Final = {
    "pass": "Pass",
    "regression": "Regression",
    "inconclusive": "Inconclusive",
    "refused": "Not compared",
}
FEWEST_FOR_INTERVAL: Final = values_for_interval(50.0)
CHANGE: Final = (
    "change: the median over all pairs of a baseline and a contender run, not the ratio of the "
    "medians."
)
RESULTS_OF_NOTE: Final = ("worse", "better")


def side(name: str, runs: Sequence[ComparedRun]) -> str:
    """One side in a line: "baseline: 6 runs of Airflow 3.2.1, 2026-11-01 to 2026-11-03"."""
    count = f"{len(runs)} run{'' if len(runs) == 1 else 's'}"
    return f"{name}: {count} of Airflow {_versions(runs)}, {_days(runs)}"


def rule(comparison: Comparison) -> str:
    """What makes a regression."""
    return (
        f"Worse by more than {comparison.margin * 100:g} % "
        f"({comparison.share_margin * 100:g} percentage points of a share) is a regression; one "
        "value per run, intervals and p by ranks, Holm over the gate."
    )


def of_note(comparison: Comparison) -> tuple[MetricComparison, ...]:
    """The informational metrics that changed."""
    return tuple(each for each in comparison.informational if each.verdict in RESULTS_OF_NOTE)


def not_of_note(comparison: Comparison) -> tuple[MetricComparison, ...]:
    """The informational metrics of which no change can be told."""
    return tuple(each for each in comparison.informational if each.verdict not in RESULTS_OF_NOTE)


def quiet(comparison: Comparison) -> str:
    """How many informational metrics did not change; "" when none is left to tell of."""
    unchanged = len(not_of_note(comparison))
    if not unchanged:
        return ""
    verb = "shows" if unchanged == 1 else "show"
    return f"{unchanged} of {len(comparison.informational)} {verb} no change (~)."


def notes(comparison: Comparison) -> tuple[str, ...]:
    """Reasons of single verdicts, then what a careful reader must know."""
    reasons = (
        f"{each.metric.name}: {each.reason}"
        for each in (*comparison.gate, *of_note(comparison))
        if each.reason
    )
    return tuple(dict.fromkeys((*reasons, *_too_few_for_spread(comparison), *comparison.notes)))


def history_headline(history: History) -> str:
    """The answer in a few words, for the top of the page."""
    if history.refusals:
        return "No history"
    count = sum(len(metric.change_points) for metric in history.metrics)
    return f"{count} change{'' if count == 1 else 's'}" if count else "No change"


def history_notes(history: History) -> tuple[str, ...]:
    """Metrics that could not be searched, then the runs left out."""
    refused = (f"{each.metric.name}: {each.refusal}" for each in history.metrics if each.refusal)
    return (*refused, *history.notes)


def difference_rows(differences: Iterable[Difference]) -> Table | None:
    """The table of differences; None without any."""
    found = tuple(differences)
    return tables.difference_table(found) if found else None


def _too_few_for_spread(comparison: Comparison) -> Iterator[str]:
    fewest = min(len(comparison.baseline), len(comparison.contender))
    if comparison.gate and fewest < FEWEST_FOR_INTERVAL:
        yield (
            f"Medians have an interval (±) from {FEWEST_FOR_INTERVAL} runs on; the interval of the "
            "change needs fewer."
        )


def _versions(runs: Sequence[ComparedRun]) -> str:
    return ", ".join(dict.fromkeys(run.airflow_version or "unknown" for run in runs))


def _days(runs: Sequence[ComparedRun]) -> str:
    days = sorted(tables.moment(run)[:10] for run in runs)
    return days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
