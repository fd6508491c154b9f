"""Runs to size from: hand-made figures of one, and whole records of an imagined environment."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from synthetic_records import SyntheticRun, write_synthetic_run

from mwaa_headroom.analysis.findings import refusal
from mwaa_headroom.analysis.planning.classes import ClassPrice, Money, PriceTable
from mwaa_headroom.analysis.planning.runs import SizedRun
from mwaa_headroom.analysis.record import read_run
from mwaa_headroom.analysis.results import CapacityResult, RunAnalysis
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.analysis.statistics import Estimate

HALF_CPU = SyntheticRun(
    rates_per_s=(4.0, 8.0, 12.0, 16.0),
    webserver_cpu=0.5,
    demands_s={"trigger_dag_run": 0.08, "list_dags": 0.04, "health": 0.016},
    cpu_noise_percent=2.0,
)
TRUE_RATE_OF_ONE_PER_S = (0.7 * 1.0 - HALF_CPU.background_cpu) / HALF_CPU.mix_demand_s  # of 1 vCPU

PRICES = PriceTable(
    region="nowhere-1",
    as_of="2026-01-01",
    source="made up",
    currency="USD",
    classes={
        "mw1.small": ClassPrice(Money(0.5, 0.5), Money(0.02, 0.05), 2),
        "mw1.large": ClassPrice(Money(1.0, 1.0), Money(0.1, 0.1), 2),
        "mw1.xlarge": ClassPrice(Money(2.0, 2.0), None, 2),
    },
)


def estimate(value: float, error: float = 0.02) -> Estimate:
    """With an interval of so many standard errors' logarithm on either side."""
    width = float(np.exp(1.96 * error))
    return Estimate(value, value / width, value * width, n=40)


def figures(
    name: str, demand_s: float = 0.04, *, cpu: float = 1.0, error: float = 0.02
) -> SizedRun:
    """A run without background work, at 70 %."""
    return SizedRun(
        run_id=name,
        directory=f"runs/{name}",
        webserver_cpu=cpu,
        periods=40,
        demand_s=estimate(demand_s, error),
        background_cpu=Estimate(0.0, 0.0, 0.0, n=40),
        rate_of_one_per_s=estimate(0.7 * cpu / demand_s, error),
        capacity_per_s=None,
        capacity_webservers=None,
        bottleneck="",
    )


@cache
def recorded(seed: int = 1, **changes: object) -> RunAnalysis:
    """An analysed record of the imagined environment."""
    with TemporaryDirectory() as directory:
        place = Path(directory) / f"run-{seed}"
        write_synthetic_run(place, HALF_CPU, seed=seed, **changes)
        record = read_run(place)
    return Run(record).analysis


def recorded_runs(count: int) -> list[RunAnalysis]:
    """So many of them, with seeds from 1 on."""
    return [recorded(seed) for seed in range(1, count + 1)]


def with_capacity(
    runs: Sequence[RunAnalysis], rate_per_s: float, *, webservers: int, bottleneck: str
) -> list[RunAnalysis]:
    """The same runs, having found where the SLO breaks."""
    found = CapacityResult(
        highest_stage=0,
        highest_rate_per_s=rate_per_s,
        webservers=webservers,
        stopped_by_stage=1,
        bottleneck=bottleneck,
        explanation=refusal("capacity.no_stage"),
        rate_per_s=estimate(rate_per_s, 0.01),
        rate_webservers=webservers,
    )
    return [replace(run, capacity=found) for run in runs]
