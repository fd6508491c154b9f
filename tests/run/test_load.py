"""What is shown while the load goes on, and how long it may go on."""

from typing import Any

import pytest

from mwaa_headroom.harness.aws.collector import LatestMetrics
from mwaa_headroom.harness.cli.progress import load_line
from mwaa_headroom.harness.run.load import load_status, longest_load_s, too_much_cpu
from mwaa_headroom.harness.run.load_processes import GeneratorStatus
from mwaa_headroom.harness.scenario.load import check_scenario
from mwaa_headroom.harness.scenario.model import Limits, Scenario


def scenario(traffic: dict[str, Any] | None = None, **changes: Any) -> Scenario:
    tree = {
        "name": "x",
        "slo": ["rate(errors) < 1%"],
        "question": {"ask": "check"},
        "environment": {"kind": "simulated"},
        "traffic": {"mix": {"health": 1}, **(traffic or {})},
        "stages": [
            {"name": "low", "rate_per_s": 4, "duration_s": 10},
            {"name": "high", "rate_per_s": 8, "duration_s": 20},
        ],
    }
    return check_scenario(tree | changes, origin="x.toml")


def status(stage: int, elapsed_s: float) -> GeneratorStatus:
    return GeneratorStatus(
        time_s=0.0,
        stage=stage,
        stage_name="from the generator",
        elapsed_s=elapsed_s,
        arrivals=9,
        sent=8,
        unsent=1,
        ok=5,
        errors=1,
        in_flight=2,
        rate_per_s=4.0,
        cpu_fraction=0.1,
    )


CLOSED = scenario(
    {"arrivals": "closed", "think_time_s": 10.0},
    stages=[{"name": "few", "users": 20, "duration_s": 10}],
)


@pytest.mark.parametrize(
    ("what", "stage", "elapsed_s", "line"),
    [
        (
            scenario(),
            0,
            4.0,
            "stage 1/2 low: 4 calls/s asked, 8 sent, 1 failed, 1 unsent, 2 in flight, "
            "3 webservers at 50 % CPU, 26 s to go",
        ),
        (
            scenario(recovery={"longest_s": 30, "rate_per_s": 2}),
            -1,
            4.0,
            "stage 1/2 recovery after low: 2 calls/s asked, 8 sent, 1 failed, 1 unsent, "
            "2 in flight, 3 webservers at 50 % CPU, 46 s to go",
        ),
        (
            scenario(),
            -2,
            70.0,  # it takes longer than it may
            "stage 2/2 recovery after high: 4 calls/s asked, 8 sent, 1 failed, 1 unsent, "
            "2 in flight, 3 webservers at 50 % CPU, 0 s to go",
        ),
        (
            CLOSED,
            0,
            4.0,
            "stage 1/1 few: 20 users, 8 sent, 1 failed, 1 unsent, 2 in flight, "
            "3 webservers at 50 % CPU, 6 s to go",
        ),
    ],
)
def test_the_line_under_load(what: Scenario, stage: int, elapsed_s: float, line: str) -> None:
    metrics = LatestMetrics(until_s=0.0, webservers=3, cpu_percent=50.0)
    assert load_line(load_status(status(stage, elapsed_s), stage, metrics, what)) == line


@pytest.mark.parametrize(
    ("what", "longest_s"),
    [
        (scenario(recovery={"longest_s": 0}), 30 + 2 * 25),
        (scenario(recovery={"longest_s": 60}), 30 + 2 * (25 + 60)),
        (CLOSED, 10 + 25),
    ],
)
def test_a_load_has_an_end(what: Scenario, longest_s: float) -> None:
    assert longest_load_s(what, drain_s=25.0) == longest_s


@pytest.mark.parametrize(
    ("limit", "cpu_percent", "ends"),
    [(80, 80.5, True), (80, 80.0, False), (80, None, False), (None, 100.0, False)],
)
def test_a_limit_of_the_webservers_cpu(
    limit: float | None, cpu_percent: float | None, ends: bool
) -> None:
    limits = Limits(abort_webserver_cpu=limit)
    latest = LatestMetrics(until_s=0.0, webservers=2, cpu_percent=cpu_percent)
    assert bool(too_much_cpu(limits, latest)) is ends
    assert too_much_cpu(limits, None) is None
