"""What the parts of a call cost by themselves, in CPU microseconds; prints one JSON object.

`transport_cost.py --parts` starts it, because gevent must patch a process before anything else is
imported: `call_parts.py PORT REPEAT`, with a fast server on PORT. Every part in turn, then all of
them again; medians. Parts that wait for an answer run with ten calls in flight, as the whole does.
"""

# ruff: noqa: E402
from gevent import monkey

monkey.patch_all()

import json
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from geventhttpclient import HTTPClient
from locust.env import Environment
from loopback import cheap_scenario, variables

from mwaa_headroom.analysis.schema import REQUESTS_SCHEMA
from mwaa_headroom.harness.epoch_clock import EpochClock
from mwaa_headroom.harness.record.stream import StreamWriter
from mwaa_headroom.harness.traffic.operations import RestCall
from mwaa_headroom.harness.transport.http import HttpEndpoint
from mwaa_headroom.harness.transport.opening import open_transport
from mwaa_headroom.harness.transport.outcome import CallResult
from mwaa_headroom.harness.transport.signer import Signer
from mwaa_headroom.locustfiles.recorder import CallRecorder
from mwaa_headroom.locustfiles.senders import Job

IN_FLIGHT = 10
CALLS_OVER_HTTP = 3000
TIMES_ALONE = 20_000
ROWS_AT_ONCE = 256
PATH = "/restapi/lag"
CALL = RestCall("GET", "/dags", query={"limit": 21, "offset": 0})
BODY = b'{"Method": "GET", "Path": "/dags", "QueryParameters": {"limit": 21, "offset": 0}}'
HEADERS = b"content-type: application/json\r\nauthorization: %b\r\n" % (b"x" * 180)
RESULT = CallResult("ok", http_status=200, airflow_status=200, response_bytes=73)
Part = Callable[[], float]


def alone(work: Callable[[], object]) -> Part:
    """CPU of one time `work`, which waits for nothing."""

    def measure() -> float:
        began_s = time.process_time()
        for _ in range(TIMES_ALONE):
            work()
        return (time.process_time() - began_s) / TIMES_ALONE

    return measure


def in_flight(make_work: Callable[[], Callable[[], object]]) -> Part:
    """CPU of one time `work`, which waits for an answer, several of them at a time."""

    def user(times: int) -> None:
        work = make_work()
        work()  # connects
        ready.append(True)
        begin.wait()
        for _ in range(times):
            work()

    ready: list[bool] = []
    begin = gevent.event.Event()

    def measure() -> float:
        ready.clear()
        begin.clear()
        users = [gevent.spawn(user, CALLS_OVER_HTTP // IN_FLIGHT) for _ in range(IN_FLIGHT)]
        while len(ready) < IN_FLIGHT:
            gevent.sleep(0.001)
        began_s = time.process_time()
        begin.set()
        gevent.joinall(users, raise_error=True)
        return (time.process_time() - began_s) / CALLS_OVER_HTTP

    return measure


def signing_parts(host: str) -> dict[str, Part]:
    """One signature, by botocore and by the lean signer."""
    credentials = Credentials("benchmark", "benchmark")
    botocore_signer = SigV4Auth(credentials, "airflow", "us-east-1")
    lean_signer = Signer(host=host, path=PATH, region="us-east-1", service="airflow")
    keys = credentials.get_frozen_credentials()

    def by_botocore() -> None:
        request = AWSRequest("POST", f"http://{host}{PATH}", data=BODY)
        request.headers["Content-Type"] = "application/json"
        botocore_signer.add_auth(request)

    return {
        "signing, botocore": alone(by_botocore),
        "signing, lean": alone(lambda: lean_signer.headers(BODY, keys, time.time())),
    }


def http_parts(port: int) -> dict[str, Part]:
    """One request and its answer, nothing signed or understood."""
    endpoint = HttpEndpoint(f"http://127.0.0.1:{port}", connections=IN_FLIGHT, timeout_s=15.0)
    plain = {"Content-Type": "application/json"}

    def bare_socket() -> Callable[[], object]:
        sock = gevent.socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(gevent.socket.IPPROTO_TCP, gevent.socket.TCP_NODELAY, 1)
        request = b"POST %b HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b" % (
            PATH.encode(),
            HEADERS,
            len(BODY),
            BODY,
        )

        def work() -> None:
            sock.sendall(request)
            sock.recv(65536)

        return work

    def gevent_client() -> Callable[[], object]:
        client = HTTPClient("127.0.0.1", port, concurrency=1)
        return lambda: client.request("POST", PATH, body=BODY, headers=plain).read()

    return {
        "HTTP, bare gevent socket, nothing parsed": in_flight(bare_socket),
        "HTTP, geventhttpclient": in_flight(gevent_client),
        "HTTP, lean": in_flight(lambda: lambda: endpoint.send("POST", PATH, HEADERS, BODY)),
    }


def transport_parts(port: int) -> dict[str, Part]:
    """One call through each transport as the product opens it."""
    parts = {}
    for transport in ("boto3", "lean"):
        scenario = cheap_scenario(
            [{"rate_per_s": 1, "duration_s": 1}], traffic={"transport": transport}
        )
        opened = open_transport(scenario, "lag", "3.3.1", variables(port))
        parts[f"whole call, {transport}"] = in_flight(
            lambda send=opened.send: lambda: send(CALL)  # type: ignore[misc]
        )
    return parts


def accounting_parts(directory: Path) -> dict[str, Part]:
    """What happens to a result."""
    logging.getLogger().setLevel(logging.ERROR)  # the runner warns of the CPU that this takes
    environment: Any = Environment()
    environment.create_local_runner()  # its statistics listen to the event
    recorder = CallRecorder(EpochClock())
    job = Job(0, 0, "list_dags", 0.0)
    writer = StreamWriter(directory / "requests.arrows", REQUESTS_SCHEMA)

    def fire() -> None:
        environment.events.request.fire(
            request_type="InvokeRestApi",
            name="list_dags",
            response_time=20.0,
            response_length=73,
            exception=None,
            context={},
            start_time=0.0,
        )

    def row() -> None:
        recorder.arrived(job, True)
        recorder.sending()
        recorder.ended(job, 0.0, 0.02, RESULT)

    def written() -> None:
        row()
        if recorder.waiting_rows() >= ROWS_AT_ONCE:
            batch = recorder.take()
            if batch is not None:
                writer.write(batch)

    return {
        "Locust's request event": alone(fire),
        "row, on the measured path": alone(row),
        "row, on the measured path and on disk": alone(written),
    }


def main() -> None:
    """Measure and print."""
    port, repeat = int(sys.argv[1]), int(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        parts = {
            **signing_parts(f"127.0.0.1:{port}"),
            **http_parts(port),
            **transport_parts(port),
            **accounting_parts(Path(folder)),
        }
        taken_s: dict[str, list[float]] = {name: [] for name in parts}
        for _ in range(repeat):
            for name, measure in parts.items():
                taken_s[name].append(measure())
    print(json.dumps({name: 1e6 * statistics.median(all_s) for name, all_s in taken_s.items()}))


if __name__ == "__main__":
    main()
