"""What does the analysis say in worlds that are not as its model assumes?

    .venv/bin/python benchmarks/other_worlds.py [--runs 300] [--world NAME ...] [--order up ...]

An independent simulator: it shares no model with the analysis or with the simulated environments,
and only writes what these read, requests and metrics. Two webservers with 1 CPU each take a mix of
two operations at five rates of 15 to 65 % CPU, for 40 minutes of Poisson arrivals with metrics once
a minute. Each webserver is a queue whose busy time is exact (a departure is max(previous departure,
arrival) + service); the CPU of a period is the busy time in it plus the background.

    order     up: five stages of 8 minutes; up_down: ten of 4 minutes, the second half backwards
    demand    CPU-seconds of a call, its mean at 70 % CPU, where it is not the same at all loads
    X1        calls/s with which the CPU of one webserver is at 70 %
    sizing    the interval of X1 that webserver counts are drawn from: over runs, not of this one

"holds" is the share of all intervals that hold the truth, "bias" the median error, "refused" the
share of runs without an estimate, "flagged" that of runs with a warning, with the codes most seen.
"silent" is the share of runs that gave an interval without the truth and said nothing: at most
8 % is asked for. Truth is the mean speed of the host; where each run has another speed, demand and
X1 are those of the run, and sizing is held against the speed of all runs.

In the second table a size is the fewest webservers that are enough for a rate, drawn anew for each
answer, with a probability of 95 %, from one run or from three; "right" where that is what is truly
needed, and "enough" how often a count truly is of which 90-99.9 % were said.

With --latency: the p95 latency to expect with 70 % CPU, told from stages up and down, held against
a simulation of 11 hours at that rate.
"""

import argparse
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from world_requests import whole_requests

from mwaa_headroom.analysis.planning.expected_latency import expected_latency
from mwaa_headroom.analysis.planning.options import SURE_ENOUGH
from mwaa_headroom.analysis.record import RunRecord
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.analysis.schema import METRICS_SCHEMA, SCHEMA_VERSION
from mwaa_headroom.analysis.sizing.rate_uncertainty import (
    of_one_run,
    pool,
    spread_between_runs,
)
from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.analysis.statistics import Estimate

Floats = NDArray[np.float64]

STARTED_AT_S: Final = 1_790_000_040.0  # a whole minute
DEMANDS_S: Final = {"list_dags": 0.03, "get_dag_run": 0.07}
MEAN_DEMAND_S: Final = 0.05
BACKGROUND: Final = 0.1  # CPUs of a webserver
WEBSERVERS: Final = 2
TARGET: Final = 0.7
RATES_PER_S: Final = (2.0, 7.0, 12.0, 17.0, 22.0)
WARMUP_S: Final = 60.0
PERIOD_S: Final = 60.0
LOAD_S: Final = 2400.0
BETWEEN: Final = spread_between_runs("aws")
AT_TARGET: Final = "at the target"
RATE_AT_TARGET_PER_S: Final = 24.0
LONG_S: Final = 40_000.0
TARGETS_PER_S: Final = 15.0, 60.0
MOST: Final = 12  # webservers
STEP_S: Final = 10.0  # in which background and host speed are constant


def _no_change(share: Floats) -> Floats:
    return np.ones_like(share)


@dataclass(frozen=True, slots=True)
class World:
    """What differs from the model; the defaults differ in nothing."""

    demand_cv: float = 0.7
    burst: float = 0.0  # arrivals alternate between 1 + burst and 1 - burst of their rate
    round_percent: float = 0.0  # to which CPU is rounded
    shifted_s: float = 0.0  # of the metric periods
    missing: float = 0.0  # share of periods that never come
    third_from: float = 2.0  # share of the load after which a third webserver is there
    balance: float = 0.5  # share of the first of two
    queues: int = 1  # single-threaded workers that a webserver's CPU is divided among
    throttled: float = 0.0
    background_drift: float = 0.0  # CPUs, from the first to the last second
    background_ar: float = 0.0  # CPUs, standard deviation
    speed_drift: float = 0.0  # of the cost of a call, from 1 - half of it to 1 + half of it
    speed_ar: float = 0.0  # of its logarithm
    speed_of_run: float = 0.0  # of its logarithm, one for the whole run
    cost_at: Callable[[Floats], Floats] = field(default=_no_change)  # factor by utilisation
    failing: tuple[str, float, float] = ("", 0.0, 0.0)  # outcome, share, of a usual call's cost
    samples: int = 1  # of a webserver in a period


