"""How many webservers, of which environment class, a load needs: from runs to a recommendation.

Recommended is the cheapest option that meets the SLO with a probability of at least 95 %
(`planning/options.py`); unless all of these have a price, that of the smallest class, then of the
fewest webservers.
Classes are tried from the runs' own, or mw1.small, upwards, those whose webservers have the same
CPU as a smaller one left out, until the fewest webservers of one are enough.
"""

from collections.abc import Iterator, Sequence

from mwaa_headroom.analysis.planning.bursts import (
    Autoscaling,
    allowance_of,
    autoscaling_of,
    slos_of,
    workload_of,
)
from mwaa_headroom.analysis.planning.classes import (
    CLASS_NAMES,
    SMALLEST_THAT_SCALES,
    EnvironmentClass,
    PriceTable,
    classes_from,
)
from mwaa_headroom.analysis.planning.loads import LoadWanted
from mwaa_headroom.analysis.planning.options import (
    Circumstances,
    class_size,
    evidence_for,
    options_of,
    outrun_by_bursts,
)
from mwaa_headroom.analysis.planning.results import (
    ClassSize,
    PriceNote,
    SizedRun,
    SizeOption,
    SizingAnswer,
)
from mwaa_headroom.analysis.planning.runs import PERHAPS_MOVED, refusals_of, sized_run
from mwaa_headroom.analysis.planning.sentences import (
    Conditions,
    assumptions,
    highest_rate_per_s,
    lowered,
    sentence_of,
    warnings,
)
from mwaa_headroom.analysis.results import RunAnalysis
from mwaa_headroom.analysis.sizing.probability import (
    how_long_a_start_takes,
    whether_webservers_help,
)

ANSWERED, NOT_ANSWERED = 0, 5


def answer_size(
    runs: Sequence[RunAnalysis],
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
        environment_class: where to begin, a name of `planning/classes.py`; None: the runs' own.
        autoscaling: how it behaves; None: as the runs show it.

    Returns:
        The answer, or the refusals: what is missing is never an exception.
    """
    analyses = list(runs)
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
            period_s=next((each.period_s for run in analyses for each in run.periods), None),
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
    conditions = Conditions(
        by_slo=by_slo,
        utilisation=utilisation,
        runs=len(sized),
        webserver_cpu=sized[0].webserver_cpu,
        highest_per_s=highest_rate_per_s(analyses),
        environment_kind=str(analyses[0].environment.get("kind") or ""),
    )
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
        sentence=sentence_of(classes, options, chosen, load, conditions, currency),
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
        sentence=f"No size can be given: {lowered(refusals[0])}",
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


def _note(prices: PriceTable | None) -> PriceNote | None:
    if prices is None:
        return None
    return PriceNote(prices.region, prices.as_of, prices.source, prices.currency)
