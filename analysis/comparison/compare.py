"""From two sets of analysed runs to one answer: did the contender make it worse?

refused       a run is no measurement, runs are unlike, or too few for any regression to show
regression    any metric of the gate is a regression
pass          every metric of the gate passes
inconclusive  otherwise
"""

from collections.abc import Iterable, Iterator, Sequence

from mwaa_headroom.analysis.comparison.regression import (
    CAPACITY,
    CONFIDENCE,
    EXIT_CODES,
    SHARE_MARGIN,
    MetricSamples,
    compare_gate,
    compare_informational,
    gate_stages,
    overall,
    run_metrics,
    sentence,
    too_few_runs,
)
from mwaa_headroom.analysis.comparison.results import ComparedRun, Comparison, ComparisonVerdict
from mwaa_headroom.analysis.identity import COMPARISON, allowed, in_words, objection, unlike
from mwaa_headroom.analysis.results import RunAnalysis
from mwaa_headroom.analysis.statistics import Estimate

_UNMEASURED = Estimate(value=None, warnings=("It was not measured.",))


def compare_runs(
    baseline: Sequence[RunAnalysis], contender: Sequence[RunAnalysis], *, margin: float
) -> Comparison:
    """Hold two sets of runs against each other; at least one run each.

    Args:
        baseline: runs of what is known.
        contender: runs of what is new.
        margin: fraction by which a gate metric may get worse.
    """
    sides = {"baseline": baseline, "contender": contender}
    differences = unlike(sides, COMPARISON)
    gate, informational = _samples(baseline, contender)
    refusals = (
        *_objections(sides.values()),
        *_shared(baseline, contender),
        *map(in_words, differences),
    ) or _unanswerable(baseline, contender, gate)
    judged = () if refusals else compare_gate(gate, margin=margin)
    verdict: ComparisonVerdict = "refused" if refusals else overall(judged)
    return Comparison(
        baseline=tuple(map(compared_run, baseline)),
        contender=tuple(map(compared_run, contender)),
        margin=margin,
        share_margin=SHARE_MARGIN,
        confidence=CONFIDENCE,
        verdict=verdict,
        exit_code=EXIT_CODES[verdict],
        sentence=sentence(verdict, refusals, judged, margin),
        refusals=refusals,
        differences=differences,
        meant_to_differ=allowed(sides, COMPARISON),
        gate=judged,
        informational=() if refusals else compare_informational(informational),
        notes=() if refusals else tuple(_notes(baseline, contender)),
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
    baseline: Sequence[RunAnalysis], contender: Sequence[RunAnalysis]
) -> tuple[list[MetricSamples], list[MetricSamples]]:
    """The metrics that any run has, those of the gate and the others."""
    gated = gate_stages(list(baseline))
    sides = [[run_metrics(run, gated) for run in runs] for runs in (baseline, contender)]
    both = [*sides[0], *sides[1]]
    gate = dict.fromkeys(metric for run in both for metric in run.gate)
    informational = dict.fromkeys(
        metric for run in both for metric in run.informational if metric not in gate
    )
    return (
        [
            MetricSamples(
                metric, *(tuple(r.gate.get(metric, _UNMEASURED) for r in s) for s in sides)
            )
            for metric in gate
        ],
        [
            MetricSamples(
                metric, *(tuple(r.informational.get(metric, _UNMEASURED) for r in s) for s in sides)
            )
            for metric in sorted(informational, key=lambda each: each != CAPACITY)
        ],
    )


def _unanswerable(
    baseline: Sequence[RunAnalysis],
    contender: Sequence[RunAnalysis],
    gate: Sequence[MetricSamples],
) -> tuple[str, ...]:
    """Why like runs cannot be judged all the same."""
    if not gate:
        return (
            "The runs have nothing to judge: no stage in which the SLO held in every baseline run, "
            "and no service demand.",
        )
    few = too_few_runs(len(baseline), len(contender), len(gate))
    return (few,) if few else ()


def _objections(sides: Iterable[Sequence[RunAnalysis]]) -> list[str]:
    found = (objection(run) for runs in sides for run in runs)
    return [sentence for sentence in found if sentence]


def _shared(baseline: Sequence[RunAnalysis], contender: Sequence[RunAnalysis]) -> list[str]:
    """Runs given on both sides; told by when they began, for directories may be copies."""
    known = {(run.run_id, run.started_at_s) for run in baseline}
    return [
        f"Run {run.run_id} is given on both sides: a run cannot be compared with itself."
        for run in contender
        if (run.run_id, run.started_at_s) in known
    ]


def _notes(baseline: Sequence[RunAnalysis], contender: Sequence[RunAnalysis]) -> Iterator[str]:
    """What a careful reader must know of how the runs were made."""
    starts = [[run.started_at_s for run in side] for side in (baseline, contender)]
    if max(starts[0]) < min(starts[1]) or max(starts[1]) < min(starts[0]):
        yield (
            "All runs of one side came before all of the other, so whatever else changed meanwhile "
            "looks like a change too: let the sides take turns."
        )
    versions = [
        {str(run.environment.get("airflow_version", "")) for run in side}
        for side in (baseline, contender)
    ]
    if versions[0] == versions[1]:
        yield f"Both sides ran the same Airflow ({', '.join(sorted(versions[0])) or 'not known'})."
