"""What a reader of a size must know: what was assumed, and what of the runs speaks against it."""

from collections.abc import Iterator, Sequence
from typing import Final

from analysis.capacity.highest_stage import STOPPED_BY
from analysis.results import RunAnalysis
from analysis.sizing.classes import CLASS_NAMES, CLASSES
from analysis.sizing.loads import DAY_S, LoadWanted, calls_per_s
from analysis.sizing.results import ClassSize, SizedRun
from analysis.sizing.runs import MOVED_BY_WEBSERVERS, NOT_MOVED, PERHAPS_MOVED

_SPEAKS_OF_SIZE: Final = ("", "not_reached", *MOVED_BY_WEBSERVERS, *NOT_MOVED)
_FAR_BEYOND: Final = 2.0  # times the highest rate that was sent


def assumptions(
    runs: Sequence[RunAnalysis],
    sized: Sequence[SizedRun],
    classes: Sequence[ClassSize],
    judged_by: str,
    load: LoadWanted,
) -> Iterator[str]:
    """What the size rests on, one sentence each."""
    kind = str(runs[0].environment.get("kind") or "")
    if kind != "aws":
        what = measured_cpu(kind)
        yield (
            f"A call costs as much CPU there as it did here: this holds if a vCPU of AWS is as "
            f"fast as {what}, which was not measured."
        )
    if any(each.webserver_cpu != sized[0].webserver_cpu for each in classes):
        yield (
            f"Webservers with more CPU than the {sized[0].webserver_cpu:g} measured serve as much "
            "more: the same CPU per call, the same of their own without calls."
        )
    if judged_by == "slo_capacity":
        yield (
            "The rate at which the SLO broke grows in proportion to the webservers and to what "
            "their CPU serves."
        )
    elif any(run.capacity_per_s for run in sized):
        yield (
            "The probability is that of the webservers' CPU staying at or below its target, and at "
            "most what is known of the rate at which the SLO breaks: the runs do not tell below "
            "which rate per webserver it surely holds."
        )
    else:
        yield (
            "No run shows where the SLO breaks, so the probability is that of the webservers' CPU "
            "staying at or below its target; `headroom capacity` finds the SLO's limit."
        )
    yield _pooling(sized)
    if load.trace_per_s is None and load.low_per_s < load.high_per_s:
        yield "Every rate of the range is as likely as any other."
    if load.trace_per_s is not None and len(load.trace_per_s) > DAY_S:
        yield "Of the trace, the 24 hours with the most calls are played against the scaling rule."
    skipped = _skipped(classes)
    if skipped:
        yield (
            f"Left out: {', '.join(skipped)}, whose webservers have no more CPU than those of a "
            "smaller class."
        )
    yield (
        "Classes also differ in schedulers, workers, database and DAGs they are meant for; only "
        "webservers are sized here."
    )


def highest_rate_per_s(runs: Sequence[RunAnalysis]) -> float:
    """The highest rate that a stage of the runs sent; 0: there is none."""
    return max((stage.achieved_per_s for run in runs for stage in run.stages), default=0.0)


def measured_cpu(environment_kind: str) -> str:
    """What the demand was measured on, where that was not AWS."""
    return "this machine's CPU" if environment_kind == "local" else "the simulated CPU"


def _skipped(classes: Sequence[ClassSize]) -> list[str]:
    """Classes between the first and the last one tried that were not."""
    tried = [each.environment_class for each in classes]
    between = CLASSES[CLASS_NAMES.index(tried[0]) : CLASS_NAMES.index(tried[-1]) + 1]
    return [each.name for each in between if each.name not in tried]


def _pooling(sized: Sequence[SizedRun]) -> str:
    match len(sized):
        case 1:
            return (
                "One run: the interval is its own and knows nothing of how runs differ; three or "
                "more would tell."
            )
        case 2:
            return (
                "Two runs: the interval is that of their own errors or of their difference, "
                "whichever is wider; two tell little of how runs differ, so make a third: it "
                "narrows the interval much."
            )
        case count:
            return f"The interval is that of the mean over {count} runs, by how these differ."


def warnings(
    runs: Sequence[RunAnalysis], sized: Sequence[SizedRun], load: LoadWanted
) -> Iterator[str]:
    """What of the runs limits what the size is worth, one sentence each."""
    for analysis, run in zip(runs, sized, strict=True):
        capacity = analysis.capacity
        reached = capacity.highest_rate_per_s if capacity else None
        was_stopped = capacity is not None and capacity.stopped_by_stage is not None
        below = reached is None or reached < load.high_per_s
        cause = STOPPED_BY.get(run.bottleneck, "an unknown cause")
        stopped = f"Run {run.run_id} was stopped by {cause}"
        if run.bottleneck in NOT_MOVED and was_stopped and below:
            help_how = "may not help" if run.bottleneck in PERHAPS_MOVED else "do not help"
            yield (
                f"{stopped}: more webservers {help_how} against that, and "
                f"{calls_per_s(load.high_per_s)} may be out of reach."
            )
        elif run.bottleneck not in _SPEAKS_OF_SIZE:
            yield f"{stopped}, which says nothing of how many webservers the SLO needs."
        if capacity is not None and capacity.rate_per_s is not None:
            for text in capacity.rate_per_s.warnings:
                yield f"Where the SLO breaks in run {run.run_id}: {text[:1].lower()}{text[1:]}"
        if not analysis.generator.ok:
            yield f"In run {run.run_id} the load generator was past its limits."
        yield from run.rate_of_one_per_s.warnings
    busiest = highest_rate_per_s(runs)
    if load.high_per_s > _FAR_BEYOND * busiest > 0:
        yield (
            f"{calls_per_s(load.high_per_s)} are more than twice the highest rate of the runs, "
            f"{calls_per_s(busiest)}: what else gets busy on the way, such as the database, was "
            "not seen."
        )
