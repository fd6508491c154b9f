"""The studies of `coverage.py`: from a seed to the intervals that its runs gave."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean
from typing import Final

import known_environments as known

from mwaa_headroom.analysis.comparison.compare import compare_runs
from mwaa_headroom.analysis.record import RunRecord
from mwaa_headroom.analysis.results import DemandResult, RunAnalysis, ScalingEvent
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.analysis.scaling.delay import scale_out_delays
from mwaa_headroom.analysis.statistics import Estimate
from mwaa_headroom.harness.local.settings import SIMULATED_DEMANDS_S

RUNS_OF_A_MEAN: Final = 6
RUNS_A_SIDE: Final = 6
SLOWDOWN: Final = 0.1
MARGIN: Final = 0.05
WHOLE_NUMBERS: Final = "webservers for"
FROM_METRICS: Final = "scale-out delay, from metrics alone"
WIDENED: Final = (WHOLE_NUMBERS, FROM_METRICS)  # to the grain in which they are known
_SEEDS_EACH: Final = 100  # a study's repetition may use so many seeds of its own
_LATER: Final = math.nan  # a truth that is known only when all runs are there
_JUST: Final = 1e-3  # beside the border between two counts
_TOLD_BY_NOBODY_ON_AWS: Final = (
    "scaling_decision",
    "webserver_starting",
    "webserver_ready",
    "webserver_draining",
    "webserver_stopped",
)


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its interval, and the truth; low None: refused, high None: open."""

    value: float | None
    low: float | None
    high: float | None
    truth: float

    @property
    def holds(self) -> bool:
        """Whether the truth lies in it."""
        return self.low is not None and self.low <= self.truth <= (
            math.inf if self.high is None else self.high
        )

    @property
    def width(self) -> float:
        """Of an interval with two ends, over the truth."""
        assert self.low is not None
        assert self.high is not None
        return (self.high - self.low) / self.truth


def demand(seed: int) -> dict[str, Interval]:
    """Five stages of a mix, metrics every 5 s; with the webserver counts that follow."""
    found = _demand(Run(known.steps(seed)).analysis)
    rate = found.rate_per_webserver_per_s
    return {
        "service demand of the mix, 5 s periods": _held(found.mix_s, known.MIX_DEMAND_S),
        "rate of one webserver, 5 s periods": _held(rate, known.RATE_OF_ONE_PER_S),
        "webservers before rounding": _unrounded(rate, 3.0),
        f"{WHOLE_NUMBERS} a load just below the border": _count(rate, 3 * (1 - _JUST)),
        f"{WHOLE_NUMBERS} a load just above the border": _count(rate, 3 * (1 + _JUST)),
        f"{WHOLE_NUMBERS} any load up to 5": _count(rate, 0.5 + 4.5 * (seed * 0.618034 % 1)),
    }


def minutes(seed: int) -> dict[str, Interval]:
    """As on AWS: four stages of eight minutes, metrics every minute."""
    found = _demand(Run(known.minutes(seed)).analysis)
    return {
        "service demand of the mix, 60 s periods": _held(found.mix_s, known.MIX_DEMAND_S),
        "rate of one webserver, 60 s periods": _held(
            found.rate_per_webserver_per_s, known.RATE_OF_ONE_PER_S
        ),
    }


def calibration(seed: int) -> dict[str, Interval]:
    """One operation a stage."""
    found = _demand(Run(known.calibration(seed)).analysis)
    nothing = Estimate(value=None)
    each = {
        f"service demand of {name}": _held(
            found.per_operation_s.get(name, nothing), SIMULATED_DEMANDS_S[name]
        )
        for name in known.MIX
    }
    return {**each, "service demand of the mix, calibrated": _held(found.mix_s, known.MIX_DEMAND_S)}


def capacity(seed: int) -> dict[str, Interval]:
    """Where p95 latency breaks the SLO with two webservers."""
    result = Run(known.towards_the_limit(seed)).analysis.capacity
    assert result is not None
    return {"capacity of two webservers": _held(result.rate_per_s, true_capacity_per_s())}


def delay(seed: int) -> dict[str, Interval]:
    """The mean scale-out delay of some runs, each with one burst."""
    told: list[ScalingEvent] = []
    seen: list[ScalingEvent] = []
    for own in _seeds(seed, RUNS_OF_A_MEAN):
        record = known.burst(own)
        told += Run(record).analysis.scaling
        seen += Run(_as_on_aws(record)).analysis.scaling
    truth = [
        event.ready_s - event.load_step_s
        for event in told
        if event.ready_s is not None and event.load_step_s is not None
    ]
    own_mean = Interval(fmean(truth) if truth else None, None, None, _LATER)
    return {
        "scale-out delay, by events": _held(scale_out_delays(told).whole, _LATER),
        FROM_METRICS: _held(scale_out_delays(seen).whole, _LATER),
        "": own_mean,
    }


