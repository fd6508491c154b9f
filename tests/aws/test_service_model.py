"""What we rely on of the `mwaa` service model that botocore ships: a change of it must be seen."""

from typing import Any

import boto3
import pytest
from botocore.model import OperationModel, ServiceModel, Shape

from mwaa_headroom.analysis.mwaa import INVOKE_PATH_CHARACTERS
from mwaa_headroom.harness.aws.environment import _RECORDED


@pytest.fixture(scope="module")
def model() -> ServiceModel:
    client = boto3.client(
        "mwaa", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y"
    )
    return client.meta.service_model


def operation(model: ServiceModel, name: str) -> dict[str, Any]:
    one: OperationModel = model.operation_model(name)
    given, answered = one.input_shape, one.output_shape
    assert given is not None
    assert answered is not None
    return {
        "http": (one.http["method"], one.http["requestUri"]),
        "host": (one.endpoint or {}).get("hostPrefix"),
        "given": {name: kind(shape) for name, shape in given.members.items()},
        "required": sorted(given.required_members),
        "answered": {name: kind(shape) for name, shape in answered.members.items()},
        "errors": {shape.name: shape.metadata["error"] for shape in one.error_shapes},
    }


def kind(shape: Shape) -> str:
    return "document" if getattr(shape, "is_document_type", False) else str(shape.type_name)


BAD_REQUEST = {"httpStatusCode": 400, "senderFault": True}
ERRORS = {
    "AccessDeniedException": {"httpStatusCode": 403, "senderFault": True},
    "InternalServerException": {"httpStatusCode": 500},
    "ResourceNotFoundException": {"httpStatusCode": 404, "senderFault": True},
    "ValidationException": BAD_REQUEST,
}


def test_invoke_rest_api_is_as_we_send_it_and_read_it(model: ServiceModel) -> None:
    assert operation(model, "InvokeRestApi") == {
        "http": ("POST", "/restapi/{Name}"),
        "host": "env.",
        "given": {
            "Name": "string",
            "Path": "string",
            "Method": "string",
            "QueryParameters": "document",
            "Body": "document",
        },
        "required": ["Method", "Name", "Path"],
        "answered": {"RestApiStatusCode": "integer", "RestApiResponse": "document"},
        "errors": {
            **ERRORS,
            "RestApiClientException": BAD_REQUEST,
            "RestApiServerException": BAD_REQUEST,
        },
    }
    path = model.shape_for("RestApiPath")
    assert (path.metadata["min"], path.metadata["max"]) == (1, INVOKE_PATH_CHARACTERS)
    assert model.shape_for("RestApiMethod").enum == ["GET", "PUT", "POST", "PATCH", "DELETE"]


def test_errors_of_airflow_hold_its_status_and_answer(model: ServiceModel) -> None:
    for name in ("RestApiClientException", "RestApiServerException"):
        members = model.shape_for(name).members
        assert set(members) == {"RestApiStatusCode", "RestApiResponse"}


def test_a_login_token_comes_with_its_host(model: ServiceModel) -> None:
    token = operation(model, "CreateWebLoginToken")
    assert token["http"] == ("POST", "/webtoken/{Name}")
    assert token["host"] == "env."
    assert {"WebToken", "WebServerHostname"} <= set(token["answered"])
    assert token["errors"] == ERRORS


def test_an_environment_tells_what_we_record(model: ServiceModel) -> None:
    told = operation(model, "GetEnvironment")
    assert (told["http"], told["host"]) == (("GET", "/environments/{Name}"), "api.")
    members = model.shape_for("Environment").members
    assert set(_RECORDED) <= set(members)
    assert "WebserverUrl" in members
    assert not {"Webservers", "CurrentWebservers", "NumWebservers"} & set(members)  # else use it
    statuses = set(model.shape_for("EnvironmentStatus").enum)
    assert {"AVAILABLE", "UPDATING", "UPDATE_FAILED", "MAINTENANCE"} <= statuses


def test_the_service_is_signed_and_spoken_as_we_do(model: ServiceModel) -> None:
    named = ("protocol", "endpointPrefix", "signingName", "apiVersion", "signatureVersion")
    assert [model.metadata.get(name) for name in named] == [
        "rest-json",
        "airflow",
        "airflow",
        "2020-07-01",
        "v4",
    ]
