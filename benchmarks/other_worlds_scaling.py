"""When do scale-outs happen, as the analysis reads it from metrics of a minute?

    .venv/bin/python benchmarks/other_worlds_scaling.py [--runs 300] [--world NAME ...] [--counts]

An independent simulator: nothing of the analysis or of the simulated environments is used to make a
record. Webservers of 1 CPU are queues whose busy time is exact (busy until t = work taken - backlog
at t); calls of 0.1 CPU-seconds come at random, 6/s and after some minutes 17/s or more, and each
goes to a webserver that is ready. One webserver is added when the CPU was above 70 % in 2 of 2
periods. It is counted (SampleCount) after some 2 minutes. Then it may burn a whole CPU to start up,
may wait for its health check, and takes traffic. Nobody tells of decisions, as on AWS.

    t1 .. t4      share of scale-outs whose (t - known to within, t] holds what is true
    t5            the same or a window of 5 s early, where the SLO was broken and held again
    bias          of t4, the mean of what is said less what is true: an upper bound is above 0
    delay         of one run's first scale-out, from the load step until it takes traffic
    whole of six  the mean of that over six runs, held against the mean over all runs of the row
    flagged       of these, with a warning that not every answer from metrics has
    missed, extra scale-outs that no event holds, and events that hold none, of either direction

With --counts: are scale-outs told apart that follow each other? Only SampleCount is imagined, of
which some periods are lost and some lack one webserver because it was published late. Six
scale-outs of one webserver each, 2 -> 8, at a random place within the periods and so far apart:

    gap       seconds from one to the next, drawn evenly from half of it to one and a half
    missed    scale-outs that no change of the count holds: not (after, seen]
    lumped    those of them that lie in a change that holds several
    alone     with a change of their own
    extra     changes that hold none
"""

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from world_requests import whole_requests

from mwaa_headroom.analysis.findings import Finding
from mwaa_headroom.analysis.metric_periods import WebserverPeriod
from mwaa_headroom.analysis.record import RunRecord
from mwaa_headroom.analysis.results import ScalingEvent
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.analysis.scaling.delay import scale_out_delays
from mwaa_headroom.analysis.scaling.events import count_changes, scaling_events, steps_of
from mwaa_headroom.analysis.schema import METRICS_SCHEMA, SCHEMA_VERSION
from mwaa_headroom.analysis.statistics import Estimate

Floats = NDArray[np.float64]

PERIOD_S: Final = 60.0
BEFORE_S: Final = 300.0
AFTER_S: Final = 300.0
STEPS: Final = 6
GAPS_S: Final = (60.0, 90.0, 120.0, 180.0, 300.0)
LOST: Final = (0.0, 0.03)  # share of the periods
LATE: Final = 0.03  # share of those with losses that show 1 webserver too few

STARTED_AT_S: Final = 1_790_000_040.0  # a whole minute
DEMAND_S: Final = 0.1
BACKGROUND: Final = 0.04  # CPUs of a webserver
LOW_PER_S: Final = 6.0
LOW_S: Final = 300.0
HIGH_S: Final = 900.0
CUT_AFTER_S: Final = 10.0
LIMIT_S: Final = 1.5  # of the p95 latency
WINDOW_S: Final = 5.0
LEAST: Final = 2  # webservers
RUNS_OF_A_MEAN: Final = 6
EVERY_ANSWER_HAS: Final = {"scaling.one_scale_out", "scaling.traffic_by_metrics"}


@dataclass(frozen=True, slots=True)
class World:
    """What differs; the defaults are a webserver that takes traffic as soon as it is counted."""

    rate_per_s: float = 17.0  # 85 % of two webservers
    most: int = 3  # webservers
    cooldown_s: float = 300.0
    start_up_s: tuple[float, float] = (0.0, 0.0)  # of a whole CPU, once it is counted
    health_s: tuple[float, float] = (0.0, 0.0)  # idle after that
    late_s: tuple[float, float] = (0.0, 0.0)  # metrics, of either cluster
    minimum: bool = True  # whether Minimum is reported


