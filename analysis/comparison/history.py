"""Many runs of one thing in the order of time, and which of them began something new.

The metrics are those of a comparison's gate; a stage counts when the SLO held in it in at least
half of the runs. Each metric's series is searched for change points by itself, at 5 % over the
number of metrics, so that a history without any change shows one in at most 5 % of cases. Runs
that are no measurement are left out by name; unlike runs are refused.

The interval of a change is that of a comparison of the runs before with those after it. Since the
same runs chose where to cut, the change is rather smaller than it says.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from analysis.comparison.changepoints import FEWEST_VALUES, Split, change_points
from analysis.comparison.compare import compared_run
from analysis.comparison.likeness import IdentifiedRun, allowed, forbidding, in_words, objection
from analysis.comparison.metric_scale import change, scaled
from analysis.comparison.rank_tests import shift
from analysis.comparison.regression import TAIL
from analysis.comparison.results import (
    ChangePoint,
    ComparedRun,
    History,
    Metric,
    MetricHistory,
)
from analysis.comparison.run_metrics import gate_stages, run_metrics

FALSE_ALARMS = 0.05
HELD_SHARE = 0.5
_EXIT_OK, _EXIT_INCONCLUSIVE = 0, 5


def trace_history(runs: Sequence[IdentifiedRun]) -> History:
    """The change points of at least one run's metrics; runs in any order."""
    objections = {run.analysis.run_id: objection(run.analysis) for run in runs}
    valid = sorted(
        (run for run in runs if not objections[run.analysis.run_id]),
        key=lambda run: run.analysis.started_at_s,
    )
    notes = tuple(f"Left out: {why}" for why in objections.values() if why)
    by_name = {run.analysis.run_id: [run] for run in valid}
    differences = forbidding(by_name)
    refusals = [in_words(difference) for difference in differences]
    if len(valid) < FEWEST_VALUES:
        refusals.append(
            f"A history needs at least {FEWEST_VALUES} valid runs, there are {len(valid)}; with "
            "fewer, hold two sets against each other (headroom compare)."
        )
    compared = tuple(map(compared_run, valid))
    metrics = () if refusals else _histories(valid)
    if not refusals and all(metric.refusal for metric in metrics):
        refusals.append(
            f"No metric is known in {FEWEST_VALUES} runs: there is neither a stage in which the "
            "SLO held nor a service demand."
        )
    return History(
        runs=compared,
        metrics=metrics,
        exit_code=_EXIT_INCONCLUSIVE if refusals else _EXIT_OK,
        sentence=_sentence(compared, metrics, refusals),
        refusals=tuple(refusals),
        differences=differences,
        meant_to_differ=allowed(by_name),
        notes=notes,
    )


def _histories(runs: Sequence[IdentifiedRun]) -> tuple[MetricHistory, ...]:
    gated = gate_stages([run.analysis for run in runs], share=HELD_SHARE)
    series: dict[Metric, list[tuple[ComparedRun, float]]] = {}
    for run in runs:
        for metric, estimate in run_metrics(run.analysis, gated).gate.items():
            own = series.setdefault(metric, [])
            if estimate.value is not None and (metric.is_share or estimate.value > 0):
                own.append((compared_run(run), estimate.value))
    level = FALSE_ALARMS / max(len(series), 1)
    return tuple(_history(metric, points, level) for metric, points in series.items())


def _history(
    metric: Metric, points: Sequence[tuple[ComparedRun, float]], level: float
) -> MetricHistory:
    runs = tuple(run for run, _ in points)
    values = tuple(value for _, value in points)
    found = change_points(scaled(metric, np.array(values)).tolist(), level)
    refusal = (
        f"Known in {len(values)} runs only, change points need {FEWEST_VALUES}."
        if len(values) < FEWEST_VALUES
        else ""
    )
    return MetricHistory(
        metric=metric,
        runs=runs,
        values=values,
        change_points=tuple(_change_points(metric, runs, np.array(values), found)),
        refusal=refusal,
    )


def _change_points(
    metric: Metric,
    runs: Sequence[ComparedRun],
    values: np.ndarray[tuple[int], np.dtype[np.float64]],
    splits: Sequence[Split],
) -> Iterator[ChangePoint]:
    ends = [0, *(split.index for split in splits), len(values)]
    for place, split in enumerate(splits, start=1):
        before, after = values[ends[place - 1] : split.index], values[split.index : ends[place + 1]]
        found = shift(scaled(metric, before), scaled(metric, after), TAIL)
        yield ChangePoint(
            index=split.index,
            first_run=runs[split.index],
            run_before=runs[split.index - 1],
            p=split.p,
            before=float(np.median(before)),
            after=float(np.median(after)),
            change=change(metric, found, len(before) + len(after)),
            is_worse=found.value > 0,
        )


def _sentence(
    runs: Sequence[ComparedRun], metrics: Sequence[MetricHistory], refusals: Sequence[str]
) -> str:
    if refusals:
        more = f" (and {len(refusals) - 1} more)" if len(refusals) > 1 else ""
        first = refusals[0]
        return f"No history: {first[:1].lower()}{first[1:].rstrip('.')}{more}."
    found = [point for metric in metrics for point in metric.change_points]
    judged = sum(not metric.refusal for metric in metrics)
    over = f"{judged} metric{'' if judged == 1 else 's'} of {len(runs)} runs"
    if not found:
        return f"No change in {over}."
    worse = sum(point.is_worse for point in found)
    last = max(found, key=lambda point: point.first_run.started_at_s)
    count = f"{len(found)} change{'' if len(found) == 1 else 's'}"
    return (
        f"{count} in {over}, {worse} for the worse; the last began with run "
        f"{last.first_run.run_id}{_versions(last)}."
    )


def _versions(point: ChangePoint) -> str:
    before, since = point.run_before.airflow_version, point.first_run.airflow_version
    if not before or not since:
        return ""
    if before == since:
        return f" (Airflow {since} before and since)"
    return f" (Airflow {before} before, {since} since)"
