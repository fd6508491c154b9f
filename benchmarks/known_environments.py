"""Simulated environments of which the truth is known, for `coverage.py`.

All have webservers of a quarter of a CPU, calls whose CPU varies (log-normal, coefficient of
variation 0.7), and a little CPU used without calls. Loads are a random few percent off their round
figures in every run, and stages begin anywhere in a metric period, because nobody who runs a load
test knows better either.
"""

from typing import Any, Final

import numpy as np

from mwaa_headroom.analysis.record import RunRecord
from mwaa_headroom.harness.local.settings import SIMULATED_DEMANDS_S
from mwaa_headroom.harness.scenario.load import check_scenario
from mwaa_headroom.harness.virtual.run import run_virtually

CORES: Final = 0.25
BACKGROUND_CPU: Final = 0.01
UTILISATION: Final = 0.7
LATENCY_LIMIT_S: Final = 0.9
SLO: Final = f"p95(latency) < {LATENCY_LIMIT_S:g}s"
MIX: Final = {
    "health": 2.0,
    "list_dags": 2.0,
    "get_dag_run": 3.0,
    "list_dag_runs": 1.0,
    "list_task_instances": 1.0,
    "trigger_dag_run": 1.0,
}
MIX_DEMAND_S: Final = sum(weight * SIMULATED_DEMANDS_S[name] for name, weight in MIX.items()) / sum(
    MIX.values()
)
RATE_OF_ONE_PER_S: Final = (UTILISATION * CORES - BACKGROUND_CPU) / MIX_DEMAND_S
MOST_PER_S: Final = (CORES - BACKGROUND_CPU) / MIX_DEMAND_S  # of one webserver, at 100 % CPU

_EPOCH_S: Final = 1_790_000_000.0
_OFF: Final = 0.05  # how far loads may be off their round figures


def steps(seed: int) -> RunRecord:
    """Two webservers, five stages of a minute from a third to two thirds of their CPU; 5 s."""
    loads = (0.33, 0.42, 0.5, 0.58, 0.67)
    return _run(seed, _stages(seed, loads, webservers=2, duration_s=60, warmup_s=5), webservers=2)


def minutes(seed: int) -> RunRecord:
    """As on AWS: metrics once a minute, four stages of eight minutes."""
    stages = _stages(seed, (0.3, 0.42, 0.54, 0.66), webservers=2, duration_s=480, warmup_s=60)
    return _run(seed, stages, webservers=2, period_s=60)


def calibration(seed: int) -> RunRecord:
    """One webserver, one operation after another, at half of its CPU."""
    stages = [
        {
            "operation": name,
            "rate_per_s": 0.5 * CORES / SIMULATED_DEMANDS_S[name] * off,
            "duration_s": 60,
            "warmup_s": 5,
        }
        for name, off in zip(MIX, _random_factors(seed, len(MIX)), strict=True)
    ]
    quiet = {"operation": "health", "rate_per_s": 0.5, "duration_s": 60, "warmup_s": 5}
    return _run(seed, [quiet, *stages], webservers=1, ask="check")


def towards_the_limit(
    seed: int,
    loads: tuple[float, ...] = (0.55, 0.65, 0.72, 0.79, 0.86, 0.93),
    duration_s: float = 240,
) -> RunRecord:
    """Two webservers, stages of four minutes until their latency breaks the SLO."""
    stages = _stages(seed, loads, webservers=2, duration_s=duration_s, warmup_s=20)
    return _run(seed, stages, webservers=2)


def burst(seed: int) -> RunRecord:
    """From a third to nine tenths of two webservers' CPU; a third one takes 20 s, more or less."""
    stages = [
        {"rate_per_s": 2 * MOST_PER_S * load * off, "duration_s": duration_s}
        for load, off, duration_s in zip(
            (0.33, 0.9), _random_factors(seed, 2), (40, 80), strict=True
        )
    ]
    return _run(seed, stages, webservers=2, most=3, start_s=20.0, start_cv=0.3)


def gate(seed: int, *, slowdown: float = 0.0, stage_s: float = 40) -> RunRecord:
    """A run of a gate: three stages, every call `slowdown` dearer than it was."""
    rates = [2 * MOST_PER_S * load for load in (0.35, 0.45, 0.55)]  # a gate's load does not vary
    stages = [{"rate_per_s": rate, "duration_s": stage_s, "warmup_s": 5} for rate in rates]
    demands_s = {name: (1 + slowdown) * SIMULATED_DEMANDS_S[name] for name in MIX}
    version = "3.3.1" if slowdown == 0 else "3.3.2"
    return _run(seed, stages, webservers=2, demand_s=demands_s, airflow_version=version)


def _run(
    seed: int,
    stages: list[dict[str, Any]],
    *,
    webservers: int,
    most: int | None = None,
    period_s: int = 5,
    ask: str = "capacity",
    **environment: Any,
) -> RunRecord:
    simulated = {
        "kind": "simulated",
        "cores": CORES,
        "demand_cv": 0.7,
        "background_cpu": BACKGROUND_CPU,
        "min_webservers": webservers,
        "max_webservers": most or webservers,
        "metrics": {"period_s": period_s},
        **environment,
    }
    scenario = check_scenario(
        {
            "name": "known truth",
            "slo": [SLO, "rate(errors) < 1%"],
            "question": {"ask": ask, "utilisation_target": UTILISATION},
            "environment": simulated,
            "traffic": {"mix": dict(MIX)},
            "stages": stages,
            "recovery": {"longest_s": 0},
            "limits": {"max_rate_per_s": 1000, "max_in_flight": 5000},
        },
        origin="known_environments.py",
    )
    phase_s = np.random.default_rng([seed, 1]).uniform(0, period_s)
    return run_virtually(scenario, seed=seed, started_at_s=_EPOCH_S + phase_s)


def _stages(
    seed: int, loads: tuple[float, ...], *, webservers: int, duration_s: float, warmup_s: float
) -> list[dict[str, Any]]:
    (off,) = _random_factors(seed, 1)
    return [
        {
            "rate_per_s": webservers * MOST_PER_S * load * off,
            "duration_s": duration_s,
            "warmup_s": warmup_s,
        }
        for load in loads
    ]


def _random_factors(seed: int, count: int) -> tuple[float, ...]:
    return tuple(np.random.default_rng([seed, 2]).uniform(1 - _OFF, 1 + _OFF, count))
