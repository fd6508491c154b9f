"""What the rest of Airflow goes through while the load goes on ends it, in time."""

import time
from collections.abc import Iterator

import pytest
from aws_imitation import Imitation, serving

from mwaa_headroom.harness.aws.clients import RestApi, make_clients
from mwaa_headroom.harness.aws.health_watch import ASK_EVERY_S, HealthWatch

PATH = "/monitor/health"


@pytest.fixture(scope="module")
def aws() -> Iterator[Imitation]:
    with serving(Imitation()) as aws:
        yield aws


@pytest.fixture(scope="module")
def api(aws: Imitation) -> RestApi:
    clients = make_clients(environment=aws.name, variables=aws.variables())
    return RestApi(clients, aws.name, rate_per_s=1000)


def reason_within(watch: HealthWatch, seconds: float) -> str | None:
    deadline_s = time.monotonic() + seconds
    while watch.reason_to_abort is None and time.monotonic() < deadline_s:
        time.sleep(0.005)
    return watch.reason_to_abort


def asked(aws: Imitation) -> None:
    """Return once it has been asked and answered twice more."""
    wanted = len(aws.airflow.calls) + 2
    deadline_s = time.monotonic() + 10
    while len(aws.airflow.calls) < wanted:
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def test_a_component_that_falls_ill_ends_the_load_and_one_that_was_ill_does_not(
    aws: Imitation, api: RestApi
) -> None:
    aws.airflow.unhealthy = {"triggerer"}
    components = ("scheduler", "triggerer")
    with HealthWatch(api, PATH, components, every_s=0.02) as watch:
        asked(aws)
        assert watch.reason_to_abort is None
        aws.airflow.unhealthy = {"triggerer", "dag_processor"}
        asked(aws)
        assert watch.reason_to_abort is None  # nobody asked after it
        aws.airflow.unhealthy = {"scheduler"}
        assert "its scheduler is unhealthy" in (reason_within(watch, 5) or "")


def test_no_answer_says_nothing_and_nobody_is_asked_without_a_wish(
    aws: Imitation, api: RestApi
) -> None:
    aws.airflow.unhealthy = set()
    with HealthWatch(api, PATH, ("scheduler",), every_s=0.02) as watch:
        asked(aws)
        aws.airflow.broken = (503, "no")
        asked(aws)
        aws.airflow.broken = None
        aws.private = True
        assert reason_within(watch, 0.1) is None
        aws.private = False
    before = len(aws.airflow.calls)
    with HealthWatch(api, PATH, (), every_s=0.02):
        time.sleep(0.1)
    assert len(aws.airflow.calls) <= before + 1  # of the first one, under way


def test_with_a_seconds_answer_it_is_known_within_five() -> None:
    assert ASK_EVERY_S + 1.0 <= 5.0
