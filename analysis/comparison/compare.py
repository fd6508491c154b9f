"""From two sets of analysed runs to one answer: did the contender make it worse?

refused       a run is no measurement, runs are unlike, or too few for any regression to show
regression    any metric of the gate is a regression
pass          every metric of the gate passes
inconclusive  otherwise
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from mwaa_headroom.analysis.answer_sizes import size_differences
from mwaa_headroom.analysis.comparison.metrics import (
    CAPACITY,
    Metric,
    gate_stages,
    metrics_of,
    run_metrics,
)
from mwaa_headroom.analysis.comparison.regression import (
    CONFIDENCE,
    SHARE_MARGIN,
    GateVerdict,
    MetricComparison,
    MetricSamples,
    compare_gate,
    compare_informational,
    overall,
    too_few_runs,
)
from mwaa_headroom.analysis.comparison.run_order import Order, order_of
from mwaa_headroom.analysis.findings import Finding, note, refusal, warning
from mwaa_headroom.analysis.identity import (
    COMPARISON,
    allowed,
    hosts_differ,
    objection,
    unlike,
    unlike_runs,
)
from mwaa_headroom.analysis.results import Difference, RunAnalysis
from mwaa_headroom.analysis.statistics import Estimate

Runs = Sequence[RunAnalysis]
ComparisonVerdict = GateVerdict | Literal["refused"]
EXIT_CODES: Final[dict[ComparisonVerdict, int]] = {
    "pass": 0,
    "regression": 4,
    "inconclusive": 5,
    "refused": 5,
}


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """One run, and where it stands among the others."""

    run_id: str
    directory: str
    started_at_s: float
    airflow_version: str  # "": not known


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sets of runs, held against each other."""

    baseline: tuple[ComparedRun, ...]
    contender: tuple[ComparedRun, ...]
    margin: float  # fraction by which a gate metric may get worse
    share_margin: float  # the same for shares, as a difference
    confidence: float
    verdict: ComparisonVerdict
    exit_code: int  # 0, 4 or 5
    refusals: tuple[Finding, ...] = ()  # why the runs cannot be compared
    differences: tuple[Difference, ...] = ()  # that forbid comparing
    meant_to_differ: tuple[Difference, ...] = ()
    gate: tuple[MetricComparison, ...] = ()
    informational: tuple[MetricComparison, ...] = ()
    notes: tuple[Finding, ...] = ()
    looks: tuple[int, int] | None = None  # of pairs: from how many to how many it is looked for


def compare_runs(baseline: Runs, contender: Runs, *, margin: float) -> Comparison:
    """Hold two sets of runs against each other; at least one run each.

    Args:
        baseline: runs of what is known.
        contender: runs of what is new.
        margin: fraction by which a gate metric may get worse.
    """
    sides = {"baseline": baseline, "contender": contender}
    differences = unlike(sides, COMPARISON)
    order = order_of(*([run.started_at_s for run in side] for side in (baseline, contender)))
    gate, informational = _samples(baseline, contender, order)
    refusals = (
        *filter(None, map(objection, (*baseline, *contender))),
        *_on_both_sides(baseline, contender),
        *unlike_runs(differences),
    ) or tuple(_unanswerable(baseline, contender, gate))
    sizes = {} if refusals else size_differences(baseline, contender)
    other_work = doubtful(sizes, baseline)
    compared = () if refusals else compare_gate(gate, margin=margin)
    judged = with_doubts(compared, _drifting(order, compared) | other_work)
    beside = () if refusals else compare_informational(informational)
    verdict: ComparisonVerdict = "refused" if refusals else overall(judged)
    return Comparison(
        baseline=tuple(map(compared_run, baseline)),
        contender=tuple(map(compared_run, contender)),
        margin=margin,
        share_margin=SHARE_MARGIN,
        confidence=CONFIDENCE,
        verdict=verdict,
        exit_code=EXIT_CODES[verdict],
        refusals=refusals,
        differences=differences,
        meant_to_differ=allowed(sides, COMPARISON),
        gate=judged,
        informational=with_doubts(beside, other_work),
        notes=()
        if refusals
        else (*sizes.values(), *_about_time(order, judged), *_notes(baseline, contender)),
    )


