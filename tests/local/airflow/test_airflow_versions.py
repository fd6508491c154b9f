"""Every version of Airflow that MWAA offers answers each operation, called by InvokeRestApi.

`make test` has 2.11.2 here, and runs of 3.3.1 elsewhere; `make test-versions` has all the others.
"""

import json
import time
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from mwaa_headroom.harness.local.handle import StandIn
from mwaa_headroom.harness.local.settings import AuthManager, LocalSettings
from mwaa_headroom.harness.traffic.operations import OPERATIONS, RestCall, Targets, build_call

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(600)]

other = pytest.mark.versions
PATIENCE_S = 60.0


class Caller:
    """Calls an environment by InvokeRestApi."""

    def __init__(self, environment: StandIn) -> None:
        ends = environment.endpoints
        make: Any = boto3.client
        self.name = ends.environment_name
        self.client = make(
            "mwaa",
            endpoint_url=ends.mwaa_url,
            region_name=ends.region,
            aws_access_key_id=ends.access_key_id,
            aws_secret_access_key=ends.secret_access_key,
            config=Config(inject_host_prefix=False, retries={"total_max_attempts": 1}),
        )

    def send(self, call: RestCall) -> Any:
        """What Airflow answers to a call, which must be good."""
        more = {"QueryParameters": call.query, "Body": call.body and json.dumps(call.body)}
        answer = self.client.invoke_rest_api(
            Name=self.name,
            Method=call.method,
            Path=call.path,
            **{name: value for name, value in more.items() if value is not None},
        )
        assert 200 <= answer["RestApiStatusCode"] < 300
        return answer["RestApiResponse"]

    def refusal(self, call: RestCall) -> int:
        """The status with which Airflow refuses a call."""
        with pytest.raises(self.client.exceptions.RestApiClientException) as caught:
            self.send(call)
        return int(caught.value.response["RestApiStatusCode"])


@pytest.mark.parametrize(
    ("version", "auth_manager"),
    [
        ("2.11.2", "fab"),
        pytest.param("3.3.1", "fab", marks=other),
        pytest.param("2.10.3", "fab", marks=other),
        pytest.param("3.0.6", "simple", marks=other),
        pytest.param("3.0.6", "fab", marks=other),
        pytest.param("3.2.1", "simple", marks=other),
        pytest.param("3.2.1", "fab", marks=other),
    ],
)
def test_every_operation_is_answered(
    tmp_path: Path, version: str, auth_manager: AuthManager
) -> None:
    settings = LocalSettings(
        airflow_version=version, auth_manager=auth_manager, min_webservers=1, max_webservers=1
    )
    with StandIn.start(settings, tmp_path / "environment", lambda _: None) as environment:
        caller = Caller(environment)
        runs = {"headroom_example": ("first",), "headroom_work": ("first",)}
        targets = Targets(version, "smoke", runs)
        for dag_id in runs:
            trigger = build_call("trigger_dag_run", {"dag_id": dag_id}, arrival=0, targets=targets)
            body = {**(trigger.body or {}), "dag_run_id": "first"}
            caller.send(RestCall("POST", trigger.path, body=body))
        caller.send(RestCall("POST", "/variables", body={"key": "headroom_variable", "value": "0"}))

        answers = {
            name: caller.send(build_call(name, {}, arrival=1, targets=targets))
            for name in OPERATIONS
        }

        assert answers["health"]["scheduler"]["status"] == "healthy"
        assert answers["list_dags"]["total_entries"] == 23
        assert answers["list_dag_runs"]["total_entries"] == 2
        assert answers["get_dag_run"]["dag_run_id"] == "first"
        assert answers["list_task_instances"]["total_entries"] == 2
        assert answers["pause_dag"]["is_paused"] is True
        assert answers["unpause_dag"]["is_paused"] is False
        assert answers["set_variable"]["value"] == "1".rjust(32, "0")
        assert caller.refusal(RestCall("GET", "/dags/no_such_dag")) == 404
        assert state_of_work(caller, targets) == "success"


def state_of_work(caller: Caller, targets: Targets) -> str:
    """How the run ended whose task is really executed."""
    call = build_call("get_dag_run", {"dag_id": "headroom_work"}, arrival=0, targets=targets)
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        state = str(caller.send(call)["state"])
        if state in ("success", "failed") or time.monotonic() > deadline_s:
            return state
        time.sleep(0.2)
