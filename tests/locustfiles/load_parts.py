"""Scenarios, rows and collaborators by hand, for tests of single parts of the load processes."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from mwaa_headroom.analysis.schema import EVENT_KINDS
from mwaa_headroom.harness.run.load_processes import GeneratorStatus
from mwaa_headroom.harness.scenario.load import check_scenario
from mwaa_headroom.harness.scenario.model import Scenario
from mwaa_headroom.harness.traffic.operations import Targets
from mwaa_headroom.harness.traffic.traces import Trace
from mwaa_headroom.harness.transport.opening import OpenTransport
from mwaa_headroom.harness.transport.outcome import CallResult, Transport
from mwaa_headroom.locustfiles.plan import Plan
from mwaa_headroom.locustfiles.senders import Job

OK = CallResult("ok", http_status=200, airflow_status=200, response_bytes=12)
DENIED = CallResult("denied", http_status=403, error_code="AccessDeniedException")
TARGETS = Targets("3.3.1", "by-hand", {})


def scenario_of(
    *stages: dict[str, Any],
    slo: Sequence[str] = ("p95(latency) < 1s",),
    recovery: dict[str, float] | None = None,
    traffic: dict[str, Any] | None = None,
    environment: dict[str, Any] | None = None,
    **limits: object,
) -> Scenario:
    """Stages of 10 calls/s for a second unless they say otherwise; no recovery phases."""
    is_paced = (traffic or {}).get("arrivals", "poisson") in ("poisson", "constant")
    usual = {"duration_s": 1.0} | ({"rate_per_s": 10.0} if is_paced else {})
    tree = {
        "name": "by hand",
        "slo": list(slo),
        "question": {"ask": "check"},
        "environment": {"kind": "simulated"} | (environment or {}),
        "traffic": {"seed": 7, "mix": {"health": 1}} | (traffic or {}),
        "stages": [usual | stage for stage in stages or ({},)],
        "recovery": recovery or {"longest_s": 0.0},
        "limits": {"max_rate_per_s": 5000, **limits},
    }
    return check_scenario(tree, origin="by hand")


def plan_by_hand(scenario: Scenario, traces: dict[int, Trace] | None = None) -> Plan:
    return Plan(scenario, scenario.environment.name, TARGETS, traces or {})


def transport_by_hand(send: Transport, *, longest_call_s: float = 5.0) -> OpenTransport:
    """As boto3's, it does not itself end calls that take too long."""
    return OpenTransport(send, "http://by-hand.invalid", longest_call_s, sees_to_it=False)


def job(arrival: int = 0, *, intended_s: float = 0.0, label: str = "health") -> Job:
    return Job(arrival, 0, label, intended_s)


class MemoryOutput:
    """An output that keeps everything."""

    def __init__(self) -> None:
        self.batches: list[pa.RecordBatch] = []
        self.events: list[dict[str, Any]] = []
        self.statuses: list[GeneratorStatus] = []
        self.has_reader = True
        self.closed = False
        self.rows = self.batches.append

    def event(self, kind: str, *, time_s: float, **fields: object) -> None:
        assert set(EVENT_KINDS[kind]) == set(fields), kind
        self.events.append({"kind": kind, "time_s": time_s, **fields})

    def status(self, status: GeneratorStatus) -> bool:
        self.statuses.append(status)
        return self.has_reader

    def close(self) -> None:
        assert not self.closed
        self.closed = True

    @property
    def all_rows(self) -> list[dict[str, Any]]:
        return [row for batch in self.batches for row in batch.to_pylist()]

    @property
    def kinds(self) -> list[str]:
        return [event["kind"] for event in self.events]

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["kind"] == kind]


class ManualClock:
    """A clock that is moved by hand."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s
