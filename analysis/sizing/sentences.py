"""The one sentence that says which size is recommended, and under which conditions that holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from analysis.sizing.loads import LoadWanted, calls_per_s
from analysis.sizing.notes import measured_cpu
from analysis.sizing.results import ClassSize, SizeOption

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
