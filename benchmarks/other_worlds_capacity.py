"""Does the capacity hold in worlds that are not as its model assumes?

    .venv/bin/python benchmarks/other_worlds_capacity.py [--runs 300] [--world NAME ...] [--limits]

An independent simulator: it shares no model with the analysis or with the simulated environments,
and only writes what these read. Two webservers with 1 CPU each take calls of 50 ms of CPU at six
rates, 9 % of the truth apart, from about 0.7 to 1.2 of it; where the truth lies between two of them
is drawn anew for each run. Stages of 260 s of which 20 s are warm-up, in the order

    up        six stages, upwards
    up_down   eleven: upwards, and down again without the highest

Every webserver is simulated event by event: `slots` calls share its CPU equally, further ones wait
in the order in which they came, and its speed may depend on how many are there. Host speed is a
change of clock. The SLO is p95(latency) < limit; the limit is the p95 of twelve runs of 28 hours
at the truth, after an overload each (`--limits`), so that the truth is the long run's. Where each
run has another speed, the capacity of the run itself is the truth. The metastable webservers slow
down from 32 calls on; at the truth they recover from that, and p95 is 0.64 s.

"holds" is the share of all intervals that hold the truth, "bias" the median error, "refused" the
share of runs without an estimate, "flagged" that of runs with a warning about the estimate, with
the codes most seen. "silent": without the truth, and nothing was said. "highest stage": whether the
named stage is the highest of those that meet the SLO in the long run, one higher or one lower.
The probabilities that the SLO holds at the highest stage's rate and at the next one's, as told
in runs without a warning, are held against the long run.
"""

import argparse
import json
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from world_requests import whole_requests

from mwaa_headroom.analysis.record import RunRecord
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.analysis.schema import METRICS_SCHEMA, SCHEMA_VERSION

Floats = NDArray[np.float64]

STARTED_AT_S: Final = 1_790_000_040.0
DEMAND_S: Final = 0.05
WEBSERVERS: Final = 2
FULL_PER_S: Final = WEBSERVERS / DEMAND_S
STAGE_S: Final = 260.0
WARMUP_S: Final = 20.0
STEPS: Final = 6
APART: Final = 0.09  # of the truth
LOWEST: Final = 0.68
HOST_STEP_S: Final = 10.0
PERCENTILE: Final = 95.0
LONG_RUN_S: Final = 100_000.0
LONG_RUNS: Final = 12
MOST_SLOWED: Final = 64


def _lognormal(cv: float) -> Callable[[np.random.Generator, int], Floats]:
    variance = np.log1p(cv**2)
    return lambda random, count: np.exp(
        np.sqrt(variance) * random.normal(size=count) - variance / 2
    )


def _pareto(random: np.random.Generator, count: int) -> Floats:
    return (1.0 - random.random(count)) ** (-1 / 1.5) / 3


def _full(_there: int) -> float:
    return 1.0


@dataclass(frozen=True, slots=True)
class World:
    """What differs from the model, and what is true of it."""

    truth: float = 0.8  # the capacity, as a share of the calls/s that the CPU would do
    limit_s: float = 0.0  # of p95 there, as `--limits` found it
    slots: int = 10_000
    work: Callable[[np.random.Generator, int], Floats] = field(default=_lognormal(0.7))  # mean 1
    speed_at: Callable[[int], float] = field(default=_full)  # by the calls there
    balance: float | None = None  # share of the first webserver; None: they take turns
    burst: float = 0.0  # arrivals alternate between 1 + burst and 1 - burst of their rate
    burst_s: float = 0.0  # mean time between two changes
    speed_ar: float = 0.0  # of the logarithm of the host's speed, correlated over 600 s
    speed_of_run: float = 0.0  # of its logarithm, one for the whole run


WORLDS: Final = {
    "processor sharing": World(limit_s=0.5577),
    "FIFO, one thread": World(limit_s=0.4061, slots=1),
    "4 workers": World(limit_s=0.4903, slots=4),
    "60 / 40 balancing": World(limit_s=0.9516, truth=0.72, balance=0.6),
    "contention": World(limit_s=0.7251, truth=0.68, speed_at=lambda n: 1 / (1.25 - 0.25 / n)),
    "Pareto 1.5": World(limit_s=0.6346, work=_pareto),
    "FIFO, cv 3": World(limit_s=4.0215, slots=1, work=_lognormal(3.0)),
    "bursts of 20 s": World(limit_s=2.7022, truth=0.62, burst=0.6, burst_s=20.0),
    "bursts of 120 s": World(limit_s=0.8418, truth=0.55, burst=0.6, burst_s=120.0),
    "metastable": World(limit_s=1.5, truth=0.79, speed_at=lambda n: 1.0 if n < 32 else 0.8),
    "host speed AR(1) 10 %": World(limit_s=0.4686, truth=0.72, speed_ar=0.1),
    "host speed AR(1) 20 %": World(limit_s=0.4912, truth=0.6, speed_ar=0.2),
    "other speed per run": World(limit_s=0.5655, speed_of_run=0.15),
}
P95_S_BY_SHARE: Final = {
    0.7: 0.3696,
    0.72: 0.3983,
    0.74: 0.4303,
    0.76: 0.4678,
    0.78: 0.5111,
    0.8: 0.5655,
    0.82: 0.6311,
    0.84: 0.7151,
    0.86: 0.82,
    0.88: 0.9605,
}


