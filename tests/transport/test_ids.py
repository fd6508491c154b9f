"""Any id that Airflow accepts reaches it unchanged, whichever way a call goes."""

import json
from urllib.parse import unquote

import boto3
import pytest
from botocore.serialize import create_serializer
from hypothesis import assume, given
from hypothesis import strategies as st

from mwaa_headroom.harness.local.gateway.operations import read_invocation
from mwaa_headroom.harness.local.settings import GatewaySettings
from mwaa_headroom.harness.traffic.operations import (
    RestCall,
    Targets,
    build_call,
    can_be_addressed,
    check_parameters,
)
from mwaa_headroom.harness.transport.boto3_transport import request_members
from mwaa_headroom.harness.transport.lean import request_body
from mwaa_headroom.harness.transport.web_token import rest_target

MODEL = (
    boto3.Session(region_name="us-east-1")
    .client("mwaa", aws_access_key_id="x", aws_secret_access_key="x")
    .meta.service_model.operation_model("InvokeRestApi")
)

# [\w.-]{1,250} for DAGs (validate_key); for their runs whatever allowed_run_id_pattern lets pass.
DAG_IDS = st.from_regex(r"[\w.\-]{1,250}", fullmatch=True).filter(can_be_addressed)
RUN_IDS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc",)), min_size=1, max_size=250
)


def by_invoke_rest_api(body: bytes) -> str:
    limits = GatewaySettings(enforce_path_limit=False)
    return read_invocation(json.loads(body), prefix="/api/v2", settings=limits).target


def by_boto3(call: RestCall) -> bytes:
    serializer = create_serializer("rest-json", include_validation=False)
    request = serializer.serialize_to_request({"Name": "x", **request_members(call)}, MODEL)
    return request["body"]


@given(dag_id=DAG_IDS, run=RUN_IDS)
def test_any_id_that_airflow_accepts_reaches_it_unchanged(dag_id: str, run: str) -> None:
    assume(can_be_addressed(run))
    check_parameters("get_dag_run", {"dag_id": dag_id})
    targets = Targets("3.0.6", "r", {dag_id: (run,)})
    call = build_call("get_dag_run", {"dag_id": dag_id}, arrival=0, targets=targets)
    for target in (
        rest_target("/api/v2", call),
        by_invoke_rest_api(request_body(call)),
        by_invoke_rest_api(by_boto3(call)),
    ):
        assert [unquote(part) for part in target.split("/")] == [
            *("", "api", "v2", "dags", dag_id, "dagRuns", run)
        ]


@pytest.mark.parametrize("run", [".", "..", "a/..", "../x", "..\\x", "./.", "/.."])
def test_a_path_cannot_hold_what_leaves_its_folder(run: str) -> None:
    assert not can_be_addressed(run)


@pytest.mark.parametrize("run", ["...", "a.b", "..a", "a/b", "path/to/file", "%2e%2e", "v1..2"])
def test_other_dots_and_slashes_can_stand_in_a_path(run: str) -> None:
    assert can_be_addressed(run)


@pytest.mark.parametrize("dag_id", [".", "..", "", "a/b", "a b", "a\n", "x" * 251])
def test_a_dag_id_that_airflow_refuses_or_no_path_holds_is_refused(dag_id: str) -> None:
    with pytest.raises(ValueError, match="dag_id"):
        check_parameters("trigger_dag_run", {"dag_id": dag_id})


@pytest.mark.parametrize("dag_id", ["ordini_più", "数据", "a.b-c_d", "x" * 250, "-", "..."])
def test_a_dag_id_that_airflow_accepts_is_accepted(dag_id: str) -> None:
    check_parameters("trigger_dag_run", {"dag_id": dag_id})
