"""What do fit and what-if say where the real scaling rule is another than the documented one?

    .venv/bin/python benchmarks/other_worlds_policy.py [--runs 60] [--world NAME ...] [--kind KIND]

An independent simulator: it shares no code with the analysis or with the simulated environments,
and only writes what these read. 2 to 5 webservers of 0.5 CPU take calls of 20 ms of CPU for 40 to
80 minutes, whose rate goes up and down every few minutes; calls come at random and are spread over
the webservers at random; work that waits is shared by all. Once a minute a rule sees each
webserver's CPU and connections. Its numbers are drawn anew for each run; in the rows

    as modelled       M of N periods, one step, cooldown of 1 to 5 min; after quiet periods back
    maximum           ... by the busiest webserver
    total             ... by the connections of all webservers together
    to the maximum    ... all webservers at once
    cooldown 10 min   ... with such a cooldown
    random start      ... webservers take 1 to 5 min to come
    larger steps      ... one webserver, or two when CPU is above 85 %
    target tracking   ceil(count x CPU / 70 %) or of connections, whichever is more
    by the clock      a webserver more or fewer at times that have nothing to do with the load

Records are of `decisions`, or of `counts` only, as on AWS. The question is another burst, of 10 to
20 minutes; its truth is what the real rule makes of it in expected numbers.

    explained   recorded changes that the fitted rule makes at their time
    rule holds  the real rule is among those that fit (- : it is in no grid)
    hours, overload    the range holds the truth, within 2 % (webserver hours), 5 s (overload)
    flagged     refused, or warned that the recorded changes do not follow the rule, that starts
                vary, or that the load takes CPU to where no step was seen
    silent      a range or the fitted rule is wrong, and nothing was said
"""

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil, inf
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from mwaa_headroom.analysis.policy.fit import PolicyFit, fit_policy
from mwaa_headroom.analysis.policy.recorded import Change, RecordedScaling, SeenPeriod
from mwaa_headroom.analysis.policy.replay import Explained, replay_rule
from mwaa_headroom.analysis.policy.simulated_load import (
    LoadToSimulate,
    SimulatedLoad,
    WithRange,
    simulate_load,
    step_unseen,
)
from mwaa_headroom.analysis.policy.workload import Workload

Floats = NDArray[np.float64]
Kind = Literal["decisions", "counts"]

PERIOD_S: Final = 60
FEWEST: Final = 2
MOST: Final = 5
DEMAND_S: Final = 0.02
BACKGROUND: Final = 0.02
CPUS: Final = 0.5
LATENCY_S: Final = 0.1
TIMEOUT_S: Final = 10.0
CALLS: Final = Workload(
    demand_s=DEMAND_S, background_cpu=BACKGROUND, webserver_cpu=CPUS, latency_s=LATENCY_S
)
FLAGS: Final = {"policy.mismatch", "policy.start_varies", "policy.step_unseen"}


@dataclass(frozen=True, slots=True)
class Drawn:
    """The numbers of a real rule."""

    m: int
    n: int
    cooldown_s: float
    quiet: int
    start_s: float
    step: int = 1
    busiest: bool = False
    total: bool = False
    larger_above: float = inf
    start_spread_s: float = 0.0


@dataclass(slots=True)
class Seen:
    """What a rule has seen so far."""

    cpu: list[tuple[float, float]] = field(default_factory=list)  # mean, most
    connections: list[tuple[float, float]] = field(default_factory=list)  # mean, total
    out_s: float = -inf
    any_s: float = -inf


Rule = Callable[[Seen, float, int, int], int]  # seen, now, ready, starting -> webservers wanted
MakeRule = Callable[[np.random.Generator], tuple[Rule, Drawn]]