def latencies(
    world: World, stages: Sequence[tuple[float, float]], random: np.random.Generator, speed: float
) -> tuple[Floats, Floats]:
    """Arrivals and latencies, in s, of stages of (length, calls/s), on a host of some speed."""
    starts_s = _arrivals(world, stages, random)
    work_s = DEMAND_S * world.work(random, len(starts_s))
    length_s = sum(length for length, _ in stages)
    clock_s, wall_s = _host_clock(world, length_s, random, speed)
    begins = np.interp(starts_s, wall_s, clock_s)
    place = np.arange(len(starts_s)) % WEBSERVERS
    if world.balance is not None:
        place = (random.random(len(starts_s)) >= world.balance).astype(int)
    done = np.empty(len(starts_s))
    for own in range(WEBSERVERS):
        mine = place == own
        done[mine] = _served(world, begins[mine], work_s[mine])
    ends_s = np.interp(done, clock_s, wall_s)
    beyond = done > clock_s[-1]
    ends_s[beyond] = wall_s[-1] + (done[beyond] - clock_s[-1]) / speed
    return starts_s, np.asarray(ends_s - starts_s + 0.005)


def _arrivals(
    world: World, stages: Sequence[tuple[float, float]], random: np.random.Generator
) -> Floats:
    found, from_s = [], 0.0
    for length_s, rate_per_s in stages:
        most = rate_per_s * (1 + world.burst)
        own_s = from_s + np.sort(random.random(random.poisson(most * length_s))) * length_s
        found.append(own_s)
        from_s += length_s
    starts_s = np.concatenate(found)
    if not world.burst:
        return starts_s
    changes = random.exponential(world.burst_s, int(2 * from_s / world.burst_s) + 100)
    high = (np.searchsorted(np.cumsum(changes), starts_s) + random.integers(2)) % 2 == 0
    usual = (1 - world.burst) / (1 + world.burst)
    return starts_s[high | (random.random(len(starts_s)) < usual)]


def _host_clock(
    world: World, length_s: float, random: np.random.Generator, speed: float
) -> tuple[Floats, Floats]:
    """How much a host of speed 1 would have done at some times."""
    wall_s = np.arange(0.0, length_s + HOST_STEP_S, HOST_STEP_S)
    speeds = np.full(len(wall_s) - 1, speed)
    if world.speed_ar:
        keep = np.exp(-HOST_STEP_S / 600.0)
        noise = random.normal(size=len(speeds))
        value = noise[0]
        for place, each in enumerate(noise):
            value = keep * value + np.sqrt(1 - keep**2) * each if place else value
            speeds[place] *= np.exp(world.speed_ar * value)
    return np.concatenate([[0.0], np.cumsum(speeds) * HOST_STEP_S]), wall_s


def _served(world: World, begins: Floats, work: Floats) -> Floats:
    """When each call is done; equal shares of the CPU for all calls that have a slot."""
    if world.slots == 1 and world.speed_at is _full:
        before = np.cumsum(work) - work
        return np.asarray(before + work + np.maximum.accumulate(begins - before))
    speeds = [world.speed_at(max(there, 1)) for there in range(MOST_SLOWED + 1)]
    done, works = [0.0] * len(begins), work.tolist()
    now = share = 0.0  # share: of the CPU that each call with a slot has had since the beginning
    served: list[tuple[float, int]] = []
    waiting: deque[int] = deque()
    for call, at in enumerate([*begins.tolist(), np.inf]):
        while served:
            there = len(served) + len(waiting)
            speed = speeds[min(there, MOST_SLOWED)] / len(served)
            ready = now + (served[0][0] - share) / speed
            if ready > at:
                share += (at - now) * speed
                break
            now = ready
            share, ended = heappop(served)
            done[ended] = now
            if waiting:
                following = waiting.popleft()
                heappush(served, (share + works[following], following))
        now = at
        if call == len(works):
            break
        if len(served) < world.slots:
            heappush(served, (share + works[call], call))
        else:
            waiting.append(call)
    return np.array(done)