START_UP: Final = (20.0, 90.0)
WORLDS: Final = {
    "single steps": World(),
    "single steps, overload": World(rate_per_s=20.6),
    "single steps, no Minimum": World(minimum=False),
    "steps within few periods": World(rate_per_s=32.0, most=5, cooldown_s=0.0),
    "steps 5 min apart": World(rate_per_s=26.0, most=4),
    "start-up": World(start_up_s=START_UP),
    "start-up, overload": World(rate_per_s=20.6, start_up_s=START_UP),
    "start-up, no Minimum": World(start_up_s=START_UP, minimum=False),
    "start-up, then health check": World(start_up_s=START_UP, health_s=(10.0, 40.0)),
    "start-up, steps within few periods": World(
        rate_per_s=32.0, most=5, cooldown_s=0.0, start_up_s=START_UP
    ),
    "start-up, steps 5 min apart": World(rate_per_s=26.0, most=4, start_up_s=START_UP),
    "metrics 1-5 min late": World(late_s=(60.0, 300.0)),
    "start-up, metrics 1-5 min late": World(start_up_s=START_UP, late_s=(60.0, 300.0)),
}


@dataclass(frozen=True, slots=True)
class Added:
    """What is true of one scale-out, in seconds of the run."""

    breach_s: float
    counted_s: float
    ready_s: float


@dataclass(slots=True)
class Webservers:
    """Queues with what they were given to do."""

    counted_s: list[float] = field(default_factory=lambda: [0.0] * LEAST)
    ready_s: list[float] = field(default_factory=lambda: [-math.inf] * LEAST)
    burn_until_s: list[float] = field(default_factory=lambda: [0.0] * LEAST)
    free_s: list[float] = field(default_factory=lambda: [0.0] * LEAST)
    work_s: list[float] = field(default_factory=lambda: [0.0] * LEAST)

    def add(self, counted_s: float, burn_s: float, ready_s: float) -> None:
        """One more."""
        self.counted_s.append(counted_s)
        self.burn_until_s.append(counted_s + burn_s)
        self.ready_s.append(ready_s)
        self.free_s.append(0.0)
        self.work_s.append(0.0)

    def busy_until(self, at_s: float) -> Floats:
        """CPU-seconds of each until a time, after all calls that came before it."""
        burnt = np.maximum(np.minimum(self.burn_until_s, at_s) - np.array(self.counted_s), 0.0)
        backlog = np.maximum(np.array(self.free_s) - at_s, 0.0)
        return np.asarray(np.array(self.work_s) - backlog + burnt)

    def take(self, starts_s: Floats, works_s: Floats, random: np.random.Generator) -> Floats:
        """When each call is done."""
        ready = np.sort(self.ready_s)
        order = np.argsort(self.ready_s, kind="stable")
        there = np.searchsorted(ready, starts_s, side="right")
        place = order[(random.random(len(starts_s)) * there).astype(int)]
        done = np.empty(len(starts_s))
        for own in range(len(ready)):
            mine = place == own
            if mine.any():
                work = works_s[mine]
                before = np.cumsum(work) - work
                begins = np.maximum(starts_s[mine], self.free_s[own])
                done[mine] = before + work + np.maximum.accumulate(begins - before)
                self.free_s[own] = float(done[mine][-1])
                self.work_s[own] += float(work.sum())
        return done


@dataclass(frozen=True, slots=True)
class Simulated:
    """A record with what is true of it."""

    record: RunRecord
    step_s: float
    added: tuple[Added, ...]
    starts_s: Floats
    took_s: Floats


