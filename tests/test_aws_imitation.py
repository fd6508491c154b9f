"""The imitation of AWS is what botocore and boto3 users meet, fault by fault."""

import http.client
import json
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any
from urllib.parse import urlencode, urlsplit

import boto3
import pytest
from airflow_imitation import Airflow
from aws_imitation import ACCOUNT, DAY_S, KEY, Imitation, Minute, serving
from botocore.config import Config
from botocore.exceptions import ClientError

PARTITIONS = {"us-east-1": "aws", "cn-north-1": "aws-cn", "us-gov-west-1": "aws-us-gov"}


@cache
def client(service: str, url: str, region: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=region,
        aws_access_key_id=KEY,
        aws_secret_access_key="imitated",
        config=Config(inject_host_prefix=False, retries={"total_max_attempts": 1}),
    )


@pytest.fixture(scope="module")
def served() -> Iterator[Imitation]:
    with serving(Imitation()) as aws:
        yield aws


@pytest.fixture
def aws(served: Imitation) -> Imitation:
    """As new, at the same address."""
    url = served.url
    served.__dict__.update(Imitation(url=url).__dict__)
    return served


def of(aws: Imitation, service: str) -> Any:
    return client(service, aws.url, aws.region)


def invoke(aws: Imitation, method: str, path: str, body: Any = None, **query: Any) -> Any:
    given = {"Name": aws.name, "Method": method, "Path": path, "QueryParameters": query}
    if body is not None:
        given["Body"] = body
    return of(aws, "mwaa").invoke_rest_api(**given).get("RestApiResponse")


@pytest.mark.parametrize("region", PARTITIONS)
def test_every_member_told_is_one_that_botocore_knows(region: str) -> None:
    with serving(Imitation(region=region)) as aws:
        told = of(aws, "mwaa").get_environment(Name=aws.name)["Environment"]
        assert of(aws, "mwaa").list_environments()["Environments"] == [aws.name]
        me = of(aws, "sts").get_caller_identity()
    assert set(told) == {*aws.environment, "WebserverUrl"}  # botocore drops what it does not know
    assert told["Arn"].split(":")[1:5] == [PARTITIONS[region], "airflow", region, ACCOUNT]
    assert (me["Account"], me["Arn"].split(":")[1]) == (ACCOUNT, PARTITIONS[region])


@pytest.mark.parametrize("version", ["2.10.3", "3.0.6", "3.3.1"])
def test_runs_are_triggered_listed_in_pages_and_deleted(aws: Imitation, version: str) -> None:
    aws.airflow = Airflow(version)
    for number in range(120):
        body = {"dag_run_id": f"r{number:03}", "logical_date": None}
        aws.airflow.answer("POST", "/dags/etl_daily/dagRuns", {}, body, "Op")
    newest = invoke(aws, "GET", "/dags/etl_daily/dagRuns", limit=500, order_by="-id")
    assert newest["total_entries"] == 120
    assert [run["dag_run_id"] for run in newest["dag_runs"]][::99] == ["r119", "r020"]
    assert invoke(aws, "DELETE", "/dags/etl_daily/dagRuns/r000") is None
    aws.airflow.runs["etl_daily"]["r001"]["state"] = "running"
    delete = {
        "action": "delete",
        "entities": ["r001", "r002", "x"],
        "action_on_non_existence": "fail",
    }
    if version < "3.3":
        with pytest.raises(ClientError) as refused:
            invoke(aws, "PATCH", "/dags/etl_daily/dagRuns", {"actions": [delete]})
        assert refused.value.response["RestApiStatusCode"] == 404
        return
    done = invoke(aws, "PATCH", "/dags/etl_daily/dagRuns", {"actions": [delete]})["delete"]
    assert done["success"] == ["etl_daily.r002"]
    assert [error["status_code"] for error in done["errors"]] == [409, 404]


def throttled(aws: Imitation) -> None:
    aws.throttle_per_s = 0


def expired(aws: Imitation) -> None:
    aws.expired.add(KEY)


def private(aws: Imitation) -> None:
    aws.private = True


def granted(aws: Imitation, resource: str) -> None:
    statement = {"Effect": "Allow", "Action": "airflow:InvokeRestApi", "Resource": resource}
    aws.policy = {"Version": "2012-10-17", "Statement": [statement]}


def wrong_resource(aws: Imitation) -> None:
    granted(aws, aws.arn)


def may_only_look(aws: Imitation) -> None:
    granted(aws, aws.arn.replace("environment/", "role/") + "/Viewer")


def too_old(aws: Imitation) -> None:
    aws.too_old = True


def another_clock(aws: Imitation) -> None:
    aws.clock_offset_s = 900


def broken(aws: Imitation) -> None:
    aws.airflow.broken = (503, "no database")


@pytest.mark.parametrize(
    ("fault", "status", "code", "words"),
    [
        (throttled, 429, "ThrottlingException", "Rate exceeded"),
        (expired, 403, "ExpiredTokenException", "expired"),
        (private, 403, "AccessDeniedException", "within a VPC"),
        (wrong_resource, 403, "AccessDeniedException", "No Airflow role granted in IAM."),
        (may_only_look, 400, "RestApiClientException", ""),
        (too_old, 400, "ValidationException", "Update your environment to use InvokeRestApi"),
        (another_clock, 403, "InvalidSignatureException", "Signature expired"),
        (broken, 400, "RestApiServerException", ""),
    ],
)
def test_each_fault_comes_as_it_does_from_aws(
    aws: Imitation, fault: Callable[[Imitation], None], status: int, code: str, words: str
) -> None:
    call = ("POST", "/dags/etl_daily/dagRuns", {"logical_date": None})
    assert invoke(aws, *call)["state"] == "queued"
    fault(aws)
    with pytest.raises(ClientError) as refused:
        invoke(aws, *call)
    answer = refused.value.response
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == status
    assert answer["Error"]["Code"] == code
    assert words in answer["Error"]["Message"]


