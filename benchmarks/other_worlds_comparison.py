"""What do `headroom compare` and `headroom history` say when runs are not as they assume?

    .venv/bin/python benchmarks/other_worlds_comparison.py [--times 500] [--part compare ...]

Imagines runs, six of each side, of which the truth is known: p95 latency of three stages, errors
and service demand of the mix, which `compare_runs` judges by a margin of 5 %. Nothing of the
analysis is used to make them. Equal runs differ by 3 % in their speed and by 1.5 % in each metric;
what else differs is the world's:

    drift        everything grows by 20 % over the session, or shrinks
    late drift   it grows by 20 % as the square of the time
    outliers     one run in ten takes 1.3 times as long
    two hosts    each run, by chance, on a host of 1.25 times the cost
    host changes all runs from a random one on are on that host
    AR(1)        a run's speed depends on that of the run before (correlation 0.3, 0.6)

"holds" is the share of all 95 % intervals of equal sides that hold the truth; "silent" the share of
comparisons of equal sides that call a regression, or of which the demand's interval does not hold
the truth, and in which nothing was said of time or hosts. "at 20 % slower" is the power.

History: 20 and 40 runs without any change, and with one of 10 % in the middle. Promises: how often
a change of exactly the size that "finds from" says of one metric makes the verdict a regression, in
other runs of the same kind; without turns, of all and of those in which no drift is found.
"""

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from other_worlds import WORLDS as WORLDS_OF_RUNS
from other_worlds import simulate

from mwaa_headroom.analysis.comparison.compare import Comparison, compare_runs
from mwaa_headroom.analysis.comparison.history import trace_history
from mwaa_headroom.analysis.results import RunAnalysis
from mwaa_headroom.analysis.statistics import Estimate

Floats = NDArray[np.float64]

MARGIN: Final = 0.05
SLOWER: Final = 0.2
GATED: Final = 3  # stages
OF_RUN: Final = 0.03
OF_METRIC: Final = 0.015
STEP_S: Final = 3600.0  # between the starts of runs
UNDECIDED: Final = ("comparison.drift", "comparison.others_drift")
SILENT: Final = ("comparison.same_airflow",)  # says nothing of time or hosts


@dataclass(frozen=True, slots=True)
class World:
    """What differs between runs; the defaults differ in nothing but chance."""

    drift: float = 0.0
    bend: float = 1.0  # 1: drift is linear in time
    outliers: float = 0.0  # share of the runs
    two_hosts: float = 0.0  # share of the runs
    host_changes: bool = False
    memory: float = 0.0  # correlation of neighbouring runs' speed


WORLDS: Final = {
    "as modelled": World(),
    "drift +20 %": World(drift=0.2),
    "drift -20 %": World(drift=-0.2),
    "late drift +20 %": World(drift=0.2, bend=2.0),
    "outliers": World(outliers=0.1),
    "two hosts": World(two_hosts=0.5),
    "host changes": World(host_changes=True),
    "AR(1) 0.3": World(memory=0.3),
    "AR(1) 0.6": World(memory=0.6),
}
ORDERS: Final = {
    "AABB": "AAAAAABBBBBB",
    "ABAB": "ABABABABABAB",
    "ABBA": "ABBAABBAABBA",
    "AAABBB twice": "AAABBBAAABBB",
}

PROMISES: Final = (
    ("as modelled", "AB" * 5),
    ("as modelled", "AB" * 6),
    ("as modelled", "AB" * 8),
    ("as modelled", "ABBA" * 3),
    ("drift +20 %", "AB" * 6),
    ("as modelled", "AAAAAABBBBBB"),
)


def _base() -> RunAnalysis:
    """One run of the independent simulator, with what the gate looks at alone."""
    found = simulate(WORLDS_OF_RUNS["as modelled"], "up", 0).run.analysis
    stages = tuple(
        replace(stage, latency_s={"p95": Estimate(0.2)}, service_time_s={}, met_slo=True)
        for stage in found.stages[:GATED]
    )
    assert found.demand is not None
    demand = replace(found.demand, mix_s=Estimate(0.05), per_operation_s={})
    counted = replace(found.generator, ok=True)
    return replace(found, stages=stages, demand=demand, capacity=None, generator=counted)


def speeds(world: World, count: int, random: np.random.Generator) -> Floats:
    """The factor of each run in the order of time and each metric, runs x metrics."""
    place = np.linspace(0.0, 1.0, count)
    own = [random.normal()]
    for noise in random.normal(size=count - 1):
        own.append(world.memory * own[-1] + np.sqrt(1 - world.memory**2) * noise)
    factor = np.exp(OF_RUN * np.array(own)) * (1 + world.drift * place**world.bend)
    factor = factor * np.where(random.random(count) < world.outliers, 1.3, 1.0)
    factor = factor * np.where(random.random(count) < world.two_hosts, 1.25, 1.0)
    if world.host_changes:
        factor = factor * np.where(np.arange(count) >= random.integers(2, count - 1), 1.25, 1.0)
    of_metric = np.exp(OF_METRIC * random.normal(size=(count, GATED + 1)))
    return np.asarray(factor[:, None] * of_metric)


def run_of(base: RunAnalysis, place: int, factors: Floats) -> RunAnalysis:
    """A copy of the base with other numbers and its place in time."""
    assert base.demand is not None
    mix_s = Estimate(0.05 * float(factors[-1]))
    return replace(
        base,
        run_id=f"run-{place:03d}",
        started_at_s=base.started_at_s + place * STEP_S,
        stages=tuple(
            replace(stage, latency_s={"p95": Estimate(0.2 * float(own))})
            for stage, own in zip(base.stages, factors, strict=False)
        ),
        demand=replace(base.demand, mix_s=mix_s, mix_of_plain_fit_s=None),
    )


