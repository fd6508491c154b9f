"""How often is the verdict of `headroom upgrade` right, with a look after every pair of runs?

    .venv/bin/python benchmarks/upgrade_rates.py [--experiments 1000] [--margin 0.1] [--pairs 6]

Imagines experiments of which the truth is known: pairs in randomised order as the command makes
them, ended as soon as its verdict is pass or regression. The gate: demand of the mix, two medians
of latency, errors. What makes equal runs differ:

    a run's own speed      log-normal, the same for demand and latencies (the column "spread")
    a metric's own         log-normal: demand 1 %, medians 3 %
    errors                 0.1 % of 1200 calls

and, one world a row, what the rule does not know of:

    normal    nothing else
    heavy     speeds by Student's t with 3 degrees of freedom, of that scale
    drift     each run is 1 % slower than the run before
    ar1       speeds follow each other, correlation 0.8 from run to run
    step      in the middle of the experiment the host becomes 15 % slower
    outlier   one run in 12 is 25 % slower

False alarms: "regression" where the contender is at most the margin slower. False comfort: "pass"
where it is the margin or more slower. `interval`: share of the 95 % intervals of demand, as they
were when the experiment ended, that hold the truth.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mwaa_headroom.analysis.comparison.metrics import ERROR_RATE, MIX_DEMAND, Metric
from mwaa_headroom.analysis.comparison.paired import (
    FEWEST_PAIRS,
    Looks,
    PairedSamples,
    compare_pairs,
)
from mwaa_headroom.analysis.comparison.regression import MetricComparison, overall
from mwaa_headroom.analysis.statistics import Estimate, Floats

MEDIANS = (Metric("p50, moderate", "s"), Metric("p50, busy", "s"))
CALLS = 1200
ERRORS = 0.001
OWN = {MIX_DEMAND: 0.01, MEDIANS[0]: 0.03, MEDIANS[1]: 0.03}
SPREADS = (0.02, 0.05)

World = Callable[[np.random.Generator, int, float], Floats]


def normal(random: np.random.Generator, runs: int, spread: float) -> Floats:
    """Logarithms of the runs' speeds."""
    return spread * random.standard_normal(runs)


def heavy(random: np.random.Generator, runs: int, spread: float) -> Floats:
    """The same, with tails."""
    return spread * random.standard_t(3, runs)


def drift(random: np.random.Generator, runs: int, spread: float) -> Floats:
    """The same, slower and slower."""
    return normal(random, runs, spread) + 0.01 * np.arange(runs)


def ar1(random: np.random.Generator, runs: int, spread: float) -> Floats:
    """The same, each like the one before."""
    speeds, innovation = normal(random, runs, spread), np.sqrt(1 - 0.8**2)
    for place in range(1, runs):
        speeds[place] = 0.8 * speeds[place - 1] + innovation * speeds[place]
    return speeds


def step(random: np.random.Generator, runs: int, spread: float) -> Floats:
    """The same, and slower from somewhere on."""
    return normal(random, runs, spread) + 0.15 * (np.arange(runs) >= random.integers(2, 8))


def outlier(random: np.random.Generator, runs: int, spread: float) -> Floats:
    """The same, with a few much slower runs."""
    return normal(random, runs, spread) + np.log(1.25) * (random.random(runs) < 1 / 12)


WORLDS: dict[str, World] = {
    each.__name__: each for each in (normal, heavy, drift, ar1, step, outlier)
}


@dataclass(frozen=True, slots=True)
class Ended:
    """How one experiment ended."""

    verdict: str
    pairs: int
    demand: MetricComparison


def experiment(
    random: np.random.Generator,
    world: World,
    spread: float,
    slower: float,
    *,
    pairs: int,
    margin: float,
) -> Ended:
    """One experiment, with the stopping of the command."""
    looks = Looks(min(FEWEST_PAIRS, pairs), pairs)
    speeds = world(random, 2 * pairs, spread)
    turned = [False] * pairs
    for block in range(0, pairs, 2):
        lot = bool(random.integers(2))
        turned[block : block + 2] = [lot, not lot][: pairs - block]
    values: dict[Metric, list[list[Estimate]]] = {
        metric: [[], []] for metric in (MIX_DEMAND, *MEDIANS, ERROR_RATE)
    }
    for pair in range(pairs):
        for side in (0, 1):
            speed = speeds[2 * pair + (side != turned[pair])] + side * np.log1p(slower)
            for metric, own in OWN.items():
                value = 0.03 * np.exp(speed + own * random.standard_normal())
                values[metric][side].append(Estimate(float(value)))
            values[ERROR_RATE][side].append(Estimate(random.binomial(CALLS, ERRORS) / CALLS))
        if pair + 1 < looks.first:
            continue
        samples = [
            PairedSamples(metric, tuple(sides[0]), tuple(sides[1]), (1.0,) * (pair + 1))
            for metric, sides in values.items()
        ]
        found = compare_pairs(samples, looks, margin=margin)
        if overall(found) != "inconclusive" or pair + 1 == pairs:
            break
    return Ended(overall(found), pair + 1, found[0])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", type=int, default=1000)
    parser.add_argument("--margin", type=float, default=0.1)
    parser.add_argument("--pairs", type=int, default=6)
    given = parser.parse_args()
    print(
        f"{given.experiments} experiments a row, margin {100 * given.margin:g} %, at most "
        f"{given.pairs} pairs\n"
    )
    print("| world | spread | slower | regression | pass | inconclusive | pairs | interval |")
    print("|---|---|---|---|---|---|---|---|")
    for name, world in WORLDS.items():
        for spread in SPREADS:
            for slower in (0.0, given.margin, 0.2, 0.3):
                random = np.random.default_rng(round(1000 * (slower + spread)))
                ended = [
                    experiment(
                        random, world, spread, slower, pairs=given.pairs, margin=given.margin
                    )
                    for _ in range(given.experiments)
                ]
                print(row(name, spread, slower, ended), flush=True)


def row(name: str, spread: float, slower: float, ended: list[Ended]) -> str:
    """One line of the table."""

    def percent(count: int) -> str:
        return f"{100 * count / len(ended):.1f} %"

    shares = [
        percent(sum(each.verdict == verdict for each in ended))
        for verdict in ("regression", "pass", "inconclusive")
    ]
    held = sum(
        (each.demand.change.low or 0) <= 1 + slower <= (each.demand.change.high or 0)
        for each in ended
    )
    pairs = sum(each.pairs for each in ended) / len(ended)
    cells = [name, f"{100 * spread:g} %", f"{100 * slower:g} %", *shares, f"{pairs:.1f}"]
    return f"| {' | '.join([*cells, percent(held)])} |"


if __name__ == "__main__":
    main()
