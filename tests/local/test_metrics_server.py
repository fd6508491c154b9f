"""The CloudWatch server as its neighbours on the host meet it: a real process, real requests."""

import asyncio
import gzip
import http.client
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from mwaa_headroom.harness.local.metrics_server import Access, start_metrics_server
from mwaa_headroom.harness.local.processes import Children

READER, FEED = ("AKIAREADER", "reader's secret"), ("AKIAFEED", "feed's secret")
NAMESPACE = "AWS/MWAA"
NOW = datetime.now(UTC).replace(second=0, microsecond=0)
LIST_METRICS = {"Action": "ListMetrics", "Version": "2010-08-01"}
PUT = {
    "Action": "PutMetricData",
    "Version": "2010-08-01",
    "Namespace": NAMESPACE,
    "MetricData.member.1.MetricName": "CPUUtilization",
    "MetricData.member.1.Value": "99",
}


@dataclass(frozen=True, slots=True)
class Server:
    url: str
    folder: Path

    def client(self, key: tuple[str, str] = READER) -> Any:
        make: Any = boto3.client
        return make(
            "cloudwatch",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=key[0],
            aws_secret_access_key=key[1],
            config=Config(
                retries={"total_max_attempts": 1}, proxies={}, disable_request_compression=True
            ),
        )

    def status(
        self,
        form: dict[str, str],
        *,
        key: tuple[str, str] | None = READER,
        path: str = "/",
        packed: bool = False,
        service: str = "monitoring",
        headers: dict[str, str] | None = None,
    ) -> int:
        """The HTTP status of a form that a page or a program posts."""
        body = urlencode(form).encode()
        if packed:
            body, headers = gzip.compress(body), {"Content-Encoding": "gzip", **(headers or {})}
        request = AWSRequest(
            method="POST",
            url=self.url + path,
            headers={"Content-Type": "application/x-www-form-urlencoded", **(headers or {})},
            data=body,
        )
        if key is not None:
            SigV4Auth(Credentials(*key), service, "us-east-1").add_auth(request)
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=10)
        try:
            connection.request("POST", path, body, dict(request.headers.items()))
            return connection.getresponse().status
        finally:
            connection.close()

    def metrics(self) -> list[Any]:
        pages = self.client().get_paginator("list_metrics").paginate()
        return [metric for page in pages for metric in page["Metrics"]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("metrics")
    access = Access("us-east-1", max_clock_skew_s=300.0, reader=READER, feed=FEED)
    with Children(directory / "processes") as children:
        started = start_metrics_server(directory, children, access)
        server = Server(asyncio.run(started.wait_until_ready()), directory / "cloudwatch")
        server.client(FEED).put_metric_data(
            Namespace=NAMESPACE,
            MetricData=[
                {"MetricName": f"m{number}", "Value": 11.0, "Timestamp": NOW}
                for number in range(510)
            ],
        )
        yield server


@pytest.mark.slow
def test_boto3_reads_with_the_environments_key(server: Server) -> None:
    assert len(server.metrics()) == 510  # two pages
    window = {"StartTime": NOW, "EndTime": NOW + timedelta(minutes=1)}
    metric = {"Namespace": NAMESPACE, "MetricName": "m1", "Dimensions": []}
    query = {"Id": "q", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Average"}}
    pages = server.client().get_paginator("get_metric_data")
    results = [
        result
        for page in pages.paginate(MetricDataQueries=[query], **window)
        for result in page["MetricDataResults"]
    ]
    assert results[0]["Values"] == [11.0]
    points = server.client().get_metric_statistics(
        Namespace=NAMESPACE, MetricName="m1", Period=60, Statistics=["Average"], **window
    )["Datapoints"]
    assert [point["Average"] for point in points] == [11.0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "how"),
    [
        pytest.param(LIST_METRICS, {"key": None}, id="unsigned"),
        pytest.param(LIST_METRICS, {"key": (READER[0], "guessed")}, id="a wrong secret"),
        pytest.param(LIST_METRICS, {"key": ("AKIAOTHER", READER[1])}, id="an unknown key"),
        pytest.param(LIST_METRICS, {"headers": {"Host": "evil.example"}}, id="a foreign host"),
        pytest.param(LIST_METRICS, {"headers": {"Origin": "http://evil.example"}}, id="a page"),
        pytest.param(LIST_METRICS, {"headers": {"Origin": "null"}}, id="a sandboxed page"),
        pytest.param(
            LIST_METRICS, {"headers": {"Origin": "http://localhost:3000"}}, id="another local page"
        ),
        pytest.param(LIST_METRICS, {"key": FEED}, id="the feed reading"),
        pytest.param(PUT, {}, id="the user putting data"),
        pytest.param(
            {**PUT, "Action": "ListMetrics"}, {"path": "/?Action=PutMetricData"}, id="two actions"
        ),
        pytest.param(PUT, {"headers": {"X-Amz-Target": "Granite.ListMetrics"}}, id="two protocols"),
        pytest.param({**PUT, "Action": "PutMetricAlarm"}, {}, id="an alarm"),
        pytest.param(
            {"Action": "Subscribe", "Protocol": "http", "Endpoint": "http://127.0.0.1:9"},
            {"service": "sns"},
            id="SNS",
        ),
        pytest.param({"Action": "Subscribe", "Protocol": "http"}, {}, id="SNS as CloudWatch"),
        pytest.param({}, {"path": "/moto-api/reset", "key": None}, id="reset"),
        pytest.param({}, {"path": "/moto-api/reset"}, id="reset, signed"),
        pytest.param({}, {"path": "/moto-api/data.json"}, id="moto's data"),
        # As in public reports about other servers on loopback.
        pytest.param(PUT, {"packed": True}, id="a packed action"),
        pytest.param(
            PUT,
            {"packed": True, "headers": {"X-Amz-Target": "Granite.ListMetrics"}},
            id="a packed action behind another",
        ),
        pytest.param(
            LIST_METRICS,
            {"headers": {"Content-Type": "multipart/form-data; boundary=x"}},
            id="a body in parts",
        ),
        pytest.param(
            LIST_METRICS,
            {"key": None, "headers": {"Content-Type": "text/plain"}},
            id="a page's request without preflight",
        ),
        pytest.param(
            LIST_METRICS,
            {"headers": {"Host": "evil.example:1", "Origin": "http://evil.example:1"}},
            id="a name that was made to resolve to us",
        ),
        pytest.param(
            {}, {"path": "/?Action=ListMetrics", "key": None}, id="the address of a picture"
        ),
    ],
)
def test_nothing_else_is_answered(server: Server, form: dict[str, str], how: Any) -> None:
    assert server.status(LIST_METRICS) == 200  # that it is the request which is refused
    assert server.status(form, **how) == 403
    assert len(server.metrics()) == 510


@pytest.mark.slow
def test_refusals_are_what_clients_can_read(server: Server) -> None:
    with pytest.raises(ClientError) as caught:
        server.client().put_metric_data(Namespace=NAMESPACE, MetricData=[{"MetricName": "m"}])
    assert caught.value.response["Error"]["Code"] == "AccessDenied"
    with pytest.raises(ClientError) as caught:
        server.client((READER[0], "guessed")).list_metrics()
    assert caught.value.response["Error"]["Code"] == "InvalidSignatureException"


@pytest.mark.slow
def test_it_works_in_a_folder_of_its_own(server: Server) -> None:
    assert [path.name for path in server.folder.iterdir()] == ["port"]
