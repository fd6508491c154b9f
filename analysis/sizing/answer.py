"""How many webservers, of which environment class, a load needs: from runs to a recommendation.

Recommended is the cheapest option that meets the SLO with a probability of at least 95 %
(`sizing/options.py`); unless all of these have a price, that of the smallest class, then of the
fewest webservers.
Classes are tried from the runs' own, or mw1.small, upwards, those whose webservers have the same
CPU as a smaller one left out, until the fewest webservers of one are enough.
"""

from collections.abc import Iterator, Sequence

from analysis.comparison.likeness import IdentifiedRun
from analysis.results import RunAnalysis
from analysis.sizing.bursts import Autoscaling
from analysis.sizing.class_sizes import class_size, evidence_for
from analysis.sizing.classes import (
    CLASS_NAMES,
    SMALLEST_THAT_SCALES,
    EnvironmentClass,
    classes_from,
)
from analysis.sizing.deciding import how_long_a_start_takes, whether_webservers_help
from analysis.sizing.loads import LoadWanted, calls_per_s
from analysis.sizing.notes import assumptions, warnings
from analysis.sizing.options import Circumstances, options_of, outrun_by_bursts
from analysis.sizing.pricing import PriceTable
from analysis.sizing.results import (
    ClassSize,
    PriceNote,
    SizedRun,
    SizeOption,
    SizingAnswer,
)
from analysis.sizing.runs import PERHAPS_MOVED, refusals_of, sized_run
from analysis.sizing.workload import allowance_of, autoscaling_of, slos_of, workload_of

ANSWERED, NOT_ANSWERED = 0, 5


def answer_size(
    runs: Sequence[IdentifiedRun],
    load: LoadWanted,
    prices: PriceTable | None,
    *,
    price_refusal: str = "",
    burst_from_per_s: float | None = None,
    environment_class: str | None = None,
    autoscaling: Autoscaling | None = None,
) -> SizingAnswer:
    """Size an environment.

    Args:
        runs: of one mix on webservers of one size.
        load: what is wanted.
        prices: of the region; None: not known.
        price_refusal: why they are not, one sentence.
        burst_from_per_s: rate before a burst to the highest rate; None: the lowest rate of the
            load, or nothing when it is one rate.
        environment_class: where to begin, a name of `analysis.sizing.classes`; None: the runs' own.
        autoscaling: how it behaves; None: as the runs show it.

    Returns:
        The answer, or the refusals: what is missing is never an exception.
    """
    analyses = [run.analysis for run in runs]
    behaviour = autoscaling or (autoscaling_of(analyses) if runs else None)
    refusals = refusals_of(runs)
    if refusals or behaviour is None:
        return _refused(analyses, load, refusals)
    sized = [sized_run(run) for run in analyses]
    utilisation = _utilisation(analyses)
    slos = slos_of(analyses[0])
    before_per_s = load.low_per_s if load.low_per_s < load.high_per_s else 0.0
    given = Circumstances(
        load=load,
        burst_from_per_s=before_per_s if burst_from_per_s is None else burst_from_per_s,
        allowed=allowance_of(slos),
        autoscaling=behaviour,
        prices=prices,
    )
    first = environment_class or _own_class(analyses[0])
    classes: list[ClassSize] = []
    options: list[SizeOption] = []
    by_slo = False
    for one in _distinct(classes_from(first)):
        evidence = evidence_for(sized, one.webserver_cpu, utilisation)
        size = class_size(
            one,
            evidence,
            load,
            utilisation=utilisation,
            periods=sum(run.periods for run in sized),
        )
        classes.append(size)
        by_slo = by_slo or evidence.by_slo
        if evidence.judging is None:
            continue
        workload = workload_of(analyses, sized, one.webserver_cpu)
        found = list(options_of(size, evidence, workload, given)) if size.suffices else []
        options += found
        if found and found[0].meets:
            break
    recommended = _cheapest(options)
    judged_by = "slo_capacity" if by_slo else "utilisation"
    currency = prices.currency if prices else ""
    chosen = None if recommended is None else options[recommended]
    return SizingAnswer(
        load=load.description,
        low_per_s=load.low_per_s,
        high_per_s=load.high_per_s,
        mean_per_s=load.mean_per_s,
        slo=tuple(slo.text for slo in slos),
        utilisation_target=utilisation,
        judged_by=judged_by,
        runs=tuple(sized),
        classes=tuple(classes),
        options=tuple(options),
        recommended=recommended,
        deciding=_deciding(sized, classes, options, chosen, given),
        prices=_note(prices),
        price_refusal=price_refusal,
        autoscaling=behaviour.source,
        sentence=_sentence(classes, options, chosen, load, judged_by, utilisation, currency, sized),
        exit_code=NOT_ANSWERED if chosen is None else ANSWERED,
        assumptions=tuple(assumptions(analyses, sized, classes, judged_by, load)),
        warnings=tuple(dict.fromkeys([*warnings(analyses, sized, load), *_unpriced(options)])),
    )


