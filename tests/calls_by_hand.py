"""Calls, metric periods and settings by hand, for tests of single parts of the analysis."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from mwaa_headroom.analysis import schema
from mwaa_headroom.analysis.calls import Calls, calls_of
from mwaa_headroom.analysis.metric_periods import WebserverPeriod
from mwaa_headroom.analysis.setting import Setting, read_setting


def calls_by_hand(
    *,
    outcomes: Sequence[str],
    operations: Sequence[str] | str = "list_dags",
    starts_s: Sequence[float] | None = None,
    service_times_s: Sequence[float] | float = 0.1,
    lags_s: Sequence[float] | float = 0.0,
    stages: Sequence[int] | int = 0,
) -> Calls:
    """Calls of the given outcomes; starts are one second apart from 0 unless given."""
    count = len(outcomes)
    service_s = np.broadcast_to(np.asarray(service_times_s, dtype=float), count).tolist()
    lag_s = np.broadcast_to(np.asarray(lags_s, dtype=float), count).tolist()
    sent = [outcome != "unsent" for outcome in outcomes]
    columns = {
        "arrival": list(range(count)),
        "stage": np.broadcast_to(np.asarray(stages), count).tolist(),
        "operation": [operations] * count if isinstance(operations, str) else list(operations),
        "intended_start_s": list(starts_s) if starts_s is not None else list(range(count)),
        "lag_s": [value if was else None for value, was in zip(lag_s, sent, strict=True)],
        "service_time_s": [v if was else None for v, was in zip(service_s, sent, strict=True)],
        "outcome": list(outcomes),
        "http_status": [None] * count,
        "airflow_status": [None] * count,
        "error_code": [None] * count,
        "response_bytes": [None] * count,
        "attempts": [int(was) for was in sent],
        "worker": [0] * count,
    }
    return calls_of(pa.table(columns, schema=schema.REQUESTS_SCHEMA))


def periods_by_hand(
    *,
    webservers: Sequence[int | None],
    cpu_percent: Sequence[float | None] | float | None = 50.0,
    connections: Sequence[float | None] | float | None = None,
    period_s: float = 5.0,
) -> tuple[WebserverPeriod, ...]:
    """Periods on end from time 0."""
    count = len(webservers)

    def each(values: Sequence[float | None] | float | None) -> list[float | None]:
        return list(values) if isinstance(values, Sequence) else [values] * count

    return tuple(
        WebserverPeriod(
            start_s=index * period_s,
            period_s=period_s,
            webservers=webservers[index],
            cpu_percent=each(cpu_percent)[index],
            cpu_max_percent=each(cpu_percent)[index],
            memory_percent=None,
            connections=each(connections)[index],
        )
        for index in range(count)
    )


def setting_of(
    *stages: dict[str, Any],
    slo: tuple[str, ...] = (),
    facts: dict[str, Any] | None = None,
    **question: Any,
) -> Setting:
    """A setting of the given stages (1 call/s for 100 s unless they say otherwise)."""
    scenario = {
        "name": "by hand",
        "slo": list(slo),
        "question": {"ask": "check"} | question,
        "traffic": {"mix": {"list_dags": {"weight": 1}}},
        "stages": [{"rate_per_s": 1.0, "duration_s": 100.0} | stage for stage in stages],
    }
    return read_setting({"scenario": scenario, "environment": {"facts": facts or {}}})


def began(stage: int, at_s: float) -> dict[str, Any]:
    """The event of a stage's start."""
    return {"kind": "stage_started", "stage": stage, "time_s": at_s}


def ended(stage: int, at_s: float) -> dict[str, Any]:
    """The event of a stage's end."""
    return {"kind": "stage_ended", "stage": stage, "time_s": at_s}
