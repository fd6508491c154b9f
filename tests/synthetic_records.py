"""Writes run directories of an imagined environment whose service demands are known exactly.

Each webserver is a first-come-first-served queue with `webserver_cpu` CPUs; calls go round robin.
CPU is booked to the periods in which the work is done. The documented rule scales out: CPU above
70 % in two periods on end adds one webserver.

Beyond that: several load processes that may be busy, stand still or be lost; a recovery phase after
the last stage, whose first seconds the webservers may hang; closed users; a client that retries.
"""

import heapq
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mwaa_headroom.analysis import schema

STARTED_AT_S = 1_790_000_000.0  # a multiple of 60
SERVICE_TIMEOUT_S = 10.0
CLIENT_OVERHEAD_S = 0.004
REPORT_EVERY_S = 5.0


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
    workers: int = 1
    generator_cpu: float = 0.2  # of one core, every load process
    generator_stalled: float = 0.0  # share of the time, in stalls of a fifth of a second
    last_worker_lost_at_s: float | None = None
    clock_moves_s: float = 0.0  # between the two measurements of each worker's clock
    missing_rows: int = 0
    counted: bool = True  # False: the master was killed before it compared arrivals with rows
    recovery_s: float = 0.0  # of light load after the last stage
    recovery_per_s: float = 4.0
    hang_s: float = 0.0  # after the last stage, no webserver answers anything
    users: tuple[int, ...] = ()  # one number a stage: a closed workload instead of the rates
    think_time_s: float = 1.0
    retries: str = "off"
    repeated_share: float = 0.0  # of the calls; half of the repeated triggers answer 409
    streams: bool = False  # True: as a killed run leaves it, Arrow IPC streams
    seed: int = 1

    @property
    def stages(self) -> int:
        return len(self.users or self.rates_per_s)

    @property
    def load_s(self) -> float:
        return self.stage_s * self.stages

    @property
    def duration_s(self) -> float:
        return self.load_s + self.recovery_s

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
    requests = _Client(run, cluster).send_all()
    cluster.advance_to(run.duration_s + 5 * run.period_s)
    metrics = cluster.metric_rows if run.with_metrics else []
    _write_table(directory, "requests", requests, schema.REQUESTS_SCHEMA, streams=run.streams)
    _write_table(directory, "metrics", metrics, schema.METRICS_SCHEMA, streams=run.streams)
    events = _events(run, cluster, requests)
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
        if self.run.load_s <= begin < self.run.load_s + self.run.hang_s:
            begin = self.run.load_s + self.run.hang_s
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
                "Minimum": chosen.min(),
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


class _Client:
    """Sends calls in the order of time and writes a row for each."""

    def __init__(self, run: SyntheticRun, cluster: _Cluster) -> None:
        self.run = run
        self.cluster = cluster
        self.random = np.random.default_rng(run.seed)
        self.names = list(run.mix)
        self.weights = np.array([run.mix[name] for name in self.names]) / sum(run.mix.values())
        self.in_turn = [name for name in self.names for _ in range(round(run.mix[name]))]
        self.rows: list[dict[str, Any]] = []
        self.tokens, self.filled_at_s = 20.0, 0.0

    def send_all(self) -> list[dict[str, Any]]:
        for stage, users in enumerate(self.run.users):
            self._closed(stage, users)
        if not self.run.users:
            for stage, rate in enumerate(self.run.rates_per_s):
                self._open(stage, rate, stage * self.run.stage_s, self.run.stage_s)
        if self.run.recovery_s:
            after = self.run.stages - 1
            number = schema.RECOVERY_ARRIVALS_FROM * (after + 1) - len(self.rows)
            begin_s = self.run.load_s
            self._open(-1 - after, self.run.recovery_per_s, begin_s, self.run.recovery_s, number)
        return self.rows

    def _open(
        self, stage: int, rate: float, begin_s: float, length_s: float, number_from: int = 0
    ) -> None:
        now_s = begin_s
        while (now_s := now_s + self.random.exponential(1 / rate)) < begin_s + length_s:
            self._call(stage, now_s, number_from)

    def _closed(self, stage: int, users: int) -> None:
        begin_s, end_s = stage * self.run.stage_s, (stage + 1) * self.run.stage_s
        think_s, lost_at_s = self.run.think_time_s, self.run.last_worker_lost_at_s
        here = self.run.workers - (lost_at_s is not None and lost_at_s < begin_s)
        due = [(begin_s + self.random.exponential(think_s), user) for user in range(users)]
        heapq.heapify(due)
        while due and due[0][0] < end_s:
            now_s, user = heapq.heappop(due)
            worker = user % here
            if lost_at_s is not None and worker == self.run.workers - 1 and now_s >= lost_at_s:
                continue  # nobody calls any more, and no row says so
            answered_s = self._call(stage, now_s, 0, worker)
            heapq.heappush(due, (answered_s + self.random.exponential(think_s), user))

    def _call(self, stage: int, now_s: float, number_from: int, worker: int | None = None) -> float:
        """One arrival, of the given worker or the one whose turn it is; returns when answered."""
        run = self.run
        name = (
            self.in_turn[len(self.rows) % len(self.in_turn)]
            if run.mix_in_turn
            else self.names[self.random.choice(len(self.names), p=self.weights)]
        )
        start_s = now_s + run.lag_s
        if run.throttle_per_s is not None:
            self.tokens = min(20.0, self.tokens + (start_s - self.filled_at_s) * run.throttle_per_s)
            self.filled_at_s = start_s
        worker = len(self.rows) % run.workers if worker is None else worker
        is_lost = (
            run.last_worker_lost_at_s is not None
            and worker == run.workers - 1
            and now_s >= run.last_worker_lost_at_s
        )
        if self.random.random() < run.unsent_share or is_lost:
            outcome, took_s = "unsent", 0.0
        elif run.throttle_per_s is not None and self.tokens < 1:
            outcome, took_s = "throttled", CLIENT_OVERHEAD_S
        else:
            self.tokens -= 1
            took_s = self.cluster.serve(start_s, run.demands_s[name]) - start_s + CLIENT_OVERHEAD_S
            outcome = "ok"
            if took_s > SERVICE_TIMEOUT_S:
                outcome, took_s = "service_timeout", SERVICE_TIMEOUT_S
            elif self.random.random() < run.airflow_error_share:
                outcome = "airflow_server_error"
        row = _row(run, number_from + len(self.rows), stage, name, now_s, took_s, outcome)
        row["worker"] = worker
        if is_lost:
            row["error_code"] = schema.WORKER_LOST
        self._repeat(row)
        self.rows.append(row)
        return start_s + took_s

    def _repeat(self, row: dict[str, Any]) -> None:
        if not self.run.repeated_share or row["outcome"] != "ok":
            return
        if self.random.random() >= self.run.repeated_share:
            return
        row["attempts"] = 2
        if row["operation"] == "trigger_dag_run" and self.random.random() < 0.5:
            row |= {"outcome": "airflow_client_error", "http_status": 400, "airflow_status": 409}


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