def simulate(world: World, seed: int) -> Simulated:
    """One run: some minutes of little load, then one step."""
    random = np.random.default_rng(seed)
    phase_s = random.uniform(0, PERIOD_S)
    step_s, end_s = phase_s + LOW_S, phase_s + LOW_S + HIGH_S
    starts_s = np.concatenate(
        [
            phase_s + np.sort(random.random(random.poisson(LOW_PER_S * LOW_S))) * LOW_S,
            step_s + np.sort(random.random(random.poisson(world.rate_per_s * HIGH_S))) * HIGH_S,
        ]
    )
    works_s = random.gamma(2.0, DEMAND_S / 2, len(starts_s))
    done_s = np.empty(len(starts_s))
    webservers, added, rows = Webservers(), [], []
    before, past, quiet_until_s = np.zeros(LEAST), 0, 0.0
    for from_s in np.arange(0.0, end_s + PERIOD_S, PERIOD_S):
        to_s = from_s + PERIOD_S
        mine = slice(*np.searchsorted(starts_s, [from_s, to_s]))
        done_s[mine] = webservers.take(starts_s[mine], works_s[mine], random)
        busy = webservers.busy_until(to_s)
        cpu = 100 * ((busy - np.pad(before, (0, len(busy) - len(before)))) / PERIOD_S + BACKGROUND)
        cpu = np.minimum(cpu, 100.0)[np.array(webservers.counted_s) <= to_s]
        before = busy
        rows += _samples(world, cpu, from_s, end_s, random)
        past = past + 1 if cpu.mean() > 70 else 0
        late_s = random.uniform(*world.late_s)
        if past >= 2 and to_s >= quiet_until_s and len(busy) < world.most:
            counted_s = to_s + late_s + 120.0 * float(np.exp(0.15 * random.normal()))
            burn_s = random.uniform(*world.start_up_s)
            ready_s = counted_s + burn_s + random.uniform(*world.health_s)
            added.append(Added(to_s - (past - 1) * PERIOD_S, counted_s, ready_s))
            webservers.add(counted_s, burn_s, ready_s)
            quiet_until_s = to_s + late_s + world.cooldown_s
    took_s = np.minimum(done_s - starts_s, CUT_AFTER_S)
    record = RunRecord(
        directory=Path(),
        manifest=_manifest(world, phase_s, end_s),
        requests=_requests(starts_s, took_s, step_s),
        metrics=_metrics(rows),
        events=tuple(_events(phase_s, step_s, end_s)),
        complete=True,
        warnings=(),
    )
    seen = tuple(one for one in added if one.ready_s < end_s - 2 * PERIOD_S)
    return Simulated(record, step_s, seen, starts_s, took_s)


def _samples(
    world: World, cpu: Floats, from_s: float, end_s: float, random: np.random.Generator
) -> Iterator[tuple[Any, ...]]:
    """Of both clusters, unless the run was over and two minutes waited before they came."""
    for cluster, own in (("WebServer", cpu[:LEAST]), ("AdditionalWebservers", cpu[LEAST:])):
        read_s = from_s + PERIOD_S + random.uniform(*world.late_s)
        if not len(own) or read_s > end_s + 120.0 or from_s + PERIOD_S > end_s:
            continue
        values = {"SampleCount": len(own), "Average": own.mean(), "Maximum": own.max()}
        if world.minimum:
            values["Minimum"] = own.min()
        dimensions = json.dumps({"Cluster": cluster})
        for statistic, value in values.items():
            at_s = STARTED_AT_S + from_s, float(value), STARTED_AT_S + read_s
            yield "CPUUtilization", cluster, dimensions, statistic, "Percent", PERIOD_S, *at_s


def _metrics(rows: list[tuple[Any, ...]]) -> pa.Table:
    columns = zip(*rows, strict=True)
    return pa.table([pa.array(column) for column in columns], names=METRICS_SCHEMA.names)


def _requests(starts_s: Floats, took_s: Floats, step_s: float) -> pa.Table:
    count = len(starts_s)
    cut = (took_s >= CUT_AFTER_S).astype(np.int8)
    return whole_requests(
        stage=(starts_s >= step_s).astype(np.int32),
        operation=pa.DictionaryArray.from_arrays(np.zeros(count, dtype=np.int8), ["list_dags"]),
        intended_start_s=STARTED_AT_S + starts_s,
        service_time_s=took_s,
        outcome=pa.DictionaryArray.from_arrays(cut, ["ok", "service_timeout"]),
    )


def _events(phase_s: float, step_s: float, end_s: float) -> Iterator[dict[str, Any]]:
    for index, (from_s, to_s) in enumerate(((phase_s, step_s), (step_s, end_s))):
        for kind, at_s in (("stage_started", from_s), ("stage_ended", to_s)):
            time_s = STARTED_AT_S + at_s
            yield {"time_s": time_s, "kind": kind, "source": "harness", "stage": index, "name": ""}