def long_run_p95_s(world: World, share: float) -> float:
    """Over long runs, each after an overload of a minute and an hour to recover from it."""
    stages = [(60.0, 1.2 * FULL_PER_S), (3600.0 + LONG_RUN_S, share * FULL_PER_S)]
    found = []
    for seed in range(LONG_RUNS):
        starts_s, took_s = latencies(world, stages, np.random.default_rng(10**6 + seed), 1.0)
        found.append(took_s[starts_s > 3660.0].astype(np.float32))
    return float(np.percentile(np.concatenate(found), PERCENTILE, method="inverted_cdf"))


@dataclass(frozen=True, slots=True)
class Simulated:
    """A run with what is true of it."""

    run: Run
    rates_per_s: tuple[float, ...]
    truth_per_s: float


def simulate(name: str, order: str, seed: int) -> Simulated:
    """One run of a world."""
    world, random = WORLDS[name], np.random.default_rng(seed)
    speed, truth_per_s = 1.0, world.truth * FULL_PER_S
    lowest = LOWEST + APART * random.random()
    rates = [truth_per_s * (lowest + APART * step) for step in range(STEPS)]
    if world.speed_of_run:
        speed = float(np.exp(world.speed_of_run * random.normal()))
        truth_per_s = _truth_at(speed, world.limit_s)
        rates = [rate * truth_per_s / (world.truth * FULL_PER_S) for rate in rates]
    order_of = {"up": rates, "up_down": [*rates, *reversed(rates[:-1])]}[order]
    stages = [(STAGE_S, rate) for rate in order_of]
    starts_s, took_s = latencies(world, stages, random, speed)
    record = RunRecord(
        directory=Path(),
        manifest=_manifest(order_of, world.limit_s),
        requests=_requests(starts_s, took_s),
        metrics=_metrics(len(stages) * STAGE_S),
        events=tuple(_events(len(stages), len(starts_s))),
        complete=True,
        warnings=(),
    )
    return Simulated(Run(record), tuple(rates), truth_per_s)


def _truth_at(speed: float, limit_s: float) -> float:
    """The calls/s at which a host of this speed meets the limit: all its times are in its clock."""
    shares, p95_s = np.array(list(P95_S_BY_SHARE.items())).T
    own_clock = np.linspace(shares[0], shares[-1], 10_001)
    took_s = (np.interp(own_clock, shares, np.log(p95_s))) - np.log(speed)
    return float(FULL_PER_S * speed * np.interp(np.log(limit_s), took_s, own_clock))


