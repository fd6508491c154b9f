"""Runs to be compared: one imagined run, analysed, and copies of it with other numbers.

A copy's latencies and service demands are those of the original times a factor, so what a
comparison should say is known.
"""

import copy
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from spoilt_records import move
from synthetic_records import write_synthetic_run

from mwaa_headroom.analysis.identity import identity_of
from mwaa_headroom.analysis.record import RunRecord, read_run
from mwaa_headroom.analysis.results import RunAnalysis
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.analysis.statistics import Estimate

SPREAD = 0.02  # of the runs' own factors, on the logarithm
DAY_S = 86_400.0


@cache
def _original() -> tuple[RunRecord, RunAnalysis]:
    with TemporaryDirectory() as directory:
        write_synthetic_run(
            Path(directory) / "original",
            rates_per_s=(4.0, 8.0),
            question="check",
            max_webservers=2,
            cpu_noise_percent=1.0,
        )
        record = read_run(Path(directory) / "original")
    return record, Run(record).analysis


def imagined_manifest(**changes: Any) -> dict[str, Any]:
    """The original's manifest; "scenario__traffic__transport"="boto3" sets a nested key."""
    manifest = copy.deepcopy(_original()[0].manifest)
    for dotted, value in changes.items():
        *path, last = dotted.split("__")
        table = manifest
        for key in path:
            table = table.setdefault(key, {})
        table[last] = value
    return manifest


def imagined_run(
    name: str,
    *,
    factor: float = 1.0,
    day: float = 0.0,
    airflow: str = "3.2.1",
    manifest: dict[str, Any] | None = None,
    **changes: Any,
) -> RunAnalysis:
    """A copy of the original; `changes` are fields of `RunAnalysis`."""
    record, analysis = _original()
    given = imagined_manifest() if manifest is None else manifest
    given = {**given, "versions": {**given["versions"], "airflow": airflow}}
    stages = tuple(
        replace(
            stage,
            latency_s={k: _times(e, factor) for k, e in stage.latency_s.items()},
            service_time_s={k: _times(e, factor) for k, e in stage.service_time_s.items()},
        )
        for stage in analysis.stages
    )
    assert analysis.demand is not None
    demand = replace(
        analysis.demand,
        mix_s=_times(analysis.demand.mix_s, factor),
        mix_of_plain_fit_s=None,  # so the mix's is compared
        per_operation_s={k: _times(e, factor) for k, e in analysis.demand.per_operation_s.items()},
    )
    run = replace(
        analysis,
        run_id=name,
        directory=f"runs/{name}",
        started_at_s=analysis.started_at_s + day * DAY_S,
        environment={**analysis.environment, "airflow_version": airflow},
        stages=stages,
        demand=demand,
    )
    return replace(run, identity=identity_of(replace(record, manifest=given)), **changes)


def imagined_runs(
    name: str, count: int, *, factor: float = 1.0, airflow: str = "3.2.1", first_day: float = 0.0
) -> list[RunAnalysis]:
    """So many copies, each a little different; the same name gives the same ones."""
    random = np.random.default_rng(sum(map(ord, name)))
    return [
        imagined_run(
            f"{name}-{index:02d}",
            factor=factor * float(np.exp(random.normal(0, SPREAD))),
            day=first_day + 2 * index,
            airflow=airflow,
        )
        for index in range(count)
    ]


def write_imagined_run(
    directory: Path, *, seed: int, slowness: float = 1.0, airflow: str = "3.2.1", day: float = 0.0
) -> Path:
    """A whole record whose demands are `slowness` times the usual ones."""
    usual_s = {"trigger_dag_run": 0.04, "list_dags": 0.02, "health": 0.008}
    write_synthetic_run(
        directory,
        rates_per_s=(4.0, 6.0),
        stage_s=40.0,
        question="check",
        max_webservers=2,
        demands_s={name: slowness * demand_s for name, demand_s in usual_s.items()},
        seed=seed,
    )
    path = directory / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["versions"]["airflow"] = airflow
    for answer in ("before", "after"):
        manifest["environment"][answer]["AirflowVersion"] = airflow
    path.write_text(json.dumps(manifest))
    move(directory, day * DAY_S)
    return directory


def _times(estimate: Estimate, factor: float) -> Estimate:
    value, low, high = (
        None if v is None else v * factor for v in (estimate.value, estimate.low, estimate.high)
    )
    return replace(estimate, value=value, low=low, high=high)