def ratio(seed: int) -> dict[str, Interval]:
    """Change of the gate's metrics between five runs and five others."""
    own = list(_seeds(seed, 3 * RUNS_A_SIDE))
    before, same, dearer = (
        [_gate_run(one, slowdown) for one in own[side::3]]
        for side, slowdown in enumerate((0.0, 0.0, SLOWDOWN))
    )
    equal = compare_runs(before, same, margin=MARGIN)
    slower = compare_runs(before, dearer, margin=MARGIN)
    found = {}
    for metric in equal.gate:
        if not metric.metric.is_share:
            found[f"regression ratio when equal, {metric.metric.name}"] = _held(metric.change, 1.0)
    for metric in slower.gate:
        if "demand" in metric.metric.name:
            found["regression ratio at 10 % slower, service demand"] = _held(
                metric.change, 1 + SLOWDOWN
            )
    return found


@cache
def true_capacity_per_s() -> float:
    """By four long runs whose stages lie close around it: the rate where p95 is at its limit."""
    loads = (0.78, 0.81, 0.84, 0.87)
    points = []
    for seed in (1, 2, 3, 4):
        analysis = Run(known.towards_the_limit(-seed % 10**6, loads, 3600.0)).analysis
        points += [
            (stage.achieved_per_s, stage.latency_s["p95"].value or math.nan)
            for stage in analysis.stages
        ]
    return _crossing(sorted(points), known.LATENCY_LIMIT_S)


def with_truth(study: str, found: Mapping[str, list[Interval]]) -> dict[str, list[Interval]]:
    """The truth put in where it is the mean of all runs."""
    if study != "delay":
        return dict(found)
    truth = fmean(one.value for one in found[""] if one.value is not None)
    return {
        what: [replace(one, truth=truth) for one in several]
        for what, several in found.items()
        if what
    }


def _crossing(points: list[tuple[float, float]], limit_s: float) -> float:
    """Where a straight line through log latency against rate is at the limit."""
    rates, latencies = zip(*points, strict=True)
    mean_rate, logs = fmean(rates), [math.log(latency_s) for latency_s in latencies]
    mean_log = fmean(logs)
    slope = sum((r - mean_rate) * (y - mean_log) for r, y in zip(rates, logs, strict=True)) / sum(
        (r - mean_rate) ** 2 for r in rates
    )
    return float(mean_rate + (math.log(limit_s) - mean_log) / slope)


def _demand(analysis: RunAnalysis) -> DemandResult:
    assert analysis.demand is not None
    return analysis.demand


def _held(estimate: Estimate | None, truth: float) -> Interval:
    if estimate is None or estimate.value is None:
        return Interval(None, None, None, truth)
    return Interval(estimate.value, estimate.low, estimate.high, truth)


def _count(rate_of_one: Estimate, load: float) -> Interval:
    """Webservers for `load` times what one webserver truly serves."""
    wanted_per_s = load * known.RATE_OF_ONE_PER_S
    if rate_of_one.value is None or rate_of_one.low is None:
        return Interval(None, None, None, math.ceil(load))
    high = None if not rate_of_one.low else float(math.ceil(wanted_per_s / rate_of_one.low))
    low = 1.0 if rate_of_one.high is None else float(math.ceil(wanted_per_s / rate_of_one.high))
    return Interval(math.ceil(wanted_per_s / rate_of_one.value), low, high, math.ceil(load))


def _unrounded(rate_of_one: Estimate, load: float) -> Interval:
    wanted_per_s = load * known.RATE_OF_ONE_PER_S
    if not rate_of_one.value or rate_of_one.low is None:
        return Interval(None, None, None, load)
    high = wanted_per_s / rate_of_one.low if rate_of_one.low else None
    low = wanted_per_s / rate_of_one.high if rate_of_one.high is not None else 0.0
    return Interval(wanted_per_s / rate_of_one.value, low, high, load)


def _as_on_aws(record: RunRecord) -> RunRecord:
    """The same record where nobody tells what autoscaling did."""
    events = [event for event in record.events if event["kind"] not in _TOLD_BY_NOBODY_ON_AWS]
    return replace(record, events=tuple(events))


def _gate_run(seed: int, slowdown: float) -> RunAnalysis:
    record = known.gate(seed, slowdown=slowdown)
    return Run(record).analysis


def _seeds(seed: int, count: int) -> Iterator[int]:
    yield from range(_SEEDS_EACH * seed, _SEEDS_EACH * seed + count)
