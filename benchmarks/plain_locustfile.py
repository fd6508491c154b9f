"""Locust as most people use it, for comparison: `locust -f plain_locustfile.py PacedUser`.

At its end each run prints one JSON line with what Locust itself counted and reports.
"""

import json
from typing import Any, ClassVar

import boto3
import locust
from botocore.config import Config
from locust import FastHttpUser, User, constant_throughput, task

from mwaa_headroom.harness.traffic.operations import RestCall
from mwaa_headroom.harness.transport.lean import lean_transport
from mwaa_headroom.harness.transport.outcome import Transport

CALLS_PER_S_OF_A_PACED_USER = 2
MOST_USERS = 64
CALL = {"Method": "GET", "Path": "/dags", "QueryParameters": {"limit": 21}}
REST_CALL = RestCall("GET", "/dags", query={"limit": 21})
PERCENTILES = (50, 90, 95, 99)

events: Any = locust.events  # its annotations are incomplete


def print_statistics(environment: Any, **_: Any) -> None:
    """Locust's own numbers."""
    total = environment.stats.total
    found = {
        "sent": total.num_requests,
        "failed": total.num_failures,
        "percentiles_ms": [total.get_response_time_percentile(p / 100) for p in PERCENTILES],
    }
    print(json.dumps(found), flush=True)


events.quitting.add_listener(print_statistics)


class UnsignedUser(FastHttpUser):
    """As fast as Locust's fastest client goes: no signature, the answer is not looked at."""

    @task
    def call(self) -> None:
        """One call."""
        self.client.post("/restapi/lag", json=CALL, name="list_dags")


class PacedUser(UnsignedUser):
    """The same at a fixed rate, as far as the answers allow."""

    wait_time = constant_throughput(CALLS_PER_S_OF_A_PACED_USER)


class Boto3User(User):
    """boto3 in a Locust user: what one writes first."""

    # Shared by all users: it may be, and it is costly to make.
    mwaa: ClassVar[Any] = boto3.client(
        "mwaa",
        config=Config(
            retries={"total_max_attempts": 1},
            max_pool_connections=MOST_USERS,
            inject_host_prefix=False,
        ),
    )

    @task
    def call(self) -> None:
        """One call."""
        with self.environment.events.request.measure("InvokeRestApi", "list_dags"):
            self.mwaa.invoke_rest_api(Name="lag", **CALL)


class LeanUser(User):
    """The product's lean transport in a Locust user, and nothing else of the product."""

    send: ClassVar[Transport] = staticmethod(
        lean_transport(Boto3User.mwaa, "lag", call_timeout_s=15.0, max_in_flight=MOST_USERS)
    )

    @task
    def call(self) -> None:
        """One call."""
        with self.environment.events.request.measure("InvokeRestApi", "list_dags"):
            self.send(REST_CALL)