def by_thresholds(**given: object) -> MakeRule:
    """The documented rule with random numbers, and those that are given."""

    def make(random: np.random.Generator) -> tuple[Rule, Drawn]:
        n = int(random.integers(1, 4))
        drawn = {
            "m": int(random.integers(max(1, n - 1), n + 1)),
            "n": n,
            "cooldown_s": float(random.choice([60.0, 120.0, 180.0, 300.0])),
            "quiet": int(random.choice([3, 5, 6, 8])),
            "start_s": float(random.choice([60.0, 100.0, 120.0, 180.0])),
        }
        numbers = Drawn(**(drawn | given))  # type: ignore[arg-type]

        def rule(seen: Seen, now_s: float, ready: int, starting: int) -> int:
            cpu = [each[numbers.busiest] for each in seen.cpu]
            connections = [each[numbers.total] for each in seen.connections]
            high = max(
                sum(each > 70 for each in cpu[-numbers.n :]),
                sum(each > 15 for each in connections[-numbers.n :]),
            )
            if high >= numbers.m and now_s - seen.out_s >= numbers.cooldown_s:
                step = 2 if cpu[-1] > numbers.larger_above else numbers.step
                return min(MOST, ready + starting + step)
            last = [*zip(cpu, connections, strict=True)][-numbers.quiet :]
            quiet = len(last) == numbers.quiet and all(c < 30 and n < 5 for c, n in last)
            if quiet and not starting and now_s - seen.any_s >= 60.0:
                return max(FEWEST, ready - 1)
            return ready + starting

        return rule, numbers

    return make


def by_target(random: np.random.Generator) -> tuple[Rule, Drawn]:
    """Target tracking: as many webservers as bring the metric back to its target."""
    out_s = float(random.choice([60.0, 120.0, 180.0]))
    numbers = Drawn(3, 3, out_s, int(random.choice([5, 10, 15])), 120.0)

    def rule(seen: Seen, now_s: float, ready: int, starting: int) -> int:
        loads = [
            max(cpu / 70.0, connections / 15.0)
            for (cpu, _), (connections, _) in zip(seen.cpu, seen.connections, strict=True)
        ]
        count, needed = ready + starting, ceil(ready * loads[-1] - 1e-9)
        if len(loads) >= numbers.m and min(loads[-numbers.m :]) > 1:
            if now_s - seen.out_s >= numbers.cooldown_s:
                return max(count, min(MOST, needed))
            return count
        quiet = len(loads) >= numbers.quiet and max(loads[-numbers.quiet :]) < 0.9
        if quiet and not starting and now_s - seen.any_s >= 300.0:
            return min(count, max(FEWEST, needed))
        return count

    return rule, numbers