def _generator_events(run: SyntheticRun, rows: int) -> list[dict[str, Any]]:
    events = []
    lost_at_s = run.last_worker_lost_at_s
    for worker in range(run.workers):
        is_lost = lost_at_s is not None and worker == run.workers - 1
        until_s = lost_at_s if is_lost and lost_at_s is not None else run.duration_s
        if run.workers > 1:
            events.append(_event(-1.5, "worker_joined", worker=worker, cpus=2))
            for at_s, moved_s in ((-1.0, 0.0), (until_s, run.clock_moves_s)):
                offset = {"offset_s": 0.002 * worker + moved_s, "uncertainty_s": 0.0004}
                events.append(_event(at_s, "clock_offset", worker=worker, **offset))
        for at_s in np.arange(REPORT_EVERY_S, until_s + 0.1, REPORT_EVERY_S).tolist():
            stalled_s = run.generator_stalled * REPORT_EVERY_S
            figures = {
                "cpu_fraction": run.generator_cpu,
                "in_flight": 3,
                "stalled_s": stalled_s,
                "longest_stall_s": min(stalled_s, 0.2),
            }
            events.append(_event(at_s, "generator_load", worker=worker, **figures))
        if is_lost:
            reason = "nothing was heard of it for 5 s"
            events.append(_event(until_s + 5.0, "worker_lost", worker=worker, reason=reason))
    if run.counted:
        counts = {"arrivals": rows + run.missing_rows, "rows": rows}
        events.append(_event(run.duration_s + 2.0, "rows_checked", **counts))
    return [event | {"source": "generator"} for event in events]


def _recovery_events(run: SyntheticRun) -> list[dict[str, Any]]:
    if not run.recovery_s:
        return []
    stage = run.stages - 1
    events = [
        _event(run.load_s, "recovery_started", stage=stage, rate_per_s=run.recovery_per_s),
        _event(run.duration_s, "recovery_ended", stage=stage, recovered=False),
    ]
    return [event | {"source": "generator"} for event in events]


def _events(
    run: SyntheticRun, cluster: _Cluster, requests: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    events = [
        _event(-1.0, "expectation", source="harness", name=name, met=met, detail=f"{name} seen")
        for name, met in run.expectations
    ]
    events += _generator_events(run, len(requests))
    events += _recovery_events(run)
    for stage in range(run.stages):
        keys = {"stage": stage, "name": f"stage {stage + 1}"}
        begin_s = stage * run.stage_s
        events.append(_event(begin_s, "stage_started", source="generator", **keys))
        end_s = begin_s + run.stage_s
        events.append(_event(end_s, "stage_ended", source="generator", **keys))
        left = {"stage": stage, "in_flight_left": 0, "took_s": 0.0}
        events.append(_event(end_s, "drained", source="generator", **left))
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
            "arrivals": "closed" if run.users else "poisson",
            "think_time_s": run.think_time_s if run.users else None,
            "transport": "lean" if run.retries == "off" else "boto3",
            "retries": run.retries,
            "seed": run.seed,
            "mix": {
                label: {"operation": label, "weight": weight, "parameters": {}}
                for label, weight in run.mix.items()
            },
        },
        "stages": [
            {
                "name": f"stage {index + 1}",
                "ramp_to_rate_per_s": None,
                "duration_s": run.stage_s,
                "warmup_s": run.warmup_s,
            }
            | ({"users": load, "rate_per_s": None} if run.users else {"rate_per_s": load})
            for index, load in enumerate(run.users or run.rates_per_s)
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
