"""A long run that never was: the rows, metrics and events of a record, a second at a time.

Twelve stages of rising load in which the webservers are scaled out twice and the last two break
the SLO, each of these followed by a recovery phase. Six operations; 99.4 % of the arrivals end ok,
0.1 % are unsent, the rest is spread over the other outcomes. Rows come as four workers would send
them: by the end of their calls, a second's worth together.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mwaa_headroom.analysis.schema import RECOVERY_ARRIVALS_FROM, SCHEMA_VERSION

STARTED_AT_S = 1_790_000_000.0
STAGES = 12
WARMUP_S = 10.0
RECOVERY_S = 60.0
RECOVERY_PER_S = 200.0
WORKERS = 4
METRIC_PERIOD_S = 60.0
LOAD_PERIOD_S = 5.0

_OPERATION_S = {
    "trigger_dag_run": 0.12,
    "list_dags": 0.08,
    "list_dag_runs": 0.09,
    "dag_run_state": 0.05,
    "task_instances": 0.10,
    "health": 0.01,
}
_WEIGHTS = (0.2, 0.2, 0.15, 0.2, 0.15, 0.1)
_CODES: dict[str, tuple[int | None, int | None, str | None]] = {  # outer, Airflow's, error code
    "ok": (200, 200, None),
    "throttled": (429, None, "ThrottlingException"),
    "airflow_server_error": (400, 500, "RestApiServerException"),
    "airflow_client_error": (400, 409, "RestApiClientException"),
    "service_timeout": (500, None, "InternalServerException"),
    "connection_error": (None, None, "ConnectionClosedError"),
    "unsent": (None, None, None),
}
_SHARES = (0.994, 0.002, 0.0015, 0.0005, 0.0007, 0.0003, 0.001)
_SERVICE_TIMEOUT_S = 10.0
_TRIED_TWICE = 0.002


@dataclass(frozen=True, slots=True)
class Phase:
    """A stage or, with a stage below 0, a recovery phase."""

    stage: int
    start_s: float
    duration_s: float
    rate_per_s: float
    slowness: float  # factor on every latency
    webservers: int


def phases_of(rows: int) -> tuple[Phase, ...]:
    """Phases that together have about as many arrivals, at about 500 a second."""
    rates = np.linspace(200, 850, STAGES)
    in_recovery = 2 * RECOVERY_S * RECOVERY_PER_S
    stage_s = max((rows - in_recovery) / rates.sum(), 2 * WARMUP_S)
    found, now_s = [], STARTED_AT_S
    for stage, rate in enumerate(rates.tolist()):
        breaks = stage >= STAGES - 2
        webservers = 2 + min(stage // 4, 2)
        found.append(Phase(stage, now_s, stage_s, rate, 6.0 if breaks else 1.0, webservers))
        now_s += stage_s
        if breaks:
            found.append(Phase(-1 - stage, now_s, RECOVERY_S, RECOVERY_PER_S, 1.0, webservers))
            now_s += RECOVERY_S
    return tuple(found)


def row_blocks(rows: int) -> Iterator[list[tuple[Any, ...]]]:
    """The requests' rows, one list for each second of the run."""
    random = np.random.default_rng(1)
    for phase in phases_of(rows):
        first = max(phase.stage, 0) * 10**8
        if phase.stage < 0:
            first = -phase.stage * RECOVERY_ARRIVALS_FROM
        for second in range(int(phase.duration_s)):
            block = _block(phase, phase.start_s + second, first, random)
            first += len(block)
            yield block


def _block(
    phase: Phase, from_s: float, first: int, random: np.random.Generator
) -> list[tuple[Any, ...]]:
    count = int(random.poisson(phase.rate_per_s))
    names = list(_OPERATION_S)
    operation = random.choice(len(names), count, p=_WEIGHTS)
    outcome = random.choice(len(_CODES), count, p=_SHARES)
    intended_s = np.sort(from_s + random.random(count))
    lag_s = random.exponential(0.0004, count)
    usual_s = np.array(list(_OPERATION_S.values()))[operation] * phase.slowness
    took_s = np.minimum(usual_s * random.lognormal(0.0, 0.5, count), _SERVICE_TIMEOUT_S)
    size = random.integers(200, 4000, count)
    attempts = 1 + (random.random(count) < _TRIED_TWICE)
    words = list(_CODES)
    rows = []
    for n in np.argsort(intended_s + lag_s + took_s).tolist():
        word = words[outcome[n]]
        outer, inner, code = _CODES[word]
        sent = word != "unsent"
        rows.append(
            (
                first + n,
                phase.stage,
                names[operation[n]],
                float(intended_s[n]),
                float(lag_s[n]) if sent else None,
                float(took_s[n]) if sent else None,
                word,
                outer,
                inner,
                code,
                int(size[n]) if word == "ok" else None,
                int(attempts[n]) if sent else 0,
                (first + n) % WORKERS,
            )
        )
    return rows


