"""How many webservers, of which environment class, a load needs: from runs to a recommendation.

Recommended is the cheapest option that meets the SLO with a probability of at least 95 %
(`planning/options.py`); unless all of these have a price, that of the smallest class, then of the
fewest webservers.
Classes are tried from the runs' own, or mw1.small, upwards, those whose webservers have the same
CPU as a smaller one left out, until the fewest webservers of one are enough.

Probabilities and shares are fractions; calls are counts; money is in the table's currency.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mwaa_headroom.analysis.findings import Finding, note, refusal, warning
from mwaa_headroom.analysis.planning.bursts import (
    Autoscaling,
    allowance_of,
    autoscaling_of,
    workload_of,
)
from mwaa_headroom.analysis.planning.classes import (
    CLASS_NAMES,
    SMALLEST_THAT_SCALES,
    EnvironmentClass,
    PriceTable,
    classes_from,
)
from mwaa_headroom.analysis.planning.count_probability import evidence_for
from mwaa_headroom.analysis.planning.expected_latency import expected_latency
from mwaa_headroom.analysis.planning.loads import DAY_S, LoadWanted
from mwaa_headroom.analysis.planning.options import (
    ClassSize,
    SizeOption,
    SizingInputs,
    class_size,
    options_of,
    outrun_by_bursts,
)
from mwaa_headroom.analysis.planning.runs import (
    MOVED_BY_WEBSERVERS,
    NOT_MOVED,
    PERHAPS_MOVED,
    SizedRun,
    refusals_of,
    sized_run,
)
from mwaa_headroom.analysis.results import RunAnalysis
from mwaa_headroom.analysis.sizing.rate_limit import RateLimit
from mwaa_headroom.analysis.slo import Slo

ANSWERED, NOT_ANSWERED = 0, 5
_SPEAKS_OF_SIZE = ("not_reached", *MOVED_BY_WEBSERVERS, *NOT_MOVED)
_FAR_BEYOND = 2.0  # times the highest rate that was sent


@dataclass(frozen=True, slots=True)
class PriceNote:
    """Which prices were used."""

    region: str
    as_of: str
    source: str
    currency: str
    region_given: bool = True  # or known from the runs; else the first table's was taken


@dataclass(frozen=True, slots=True)
class SizingAnswer:
    """How many webservers of which class a load needs."""

    load: Finding
    low_per_s: float
    high_per_s: float
    mean_per_s: float
    slo: tuple[Slo, ...]
    utilisation_target: float
    judged_by: str = "utilisation"  # or slo_capacity: what `probability` is about
    environment_kind: str = ""  # of the runs
    environment_name: str = ""  # on AWS; empty: it is not, or they are of several
    highest_rate_per_s: float = 0.0  # that a stage of the runs sent; 0: there is none
    runs: tuple[SizedRun, ...] = ()
    classes: tuple[ClassSize, ...] = ()
    options: tuple[SizeOption, ...] = ()
    recommended: int | None = None  # index in options
    impossible: Finding | None = None  # why no webserver count reaches the highest rate
    deciding: Finding | None = None  # of the recommended class; None: nothing is open
    prices: PriceNote | None = None
    price_refusal: Finding | None = None  # why there are no prices
    autoscaling: Finding | None = None  # where its times come from
    exit_code: int = NOT_ANSWERED  # 0, or 5 without a recommendation
    latency: tuple[Finding, ...] = ()  # to expect, where CPU alone was judged
    assumptions: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()
    refusals: tuple[Finding, ...] = ()

    @property
    def chosen(self) -> SizeOption | None:
        """The setting that is recommended."""
        return None if self.recommended is None else self.options[self.recommended]


def answer_size(
    runs: Sequence[RunAnalysis],
    load: LoadWanted,
    tables: Sequence[PriceTable],
    *,
    region: str | None = None,
    burst_from_per_s: float | None = None,
    environment_class: str | None = None,
    autoscaling: Autoscaling | None = None,
) -> SizingAnswer:
    """Size an environment.

    Args:
        runs: of one mix on webservers of one size.
        load: what is wanted.
        tables: of prices, one of each region.
        region: whose prices; None: that of runs on AWS, or the first table's.
        burst_from_per_s: rate before a burst to the highest rate; None: the lowest rate of the
            load, or nothing when it is one rate.
        environment_class: where to begin, one of `CLASS_NAMES`; None: the runs' own.
        autoscaling: how it behaves; None: as the runs show it.

    Returns:
        The answer, or the refusals: what is missing is never an exception.
    """
    utilisation = next((run.sizing.utilisation_target for run in runs if run.sizing), 0.7)
    asked = SizingAnswer(
        load=load.description,
        low_per_s=load.low_per_s,
        high_per_s=load.high_per_s,
        mean_per_s=load.mean_per_s,
        slo=runs[0].slos if runs else (),
        utilisation_target=utilisation,
        refusals=refusals_of(runs),
    )
    if asked.refusals:
        return asked
    sized = [sized_run(run) for run in runs]
    own_region = _region_on_aws(runs)
    prices, price_refusal = _prices_of(tables, region or own_region)
    before_per_s = load.low_per_s if load.low_per_s < load.high_per_s else 0.0
    given = SizingInputs(
        load=load,
        burst_from_per_s=before_per_s if burst_from_per_s is None else burst_from_per_s,
        allowed=allowance_of(runs[0].slos),
        autoscaling=autoscaling or autoscaling_of(runs),
        prices=prices,
    )
    classes, options, by_slo = _tried(runs, sized, utilisation, environment_class, given)
    impossible = _impossible(runs, load.high_per_s)
    recommended = None if impossible else _cheapest(options)
    answer = replace(
        asked,
        judged_by="slo_capacity" if by_slo else "utilisation",
        environment_kind=str(runs[0].environment.get("kind") or ""),
        environment_name=_name_on_aws(runs),
        highest_rate_per_s=max(
            (
                stage.achieved_per_s
                for run in runs
                for stage in run.stages
                if stage.spoilt_by is None
            ),
            default=0.0,
        ),
        runs=tuple(sized),
        classes=tuple(classes),
        options=tuple(options),
        recommended=recommended,
        impossible=impossible,
        prices=_note(prices, region_given=bool(region or own_region)),
        price_refusal=price_refusal,
        autoscaling=given.autoscaling.source,
        exit_code=NOT_ANSWERED if recommended is None else ANSWERED,
    )
    limits = [found for run in runs for found in _limits_of_run(run, load)]
    return replace(
        answer,
        deciding=_deciding(answer, given),
        latency=_latency(answer, runs),
        assumptions=tuple(_assumptions(answer, load)),
        warnings=tuple(dict.fromkeys([*limits, *_limits_of_answer(answer)])),
    )


def _impossible(runs: Sequence[RunAnalysis], rate_per_s: float) -> Finding | None:
    found = (RateLimit(run.admitted_per_s).forbids(rate_per_s) for run in runs)
    return next((each for each in found if each), None)


def _region_on_aws(runs: Sequence[RunAnalysis]) -> str | None:
    agreed = [run.identity.must_agree for run in runs]
    return next((a.get("region") for a in agreed if a.get("environment kind") == "aws"), None)


def _name_on_aws(runs: Sequence[RunAnalysis]) -> str:
    names = {str(r.environment.get("name") or "") for r in runs if r.environment["kind"] == "aws"}
    return names.pop() if len(names) == 1 else ""


def _prices_of(
    tables: Sequence[PriceTable], region: str | None
) -> tuple[PriceTable | None, Finding | None]:
    for table in tables:
        if region in (None, table.region):
            return table, None
    return None, refusal("size.no_prices", region=region)


def _note(prices: PriceTable | None, *, region_given: bool) -> PriceNote | None:
    if prices is None:
        return None
    return PriceNote(prices.region, prices.as_of, prices.source, prices.currency, region_given)


def _tried(
    runs: Sequence[RunAnalysis],
    sized: Sequence[SizedRun],
    utilisation: float,
    environment_class: str | None,
    given: SizingInputs,
) -> tuple[list[ClassSize], list[SizeOption], bool]:
    """Classes and their options until one is surely enough, and whether an SLO's rate decides."""
    own_class = str(runs[0].environment.get("environment_class"))
    first = environment_class or (own_class if own_class in CLASS_NAMES else SMALLEST_THAT_SCALES)
    classes: list[ClassSize] = []
    options: list[SizeOption] = []
    by_slo = False
    for one in _distinct(classes_from(first)):
        evidence = evidence_for(sized, one.webserver_cpu, utilisation)
        size = class_size(
            one,
            evidence,
            given.load,
            utilisation=utilisation,
            periods=sum(run.periods for run in sized),
            period_s=next((each.period_s for run in runs for each in run.periods), None),
        )
        classes.append(size)
        by_slo = by_slo or evidence.by_slo
        if evidence.judging_per_s is None or not size.suffices:
            continue
        workload = workload_of(runs, sized, one.webserver_cpu)
        found = list(options_of(size, evidence, workload, given))
        options += found
        if found[0].meets:
            break
    return classes, options, by_slo


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