def compared(base: RunAnalysis, order: str, factors: Floats, slower: float) -> Comparison:
    """What the command says of runs in this order of sides."""
    sides: dict[str, list[RunAnalysis]] = {"A": [], "B": []}
    for place, side in enumerate(order):
        own = factors[place] * (1 + slower if side == "B" else 1.0)
        sides[side].append(run_of(base, place, own))
    return compare_runs(sides["A"], sides["B"], margin=MARGIN)


def said(found: Comparison) -> set[str]:
    """Codes of what a reader is told of time and hosts, whatever the numbers are."""
    reasons = [each.reason.code for each in found.gate if each.reason]
    return {*reasons, *(note.code for note in found.notes)} - set(SILENT)


def comparison_row(base: RunAnalysis, name: str, order: str, times: int) -> str:
    """One row of the table."""
    verdicts, slower, codes = Counter[str](), Counter[str](), Counter[str]()
    held = intervals = silent = 0
    widths = []
    for seed in range(times):
        factors = speeds(WORLDS[name], len(ORDERS[order]), np.random.default_rng(seed))
        equal = compared(base, ORDERS[order], factors, 0.0)
        verdicts[equal.verdict] += 1
        slower[compared(base, ORDERS[order], factors, SLOWER).verdict] += 1
        codes.update(said(equal))
        missed = False
        for each in equal.gate:
            low, high = each.change.low, each.change.high
            if each.metric.is_share or low is None or high is None:
                continue
            held += low <= 1 <= high
            intervals += 1
            widths.append(high - low)
            missed = each.metric.unit == "s" and not low <= 1 <= high  # the last: demand
        silent += (missed or equal.verdict == "regression") and not said(equal)
    cells = [
        name,
        order,
        f"{100 * held / max(intervals, 1):.1f} %",
        f"{100 * float(np.median(widths)):.0f} %",
        *(_percent(verdicts[each], times) for each in ("regression", "pass", "inconclusive")),
        *(_percent(slower[each], times) for each in ("regression", "pass")),
        _percent(silent, times),
        ", ".join(f"{code.split('.')[1]} {_percent(n, times)}" for code, n in codes.most_common(3)),
    ]
    return f"| {' | '.join(cells)} |"


def history_row(base: RunAnalysis, memory: float, count: int, times: int) -> str:
    """How often a history without a change shows one, and one with a change its own."""
    alarms = found = 0
    for seed in range(times):
        factors = speeds(World(memory=memory), count, np.random.default_rng(seed))
        alarms += _changes(base, factors) > 0
        factors[count // 2 :] *= 1.1
        found += _changes(base, factors) > 0
    return f"| {memory:g} | {count} | {_percent(alarms, times)} | {_percent(found, times)} |"


def _changes(base: RunAnalysis, factors: Floats) -> int:
    runs = [run_of(base, place, own) for place, own in enumerate(factors)]
    return sum(len(metric.change_points) for metric in trace_history(runs).metrics)


def promise_row(base: RunAnalysis, name: str, order: str, times: int) -> str:
    """How often the change that "finds from" promises is found in other runs of the same kind."""
    found, undecided = 0, 0
    for seed in range(times):
        random = np.random.default_rng([seed, len(order)])
        first = compared(base, order, speeds(WORLDS[name], len(order), random), 0.0)
        promised = next(each for each in first.gate if each.metric.name.startswith("service"))
        assert promised.detectable is not None
        factors = speeds(WORLDS[name], len(order), random)
        own = np.ones(GATED + 1)
        own[-1] = promised.detectable
        sides: dict[str, list[RunAnalysis]] = {"A": [], "B": []}
        for place, side in enumerate(order):
            sides[side].append(run_of(base, place, factors[place] * (own if side == "B" else 1.0)))
        second = compare_runs(sides["A"], sides["B"], margin=MARGIN)
        found += second.verdict == "regression"
        reasons = {each.reason.code for each in second.gate if each.reason}
        undecided += not reasons.isdisjoint(UNDECIDED)
    cells = [
        name,
        order,
        _share(found, times),
        _percent(undecided, times),
        _share(found, times - undecided),
    ]
    return f"| {' | '.join(cells)} |"


def _share(part: int, whole: int) -> str:
    share = part / max(whole, 1)
    error = np.sqrt(share * (1 - share) / max(whole, 1))
    return f"{100 * share:.1f} % +- {196 * error:.1f}"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / max(whole, 1):.0f} %"


def _print_table(columns: Sequence[str], rows: Iterable[str]) -> None:
    print(f"\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for row in rows:
        print(row, flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=500)
    parts = ("compare", "history", "promise")
    parser.add_argument("--part", nargs="+", choices=parts, default=parts)
    options = parser.parse_args()
    base = _base()
    if "compare" in options.part:
        equal, slower = "equal: ", "at 20 % slower: "
        columns = ["world", "order", "holds", "width", f"{equal}regression", "pass"]
        columns += ["inconclusive", f"{slower}regression", "pass", "silent", "said"]
        _print_table(
            columns,
            (
                comparison_row(base, name, order, options.times)
                for name in WORLDS
                for order in ORDERS
            ),
        )
    if "history" in options.part:
        _print_table(
            ["correlation", "runs", "false alarms", "10 % found"],
            (
                history_row(base, memory, count, options.times)
                for memory in (0.0, 0.3, 0.6)
                for count in (20, 40)
            ),
        )
    if "promise" in options.part:
        _print_table(
            ["world", "order", "found", "drift found without turns", "of the others found"],
            (promise_row(base, name, order, options.times) for name, order in PROMISES),
        )


if __name__ == "__main__":
    main()