WORLDS: Final = {
    "as modelled": World(),
    "bursty arrivals": World(burst=0.6),
    "lognormal cv 3": World(demand_cv=3.0),
    "CPU in whole percent": World(round_percent=1.0),
    "shifted periods": World(shifted_s=23.0),
    "missing periods": World(missing=0.2),
    "changing count": World(third_from=0.3),
    "60 / 40 balancing": World(balance=0.6),
    "4 workers": World(queues=4),
    "20 % throttled": World(throttled=0.2),
    "background drifts up": World(background_drift=0.12),
    "background drifts down": World(background_drift=-0.12),
    "background AR(1)": World(background_ar=0.03),
    "calls get dearer": World(speed_drift=0.3),
    "calls get cheaper": World(speed_drift=-0.3),
    "host speed AR(1) 10 %": World(speed_ar=0.1),
    "host speed AR(1) 20 %": World(speed_ar=0.2),
    "other speed per run": World(speed_of_run=0.15),
    "mild contention": World(cost_at=lambda u: 1 + 0.2 * u**2),
    "strong contention": World(cost_at=lambda u: 1 + 0.8 * u**2),
    "warming cache": World(cost_at=lambda u: 0.75 + 0.75 * np.exp(-u / 0.25)),
    "10 % connection errors": World(failing=("connection_error", 0.1, 0.0)),
    "10 % answered 400": World(failing=("airflow_client_error", 0.1, 0.05)),
    "12 samples a period": World(samples=12),
}


@dataclass(frozen=True, slots=True)
class Simulated:
    """A run with what is true of it."""

    run: Run
    demand_s: float
    rate_of_one_per_s: float
    rate_over_runs_per_s: float


