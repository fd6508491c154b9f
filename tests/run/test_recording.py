"""The manifest of a run: what the schema promises, and nothing unknown."""

import json
from typing import Any

import pytest

from mwaa_headroom.analysis.schema import RUN_STATUSES, SCHEMA_VERSION
from mwaa_headroom.harness.aws.environment import EnvironmentFacts
from mwaa_headroom.harness.run.recording import build_manifest
from mwaa_headroom.harness.scenario.load import check_scenario

SCENARIO = check_scenario(
    {
        "name": "x",
        "slo": ["rate(errors) < 1%"],
        "question": {"ask": "check"},
        "environment": {"kind": "simulated"},
        "traffic": {"mix": {"health": 1}},
        "stages": [{"rate_per_s": 4, "duration_s": 10}],
    },
    origin="x.toml",
)
FACTS = EnvironmentFacts(
    name="e",
    arn="arn:x",
    status="AVAILABLE",
    airflow_version="3.3.1",
    webserver_vcpu=None,
    clock_offset_s=0.25,
    recorded={"Status": "AVAILABLE"},
)


def manifest_of(status: str, **changes: Any) -> dict[str, Any]:
    given = {
        "run_id": "20261122T073000-x-ab12",
        "started_at_s": 1.0,
        "finished_at_s": 2.0,
        "scenario": SCENARIO,
        "scenario_file": "x.toml",
        "before": FACTS,
        "after": None,
        "facts": {"webserver_cpu": 1.0},
        "generator": {"workers": 2, "remote": 1},
        "tags": {"branch": "main"},
        "rows": {"requests": 3, "metrics": 4},
        "phases_s": {"load": 0.5},
    }
    return build_manifest(status=status, **given | changes)


def test_a_manifest_holds_what_the_schema_promises() -> None:
    manifest = manifest_of("finished")
    assert manifest["schema_version"] == SCHEMA_VERSION
    assert manifest["status"] in RUN_STATUSES
    assert manifest["versions"]["airflow"] == "3.3.1"
    assert set(manifest["versions"]) == {
        "airflow",
        "boto3",
        "botocore",
        "gevent",
        "geventhttpclient",
        "headroom",
        "locust",
        "numpy",
        "python",
    }
    assert manifest["host"]["memory_bytes"] > 1e8
    assert manifest["host"].keys() == {"cpus", "platform", "memory_bytes", "cpu_model", "machine"}
    assert manifest["generator"] == {"workers": 2, "remote": 1}
    assert manifest["clock_offset_s"] == 0.25
    assert manifest["phases_s"] == {"load": 0.5}
    assert manifest["environment"] == {
        "name": "e",
        "kind": "simulated",
        "arn": "arn:x",
        "before": {"Status": "AVAILABLE"},
        "after": None,
        "facts": {"webserver_cpu": 1.0},
    }
    assert json.loads(json.dumps(manifest)) == manifest
    assert manifest_of("finished", after=FACTS)["environment"]["after"] == {"Status": "AVAILABLE"}


def test_an_unknown_status_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown run status 'great'"):
        manifest_of("great")