def metric_rows(rows: int) -> Iterator[tuple[Any, ...]]:
    """The webservers' metrics, as Amazon CloudWatch has them: one period a minute."""
    random = np.random.default_rng(2)
    phases = phases_of(rows)
    for start_s in np.arange(phases[0].start_s, _end_s(phases), METRIC_PERIOD_S).tolist():
        phase = next(p for p in reversed(phases) if p.start_s <= start_s)
        cpu = min(95.0, 0.15 * phase.rate_per_s / phase.webservers * 2 + random.normal(0, 1))
        clusters = {"WebServer": 2, "AdditionalWebservers": phase.webservers - 2}
        for cluster, count in clusters.items():
            values = {
                "CPUUtilization": {"Average": cpu, "Maximum": cpu + 5.0, "SampleCount": count},
                "MemoryUtilization": {"Average": 40.0, "Maximum": 42.0, "SampleCount": count},
                "ActiveConnectionCount": {"Average": 8.0, "SampleCount": count},
            }
            for metric, statistics in values.items() if count else ():
                dimensions = json.dumps({"Cluster": cluster, "Environment": "imagined"})
                for statistic, value in statistics.items():
                    yield (
                        metric,
                        cluster,
                        dimensions,
                        statistic,
                        "Percent",
                        METRIC_PERIOD_S,
                        start_s,
                        float(value),
                        start_s + METRIC_PERIOD_S + 30.0,
                    )


def events(rows: int) -> Iterator[dict[str, Any]]:
    """What happened, in the order of time within each phase."""
    webservers = 2
    for phase in phases_of(rows):
        if phase.stage < 0:
            yield _event(
                phase.start_s, "recovery_started", stage=-1 - phase.stage, rate_per_s=RECOVERY_PER_S
            )
        else:
            yield _event(phase.start_s, "stage_started", stage=phase.stage, name="")
        if phase.webservers > webservers:
            decided_s = phase.start_s + 2.0
            yield _event(
                decided_s,
                "scaling_decision",
                source="environment",
                from_count=webservers,
                to_count=phase.webservers,
                reason="CPUUtilization above 70 in 2 of 2 periods",
            )
            yield _event(
                decided_s + 5.0, "webserver_ready", source="environment", webserver="webserver-3"
            )
            webservers = phase.webservers
        for since_s in np.arange(0.0, phase.duration_s, LOAD_PERIOD_S).tolist():
            for worker in range(WORKERS):
                yield _event(
                    phase.start_s + since_s,
                    "generator_load",
                    worker=worker,
                    cpu_fraction=0.4,
                    in_flight=20,
                    stalled_s=0.0,
                    longest_stall_s=0.0,
                )
        end_s = phase.start_s + phase.duration_s
        if phase.stage < 0:
            yield _event(end_s, "recovery_ended", stage=-1 - phase.stage, recovered=True)
        else:
            yield _event(end_s, "stage_ended", stage=phase.stage, name="")


def manifest(rows: int) -> dict[str, Any]:
    """The manifest of a finished run."""
    phases = phases_of(rows)
    mix = {
        label: {"operation": label, "weight": weight, "parameters": {}}
        for label, weight in zip(_OPERATION_S, _WEIGHTS, strict=True)
    }
    stages = [
        {
            "name": "",
            "rate_per_s": phase.rate_per_s,
            "ramp_to_rate_per_s": None,
            "duration_s": phase.duration_s,
            "warmup_s": WARMUP_S,
        }
        for phase in phases
        if phase.stage >= 0
    ]
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": "imagined",
        "status": "finished",
        "started_at_s": STARTED_AT_S - 2.0,
        "finished_at_s": _end_s(phases) + 2.0,
        "scenario": {
            "name": "imagined",
            "slo": [
                "p95(latency) < 800ms",
                "p99(latency) < 2s",
                "p95(latency{operation=list_dags}) < 500ms",
                "rate(errors) < 1%",
                "rate(goodput) > 95%",
            ],
            "question": {"ask": "capacity", "target_rate_per_s": 900.0, "utilisation_target": 0.7},
            "environment": {"kind": "simulated", "min_webservers": 2, "max_webservers": 4},
            "traffic": {
                "arrivals": "poisson",
                "seed": 1,
                "transport": "boto3",
                "retries": "standard",
                "mix": mix,
            },
            "stages": stages,
            "recovery": {"rate_per_s": RECOVERY_PER_S, "hold_s": 10.0, "longest_s": RECOVERY_S},
        },
        "environment": {
            "name": "imagined",
            "kind": "simulated",
            "before": {"AirflowVersion": "3.3.1", "MinWebservers": 2, "MaxWebservers": 4},
            "facts": {"webserver_cpu": 1.0, "cpu_limited": True},
        },
        "versions": {},
        "clock_offset_s": 0.0,
        "generator": {"workers": WORKERS, "remote": 0},
    }


def _end_s(phases: tuple[Phase, ...]) -> float:
    return phases[-1].start_s + phases[-1].duration_s


def _event(at_s: float, kind: str, *, source: str = "generator", **keys: Any) -> dict[str, Any]:
    return {"time_s": at_s, "kind": kind, "source": source, **keys}
