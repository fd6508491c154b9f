"""A whole run over real HTTP, through gateway, autoscaler and metrics, held against known truth."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from whole_runs import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SCENARIO = Path(__file__).parents[2] / "scenarios" / "known_truth.toml"
START_S = 4.0  # of the scenario: from a decision until the new webserver takes calls
RULE_S = (4.0, 12.0)  # five periods of 1 s past the threshold, the first begun before the step


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    directory = tmp_path_factory.mktemp("truth")
    variables = {**os.environ, "XDG_CACHE_HOME": str(directory / "cache")}
    answer = run("run", str(SCENARIO), "--json", cwd=directory, variables=variables)
    assert answer.returncode == 0, answer.stderr
    return dict(json.loads(answer.stdout))


def test_estimates_hold_the_truth(report: dict[str, Any]) -> None:
    told = {check["what"]: check for check in report["truth"]}
    assert {"service demand of the mix", "rate of one webserver"} <= set(told)
    assert "webservers for 58 calls/s" in told
    for what, check in told.items():
        # On this machine answering costs a little beyond the demand, so 15 % is let through.
        value = check["estimate"]["value"]
        near = value == pytest.approx(check["truth"], rel=0.15)
        assert check["within"] or near, f"{what}: {value} instead of {check['truth']}"


def test_the_scale_out_is_seen_as_it_was_set(report: dict[str, Any]) -> None:
    first = next(change for change in report["scaling"] if change["to_count"] == 3)
    assert first["from_count"] == 2
    assert first["load_step_s"] == pytest.approx(report["stages"][2]["started_at_s"], abs=0.01)
    assert RULE_S[0] <= first["decision_s"] - first["load_step_s"] <= RULE_S[1]
    assert first["ready_s"] - first["decision_s"] == pytest.approx(START_S, abs=1.0)
    assert first["count_changed_after_s"] <= first["ready_s"] + 0.5
    assert first["ready_s"] <= first["count_changed_s"] + 0.5


def test_the_limit_is_the_webservers_cpu(report: dict[str, Any]) -> None:
    capacity = report["capacity"]
    assert capacity["bottleneck"] == "webserver_cpu"
    assert capacity["stopped_by_stage"] == 3
    assert [stage["trial"] for stage in report["stages"]][-1] == "fail"