def _manifest(world: World, phase_s: float, end_s: float) -> dict[str, Any]:
    limits = {"MinWebservers": LEAST, "MaxWebservers": world.most}
    stages = ((LOW_PER_S, LOW_S), (world.rate_per_s, HIGH_S))
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": "world",
        "status": "finished",
        "started_at_s": STARTED_AT_S + phase_s,
        "finished_at_s": STARTED_AT_S + end_s,
        "scenario": {
            "name": "other world",
            "slo": [f"p95(latency) < {LIMIT_S} s"],
            "question": {"ask": "check"},
            "environment": {"kind": "aws"},
            "traffic": {"arrivals": "poisson", "mix": {"list_dags": {"weight": 1}}},
            "stages": [{"rate_per_s": rate, "duration_s": long_s} for rate, long_s in stages],
        },
        "environment": {"kind": "aws", "name": "other-world", "facts": limits},
    }


def events_of(simulated: Simulated) -> tuple[ScalingEvent, ...]:
    """What the analysis says."""
    run = Run(simulated.record)
    return scaling_events(run.setting, run.stage_times, simulated.record.events, run.seen)


def restored_s(simulated: Simulated, ready_s: float) -> float | None:
    """End of the first of two good windows in a row after a time; None: never bad or never good."""
    since_s = simulated.starts_s - simulated.step_s
    good = []
    for from_s in np.arange(0.0, HIGH_S - WINDOW_S, WINDOW_S):
        took_s = simulated.took_s[(since_s >= from_s) & (since_s < from_s + WINDOW_S)]
        good.append(np.percentile(took_s, 95, method="inverted_cdf") < LIMIT_S)
    first = math.ceil((ready_s - simulated.step_s) / WINDOW_S)
    if all(good[:first]):
        return None
    for place in range(first, len(good) - 1):
        if good[place] and good[place + 1]:
            return simulated.step_s + (place + 1) * WINDOW_S
    return None


@dataclass(slots=True)
class Tally:
    """What was held of what was asked."""

    held: dict[str, list[bool]] = field(default_factory=dict)
    biases_s: list[float] = field(default_factory=list)

    def add(self, what: str, *, holds: bool) -> None:
        """One more."""
        self.held.setdefault(what, []).append(holds)

    def share(self, what: str) -> str:
        """In percent."""
        known = self.held.get(what, [])
        return f"{100 * fmean(known):.0f} %" if known else "-"


def _judge(simulated: Simulated, events: tuple[ScalingEvent, ...], tally: Tally) -> None:
    rising = [event for event in events if event.to_count > event.from_count]
    used = set()
    for position, one in enumerate(simulated.added):
        counted_s = STARTED_AT_S + one.counted_s
        holding = [
            event
            for event in rising
            if event.count_changed_after_s is not None
            and event.count_changed_s is not None
            and event.count_changed_after_s < counted_s <= event.count_changed_s
        ]
        tally.add("missed", holds=not holding)
        if not holding:
            continue
        (event, *_) = holding
        used.add(id(event))
        steps = {step.name: step for step in steps_of(event)}
        truth = {
            "load step": simulated.step_s,
            "threshold passed": one.breach_s,
            "count rises": one.counted_s,
            "takes traffic": one.ready_s,
        }
        for name, true_s in truth.items():
            if name in steps:
                late_s = steps[name].at_s - STARTED_AT_S - true_s
                within_s = steps[name].resolution_s or 0.0
                tally.add(name, holds=-0.001 <= late_s <= within_s + 0.001)
                if name == "takes traffic":
                    tally.biases_s.append(late_s)
        true_s = restored_s(simulated, one.ready_s)
        if position == 0 and true_s is not None and "SLO restored" in steps:
            late_s = steps["SLO restored"].at_s - STARTED_AT_S - true_s
            within_s = steps["SLO restored"].resolution_s or 0.0
            tally.add("SLO restored", holds=-WINDOW_S <= late_s <= within_s + 0.001)
    tally.add("extra", holds=len(events) > len(used))


def _holds(estimate: Estimate, truth_s: float) -> bool:
    low, high = estimate.low, estimate.high
    return low is not None and high is not None and low <= truth_s <= high


