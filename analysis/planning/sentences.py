"""The one sentence that says which size is recommended, and under which conditions that holds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from mwaa_headroom.analysis.planning.classes import CLASS_NAMES, CLASSES
from mwaa_headroom.analysis.planning.loads import DAY_S, LoadWanted
from mwaa_headroom.analysis.planning.results import ClassSize, SizedRun, SizeOption
from mwaa_headroom.analysis.planning.runs import MOVED_BY_WEBSERVERS, NOT_MOVED, PERHAPS_MOVED
from mwaa_headroom.analysis.report.sentences import told
from mwaa_headroom.analysis.report.words import STOPPED_BY
from mwaa_headroom.analysis.results import RunAnalysis
from mwaa_headroom.analysis.sizing.probability import calls_per_s

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
            for text in map(told, capacity.rate_per_s.warnings):
                yield f"Where the SLO breaks in run {run.run_id}: {text[:1].lower()}{text[1:]}"
        if not analysis.generator.ok:
            yield f"In run {run.run_id} the load generator was past its limits."
        yield from map(told, run.rate_of_one_per_s.warnings)
    busiest = highest_rate_per_s(runs)
    if load.high_per_s > _FAR_BEYOND * busiest > 0:
        yield (
            f"{calls_per_s(load.high_per_s)} are more than twice the highest rate of the runs, "
            f"{calls_per_s(busiest)}: what else gets busy on the way, such as the database, was "
            "not seen."
        )


NEARLY_CERTAIN: Final = 0.99  # beyond this, or its opposite, no probability is told apart
_BEYOND: Final = 1.5  # times the highest rate measured, from which on a size is an extrapolation


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the runs were, as far as the sentence depends on it."""

    by_slo: bool  # the rate at which the SLO broke decides, else the CPU
    utilisation: float  # not to be exceeded, 0..1
    runs: int
    webserver_cpu: float  # CPUs of one webserver of the runs
    highest_per_s: float  # rate measured; 0: not known
    environment_kind: str  # aws, local or simulated


def sentence_of(
    classes: Sequence[ClassSize],
    options: Sequence[SizeOption],
    chosen: SizeOption | None,
    load: LoadWanted,
    conditions: Conditions,
    currency: str,
) -> str:
    """The answer in words.

    Args:
        classes: that were tried, at least one.
        options: of these.
        chosen: the recommended one; None: none is.
        load: what is wanted.
        conditions: what the runs were.
        currency: of the options' prices.
    """
    peak = calls_per_s(load.high_per_s)
    if chosen is None:
        last = classes[-1]
        if not options:
            return (
                f"No environment class from {classes[0].environment_class} on is sure enough to "
                f"serve {peak}: even {last.most_webservers} {last.environment_class} webservers "
                "are enough with a probability of "
                f"{chance_in_words(last.chances[-1].probability_at_peak)} only."
            )
        return f"No setting meets the SLO surely enough: {lowered(options[-1].shortcoming)}"
    size = next(each for each in classes if each.environment_class == chosen.environment_class)
    percent = f"{100 * conditions.utilisation:.0f} %"
    met = (
        "meets the SLO" if conditions.by_slo else f"keeps the webservers' CPU at or below {percent}"
    )
    extrapolated = _is_extrapolated(size, load, conditions)
    return (
        f"{'By extrapolation, ' if extrapolated else ''}{chosen.environment_class} with "
        f"MinWebservers {chosen.min_webservers} and MaxWebservers {chosen.max_webservers} {met} "
        f"with a probability of {_probability(size, chosen, load, conditions)}"
        f"{_money(chosen, currency)}; {_by_cpu(size, chosen, peak, percent, conditions.by_slo)}."
        f"{_condition(extrapolated, conditions)}"
    )


def chance_in_words(probability: float) -> str:
    """Never certain."""
    if probability > NEARLY_CERTAIN:
        return f"more than {100 * NEARLY_CERTAIN:g} %"
    if probability < 1 - NEARLY_CERTAIN:
        return f"less than {100 * (1 - NEARLY_CERTAIN):g} %"
    return f"{100 * probability:.0f} %"


def lowered(sentence: str) -> str:
    """To go on with after a colon."""
    return sentence[:1].lower() + sentence[1:]


def _is_extrapolated(size: ClassSize, load: LoadWanted, conditions: Conditions) -> bool:
    return (
        size.webserver_cpu != conditions.webserver_cpu
        or load.high_per_s > _BEYOND * conditions.highest_per_s
    )


def _probability(
    size: ClassSize, option: SizeOption, load: LoadWanted, conditions: Conditions
) -> str:
    shown = chance_in_words(min(option.probability, option.probability_at_peak))
    remarks = []
    if load.trace_per_s is None and load.low_per_s < load.high_per_s:
        with_min = next(c for c in size.chances if c.webservers == option.min_webservers)
        remarks.append(
            f"over the range; at {calls_per_s(load.high_per_s)} "
            f"{chance_in_words(with_min.probability_at_peak)} with the minimum, "
            f"{chance_in_words(option.probability_at_peak)} with the maximum"
        )
    if conditions.runs == 1:
        remarks.append("one run: how runs differ is not in it")
    return f"{shown} ({'; '.join(remarks)})" if remarks else shown


def _by_cpu(size: ClassSize, option: SizeOption, peak: str, percent: str, by_slo: bool) -> str:
    """How many the CPU asks for, and how that goes together with what is recommended."""
    if not by_slo:
        return f"at {percent} CPU, {peak} need {_between(size)}"
    needed = (
        "the rate at which the SLO broke in the runs decides; to stay at or below "
        f"{percent} CPU, {peak} would need {_between(size)}"
    )
    if size.webservers is not None and size.webservers <= option.max_webservers:
        return needed
    limit = option.max_webservers
    of_class = ", the most one may set" if limit == size.most_webservers else ""
    return (
        f"{needed}, so with {limit}{of_class}, the CPU would be above {percent} and autoscaling "
        "would want more than it may have"
    )


def _condition(extrapolated: bool, conditions: Conditions) -> str:
    """What has to be so for the size to hold; "": nothing that was not measured."""
    holds = []
    if conditions.environment_kind != "aws":
        holds.append(f"a vCPU of AWS is as fast as {measured_cpu(conditions.environment_kind)}")
    if extrapolated:
        holds.append("what the webservers serve grows in proportion to their CPU and number")
    if not holds:
        return ""
    measured = ""
    if conditions.highest_per_s:
        measured = (
            f"; the highest rate measured was {calls_per_s(conditions.highest_per_s)}, on "
            f"webservers with {conditions.webserver_cpu:g} CPU"
        )
    return f" This holds if {' and '.join(holds)}{measured}."


def _between(size: ClassSize) -> str:
    if size.webservers is None:
        return "more than can be had"
    count = f"{size.webservers} webserver{'' if size.webservers == 1 else 's'}"
    if size.webservers_low == size.webservers_high:
        return f"{count} (no other count is in the 95 % interval)"
    high = "more" if size.webservers_high is None else str(size.webservers_high)
    return f"{count} (95 % interval {size.webservers_low} to {high})"


def _money(option: SizeOption, currency: str) -> str:
    money = option.monthly
    if money is None:
        return ""
    if round(money.low) == round(money.high):
        return f", for {money.high:.0f} {currency} a month"
    return f", for {money.low:.0f} to {money.high:.0f} {currency} a month"