def _deciding(answer: SizingAnswer, given: SizingInputs) -> Finding | None:
    """What to measure for the class that is recommended, or else for the last one tried."""
    chosen, classes, peak = answer.chosen, answer.classes, answer.high_per_s
    wanted = chosen.environment_class if chosen else classes[-1].environment_class
    size = next(each for each in classes if each.environment_class == wanted)
    found = [size.deciding] if size.deciding else []
    stuck = any(run.capacity_per_s and run.bottleneck in PERHAPS_MOVED for run in answer.runs)
    if stuck and chosen is None:
        most = size.most_webservers
        found.append(note("size.webservers_may_not_help", rate_per_s=peak, webservers=most))
    if any(
        outrun_by_bursts(option.trace, given.allowed)
        for option in answer.options
        if option.environment_class == wanted
    ):
        fewest = size.fewest_webservers
        found.append(note("size.start_time_decides", rate_per_s=peak, webservers=fewest))
    return note("size.deciding", measurements=tuple(found)) if found else None


def _latency(answer: SizingAnswer, runs: Sequence[RunAnalysis]) -> tuple[Finding, ...]:
    """What the recommended webservers make of the SLO; empty: nothing is known, or it decided."""
    chosen = answer.chosen
    if chosen is None or answer.judged_by == "slo_capacity":
        return ()
    size = next(s for s in answer.classes if s.environment_class == chosen.environment_class)
    if size.webserver_cpu != answer.runs[0].webserver_cpu:
        return ()
    in_service = min(max(size.webservers or 0, chosen.min_webservers), chosen.max_webservers)
    return expected_latency(runs, answer.high_per_s, in_service)