def _codes(warnings: tuple[Finding, ...]) -> set[str]:
    return {warning.code for warning in warnings} - EVERY_ANSWER_HAS


def world_row(name: str, runs: int) -> str:
    """One row of the table."""
    tally, means, truths_s = Tally(), [], []
    of_mean: list[ScalingEvent] = []
    for seed in range(runs * RUNS_OF_A_MEAN):
        simulated = simulate(WORLDS[name], seed)
        if simulated.added:
            truths_s.append(simulated.added[0].ready_s - simulated.step_s)
        events = events_of(simulated)
        of_mean += events
        if seed % RUNS_OF_A_MEAN == 0:
            _judge(simulated, events, tally)
            if simulated.added:
                tally.add("delay", holds=_holds(scale_out_delays(events).whole, truths_s[-1]))
        if seed % RUNS_OF_A_MEAN == RUNS_OF_A_MEAN - 1:
            means.append(scale_out_delays(of_mean).whole)
            of_mean = []
    truth_s = fmean(truths_s)
    known = [(mean.value, mean.low, mean.high) for mean in means]
    said = [(value, low, high) for value, low, high in known if value and low and high]
    off_s = fmean(value - truth_s for value, _, _ in said)
    width_s = fmean(high - low for _, low, high in said)
    bias_s = f"{fmean(tally.biases_s):+.0f} s" if tally.biases_s else "-"
    return " | ".join(
        [
            f"| {name}",
            tally.share("load step"),
            tally.share("threshold passed"),
            tally.share("count rises"),
            tally.share("takes traffic"),
            bias_s,
            tally.share("SLO restored"),
            tally.share("delay"),
            f"{100 * fmean(_holds(mean, truth_s) for mean in means):.0f} %",
            f"{off_s:+.0f} s of {truth_s:.0f}",
            f"{width_s:.0f} s",
            f"{100 * fmean(bool(_codes(mean.warnings)) for mean in means):.0f} %",
            tally.share("missed"),
            f"{tally.share('extra')} |",
        ]
    )


def counts_row(gap_s: float, lost: float, runs: int) -> str:
    """One row of the table."""
    alone = together = missed = extra = 0
    for seed in range(runs):
        random = np.random.default_rng(seed)
        between_s = gap_s * random.uniform(0.5, 1.5, STEPS)
        added_s = BEFORE_S + random.uniform(0, PERIOD_S) + np.cumsum(between_s)
        periods = []
        for start_s in np.arange(0.0, added_s[-1] + AFTER_S, PERIOD_S):
            count = 2 + int((added_s <= start_s + PERIOD_S).sum())
            count -= int(random.random() < LATE) if lost else 0
            if random.random() >= lost:
                periods.append(WebserverPeriod(start_s, PERIOD_S, count, 50.0, None, None, None))
        held = [
            [at_s for at_s in added_s if change.after_s < at_s <= change.seen_s]
            for change in count_changes(periods)
            if change.to_count > change.from_count
        ]
        alone += sum(len(each) == 1 for each in held)
        together += sum(len(each) for each in held if len(each) > 1)
        extra += sum(not each for each in held)
        missed += STEPS - len({at_s for each in held for at_s in each})
    whole = runs * STEPS
    shares = (f"{100 * part / whole:.1f} %" for part in (alone, together, missed, extra))
    return f"| {gap_s:g} | {100 * lost:g} % | {' | '.join(shares)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--world", action="append", choices=list(WORLDS))
    parser.add_argument("--counts", action="store_true")
    chosen = parser.parse_args()
    if chosen.counts:
        print("| gap, s | periods lost | alone | lumped | missed | extra |\n|" + "---|" * 6)
        for lost in LOST:
            for gap_s in GAPS_S:
                print(counts_row(gap_s, lost, chosen.runs), flush=True)
        return
    print(
        "| world | t0 | t1 | t3 | t4 | bias of t4 | t5 | delay | whole of six | bias | width "
        "| flagged | missed | extra |\n|" + "---|" * 14
    )
    for name in chosen.world or WORLDS:
        print(world_row(name, chosen.runs), flush=True)


if __name__ == "__main__":
    main()