def by_clock(random: np.random.Generator) -> tuple[Rule, Drawn]:
    """Changes at times that have nothing to do with the load."""
    offset, every = int(random.integers(4, 12)), int(random.integers(7, 14))
    counts = [int(random.integers(FEWEST, MOST + 1)) for _ in range(30)]

    def rule(_seen: Seen, now_s: float, ready: int, starting: int) -> int:
        minute = round(now_s / PERIOD_S) - offset
        return counts[minute // every] if minute >= 0 and not starting else ready + starting

    return rule, Drawn(1, 1, 0.0, 1, 120.0)


WORLDS: Final[dict[str, tuple[MakeRule, bool]]] = {  # and whether the rule is in the grid
    "as modelled": (by_thresholds(), True),
    "maximum": (by_thresholds(busiest=True), True),
    "total": (by_thresholds(total=True), True),
    "to the maximum": (by_thresholds(step=MOST - FEWEST), True),
    "cooldown 10 min": (by_thresholds(cooldown_s=600.0), True),
    "random start": (by_thresholds(start_s=180.0, start_spread_s=120.0), True),
    "larger steps": (by_thresholds(larger_above=85.0), False),
    "target tracking": (by_target, False),
    "by the clock": (by_clock, False),
}


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a load."""

    periods: tuple[SeenPeriod, ...]
    changes: tuple[tuple[float, float, int, int], ...]  # decided, ready, from, to
    webserver_hours: float
    overload_s: float


def played(rates: Floats, rule: Rule, numbers: Drawn, random: np.random.Generator | None) -> Played:
    """Play a load against a real rule, with chance or without."""
    seen, periods, changes, starting = Seen(), [], [], list[tuple[float, int]]()
    backlog, used, connected, there = ([0.0] * FEWEST for _ in range(4))
    piled, webserver_s = [], 0.0
    free = CPUS - BACKGROUND
    chance = random or np.random.default_rng(0)
    for second, rate in enumerate(rates.tolist()):
        for ready_s, count in [each for each in starting if each[0] <= second]:
            starting.remove((ready_s, count))
            for values in (backlog, used, connected, there):
                values.extend([0.0] * count)
            backlog = [sum(backlog) / len(backlog)] * len(backlog)
        ready = len(backlog)
        webserver_s += ready
        calls = chance.poisson(rate / ready, ready) if random else [rate / ready] * ready
        rho = min(0.95, rate / ready * DEMAND_S / free)
        for i in range(ready):
            there[i] += 1.0
            work_s = calls[i] * DEMAND_S
            done_s = min(backlog[i] + work_s, free)
            before_s, backlog[i] = backlog[i], backlog[i] + work_s - done_s
            used[i] += BACKGROUND + done_s
            waiting = (before_s + backlog[i]) / 2 / DEMAND_S
            busy = calls[i] * LATENCY_S + rho / (1 - rho) + waiting
            connected[i] += min(busy, rate / ready * TIMEOUT_S)
        piled.append(sum(backlog) / (free * ready))
        backlog = [sum(backlog) / ready] * ready
        if (second + 1) % PERIOD_S:
            continue
        now_s = second + 1.0
        cpu = [100 * each / PERIOD_S / CPUS for each in used]
        connections = [each / max(1.0, s) for each, s in zip(connected, there, strict=True)]
        periods.append(_period(now_s, cpu, connections))
        seen.cpu.append((float(np.mean(cpu)), max(cpu)))
        seen.connections.append((float(np.mean(connections)), sum(connections)))
        on_their_way = sum(count for _, count in starting)
        count = ready + on_their_way
        wanted = rule(seen, now_s, ready, on_their_way)
        if wanted > count:
            spread_s = numbers.start_spread_s if random else 0.0
            ready_s = now_s + numbers.start_s + chance.uniform(-spread_s, spread_s)
            starting.append((ready_s, wanted - count))
            changes.append((now_s, ready_s, count, wanted))
            seen.out_s = seen.any_s = now_s
        elif wanted < count:
            changes.append((now_s, now_s, count, wanted))
            seen.any_s = now_s
            backlog = [sum(backlog) / wanted] * wanted
        used, connected, there = ([0.0] * len(backlog) for _ in range(3))
    return Played(tuple(periods), tuple(changes), webserver_s / 3600.0, _overload_s(piled))


def _period(end_s: float, cpu: list[float], connections: list[float]) -> SeenPeriod:
    """As it is recorded: mean and most of the CPU, the sum of the connections."""
    count = len(cpu)
    rest = (sum(cpu) - max(cpu)) / max(1, count - 1)
    mean = sum(connections) / count
    return SeenPeriod(end_s, (max(cpu),) + (rest,) * (count - 1), (mean,) * count, count)


def _overload_s(piled: list[float]) -> float:
    """Seconds in which more than a second of work waited, and those before since there was none."""
    late = [second for second, wait_s in enumerate(piled) if wait_s > 1.0]
    whole_s, end = 0, -inf
    for second in late:
        if second - end < PERIOD_S:
            whole_s += second + 1 - int(end)
        else:
            first = second
            while first and piled[first - 1] > 0:
                first -= 1
            whole_s += second + 1 - first
        end = second + 1
    return float(whole_s)


def recorded_load(random: np.random.Generator) -> Floats:
    """40 to 80 minutes, up and down."""
    rates, seconds, whole = list[float](), list[int](), int(random.integers(40, 81)) * 60
    while sum(seconds) < whole:
        rates += [random.uniform(6, 14), random.uniform(38, 105)]
        seconds += [int(random.integers(180, 900)), int(random.integers(60, 900))]
    return np.repeat(rates, seconds)[:whole]


def asked_load(random: np.random.Generator) -> Floats:
    """Another burst."""
    rates = [random.uniform(6, 14), random.uniform(50, 105), random.uniform(6, 14)]
    return np.repeat(rates, [300, int(random.integers(600, 1201)), 1500])


def recorded(of: Played, kind: Kind) -> RecordedScaling:
    """What a run leaves."""
    decisions = kind == "decisions"
    end_s = of.periods[-1].end_s
    if decisions:
        changes = [Change(at_s, at_s, was, to) for at_s, _, was, to in of.changes]
    else:
        changes = [
            Change(before.end_s, after.end_s, before.webservers, after.webservers)
            for before, after in zip(of.periods, of.periods[1:], strict=False)
            if before.webservers != after.webservers
        ]
    outs = [each for each in of.changes if each[3] > each[2]] if decisions else []
    return RecordedScaling(
        run_id="run",
        began_s=0.0,
        started_s=0.0,
        period_s=PERIOD_S,
        periods=of.periods,
        changes=tuple(changes),
        decisions_known=decisions,
        start_times_s=tuple(ready - at for at, ready, _, _ in outs if ready <= end_s),
        waited_s=tuple(end_s - at for at, ready, _, _ in outs if ready > end_s),
        min_webservers=FEWEST,
        max_webservers=MOST,
        cpu_above_percent=70.0,
        connections_above=15.0,
    )


def asked(run: RecordedScaling, fit: PolicyFit, rates: Floats) -> SimulatedLoad | None:
    """The answer, or None where it is refused."""
    if fit.rule is None or Explained.by([replay_rule(run, fit.rule)]).too_few:
        return None
    load = LoadToSimulate("burst", rates, FEWEST, MOST, PERIOD_S, 0.7, "", "run")
    return simulate_load(load, CALLS, (), fit.rule, fit.others)


def _warned(run: RecordedScaling, fit: PolicyFit, load: SimulatedLoad) -> set[str]:
    """Codes of what the answer warns of."""
    assert fit.rule is not None
    unseen = step_unseen(load, [run], fit.rule)
    return {each.code for each in (*fit.warnings, *([unseen] if unseen else []))}


def holds_rule(fit: PolicyFit, numbers: Drawn) -> bool:
    """Whether the sets of the fitted rule contain the real one."""
    told = {each.name: each for each in fit.parameters}
    cooldown = told["scale_out_cooldown_s"].values
    quiet = told["scale_in_periods"]
    return (
        f"{numbers.m} of {numbers.n}" in told["datapoints_to_alarm"].values
        and ("Maximum" if numbers.busiest else "Average") in told["statistic"].values
        and ("total" if numbers.total else "per webserver") in told["connections_scope"].values
        and str(numbers.step) in told["scale_out_step"].values
        and any(_in_class(each, numbers.cooldown_s) for each in cooldown)
        and (quiet.verdict == "unknown" or any(_in(each, numbers.quiet) for each in quiet.values))
    )


def _in_class(words: str, value: float) -> bool:
    over = re.search(r"over (\d+)", words)
    up_to = re.search(r"(?:up to|at most) (\d+)", words)
    return (not over or value > float(over[1])) and (not up_to or value <= float(up_to[1]))


def _in(words: str, value: float) -> bool:
    ends = [float(each) for each in re.findall(r"\d+", words)]
    return ends[0] <= value <= ends[-1]


def _holds(range_: WithRange, truth: float, slack: float) -> bool:
    low, high = range_.low, range_.high
    return low is not None and high is not None and low - slack <= truth <= high + slack


def row(name: str, kind: Kind, runs: int) -> str:
    """One row of the table."""
    make, in_grid = WORLDS[name]
    explained, changes = 0, 0
    tallies: dict[str, list[bool]] = {
        key: [] for key in ("rule", "hours", "overload", "flagged", "refused", "silent")
    }
    for seed in range(runs):
        random = np.random.default_rng([seed, sorted(WORLDS).index(name)])
        rule, numbers = make(random)
        run = recorded(played(recorded_load(random), rule, numbers, random), kind)
        rates = asked_load(random)
        fit = fit_policy([run])
        load = asked(run, fit, rates)
        flagged = load is None or not FLAGS.isdisjoint(_warned(run, fit, load))
        tallies["flagged"].append(flagged)
        tallies["refused"].append(load is None)
        right = [True]
        if fit.rule is not None:
            matched = replay_rule(run, fit.rule).changes
            explained += sum(each.verdict == "matched" for each in matched)
            changes += len(matched)
            if in_grid:
                right.append(holds_rule(fit, numbers))
                tallies["rule"].append(right[-1])
        if load is not None:
            truth = played(rates, rule, numbers, None)
            hours = truth.webserver_hours
            right.append(_holds(load.webserver_hours, hours, 0.02 * hours))
            tallies["hours"].append(right[-1])
            right.append(_holds(load.overload_s, truth.overload_s, 5.0))
            tallies["overload"].append(right[-1])
        tallies["silent"].append(not all(right) and not flagged)
    shares = [_share(values) for values in tallies.values()]
    return f"| {name} | {kind} | {_percent(explained, changes)} | {' | '.join(shares)} |"


def _share(values: Sequence[bool]) -> str:
    return _percent(sum(values), len(values))


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "-"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--world", nargs="*", default=[*WORLDS], choices=[*WORLDS])
    parser.add_argument("--kind", nargs="*", default=["decisions", "counts"])
    args = parser.parse_args()
    print(
        "| real rule | recorded | explained | rule holds | hours | overload | flagged | refused "
        "| silent |\n|---|---|---|---|---|---|---|---|---|"
    )
    for kind in args.kind:
        for name in args.world:
            print(row(name, kind, args.runs), flush=True)


if __name__ == "__main__":
    main()