def _assumptions(answer: SizingAnswer, load: LoadWanted) -> Iterator[Finding]:
    """What the size rests on."""
    kind, measured_cpu = answer.environment_kind, answer.runs[0].webserver_cpu
    if kind != "aws":
        yield note("size.same_cpu_time", environment_kind=kind)
    if any(each.webserver_cpu != measured_cpu for each in answer.classes):
        yield note("size.rate_grows_with_cpu", webserver_cpus=measured_cpu)
    if answer.judged_by == "slo_capacity":
        yield note("size.slo_rate_grows")
    elif any(run.capacity_per_s for run in answer.runs):
        yield note("size.slo_rate_without_lower_end")
    else:
        yield note("size.slo_rate_unknown")
    yield note(
        "size.interval_over_runs",
        runs=len(answer.runs),
        between_runs=max(run.between_runs for run in answer.runs),
    )
    if load.trace_per_s is None and load.low_per_s < load.high_per_s:
        yield note("size.even_range")
    if load.trace_per_s is not None and len(load.trace_per_s) > DAY_S:
        yield note("size.busiest_day")
    tried = [each.environment_class for each in answer.classes]
    between = CLASS_NAMES[CLASS_NAMES.index(tried[0]) : CLASS_NAMES.index(tried[-1])]
    if skipped := tuple(name for name in between if name not in tried):
        yield note("size.classes_left_out", names=skipped)
    yield note("size.only_webservers")


def _limits_of_run(run: RunAnalysis, load: LoadWanted) -> Iterator[Finding]:
    """What of a run limits what the size is worth."""
    capacity, run_id = run.capacity, run.run_id
    if capacity is not None:
        reached, bottleneck = capacity.highest_rate_per_s, capacity.bottleneck
        below = reached is None or reached < load.high_per_s
        if bottleneck in NOT_MOVED and capacity.stopped_by_stage is not None and below:
            yield warning(
                "size.stopped_by_another_limit",
                run_id=run_id,
                bottleneck=bottleneck,
                may_help=bottleneck in PERHAPS_MOVED,
                rate_per_s=load.high_per_s,
            )
        elif bottleneck not in _SPEAKS_OF_SIZE:
            yield warning("size.stop_says_nothing", run_id=run_id, bottleneck=bottleneck)
        for reason in capacity.rate_per_s.warnings if capacity.rate_per_s else ():
            yield warning("size.slo_rate_of_run", run_id=run_id, reason=reason)
    if not run.generator.ok:
        yield warning("size.generator_past_limits", run_id=run_id)
    for stage in run.stages:
        if why := stage.spoilt_by:
            yield warning("size.stage_left_out", run_id=run_id, stage=stage.label, reason=why)
    if run.demand is not None:
        yield from run.demand.rate_per_webserver_per_s.warnings


def _limits_of_answer(answer: SizingAnswer) -> Iterator[Finding]:
    peak, busiest = answer.high_per_s, answer.highest_rate_per_s
    if peak > _FAR_BEYOND * busiest > 0:
        yield warning("size.load_far_beyond", rate_per_s=peak, highest_per_s=busiest)
    missing = [option.monthly is None for option in answer.options if option.meets]
    if any(missing) and not all(missing):  # so the cheapest was not looked for
        yield warning("size.prices_incomplete")