def test_paths_over_64_characters_and_unknown_environments_are_refused(aws: Imitation) -> None:
    with pytest.raises(ClientError, match="less than or equal to 64"):
        invoke(aws, "GET", f"/dags/{'x' * 59}")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        of(aws, "mwaa").get_environment(Name="other")


def test_an_update_takes_its_time(aws: Imitation) -> None:
    aws.update_s = 0.05
    of(aws, "mwaa").update_environment(Name=aws.name, MinWebservers=3)
    assert aws.environment["Status"] == "UPDATING"
    deadline_s = time.monotonic() + 5
    while aws.environment["Status"] == "UPDATING" and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert (aws.environment["Status"], aws.environment["MinWebservers"]) == ("AVAILABLE", 3)


def test_the_policy_decides_also_what_is_simulated(aws: Imitation) -> None:
    granted(aws, aws.arn.replace("environment/", "role/") + "/*")
    with pytest.raises(ClientError, match=f"perform: airflow:GetEnvironment on .* {aws.arn}"):
        of(aws, "mwaa").get_environment(Name=aws.name)
    with pytest.raises(ClientError, match="AccessDenied"):
        of(aws, "cloudwatch").list_metrics()
    aws.policy["Statement"].append({"Effect": "Allow", "Action": "iam:*", "Resource": "*"})
    results = of(aws, "iam").simulate_principal_policy(
        PolicySourceArn=f"arn:aws:iam::{ACCOUNT}:role/Tester",
        ActionNames=["airflow:GetEnvironment", "airflow:InvokeRestApi"],
        ResourceArns=[aws.arn.replace("environment/", "role/") + "/Op"],
    )["EvaluationResults"]
    assert [each["EvalDecision"] for each in results] == ["implicitDeny", "allowed"]


def samples(aws: Imitation, name: str, stat: str, period: int, begin: float, **dims: str) -> Any:
    dimensions = [{"Name": key, "Value": value} for key, value in dims.items()]
    metric = {"Namespace": "AWS/MWAA", "MetricName": name, "Dimensions": dimensions}
    query = {"Id": "q", "MetricStat": {"Metric": metric, "Period": period, "Stat": stat}}
    (result,) = of(aws, "cloudwatch").get_metric_data(
        MetricDataQueries=[query], StartTime=begin, EndTime=time.time(), ScanBy="TimestampAscending"
    )["MetricDataResults"]
    return result["Values"]


def test_metrics_have_the_dimensions_ages_and_statistics_of_cloudwatch(aws: Imitation) -> None:
    now_s = time.time()
    aws.minute = lambda at: Minute(webservers=2 if at < now_s - 7200 else 4)
    listed = of(aws, "cloudwatch").list_metrics(Namespace="AWS/MWAA")["Metrics"]
    dims = {(m["MetricName"], *sorted(d["Name"] for d in m["Dimensions"])) for m in listed}
    assert ("ActiveConnectionCount", "Environment") in dims  # for all webservers together
    more = {"Cluster": "AdditionalWebserver", "Environment": aws.name}
    assert samples(aws, "CPUUtilization", "SampleCount", 60, now_s - 300, **more)[-1] == 2.0
    assert samples(aws, "CPUUtilization", "SampleCount", 300, now_s - 3600, **more)[1] == 10.0
    assert samples(aws, "CPUUtilization", "Average", 60, now_s - 16 * DAY_S, **more)[:1] == [20.0]
    only = {"Environment": aws.name}
    assert len(samples(aws, "ActiveConnectionCount", "Sum", 60, now_s - 600, **only)) in (9, 10)
    aws.metrics_late_s = 300
    assert len(samples(aws, "ActiveConnectionCount", "Sum", 60, now_s - 600, **only)) in (4, 5)
    aws.metrics_missing = {"ActiveConnectionCount"}
    assert samples(aws, "ActiveConnectionCount", "Sum", 60, now_s - 600, **only) == []


@pytest.mark.parametrize("version", ["2.10.3", "3.0.6"])
def test_a_web_login_token_opens_the_webserver_once(aws: Imitation, version: str) -> None:
    aws.airflow = Airflow(version)
    token = of(aws, "mwaa").create_web_login_token(Name=aws.name)
    path = "/aws_mwaa/login" if version < "3" else "/pluginsv2/aws_mwaa/login"
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    def ask(method: str, path: str, body: str = "", headers: dict[str, str] = form) -> Any:
        connection = http.client.HTTPConnection(urlsplit(aws.url).netloc, timeout=5)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        told = answer.status, answer.headers, answer.read()
        connection.close()
        return told

    body = urlencode({"token": token["WebToken"]})
    _, headers, _ = ask("POST", path, body)
    cookie = headers["Set-Cookie"].partition(";")[0]
    assert ask("POST", path, body)[0] == 401
    if version < "3":
        shown, dags = {"Cookie": cookie}, "/api/v1/dags"
    else:
        shown, dags = {"Authorization": f"Bearer {cookie.partition('=')[2]}"}, "/api/v2/dags"
    assert json.loads(ask("GET", dags, headers=shown)[2])["total_entries"] == 2
    assert ask("GET", dags)[0] == 401
    aws.login_redirects = True
    assert ask("POST", path, body)[1]["Location"] == f"{path}/"
