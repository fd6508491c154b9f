"""How often is the verdict of `headroom compare` right on simulated environments?

    .venv/bin/python benchmarks/verdict_rates.py [--runs 60] [--comparisons 500] [--processes 2]

Carries out runs in virtual time of which every call costs 0, 5, 10 or 20 % more than in the
baseline's, and gives their records to what the command does with them: `runs` of each slowdown, and
twice as many of the baseline. Each comparison draws its runs anew from these. The gate is the
command's own: p95 latency of three stages of eight minutes, error rate, service demand of the mix.
Machines that differ from day to day are in `regression_rates.py`; here runs differ by chance alone.

A regression of runs that are 0 % slower is a false alarm. Calls that cost 5 % more wait for each
other longer: p95 latency gets worse by more than 5 %, so that is no false alarm at a margin of 5 %.
The growth of p95 is printed first.
"""

import argparse
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import known_environments as known
import numpy as np

from mwaa_headroom.analysis.comparison.compare import compare_runs
from mwaa_headroom.analysis.results import RunAnalysis
from mwaa_headroom.analysis.run import Run

SLOWDOWNS = (0.0, 0.05, 0.1, 0.2)
SETTINGS = ((5, 0.05), (8, 0.05), (5, 0.1), (8, 0.1))  # runs a side, margin
STAGE_S = 480
VERDICTS = ("regression", "inconclusive", "pass")
_SEEDS_APART = 1_000_000


def main() -> None:
    """Print a row for each number of runs and margin."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=60, help="of each slowdown")
    parser.add_argument("--comparisons", type=int, default=500)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    with ProcessPoolExecutor(options.processes) as pool:
        before = list(pool.map(partial(one_run, 0.0), _seeds(0, 2 * options.runs), chunksize=4))
        after = {
            slowdown: list(
                pool.map(partial(one_run, slowdown), _seeds(k, options.runs), chunksize=4)
            )
            for k, slowdown in enumerate(SLOWDOWNS, start=1)
        }
    for slowdown in SLOWDOWNS[1:]:
        print(f"{100 * slowdown:.0f} % dearer: {growth(before, after[slowdown])}")
    print("\n| runs | margin | slower by | regression | inconclusive | pass |")
    print("|---|---|---|---|---|---|")
    for a_side, margin in SETTINGS:
        for slowdown in SLOWDOWNS:
            random = np.random.default_rng([a_side, int(1000 * slowdown)])
            found: Counter[str] = Counter(
                compare_runs(
                    drawn(before, a_side, random),
                    drawn(after[slowdown], a_side, random),
                    margin=margin,
                ).verdict
                for _ in range(options.comparisons)
            )
            shares = " | ".join(
                f"{100 * found[verdict] / options.comparisons:.0f} %" for verdict in VERDICTS
            )
            setting = f"{a_side} + {a_side} | {100 * margin:.0f} % | {100 * slowdown:.0f} %"
            print(f"| {setting} | {shares} |", flush=True)


def one_run(slowdown: float, seed: int) -> RunAnalysis:
    """A run whose calls cost `slowdown` more, analysed."""
    record = known.gate(seed, slowdown=slowdown, stage_s=STAGE_S)
    return Run(record).analysis


def growth(before: list[RunAnalysis], after: list[RunAnalysis]) -> str:
    """How much slower the p95 latency of each stage is, by the medians of all runs."""
    medians = [
        np.median(
            [[stage.latency_s["p95"].value or 0.0 for stage in run.stages] for run in runs],
            axis=0,
        )
        for runs in (before, after)
    ]
    ratios = medians[1] / medians[0] - 1
    return "p95 latency " + ", ".join(f"{100 * ratio:+.0f} %" for ratio in ratios)


def drawn(runs: list[RunAnalysis], count: int, random: np.random.Generator) -> list[RunAnalysis]:
    """Some of the runs, none twice."""
    return [runs[index] for index in random.choice(len(runs), count, replace=False)]


def _seeds(side: int, count: int) -> range:
    return range(_SEEDS_APART * (side + 1), _SEEDS_APART * (side + 1) + count)


if __name__ == "__main__":
    main()
