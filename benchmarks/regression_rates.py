"""How often is the verdict of `headroom compare` right, and how often does its interval hold?

    .venv/bin/python benchmarks/regression_rates.py [--comparisons 1000]

Imagines runs of which the truth is known and gives their metrics to
`analysis.comparison.regression`, which decides as the command does, by a margin. The gate: p95
latency of three stages, error rate, service demand. What makes equal runs differ:

    a run's own speed      log-normal, the same for all its latencies and demands ("spread")
    a stage's own speed    log-normal, half of that
    the sample             p95 of 1200 calls with log-normal latencies (sigma 0.6), 0.2 % errors
    metering               1 % of the demand

A spread of 3 % is that of a machine of one's own, 10 % that of a shared one. `interval` is the
share of all 95 % intervals (every metric of every comparison) that contain the truth. A slowdown
up to the margin, included, is none: a regression found there is a false alarm.
"""

import argparse
from dataclasses import dataclass

import numpy as np

from mwaa_headroom.analysis.comparison.metrics import Metric
from mwaa_headroom.analysis.comparison.regression import MetricSamples, compare_gate, overall
from mwaa_headroom.analysis.statistics import Estimate, value_at_rank

SLOWDOWNS = (0.0, 0.05, 0.1, 0.2)
SETTINGS = (  # spread, runs a side, margin
    (0.03, 5, 0.05),
    (0.03, 8, 0.05),
    (0.03, 5, 0.10),
    (0.03, 8, 0.10),
    (0.10, 8, 0.10),
    (0.10, 16, 0.10),
)
STAGES = 3
CALLS = 1200
SIGMA = 0.6
ERRORS = 0.002
METERING = 0.01

GATE = (
    *(Metric(f"p95 latency, stage {index + 1}", "s") for index in range(STAGES)),
    Metric("errors", "fraction"),
    Metric("service demand", "s"),
)
VERDICTS = ("regression", "inconclusive", "pass")


@dataclass(frozen=True, slots=True)
class Rates:
    """Shares of many comparisons."""

    covered: float
    verdicts: dict[str, float]


def imagined_run(random: np.random.Generator, slowness: float, spread: float) -> list[float]:
    """The gate's metrics of one run, in the order of `GATE`."""
    speed = slowness * np.exp(random.normal(0, spread))
    latencies_s = [
        value_at_rank(
            0.1 * speed * np.exp(random.normal(0, spread / 2)) * random.lognormal(0, SIGMA, CALLS),
            95.0,
        )
        for _ in range(STAGES)
    ]
    errors = random.binomial(STAGES * CALLS, ERRORS) / (STAGES * CALLS)
    demand_s = 0.02 * speed * np.exp(random.normal(0, METERING))
    return [*latencies_s, errors, demand_s]


def compare_many(
    comparisons: int, slowdown: float, spread: float, runs: int, margin: float
) -> Rates:
    """What so many comparisons of `runs` against `runs` say."""
    random = np.random.default_rng(round(1000 * slowdown) + 7 * runs)
    verdicts = dict.fromkeys(VERDICTS, 0)
    covered = 0
    for _ in range(comparisons):
        sides = [
            [imagined_run(random, slowness, spread) for _ in range(runs)]
            for slowness in (1.0, 1 + slowdown)
        ]
        samples = [
            MetricSamples(metric, *(tuple(Estimate(run[i]) for run in side) for side in sides))
            for i, metric in enumerate(GATE)
        ]
        found = compare_gate(samples, margin=margin)
        verdicts[overall(found)] += 1
        for each in found:
            truth = 0.0 if each.metric.is_share else 1 + slowdown
            low, high = each.change.low, each.change.high
            covered += low is not None and high is not None and low <= truth <= high
    return Rates(
        covered / (comparisons * len(GATE)),
        {verdict: count / comparisons for verdict, count in verdicts.items()},
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--comparisons", type=int, default=1000)
    comparisons = parser.parse_args().comparisons
    print(f"{comparisons} comparisons a row, {len(GATE)} gate metrics\n")
    print("| spread | runs | margin | slowdown | interval | " + " | ".join(VERDICTS) + " |")
    print("|---|---|---|---|---|---|---|---|")
    for spread, runs, margin in SETTINGS:
        for slowdown in SLOWDOWNS:
            rates = compare_many(comparisons, slowdown, spread, runs, margin)
            shares = " | ".join(f"{100 * rates.verdicts[verdict]:.1f} %" for verdict in VERDICTS)
            print(
                f"| {100 * spread:g} % | {runs} + {runs} | {100 * margin:g} % | "
                f"{100 * slowdown:g} % | {100 * rates.covered:.1f} % | {shares} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
