"""From pairs of runs, before and after an upgrade, to the verdict and what an engineer needs.

The gate is small, for every further metric costs certainty about the others:

    service demand of the mix, median latency of the mix at either load, errors of both

Not p95, as in `compare`: the stages of one run here are short, and 200 calls tell a median within a
few percent and a p95 within tens. It is shown beside the gate, like everything about single
operations.

    growth       memory of a webserver by least squares over the calls it has answered since the
                 first run of the experiment; one value for each side, for there is one webserver
    webservers   ceil(rate / X_1), X_1 the median over a side's runs (`sizing/one_run.py`)
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import Final, TypeVar

import numpy as np

from mwaa_headroom.analysis.answer_sizes import size_differences
from mwaa_headroom.analysis.comparison.compare import (
    EXIT_CODES,
    Comparison,
    ComparisonVerdict,
    compared_run,
    doubtful,
    with_doubts,
)
from mwaa_headroom.analysis.comparison.metrics import (
    ERROR_RATE,
    MIX_DEMAND,
    Metric,
    demand_of,
    label_of,
    latency,
    run_metrics,
)
from mwaa_headroom.analysis.comparison.paired import (
    Looks,
    PairedSamples,
    compare_pairs,
    describe_pairs,
)
from mwaa_headroom.analysis.comparison.regression import (
    CONFIDENCE,
    SHARE_MARGIN,
    MetricComparison,
    overall,
)
from mwaa_headroom.analysis.findings import Finding, refusal, warning
from mwaa_headroom.analysis.generator.limits import number_in
from mwaa_headroom.analysis.identity import (
    COMPARISON,
    Purpose,
    allowed,
    objection,
    unlike,
    unlike_runs,
)
from mwaa_headroom.analysis.planning.classes import HOURS_PER_MONTH, Money
from mwaa_headroom.analysis.results import RunAnalysis, StageStats
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.analysis.setting import Setting
from mwaa_headroom.analysis.sizing.one_run import webservers_for
from mwaa_headroom.analysis.statistics import Estimate, known

MIX_STAGES: Final = ("mix, moderate", "mix, busy")
UNLIKE_HOSTS: Final = 1.15  # between the runs of a pair: the next pair is likely to be better
_COMMON: Final = 0.01  # of an operation's calls: what fewer end with is chance
T = TypeVar("T")
GROWTH_CALLS: Final = 1000  # to which the growth of memory is told


@dataclass(frozen=True, slots=True)
class Pair:
    """Two runs, one right after the other."""

    number: int  # from 1
    baseline: Run
    contender: Run


@dataclass(frozen=True, slots=True)
class Side:
    """What is known of a side besides the metrics; None: not known."""

    airflow_version: str
    reference_s: float | None  # CPU time of the host's reference work
    memory_at_start_percent: float | None  # of one webserver
    memory_growth_percent: float | None  # points by which that grew over 1000 calls
    webserver_memory_mib: float | None  # what is 100 %
    database_cpu_percent: float | None  # at the busier load of the mix
    database_connections: float | None  # the most there
    rate_per_webserver_per_s: float | None  # of the mix, at the utilisation target


@dataclass(frozen=True, slots=True)
class OperationChange:
    """One operation sent alone; of both sides (baseline, contender) where it is no metric."""

    operation: str
    rate_per_s: float
    demand: MetricComparison | None  # None: no run knows it
    p50: MetricComparison | None
    p95: MetricComparison | None
    failed: tuple[float, float]  # shares of all its calls
    answer_bytes: tuple[float | None, float | None]  # medians


@dataclass(frozen=True, slots=True)
class WebserversNeeded:
    """For one rate of the mix; None: no number of them is enough, or it is not known."""

    rate_per_s: float
    baseline: int | None
    contender: int | None
    change_per_month: Money | None  # None: there is none, or it is not known


@dataclass(frozen=True, slots=True)
class Prices:
    """What an additional webserver costs."""

    environment_class: str
    region: str
    as_of: str
    webserver_per_h: Money


@dataclass(frozen=True, slots=True)
class UpgradeAnswer:
    """The verdict of the pairs, and what goes with it."""

    comparison: Comparison
    pairs: int  # that count; 0: the comparison knows no run
    planned: int  # at most
    set_aside: tuple[tuple[int, Finding], ...]  # number of the pair and why it does not count
    sides: tuple[Side, Side]  # baseline, contender
    operations: tuple[OperationChange, ...]
    webservers: tuple[WebserversNeeded, ...]
    behaviours: tuple[Finding, ...]
    utilisation_target: float
    prices: Prices | None

    @property
    def is_decided(self) -> bool:
        """Whether further pairs would not change the answer."""
        return self.comparison.verdict in ("pass", "regression")


def doubt_of(pair: Pair) -> Finding | None:
    """Why a pair does not count and is made again; None: it counts."""
    for run in (pair.baseline, pair.contender):
        if found := objection(run.analysis):
            return found
    factor = slower(pair)
    if max(factor, 1 / factor) > UNLIKE_HOSTS:
        return refusal("upgrade.unlike_hosts", slower=factor)
    return None


def upgrade_answer(
    pairs: Sequence[Pair],
    *,
    looks: Looks,
    margin: float,
    prices: Prices | None,
    meant_to_differ: tuple[str, ...] = (),
) -> UpgradeAnswer:
    """Hold both sides of all pairs against each other.

    Args:
        pairs: at least one, in the order of time; those of `doubt_of` are set aside.
        looks: after which numbers of pairs the experiment may end.
        margin: fraction by which a gate metric may get worse.
        prices: of webservers; None: not known.
        meant_to_differ: settings in which the sides differ besides the version, by their names in
            `identity`.
    """
    doubts = [(pair, doubt_of(pair)) for pair in pairs]
    good = [pair for pair, doubt in doubts if doubt is None]
    before, after = _runs(good)
    purpose = replace(COMPARISON, meant_to_differ=meant_to_differ)
    comparison = _comparison(good, purpose, looks, margin)
    every = _runs(pairs)
    sides = _side(before, every[0]), _side(after, every[1])
    setting = pairs[0].baseline.setting
    return UpgradeAnswer(
        comparison=comparison,
        pairs=len(good),
        planned=looks.last,
        set_aside=tuple((pair.number, doubt) for pair, doubt in doubts if doubt),
        sides=sides,
        operations=() if comparison.refusals else tuple(_operations(comparison, good)),
        webservers=tuple(_needs(*sides, _rates(setting), prices)),
        behaviours=(*_sizes(before, after).values(), *_behaviours(before, after)),
        utilisation_target=setting.utilisation_target,
        prices=prices,
    )


Runs = Sequence[Run]


def _runs(pairs: Sequence[Pair]) -> tuple[Runs, Runs]:
    return [pair.baseline for pair in pairs], [pair.contender for pair in pairs]


def _comparison(pairs: Sequence[Pair], purpose: Purpose, looks: Looks, margin: float) -> Comparison:
    before, after = _runs(pairs)
    sides = {
        "baseline": [run.analysis for run in before],
        "contender": [run.analysis for run in after],
    }
    differences = unlike(sides, purpose) if pairs else ()
    refusals = unlike_runs(differences) if pairs else (refusal("upgrade.no_pair"),)
    gate, beside = ([], []) if refusals else _samples(pairs)
    sizes = {} if refusals else _sizes(before, after)
    other_work = doubtful(sizes, sides["baseline"])
    if pairs:
        other_work = _with_names(other_work, before[0].stages)
    judged = with_doubts(compare_pairs(gate, looks, margin=margin), other_work)
    verdict: ComparisonVerdict = "refused" if refusals else overall(judged)
    return Comparison(
        baseline=tuple(map(compared_run, sides["baseline"])),
        contender=tuple(map(compared_run, sides["contender"])),
        margin=margin,
        share_margin=SHARE_MARGIN,
        confidence=CONFIDENCE,
        verdict=verdict,
        exit_code=EXIT_CODES[verdict],
        refusals=refusals,
        differences=differences,
        meant_to_differ=allowed(sides, purpose) if pairs else (),
        gate=judged,
        informational=with_doubts(_described(beside, looks), other_work),
        notes=tuple(_not_pinned(sides)),
        looks=(looks.first, looks.last),
    )


def _not_pinned(sides: Mapping[str, Sequence[RunAnalysis]]) -> Iterator[Finding]:
    for side, runs in sides.items():
        limits = [map(run.environment.get, ("min_webservers", "max_webservers")) for run in runs]
        if any(fewest != most for fewest, most in limits):
            yield warning("upgrade.not_pinned", side=side)


def _described(beside: Sequence[PairedSamples], looks: Looks) -> list[MetricComparison]:
    """The demands of operations are corrected for their own number, not for that of everything."""
    is_demand = [each.metric.name.startswith(demand_of("").name) for each in beside]
    families = [
        [each for each, mine in zip(beside, is_demand, strict=True) if mine is wanted]
        for wanted in (True, False)
    ]
    return [found for family in families for found in describe_pairs(family, looks)]


def _samples(pairs: Sequence[Pair]) -> tuple[list[PairedSamples], list[PairedSamples]]:
    """The metrics of the gate, and the others."""
    stages = pairs[0].baseline.stages
    of_mix = [stage for stage in stages if stage.name in MIX_STAGES]
    indexes = [stage.index for stage in of_mix]
    of_gate = {MIX_DEMAND, ERROR_RATE, *(_named_latency(stage, "p50") for stage in of_mix)}
    known = []
    for pair in pairs:
        both = [run_metrics(run.analysis, indexes) for run in (pair.baseline, pair.contender)]
        known.append([_with_names(each.gate | each.informational, stages) for each in both])
    host = tuple(map(slower, pairs))
    unknown = Estimate(None)
    samples = [
        PairedSamples(
            metric,
            tuple(before.get(metric, unknown) for before, _ in known),
            tuple(after.get(metric, unknown) for _, after in known),
            host,
        )
        for metric in dict.fromkeys(metric for both in known for run in both for metric in run)
    ]
    gate = [each for each in samples if each.metric in of_gate]
    return gate, [each for each in samples if each.metric not in of_gate]


def _with_names(values: Mapping[Metric, T], stages: Sequence[StageStats]) -> dict[Metric, T]:
    """The metrics of a stage by its name, which here is what it sends, and not by its number."""
    names = {f", {label_of(stage)}": f", {_named(stage)}" for stage in stages}
    renamed = {}
    for metric, value in values.items():
        what, comma, label = metric.name.partition(", ")
        renamed[replace(metric, name=what + names.get(comma + label, comma + label))] = value
    return renamed


def _named(stage: StageStats) -> str:
    return f"{stage.name}, {stage.rate_per_s:.4g}/s"


def _named_latency(stage: StageStats, percentile: str) -> Metric:
    return replace(latency(stage, percentile), name=f"{percentile} latency, {_named(stage)}")


def _operations(comparison: Comparison, pairs: Sequence[Pair]) -> Iterator[OperationChange]:
    found = {each.metric: each for each in (*comparison.gate, *comparison.informational)}
    before, after = _runs(pairs)
    sizes = [_answer_bytes(runs) for runs in (before, after)]
    for stage in pairs[0].baseline.stages:
        if stage.name not in MIX_STAGES:
            yield OperationChange(
                operation=stage.name,
                rate_per_s=stage.rate_per_s,
                demand=found.get(demand_of(stage.name)),
                p50=found.get(_named_latency(stage, "p50")),
                p95=found.get(_named_latency(stage, "p95")),
                failed=(_failed(before, stage.name), _failed(after, stage.name)),
                answer_bytes=(sizes[0].get(stage.name), sizes[1].get(stage.name)),
            )


def _answer_bytes(runs: Runs) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for run in runs:
        for each in run.answers:
            found.setdefault(each.operation, []).append(each.bytes_p50)
    return {operation: median(sizes) for operation, sizes in found.items()}


def _failed(runs: Runs, operation: str) -> float:
    own = [run.calls.operation.are(operation) & run.calls.sent for run in runs]
    failed = sum(
        int((mine & ~run.calls.outcome.are("ok")).sum())
        for run, mine in zip(runs, own, strict=True)
    )
    return failed / max(sum(int(mine.sum()) for mine in own), 1)


def _side(runs: Runs, every: Runs) -> Side:
    """Of the runs that count; memory of every run, for its calls left their traces too."""
    at_start_percent, growth_percent = _memory(every)
    busy = [stage for run in runs for stage in run.stages if stage.name == MIX_STAGES[-1]]
    versions = {str(run.setting.environment.get("airflow_version", "")) for run in every}
    return Side(
        airflow_version=", ".join(sorted(versions)),
        reference_s=middle(map(_reference_s, runs)),
        memory_at_start_percent=at_start_percent,
        memory_growth_percent=growth_percent,
        webserver_memory_mib=_memory_of_a_webserver_mib(every),
        database_cpu_percent=middle(stage.database_cpu_percent for stage in busy),
        database_connections=middle(stage.database_connections_max for stage in busy),
        rate_per_webserver_per_s=middle(
            run.demand.rate_per_webserver_per_s.value for run in runs if run.demand
        ),
    )


def middle(values: Iterable[float | None]) -> float | None:
    """The median of those that are known; None: none is."""
    numbers = known(values)
    return median(numbers) if numbers else None


def _memory(runs: Runs) -> tuple[float | None, float | None]:
    """Of one webserver at the start, and by how many points 1000 calls make it grow."""
    answered, calls, percent = 0.0, [], []
    for run in _of_longest_start(runs):
        for point in run.points:
            answered += point.achieved_per_s * point.period_s / max(point.webservers or 1, 1)
            if point.memory_percent is not None:
                calls.append(answered)
                percent.append(point.memory_percent)
    if len(percent) < 2 or np.ptp(calls) == 0:
        return None, None
    slope, start = np.polyfit(calls, percent, 1)
    return float(start), float(slope) * GROWTH_CALLS


def _of_longest_start(runs: Runs) -> Runs:
    """An experiment that goes on has new webservers: only runs of the same ones make one line."""
    starts: dict[object, list[Run]] = {}
    for run in runs:
        created = run.record.manifest["environment"]["before"].get("CreatedAt")
        starts.setdefault(created, []).append(run)
    return max(starts.values(), key=len, default=[])


def _memory_of_a_webserver_mib(runs: Runs) -> float | None:
    configured = runs[0].record.manifest["scenario"].get("environment") or {}
    return number_in(configured, "webserver_memory_mib")


def _reference_s(run: Run) -> float | None:
    times_s = [each.reference_s for each in run.host if math.isfinite(each.reference_s)]
    return fmean(times_s) if times_s else None


def slower(pair: Pair) -> float:
    """By what factor the host took longer for its reference work beside the contender's run.

    1 where that is not known, or the webservers are on other hosts.
    """
    before, after = map(_reference_s, (pair.baseline, pair.contender))
    return after / before if before and after and _on_this_host(pair) else 1.0


def _on_this_host(pair: Pair) -> bool:
    return bool(pair.baseline.setting.environment.get("kind") == "local")


def _rates(setting: Setting) -> list[float]:
    """The load to size for, twice that and four times."""
    rate_per_s = setting.target_rate_per_s or max(
        stage.rate_per_s or 0.0 for stage in setting.stages if stage.operation is None
    )
    return [factor * rate_per_s for factor in (1, 2, 4)]


def _needs(
    before: Side, after: Side, rates_per_s: Sequence[float], prices: Prices | None
) -> Iterator[WebserversNeeded]:
    for rate_per_s in rates_per_s:
        counts = [webservers_for(rate_per_s, s.rate_per_webserver_per_s) for s in (before, after)]
        change = None
        if counts[0] is not None and counts[1] is not None and counts[0] != counts[1] and prices:
            change = prices.webserver_per_h.times(HOURS_PER_MONTH * (counts[1] - counts[0]))
        yield WebserversNeeded(rate_per_s, counts[0], counts[1], change)


def _sizes(before: Runs, after: Runs) -> dict[str, Finding]:
    return size_differences([run.analysis for run in before], [run.analysis for run in after])


def _behaviours(before: Runs, after: Runs) -> Iterator[Finding]:
    """How the answers of an operation ended, where a common ending is only on one side."""
    endings = [_endings(runs) for runs in (before, after)]
    for operation in sorted(endings[0].keys() & endings[1].keys()):
        old, new = (
            {
                ending: count / each[operation].total()
                for ending, count in each[operation].items()
                if count / each[operation].total() > _COMMON
            }
            for each in endings
        )
        if old.keys() != new.keys():
            yield warning("upgrade.other_answers", operation=operation, baseline=old, contender=new)


def _endings(runs: Runs) -> dict[str, Counter[str]]:
    """By operation, how many calls ended how: Airflow's status, or the outcome without one."""
    found: dict[str, Counter[str]] = {}
    for run in runs:
        columns = (run.requests.column(name) for name in ("operation", "outcome", "airflow_status"))
        for operation, outcome, status in zip(*(c.to_pylist() for c in columns), strict=True):
            counts = found.setdefault(operation, Counter())
            counts[outcome if status is None else f"HTTP {status}"] += 1
    return found
