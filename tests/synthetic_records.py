"""Writes run directories of an imagined environment whose service demands are known exactly.

Each webserver is a first-come-first-served queue with `webserver_cpu` CPUs; calls go round robin.
CPU is booked to the periods in which the work is done. The documented rule scales out: CPU above
70 % in two periods on end adds one webserver.
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.records import schema

STARTED_AT_S = 1_790_000_000.0  # a multiple of 60
SERVICE_TIMEOUT_S = 10.0
CLIENT_OVERHEAD_S = 0.004


@dataclass(frozen=True)
class SyntheticRun:
    """What to imagine. The defaults: 2 -> 3 webservers, and the last stage breaks the SLO."""

    rates_per_s: tuple[float, ...] = (4.0, 8.0, 12.0, 16.0, 24.0, 36.0)
    stage_s: float = 60.0
    warmup_s: float = 10.0
    demands_s: dict[str, float] = field(
        default_factory=lambda: {"trigger_dag_run": 0.04, "list_dags": 0.02, "health": 0.008}
    )
    mix: dict[str, float] = field(
        default_factory=lambda: {"trigger_dag_run": 1.0, "list_dags": 2.0, "health": 1.0}
    )
    mix_in_turn: bool = False  # True: operations in fixed order, so that demands are collinear
    slo: tuple[str, ...] = ("p95(latency) < 800ms", "rate(errors) < 1%")
    question: str = "capacity"
    target_rate_per_s: float | None = 20.0
    webserver_cpu: float = 0.25
    background_cpu: float = 0.01  # CPUs each webserver uses without calls
    min_webservers: int = 2
    max_webservers: int = 3
    webserver_start_s: float = 4.0
    period_s: float = 5.0
    cpu_noise_percent: float = 0.0
    with_metrics: bool = True
    with_environment_events: bool = True
    throttle_per_s: float | None = None
    airflow_error_share: float = 0.0
    unsent_share: float = 0.0
    lag_s: float = 0.001
    expectations: tuple[tuple[str, bool], ...] = ()
    status: str = "finished"
    streams: bool = False  # True: as a killed run leaves it, Arrow IPC streams
    seed: int = 1

    @property
    def duration_s(self) -> float:
        return self.stage_s * len(self.rates_per_s)

    @property
    def mix_demand_s(self) -> float:
        total = sum(self.mix.values())
        return sum(self.demands_s[name] * weight / total for name, weight in self.mix.items())


def write_synthetic_run(
    directory: Path, run: SyntheticRun | None = None, **changes: Any
) -> SyntheticRun:
    """Write the run directory `directory` (made if missing); return the truth behind it."""
    run = replace(run or SyntheticRun(), **changes)
    directory.mkdir(parents=True, exist_ok=True)
    cluster = _Cluster(run)
    requests = _requests(run, cluster)
    cluster.advance_to(run.duration_s + 5 * run.period_s)
    metrics = cluster.metric_rows if run.with_metrics else []
    _write_table(directory, "requests", requests, schema.REQUESTS_SCHEMA, streams=run.streams)
    _write_table(directory, "metrics", metrics, schema.METRICS_SCHEMA, streams=run.streams)
    events = _events(run, cluster)
    (directory / schema.EVENTS_FILE).write_text(
        "".join(json.dumps(event) + "\n" for event in events)
    )
    (directory / schema.MANIFEST_FILE).write_text(json.dumps(_manifest(run, directory), indent=2))
    return run


class _Cluster:
    """The webservers, their queues, the rule that adds one, and what is measured of them."""

    def __init__(self, run: SyntheticRun) -> None:
        self.run = run
        self.random = np.random.default_rng(run.seed + 1)
        self.free_at_s = [0.0] * run.min_webservers
        self.ready_at_s = [0.0] * run.min_webservers
        self.periods = int(run.duration_s / run.period_s) + 400
        self.busy_s = np.zeros((run.max_webservers, self.periods))
        self.in_flight_s = np.zeros((run.max_webservers, self.periods))
        self.measured = 0  # periods already turned into metrics
        self.hot_periods = 0
        self.turn = 0
        self.metric_rows: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []

    def serve(self, start_s: float, demand_s: float) -> float:
        """Take one call; return when its answer is complete."""
        self.advance_to(start_s)
        ready = [i for i, at in enumerate(self.ready_at_s) if at <= start_s]
        server = ready[self.turn % len(ready)]
        self.turn += 1
        begin = max(start_s, self.free_at_s[server])
        # Background work takes its share of the CPU all the time.
        end = begin + demand_s / (self.run.webserver_cpu - self.run.background_cpu)
        self.free_at_s[server] = end
        self._book(self.busy_s[server], begin, end, demand_s / (end - begin))
        self._book(self.in_flight_s[server], start_s, end, 1.0)
        return end

    def advance_to(self, now_s: float) -> None:
        while (self.measured + 1) * self.run.period_s <= now_s:
            self._measure(self.measured)
            self.measured += 1

    def _book(self, row: np.ndarray, begin: float, end: float, per_s: float) -> None:
        period_s = self.run.period_s
        for period in range(int(begin / period_s), min(int(end / period_s) + 1, self.periods)):
            overlap = min(end, (period + 1) * period_s) - max(begin, period * period_s)
            row[period] += max(overlap, 0.0) * per_s

    def _measure(self, period: int) -> None:
        run, period_s = self.run, self.run.period_s
        end_s = (period + 1) * period_s
        ready = [i for i, at in enumerate(self.ready_at_s) if at <= period * period_s]
        used = self.busy_s[ready, period] / period_s + run.background_cpu
        noise = self.random.normal(0, run.cpu_noise_percent, len(ready))
        cpu = np.clip(100 * used / run.webserver_cpu + noise, 0, 100)
        self._record("CPUUtilization", "Percent", period, ready, cpu)
        self._record("MemoryUtilization", "Percent", period, ready, np.full(len(ready), 40.0))
        connections = self.in_flight_s[ready, period] / period_s
        self._record("ActiveConnectionCount", "Count", period, ready, connections)
        self.hot_periods = self.hot_periods + 1 if cpu.mean() > 70 else 0
        starting = len(self.ready_at_s) > len(ready)
        if self.hot_periods >= 2 and not starting and len(self.ready_at_s) < run.max_webservers:
            self._scale_out(end_s)

    def _scale_out(self, now_s: float) -> None:
        count = len(self.ready_at_s)
        ready_s = now_s + self.run.webserver_start_s
        self.ready_at_s.append(ready_s)
        self.free_at_s.append(ready_s)
        self.hot_periods = 0
        name = f"webserver-{count + 1}"
        reason = "CPUUtilization above 70 in 2 of 2 periods"
        self.events += [
            _event(now_s, "scaling_decision", from_count=count, to_count=count + 1, reason=reason),
            _event(now_s, "webserver_starting", webserver=name),
            _event(ready_s, "webserver_ready", webserver=name),
        ]

    def _record(
        self, metric: str, unit: str, period: int, servers: list[int], values: np.ndarray
    ) -> None:
        """The first `min_webservers` are the cluster WebServer, all others the additional ones."""
        base = np.array(servers) < self.run.min_webservers
        for cluster, mine in (("WebServer", base), ("AdditionalWebservers", ~base)):
            chosen = values[mine]
            if not len(chosen):
                continue
            statistics = {
                "Average": chosen.mean(),
                "Maximum": chosen.max(),
                "SampleCount": len(chosen),
            }
            for statistic, value in statistics.items():
                self.metric_rows.append(
                    {
                        "metric": metric,
                        "cluster": cluster,
                        "dimensions": json.dumps({"Cluster": cluster, "Environment": "synthetic"}),
                        "statistic": statistic,
                        "unit": unit,
                        "period_s": self.run.period_s,
                        "period_start_s": STARTED_AT_S + period * self.run.period_s,
                        "value": float(value),
                        "read_at_s": STARTED_AT_S + (period + 1) * self.run.period_s + 1.0,
                    }
                )


def _requests(run: SyntheticRun, cluster: _Cluster) -> list[dict[str, Any]]:
    random = np.random.default_rng(run.seed)
    names = list(run.mix)
    weights = np.array([run.mix[name] for name in names]) / sum(run.mix.values())
    in_turn = [name for name in names for _ in range(round(run.mix[name]))]
    rows: list[dict[str, Any]] = []
    tokens, filled_at_s = 20.0, 0.0
    for stage, rate in enumerate(run.rates_per_s):
        now_s = stage * run.stage_s
        while (now_s := now_s + random.exponential(1 / rate)) < (stage + 1) * run.stage_s:
            name = (
                in_turn[len(rows) % len(in_turn)]
                if run.mix_in_turn
                else names[random.choice(len(names), p=weights)]
            )
            start_s = now_s + run.lag_s
            if run.throttle_per_s is not None:
                tokens = min(20.0, tokens + (start_s - filled_at_s) * run.throttle_per_s)
                filled_at_s = start_s
            if random.random() < run.unsent_share:
                outcome, took_s = "unsent", 0.0
            elif run.throttle_per_s is not None and tokens < 1:
                outcome, took_s = "throttled", CLIENT_OVERHEAD_S
            else:
                tokens -= 1
                took_s = cluster.serve(start_s, run.demands_s[name]) - start_s + CLIENT_OVERHEAD_S
                outcome = "ok"
                if took_s > SERVICE_TIMEOUT_S:
                    outcome, took_s = "service_timeout", SERVICE_TIMEOUT_S
                elif random.random() < run.airflow_error_share:
                    outcome = "airflow_server_error"
            rows.append(_row(run, len(rows), stage, name, now_s, took_s, outcome))
    return rows


def _row(
    run: SyntheticRun,
    arrival: int,
    stage: int,
    operation: str,
    intended_s: float,
    took_s: float,
    outcome: str,
) -> dict[str, Any]:
    sent = outcome != "unsent"
    statuses = {
        "ok": (200, 200),
        "airflow_server_error": (400, 500),
        "throttled": (429, None),
        "service_timeout": (500, None),
        "unsent": (None, None),
    }
    return {
        "arrival": arrival,
        "stage": stage,
        "operation": operation,
        "intended_start_s": STARTED_AT_S + intended_s,
        "lag_s": run.lag_s if sent else None,
        "service_time_s": took_s if sent else None,
        "outcome": outcome,
        "http_status": statuses[outcome][0],
        "airflow_status": statuses[outcome][1],
        "error_code": {"throttled": "ThrottlingException"}.get(outcome),
        "response_bytes": 512 if outcome == "ok" else None,
        "attempts": int(sent),
        "worker": 0,
    }


def _event(at_s: float, kind: str, *, source: str = "environment", **keys: Any) -> dict[str, Any]:
    return {"time_s": STARTED_AT_S + at_s, "kind": kind, "source": source, **keys}


def _events(run: SyntheticRun, cluster: _Cluster) -> list[dict[str, Any]]:
    events = [
        _event(-1.0, "expectation", source="harness", name=name, met=met, detail=f"{name} seen")
        for name, met in run.expectations
    ]
    for stage in range(len(run.rates_per_s)):
        keys = {"stage": stage, "name": f"stage {stage + 1}"}
        begin_s = stage * run.stage_s
        events.append(_event(begin_s, "stage_started", source="generator", **keys))
        events.append(_event(begin_s + run.stage_s, "stage_ended", source="generator", **keys))
    if run.with_environment_events:
        events += cluster.events
    return sorted(events, key=lambda event: event["time_s"])


def _manifest(run: SyntheticRun, directory: Path) -> dict[str, Any]:
    before = {
        "Name": "synthetic",
        "AirflowVersion": "3.3.1",
        "EnvironmentClass": "mw1.small",
        "MinWebservers": run.min_webservers,
        "MaxWebservers": run.max_webservers,
    }
    return {
        "schema_version": schema.SCHEMA_VERSION,
        "run_id": directory.name,
        "status": run.status,
        "started_at_s": STARTED_AT_S - 2.0,
        "finished_at_s": STARTED_AT_S + run.duration_s + 4.0,
        "scenario": _scenario(run),
        "environment": {
            "name": "synthetic",
            "kind": "simulated",
            "arn": "arn:aws:airflow:us-east-1:123456789012:environment/synthetic",
            "before": before,
            "after": before,
            "facts": {"webserver_cpu": run.webserver_cpu, "cpu_limited": True},
        },
        "versions": {"headroom": "0.1.0", "python": "3.11.7", "airflow": "3.3.1"},
        "clock_offset_s": 0.1,
    }


def _scenario(run: SyntheticRun) -> dict[str, Any]:
    return {
        "name": "synthetic",
        "description": "An imagined environment.",
        "slo": list(run.slo),
        "question": {
            "ask": run.question,
            "target_rate_per_s": run.target_rate_per_s,
            "utilisation_target": 0.7,
        },
        "environment": {
            "kind": "simulated",
            "min_webservers": run.min_webservers,
            "max_webservers": run.max_webservers,
        },
        "traffic": {
            "arrivals": "poisson",
            "seed": run.seed,
            "mix": {
                label: {"operation": label, "weight": weight, "parameters": {}}
                for label, weight in run.mix.items()
            },
        },
        "stages": [
            {
                "name": f"stage {index + 1}",
                "rate_per_s": rate,
                "ramp_to_rate_per_s": None,
                "duration_s": run.stage_s,
                "warmup_s": run.warmup_s,
            }
            for index, rate in enumerate(run.rates_per_s)
        ],
        "expect": {"healthy_components": [], "dags": []},
        "limits": {"max_rate_per_s": 500.0},
    }


def _write_table(
    directory: Path, stem: str, rows: list[dict[str, Any]], wanted: pa.Schema, *, streams: bool
) -> None:
    table = pa.Table.from_pylist(rows, schema=wanted)
    if not streams:
        pq.write_table(table, directory / f"{stem}.parquet")
        return
    with pa.ipc.new_stream(str(directory / f"{stem}.arrows"), wanted) as stream:
        for batch in table.to_batches(max_chunksize=200):
            stream.write_batch(batch)