def doubtful(sizes: Mapping[str, Finding], baseline: Runs) -> dict[Metric, Finding]:
    """The metrics that other work enters, each with why."""
    return {
        metric: why
        for operation, why in sizes.items()
        if why.severity == "refusal"
        for run in baseline
        for metric in metrics_of([operation], run)
    }


def _drifting(order: Order, gate: Sequence[MetricComparison]) -> dict[Metric, Finding]:
    """All metrics of the gate when any has a drift that cannot be told from a change."""
    drifting = {
        each.metric: warning("comparison.drift", drift=each.drift, is_share=each.metric.is_share)
        for each in gate
        if each.drift is not None and not order.takes_turns
    }
    others = {each.metric: warning("comparison.others_drift") for each in gate}
    return others | drifting if drifting else {}


def with_doubts(
    compared: Sequence[MetricComparison], doubtful: Mapping[Metric, Finding]
) -> tuple[MetricComparison, ...]:
    """Comparisons without a verdict where something speaks against one."""
    unsure = {"regression": "inconclusive", "pass": "inconclusive", "worse": "~", "better": "~"}
    return tuple(
        replace(
            each,
            verdict=unsure.get(each.verdict, each.verdict),
            reason=doubtful[each.metric],
        )
        if each.metric in doubtful
        else each
        for each in compared
    )


def compared_run(run: RunAnalysis) -> ComparedRun:
    """A run as comparisons name it."""
    return ComparedRun(
        run_id=run.run_id,
        directory=run.directory,
        started_at_s=run.started_at_s,
        airflow_version=str(run.environment.get("airflow_version", "")),
    )


def _samples(
    baseline: Runs, contender: Runs, order: Order
) -> tuple[list[MetricSamples], list[MetricSamples]]:
    """The metrics that any run has, those of the gate and the others."""
    gated = gate_stages(baseline)
    sides = [[run_metrics(run, gated) for run in runs] for runs in (baseline, contender)]
    both = [*sides[0], *sides[1]]

    def sampled(
        metrics: Iterable[Metric], values: Sequence[Sequence[dict[Metric, Estimate]]]
    ) -> list[MetricSamples]:
        def known(metric: Metric, side: Sequence[dict[Metric, Estimate]]) -> tuple[Estimate, ...]:
            return tuple(run.get(metric, Estimate(value=None)) for run in side)

        return [
            MetricSamples(metric, known(metric, values[0]), known(metric, values[1]), order)
            for metric in metrics
        ]

    gate = dict.fromkeys(metric for run in both for metric in run.gate)
    others = dict.fromkeys(
        metric for run in both for metric in run.informational if metric not in gate
    )
    return (
        sampled(gate, [[run.gate for run in side] for side in sides]),
        sampled(
            sorted(others, key=lambda each: each != CAPACITY),
            [[run.informational for run in side] for side in sides],
        ),
    )


def _unanswerable(
    baseline: Runs, contender: Runs, gate: Sequence[MetricSamples]
) -> Iterator[Finding]:
    """Why like runs cannot be judged all the same."""
    if not gate:
        yield refusal("comparison.nothing_to_judge")
    elif few := too_few_runs(len(baseline), len(contender), len(gate)):
        yield few


def _on_both_sides(baseline: Runs, contender: Runs) -> Iterator[Finding]:
    """Told by when runs began, for directories may be copies."""
    known = {(run.run_id, run.started_at_s) for run in baseline}
    for run in contender:
        if (run.run_id, run.started_at_s) in known:
            yield refusal("comparison.on_both_sides", run_id=run.run_id)


def _about_time(order: Order, gate: Sequence[MetricComparison]) -> Iterator[Finding]:
    """What a careful reader must know of when the runs were made."""
    if not order.takes_turns:
        yield warning("comparison.no_turns", one_side_first=order.one_side_first)
        return
    drifting = [each for each in gate if each.drift is not None]
    if drifting:
        metrics = tuple((each.metric.name, each.drift, each.metric.is_share) for each in drifting)
        yield note("comparison.drift_taken_off", metrics=metrics)


def _notes(baseline: Runs, contender: Runs) -> Iterator[Finding]:
    """What is worth knowing of what was run, and on what."""
    if differ := hosts_differ(baseline, contender):
        yield differ
    versions = [
        {str(run.environment.get("airflow_version", "")) for run in side}
        for side in (baseline, contender)
    ]
    if versions[0] == versions[1]:
        yield note("comparison.same_airflow", versions=tuple(sorted(versions[0])))