def _requests(starts_s: Floats, took_s: Floats) -> pa.Table:
    count = len(starts_s)
    return whole_requests(
        stage=(starts_s // STAGE_S).astype(np.int32),
        operation=pa.DictionaryArray.from_arrays(np.zeros(count, dtype=np.int8), ["list_dags"]),
        intended_start_s=STARTED_AT_S + starts_s,
        service_time_s=took_s,
        outcome=pa.DictionaryArray.from_arrays(np.zeros(count, dtype=np.int8), ["ok"]),
    )


def _metrics(until_s: float) -> pa.Table:
    """Webserver counts alone: the SLO has no line about CPU."""
    rows = [
        (
            "CPUUtilization",
            "WebServer",
            json.dumps({"Cluster": "WebServer"}),
            "SampleCount",
            "Percent",
            60.0,
            STARTED_AT_S + at_s,
            float(WEBSERVERS),
            STARTED_AT_S + at_s + 90.0,
        )
        for at_s in np.arange(0.0, until_s, 60.0)
    ]
    columns = zip(*rows, strict=True)
    return pa.table([pa.array(column) for column in columns], names=METRICS_SCHEMA.names)


def _events(stages: int, arrivals: int) -> Iterator[dict[str, Any]]:
    for index in range(stages):
        for kind, at_s in (("stage_started", 0.0), ("stage_ended", STAGE_S)):
            time_s = STARTED_AT_S + index * STAGE_S + at_s
            yield {"time_s": time_s, "kind": kind, "source": "harness", "stage": index, "name": ""}
    at_s = STARTED_AT_S + stages * STAGE_S
    yield {"time_s": at_s, "kind": "rows_checked", "source": "harness", "arrivals": arrivals}


def _manifest(rates_per_s: Sequence[float], limit_s: float) -> dict[str, Any]:
    pinned = {"MinWebservers": WEBSERVERS, "MaxWebservers": WEBSERVERS}
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": "world",
        "status": "finished",
        "started_at_s": STARTED_AT_S,
        "finished_at_s": STARTED_AT_S + len(rates_per_s) * STAGE_S,
        "scenario": {
            "name": "other world",
            "slo": [f"p{PERCENTILE:g}(latency) < {limit_s} s"],
            "question": {"ask": "capacity"},
            "environment": {"kind": "aws"},
            "traffic": {
                "arrivals": "poisson",
                "mix": {"list_dags": {"operation": "list_dags", "weight": 1}},
            },
            "stages": [
                {"rate_per_s": rate, "duration_s": STAGE_S, "warmup_s": WARMUP_S}
                for rate in rates_per_s
            ],
            "recovery": {"longest_s": 0},
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
    """What was seen over the runs of a row."""

    runs: int = 0
    held: int = 0
    silent: int = 0
    refused: int = 0
    flagged: int = 0
    errors: list[float] = field(default_factory=list)
    widths: list[float] = field(default_factory=list)
    steps: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    chances: list[tuple[float, bool]] = field(default_factory=list)  # told, and whether true

    def add(self, simulated: Simulated) -> None:
        """One more run's."""
        self.runs += 1
        found = simulated.run.capacity
        assert found is not None
        estimate, truth = found.rate_per_s, simulated.truth_per_s
        assert estimate is not None
        self.codes.update({each.code for each in estimate.warnings})
        highest_rate_per_s = None
        if found.highest_stage is not None:
            highest_rate_per_s = simulated.run.stages[found.highest_stage].rate_per_s
        self._step(simulated, highest_rate_per_s)
        if estimate.value is None:
            self.refused += 1
            return
        high = np.inf if estimate.high is None else estimate.high
        held = (estimate.low or 0.0) <= truth <= high
        for rate, chance in (
            (highest_rate_per_s, found.highest_holds),
            (found.next_rate_per_s, found.next_holds),
        ):
            if rate is not None and chance is not None and not estimate.warnings:
                self.chances.append((chance, rate <= truth))
        self.held += held
        self.flagged += bool(estimate.warnings)
        self.silent += not held and not estimate.warnings
        self.errors.append(estimate.value / truth - 1)
        if estimate.low and estimate.high:
            self.widths.append((estimate.high - estimate.low) / truth)

    def _step(self, simulated: Simulated, rate: float | None) -> None:
        rates = simulated.rates_per_s
        right = sum(rate <= simulated.truth_per_s for rate in rates)
        named = 0 if rate is None else rates.index(rate) + 1
        self.steps["right" if named == right else "high" if named > right else "low"] += 1

    def row(self, name: str, order: str) -> str:
        """Of the table."""
        answers = len(self.errors)
        bias = f"{100 * median(self.errors):+.1f} %" if answers else "-"
        width = f"{100 * median(self.widths):.0f} %" if self.widths else "-"
        steps = " / ".join(_percent(self.steps[each], self.runs) for each in _STEP_NAMES)
        most = ", ".join(f"{c} {_percent(n, self.runs)}" for c, n in self.codes.most_common(4))
        return (
            f"| {name} | {order} | {_percent(self.held, answers)} | {bias} | {width} | "
            f"{_percent(self.silent, self.runs)} | {_percent(self.refused, self.runs)} | "
            f"{_percent(self.flagged, self.runs)} | {steps} | {self._calibration()} | {most} |"
        )

    def _calibration(self) -> str:
        """Told below 20 %, 20 to 80 %, above: how often it was true."""
        found = []
        for low, high in ((0.0, 0.2), (0.2, 0.8), (0.8, 1.01)):
            true = [held for chance, held in self.chances if low <= chance < high]
            found.append(f"{_percent(sum(true), len(true))} of {len(true)}" if true else "-")
        return " / ".join(found)


_STEP_NAMES = ("right", "high", "low")


def _percent(part: float, whole: int) -> str:
    return f"{100 * part / max(whole, 1):.0f} %"


def main() -> None:
    """Print a row for each world and order as soon as it is done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--world", nargs="+", choices=WORLDS, default=list(WORLDS))
    parser.add_argument("--order", nargs="+", choices=("up", "up_down"), default=["up_down"])
    parser.add_argument("--limits", action="store_true", help="the long run's p95 instead")
    options = parser.parse_args()
    if options.limits:
        for name in options.world:
            world = WORLDS[name]
            print(f"{name}: {long_run_p95_s(world, world.truth):.4f} s", flush=True)
        return
    print(
        "| world | order | holds | bias | width | silent | refused | flagged "
        "| highest stage right / too high / too low "
        "| SLO holds where told < 20 % / 20-80 % / > 80 % | said |\n" + "|---" * 11 + "|"
    )
    for name in options.world:
        for order in options.order:
            tally = Tally()
            for seed in range(options.runs):
                tally.add(simulate(name, order, seed))
            print(tally.row(name, order), flush=True)


if __name__ == "__main__":
    main()