def simulate(world: World, order: str, seed: int) -> Simulated:
    """One run of a world."""
    random = np.random.default_rng(seed)
    stages = _stages(order)
    load_s = sum(length_s for length_s, _ in stages)
    steps = np.arange(0.0, load_s, STEP_S)
    share = (steps + STEP_S / 2) / load_s
    background = BACKGROUND + world.background_drift * (share - 0.5)
    background += world.background_ar * _ar1(random, len(steps))
    of_run = np.exp(world.speed_of_run * random.normal())
    cost = 1 + world.speed_drift * (share - 0.5)
    cost = cost * np.exp(world.speed_ar * _ar1(random, len(steps)) - world.speed_ar**2 / 2)
    starts_s = _arrivals(world, stages, random)
    operation = random.integers(0, 2, len(starts_s))
    outcome, cost_of_outcome = _outcomes(world, len(starts_s), random)
    at = (starts_s // STEP_S).astype(int)
    variance = np.log1p(world.demand_cv**2)
    spread = np.exp(np.sqrt(variance) * random.normal(size=len(starts_s)) - variance / 2)
    work_s = np.array(list(DEMANDS_S.values()))[operation] * spread * cost_of_outcome
    work_s *= (
        cost[at]
        * of_run
        * world.cost_at(_utilisation(world, stages, of_run))[
            np.minimum((starts_s // stages[0][0]).astype(int), len(stages) - 1)
        ]
    )
    count = np.where(share < world.third_from, WEBSERVERS, WEBSERVERS + 1)
    place = (random.random(len(starts_s)) * count[at]).astype(int)
    if world.balance != 0.5:
        place = (random.random(len(starts_s)) > world.balance).astype(int)
    queue = place * world.queues + random.integers(0, world.queues, len(starts_s))
    borders_s = np.arange(world.shifted_s, load_s + 1, PERIOD_S)
    ends_s, busy_s = starts_s + 0.005, np.zeros(len(borders_s))
    for own in range((WEBSERVERS + 1) * world.queues):
        mine = (queue == own) & (work_s > 0)
        if mine.any():
            took_s = work_s[mine] * world.queues
            done_s = _departures(starts_s[mine], took_s)
            busy_s += _busy_before(borders_s, done_s, took_s) / world.queues
            ends_s[mine] = np.maximum(done_s, ends_s[mine])
    mean_background = np.array(
        [background[(steps >= a) & (steps < a + PERIOD_S)].mean() for a in borders_s[:-1]]
    )
    servers = np.array([count[min(int(a // STEP_S), len(count) - 1)] for a in borders_s[:-1]])
    cpu = np.diff(busy_s) / PERIOD_S / servers + np.maximum(mean_background, 0.0)
    cpu = 100 * np.minimum(cpu + 0.002 * random.normal(size=len(cpu)), 1.0)
    if world.round_percent:
        cpu = np.round(cpu / world.round_percent) * world.round_percent
    seen = random.random(len(cpu)) >= world.missing
    record = RunRecord(
        directory=Path(),
        manifest=_manifest(stages, int(count.max())),
        requests=_requests(stages, starts_s, ends_s, operation, outcome, _words(world)),
        metrics=_metrics(borders_s[:-1][seen], cpu[seen], (servers * world.samples)[seen]),
        events=tuple(_events(stages)),
        complete=True,
        warnings=(),
    )
    at_target = MEAN_DEMAND_S * float(world.cost_at(np.array(TARGET)))
    usable = TARGET - BACKGROUND
    return Simulated(
        Run(record), at_target * of_run, usable / at_target / of_run, usable / at_target
    )


def _stages(order: str) -> list[tuple[float, float]]:
    """Length (s) and rate of each stage; all of one length."""
    if order == AT_TARGET:
        return [(LONG_S, RATE_AT_TARGET_PER_S)]
    rates = {"up": RATES_PER_S, "up_down": (*RATES_PER_S, *reversed(RATES_PER_S))}[order]
    return [(LOAD_S / len(rates), rate) for rate in rates]


def _ar1(random: np.random.Generator, count: int, memory_s: float = 600.0) -> Floats:
    """Stationary, of variance 1, correlated exp(-t / memory)."""
    keep = np.exp(-STEP_S / memory_s)
    noise = random.normal(size=count)
    values = [noise[0]]
    for each in noise[1:] * np.sqrt(1 - keep**2):
        values.append(keep * values[-1] + each)
    return np.array(values)


def _arrivals(
    world: World, stages: list[tuple[float, float]], random: np.random.Generator
) -> Floats:
    found = []
    for index, (length_s, rate_per_s) in enumerate(stages):
        most = rate_per_s * (1 + world.burst)
        own_s = np.sort(random.random(random.poisson(most * length_s)) * length_s)
        if world.burst:
            changes_s = np.cumsum(random.exponential(30.0, 200))
            high = np.searchsorted(changes_s, own_s) % 2 == 0
            usual = (1 - world.burst) / (1 + world.burst)
            own_s = own_s[high | (random.random(len(own_s)) < usual)]
        found.append(index * length_s + own_s)
    return np.concatenate(found)


def _outcomes(
    world: World, count: int, random: np.random.Generator
) -> tuple[NDArray[np.int64], Floats]:
    """Codes of the outcomes ok, throttled and the failing one, and the share of a usual cost."""
    outcome, draw = np.zeros(count, dtype=np.int64), random.random(count)
    outcome[draw < world.throttled] = 1
    outcome[draw >= 1 - world.failing[1]] = 2
    return outcome, np.array([1.0, 0.0, world.failing[2]])[outcome]


def _words(world: World) -> list[str]:
    return ["ok", "throttled", world.failing[0] or "service_error"]


def _utilisation(world: World, stages: list[tuple[float, float]], of_run: float) -> Floats:
    """Of each stage, by the cost that it makes itself."""
    rates = np.array([rate for _, rate in stages]) / WEBSERVERS
    found = np.full(len(rates), 0.3)
    for _ in range(100):
        wanted = BACKGROUND + rates * MEAN_DEMAND_S * of_run * world.cost_at(found)
        found = np.minimum((found + wanted) / 2, 0.95)
    return found


def _departures(starts_s: Floats, took_s: Floats) -> Floats:
    """Of a queue that serves one call at a time, first come first served."""
    before_s = np.cumsum(took_s) - took_s
    return np.asarray(before_s + took_s + np.maximum.accumulate(starts_s - before_s))


def _busy_before(times_s: Floats, done_s: Floats, took_s: Floats) -> Floats:
    """For how long the queue was busy until each time."""
    after_s = np.cumsum(took_s)
    moments = np.column_stack([done_s - took_s, done_s]).ravel()
    worked = np.column_stack([after_s - took_s, after_s]).ravel()
    return np.interp(times_s, moments, worked)


def _requests(
    stages: list[tuple[float, float]],
    starts_s: Floats,
    ends_s: Floats,
    operation: NDArray[np.int64],
    outcome: NDArray[np.int64],
    words: list[str],
) -> pa.Table:
    return whole_requests(
        stage=(starts_s // stages[0][0]).astype(np.int32),
        operation=pa.DictionaryArray.from_arrays(pa.array(operation), list(DEMANDS_S)),
        intended_start_s=STARTED_AT_S + starts_s,
        service_time_s=ends_s - starts_s,
        outcome=pa.DictionaryArray.from_arrays(pa.array(outcome), words),
    )


def _metrics(starts_s: Floats, cpu: Floats, samples: NDArray[np.int64]) -> pa.Table:
    rows: list[tuple[Any, ...]] = []
    for start_s, percent, count in zip(starts_s, cpu, samples, strict=True):
        at_s = STARTED_AT_S + float(start_s)
        for statistic, value in (("Average", percent), ("SampleCount", count)):
            rows.append(
                (
                    "CPUUtilization",
                    "WebServer",
                    json.dumps({"Cluster": "WebServer"}),
                    statistic,
                    "Percent",
                    PERIOD_S,
                    at_s,
                    float(value),
                    at_s + 90.0,
                )
            )
    columns = zip(*rows, strict=True)
    return pa.table([pa.array(column) for column in columns], names=METRICS_SCHEMA.names)


def _events(stages: list[tuple[float, float]]) -> Iterator[dict[str, Any]]:
    for index, (length_s, _) in enumerate(stages):
        for kind, at_s in (("stage_started", 0.0), ("stage_ended", length_s)):
            time_s = STARTED_AT_S + index * length_s + at_s
            yield {"time_s": time_s, "kind": kind, "source": "harness", "stage": index, "name": ""}


def _manifest(stages: list[tuple[float, float]], most: int) -> dict[str, Any]:
    pinned = {"MinWebservers": WEBSERVERS, "MaxWebservers": most}
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": "world",
        "status": "finished",
        "started_at_s": STARTED_AT_S,
        "finished_at_s": STARTED_AT_S + sum(length_s for length_s, _ in stages),
        "scenario": {
            "name": "other world",
            "slo": [],
            "question": {
                "ask": "capacity",
                "target_rate_per_s": 50.0,
                "utilisation_target": TARGET,
            },
            "environment": {"kind": "aws"},
            "traffic": {
                "arrivals": "poisson",
                "mix": {label: {"operation": label, "weight": 1} for label in DEMANDS_S},
            },
            "stages": [
                {"rate_per_s": rate, "duration_s": length_s, "warmup_s": WARMUP_S}
                for length_s, rate in stages
            ],
        },
        "environment": {
            "name": "world",
            "kind": "aws",
            "before": pinned,
            "after": pinned,
            "facts": {"webserver_cpu": 1.0},
        },
    }


@dataclass(slots=True)
class Tally:
    """What was seen of one quantity over the runs of a row."""

    held: int = 0
    silent: int = 0  # without the truth, and nothing was said
    errors: list[float] = field(default_factory=list)
    widths: list[float] = field(default_factory=list)

    def add(self, estimate: Estimate, truth: float, *, said: bool) -> None:
        """One more run's."""
        if estimate.value is None:
            return
        held = (
            (estimate.low or 0.0) <= truth <= (np.inf if estimate.high is None else estimate.high)
        )
        self.held += held
        self.silent += not held and not said
        self.errors.append(estimate.value / truth - 1)
        if estimate.low is not None and estimate.high is not None:
            self.widths.append((estimate.high - estimate.low) / truth)


@dataclass(frozen=True, slots=True)
class Answered:
    """What the analysis said of one run, and what is true of it."""

    demand: Estimate
    rate_of_one: Estimate
    codes: frozenset[str]
    demand_s: float
    rate_of_one_per_s: float
    rate_over_runs_per_s: float


def answered(world: World, order: str, seed: int) -> Answered:
    """Simulate and analyse one run."""
    simulated = simulate(world, order, seed)
    found = simulated.run.demand
    demand = found.mix_s if found else Estimate(None)
    rate = found.rate_per_webserver_per_s if found else Estimate(None)
    return Answered(
        demand,
        rate,
        frozenset(each.code for each in (*demand.warnings, *rate.warnings)),
        simulated.demand_s,
        simulated.rate_of_one_per_s,
        simulated.rate_over_runs_per_s,
    )


def row(name: str, order: str, seen: list[Answered]) -> str:
    """One row of the table of estimates."""
    demand, one, sizing, runs = Tally(), Tally(), Tally(), len(seen)
    for each in seen:
        said = bool(each.codes)
        demand.add(each.demand, each.demand_s, said=said)
        one.add(each.rate_of_one, each.rate_of_one_per_s, said=said)
        over_runs = of_one_run(each.rate_of_one, BETWEEN).estimate
        sizing.add(over_runs, each.rate_over_runs_per_s, said=said)
    refused = sum(each.demand.value is None for each in seen)
    flagged = sum(each.demand.value is not None and bool(each.codes) for each in seen)
    codes = Counter(code for each in seen for code in each.codes)
    most = ", ".join(f"{code} {_percent(n, runs)}" for code, n in codes.most_common(3))
    return (
        f"| {name} | {order} | {_cells(demand)} | {_cells(one)} | {_cells(sizing)} | "
        f"{_percent(max(t.silent for t in (demand, one, sizing)), runs)} | "
        f"{_percent(refused, runs)} | {_percent(flagged, runs)} | {most} |"
    )


def sizing_row(name: str, order: str, seen: list[Answered], together: int) -> str:
    """One row of the table of sizes, each answer from so many runs."""
    random = np.random.default_rng(together)
    right = high = answers = 0
    sure: list[bool] = []
    for first in range(0, len(seen) - together + 1, together):
        mine = seen[first : first + together]
        one = pool([each.rate_of_one for each in mine], BETWEEN)
        target_per_s = random.uniform(*TARGETS_PER_S)
        needed = math.ceil(target_per_s / mine[0].rate_over_runs_per_s)
        if not one.is_known:
            continue
        chances = {n: float(one.at_least(target_per_s / n)) for n in range(1, MOST + 1)}
        sure += [n >= needed for n, chance in chances.items() if 0.9 <= chance < 0.999]
        answers += 1
        told = next((n for n, chance in chances.items() if chance >= SURE_ENOUGH), None)
        right += told == needed
        high += told is None or told > needed
    return (
        f"| {name} | {order} | {together} | {answers} | {_percent(right, answers)} | "
        f"{_percent(high, answers)} | {_percent(answers - right - high, answers)} | "
        f"{_percent(sum(sure), len(sure))} of {len(sure)} |"
    )


def latency_row(name: str, runs: int) -> str:
    """One row of the table of the p95 latency to expect at 70 % CPU, from stages up and down."""
    slo, tally = parse_slo("p95(latency) < 1000s"), Tally()
    long = simulate(WORLDS[name], AT_TARGET, runs).run.stages[0].latency_s["p95"].value or 0.0
    for seed in range(runs):
        analysis = replace(simulate(WORLDS[name], "up_down", seed).run.analysis, slos=(slo,))
        if analysis.demand and analysis.demand.mix_s.value:
            for each in expected_latency([analysis], RATE_AT_TARGET_PER_S, WEBSERVERS):
                tally.add(each.values["found"], long, said=False)
    return f"| {name} | {1000 * long:.0f} ms | {len(tally.errors)} | {_cells(tally)} |"


def _cells(tally: Tally) -> str:
    if not tally.errors:
        return "- | - | -"
    width = f"{100 * median(tally.widths):.0f} %" if tally.widths else "-"
    bias = f"{100 * median(tally.errors):+.1f} %"
    return f"{_percent(tally.held, len(tally.errors))} | {bias} | {width}"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / max(whole, 1):.0f} %"


def main() -> None:
    """Print a row for each world and order as soon as it is done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--world", nargs="+", choices=WORLDS, default=list(WORLDS))
    parser.add_argument("--order", nargs="+", choices=("up", "up_down"), default=["up", "up_down"])
    parser.add_argument("--latency", action="store_true", help="only the latency to expect")
    options = parser.parse_args()
    if options.latency:
        print("| world | true p95 | told | holds | bias | width |\n" + "|---" * 6 + "|")
        for name in options.world:
            print(latency_row(name, options.runs), flush=True)
        return
    print(
        "| world | order | demand holds | bias | width | X1 holds | bias | width "
        "| sizing holds | bias | width | silent | refused | flagged | said |\n" + "|---" * 15 + "|"
    )
    sizes = []
    for name in options.world:
        for order in options.order:
            seen = [answered(WORLDS[name], order, seed) for seed in range(options.runs)]
            print(row(name, order, seen), flush=True)
            sizes += [sizing_row(name, order, seen, together) for together in (1, 3)]
    print(
        "\n| world | order | runs | answers | right | too many | too few "
        "| enough where 90-99.9 % sure |\n" + "|---" * 8 + "|"
    )
    print("\n".join(sizes))


if __name__ == "__main__":
    main()
