"""What tests of runs in virtual time share: small scenarios, and sums over their records."""

from typing import Any

import numpy as np

from mwaa_headroom.analysis.record import RunRecord
from mwaa_headroom.harness.scenario.load import check_scenario
from mwaa_headroom.harness.scenario.model import Scenario

STARTED_AT_S = 1_790_000_000.0  # a multiple of 60


def simulated(
    *,
    stages: list[dict[str, Any]] | None = None,
    mix: dict[str, float] | None = None,
    traffic: dict[str, Any] | None = None,
    limits: dict[str, Any] | None = None,
    recovery: dict[str, Any] | None = None,
    slo: tuple[str, ...] = ("rate(errors) < 1%",),
    expect: dict[str, Any] | None = None,
    **environment: Any,
) -> Scenario:
    """A check of 60 s at 10 calls/s, every call costing 50 ms of one webserver with one CPU."""
    fixed = {"kind": "simulated", "min_webservers": 1, "max_webservers": 1, "latency_s": 0.0}
    tree = {
        "name": "virtual test",
        "slo": list(slo),
        "question": {"ask": "check"},
        "environment": {**fixed, "demand_s": {"health": 0.05}, **environment},
        "traffic": {"mix": mix or {"health": 1.0}, **(traffic or {})},
        "stages": stages or [{"rate_per_s": 10, "duration_s": 60}],
        "recovery": recovery or {"longest_s": 0},
        "expect": expect or {},
        "limits": {"max_rate_per_s": 1000, "max_in_flight": 5000, **(limits or {})},
    }
    return check_scenario(tree, origin="the test")


def column(record: RunRecord, name: str) -> list[Any]:
    """A column of the requests."""
    return list(record.requests.column(name).to_pylist())


def cpu_seconds(record: RunRecord) -> float:
    """All CPU that the metrics have booked."""
    rows = [row for row in record.metrics.to_pylist() if row["metric"] == "CPUUtilization"]
    by_statistic = {
        (row["cluster"], row["period_start_s"], row["statistic"]): row["value"] for row in rows
    }
    webserver_cpu = record.manifest["environment"]["facts"]["webserver_cpu"]
    return sum(
        row["value"]
        / 100
        * by_statistic[row["cluster"], row["period_start_s"], "SampleCount"]
        * row["period_s"]
        * webserver_cpu
        for row in rows
        if row["statistic"] == "Average"
    )


def events_of(record: RunRecord, kind: str) -> list[dict[str, Any]]:
    """In the order of time."""
    return [event for event in record.events if event["kind"] == kind]


def mean_and_error(values: np.ndarray, batches: int = 50) -> tuple[float, float]:
    """The mean of values that depend on their neighbours, with its standard error (batch means)."""
    means = np.array([batch.mean() for batch in np.array_split(values, batches)])
    return float(values.mean()), float(means.std(ddof=1) / np.sqrt(batches))