def _refused(
    runs: Sequence[RunAnalysis], load: LoadWanted, refusals: tuple[str, ...]
) -> SizingAnswer:
    return SizingAnswer(
        load=load.description,
        low_per_s=load.low_per_s,
        high_per_s=load.high_per_s,
        mean_per_s=load.mean_per_s,
        slo=tuple(slo.text for slo in slos_of(runs[0])) if runs else (),
        utilisation_target=_utilisation(runs),
        judged_by="utilisation",
        runs=(),
        classes=(),
        options=(),
        recommended=None,
        deciding="",
        prices=None,
        price_refusal="",
        autoscaling="",
        sentence=f"No size can be given: {_lowered(refusals[0])}",
        exit_code=NOT_ANSWERED,
        refusals=refusals,
    )


def _utilisation(runs: Sequence[RunAnalysis]) -> float:
    return next((run.sizing.utilisation_target for run in runs if run.sizing), 0.7)


def _own_class(run: RunAnalysis) -> str:
    named = str(run.environment.get("environment_class") or "")
    return named if named in CLASS_NAMES else SMALLEST_THAT_SCALES


def _distinct(classes: Sequence[EnvironmentClass]) -> Iterator[EnvironmentClass]:
    """Without those that give webservers no more than a smaller class does."""
    best = (0.0, 0)
    for one in classes:
        if (one.webserver_cpu, one.most_webservers) > best:
            best = (one.webserver_cpu, one.most_webservers)
            yield one


def _cheapest(options: Sequence[SizeOption]) -> int | None:
    """The first of equals, or when a price is missing: by class, then by minimum."""
    meeting = [index for index, option in enumerate(options) if option.meets]
    months = {index: options[index].monthly for index in meeting}
    known = {index: month.high for index, month in months.items() if month is not None}
    if len(known) < len(meeting):
        return meeting[0]
    return min(meeting, key=known.__getitem__, default=None)


def _unpriced(options: Sequence[SizeOption]) -> Iterator[str]:
    """Why the cheapest was not looked for, where only some prices are known."""
    missing = [option.monthly is None for option in options if option.meets]
    if any(missing) and not all(missing):
        yield (
            "Not every setting that is sure enough has a price, so the smallest class with the "
            "fewest webservers is recommended: a larger one may be cheaper."
        )


def _deciding(
    runs: Sequence[SizedRun],
    classes: Sequence[ClassSize],
    options: Sequence[SizeOption],
    chosen: SizeOption | None,
    given: Circumstances,
) -> str:
    """What to measure for the class that is recommended, or else for the last one tried."""
    wanted = chosen.environment_class if chosen else classes[-1].environment_class
    size = next(each for each in classes if each.environment_class == wanted)
    peak = given.load.high_per_s
    found = [size.deciding]
    stuck = any(run.capacity_per_s and run.bottleneck in PERHAPS_MOVED for run in runs)
    if stuck and chosen is None:
        found.append(whether_webservers_help(peak, size.most_webservers))
    if any(
        outrun_by_bursts(option.trace, given.allowed)
        for option in options
        if option.environment_class == wanted
    ):
        found.append(how_long_a_start_takes(peak, size.fewest_webservers))
    return " ".join(filter(None, found))


def _sentence(
    classes: Sequence[ClassSize],
    options: Sequence[SizeOption],
    chosen: SizeOption | None,
    load: LoadWanted,
    judged_by: str,
    utilisation: float,
    currency: str,
    runs: Sequence[SizedRun],
) -> str:
    peak = calls_per_s(load.high_per_s)
    if chosen is None:
        last = classes[-1]
        if not options:
            return (
                f"No environment class from {classes[0].environment_class} on is sure enough to "
                f"serve {peak}: even {last.most_webservers} {last.environment_class} webservers "
                "are enough with a probability of "
                f"{_percent(last.chances[-1].probability_at_peak)} only."
            )
        return f"No setting meets the SLO surely enough: {_lowered(options[-1].shortcoming)}"
    size = next(each for each in classes if each.environment_class == chosen.environment_class)
    met = (
        "meets the SLO"
        if judged_by == "slo_capacity"
        else f"keeps the webservers' CPU at or below {100 * utilisation:.0f} %"
    )
    return (
        f"{chosen.environment_class} with MinWebservers {chosen.min_webservers} and MaxWebservers "
        f"{chosen.max_webservers} {met} with a probability of {_probability(chosen, runs)}; at "
        f"{100 * utilisation:.0f} % CPU, {peak} need {_between(size)}{_money(chosen, currency)}."
    )


def _probability(option: SizeOption, runs: Sequence[SizedRun]) -> str:
    shown = _percent(min(option.probability, option.probability_at_peak))
    return f"{shown} (one run: how runs differ is not in it)" if len(runs) == 1 else shown


def _percent(probability: float) -> str:
    """Never certain."""
    if probability > 0.99:
        return "more than 99 %"
    return "less than 1 %" if probability < 0.01 else f"{100 * probability:.0f} %"


def _between(size: ClassSize) -> str:
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


def _note(prices: PriceTable | None) -> PriceNote | None:
    if prices is None:
        return None
    return PriceNote(prices.region, prices.as_of, prices.source, prices.currency)


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
