"""`headroom upgrade` in virtual time: what is printed and written, wrong usage, and a kill."""

import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from json_outputs import checked

from mwaa_headroom.harness.cli.main import app
from mwaa_headroom.harness.errors import HeadroomError

SCENARIO = """
slo = ["p95(latency) < 2s", "rate(errors) < 1%"]
question = { ask = "check", target_rate_per_s = 90 }
environment = { kind = "simulated", name = "up", min_webservers = 1, max_webservers = 1 }
stages = [{ rate_per_s = 5, duration_s = 60 }]
limits.max_rate_per_s = 60
traffic.mix = { health = 2, list_dags = 2 }
[upgrade.contender.environment.demand_s]
list_dags = 0.06
"""
SIDES = ("baseline", "contender")
HEADROOM = Path(sys.executable).with_name("headroom")


def headroom(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)], standalone_mode=False)


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("upgrade") / "up.toml"
    path.write_text(SCENARIO, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def experiment(scenario: Path) -> tuple[Path, Result]:
    runs = scenario.parent / "runs"
    result = headroom(
        "upgrade", scenario, "--virtual-time", "--from", "3.2.1", "--to", "3.3.1", "--runs", runs
    )
    (directory,) = runs.iterdir()
    return directory, result


def test_the_answer_is_the_verdict_then_what_to_act_on(experiment: tuple[Path, Result]) -> None:
    _, result = experiment
    lines = result.stdout.splitlines()

    assert result.return_value == 4
    assert lines[0] == "Upgrade"
    assert lines[1].startswith("Regression: ")
    assert "  Airflow 3.2.1 (baseline) to 3.3.1 (contender), 4 pairs of runs" in lines[2:4]
    titles = [line for line in lines if line and not line.startswith(" ")]
    assert titles[titles.index("Gate") :][:4] == [
        "Gate",
        "Each operation, sent alone",
        "Webservers for the same load",
        "Memory, database and host",
    ]
    assert "pair of at most 6" in result.stderr


def test_files_of_the_answer_lie_beside_the_runs(experiment: tuple[Path, Result]) -> None:
    directory, result = experiment

    assert result.stdout.splitlines()[-1] == f"Report: {directory / 'upgrade.html'}"
    answer = json.loads((directory / "upgrade.json").read_text(encoding="utf-8"))
    assert answer["comparison"]["verdict"] == "regression"
    gate = {each["metric"]["name"]: each for each in answer["comparison"]["gate"]}
    assert gate["service demand of the mix"]["verdict"] == "regression"
    assert "p50 latency, mix, busy" in " ".join(gate)  # by its name, not by its number
    list_dags = answer["operations"][1]["demand"]
    assert list_dags["baseline"]["value"] == pytest.approx(0.030, rel=0.02)
    assert list_dags["verdict"] == "worse"
    needed = answer["webservers"][0]
    assert (needed["rate_per_s"], needed["baseline"], needed["contender"]) == (90.0, 3, 5)
    assert [each["operation"] for each in answer["operations"]] == ["health", "list_dags"]
    cases = ET.parse(directory / "junit.xml").getroot().iter("testcase")  # noqa: S314 - our own
    failed = {case.get("name") for case in cases if case.find("failure") is not None}
    assert "verdict" in failed
    assert "Regression" in (directory / "summary.md").read_text(encoding="utf-8")


def test_a_finished_experiment_answers_again_without_a_run(experiment: tuple[Path, Result]) -> None:
    directory, first = experiment
    runs = sorted((directory / "pairs").iterdir())

    again = headroom("upgrade", directory, "--json")

    assert again.return_value == first.return_value
    assert checked("upgrade", again.stdout)["pairs"] == 4
    assert sorted((directory / "pairs").iterdir()) == runs


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--to", "3.3.1"], "leave --to out"),
        (["--pairs", "3"], "leave --pairs out"),
        (["--margin", "5%", "--runs", "x"], "leave --margin and --runs out"),
    ],
)
def test_settings_do_not_go_with_an_experiment(
    experiment: tuple[Path, Result], arguments: list[str], told: str
) -> None:
    result = headroom("upgrade", experiment[0], *arguments)

    assert isinstance(result.exception, HeadroomError)
    assert told in str(result.exception)


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_with_what_is_finished(
    scenario: Path, tmp_path: Path
) -> None:
    running = subprocess.Popen(
        [HEADROOM, "upgrade", scenario, "--virtual-time", "--runs", tmp_path],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until_s = time.monotonic() + 60
    while not (found := sorted(tmp_path.glob("upgrade-*/pairs/2*/manifest.json"))[2:]):
        assert time.monotonic() < until_s
        assert running.poll() is None
        time.sleep(0.02)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    (directory,) = tmp_path.iterdir()
    assert found

    gone_on = subprocess.run(
        [HEADROOM, "upgrade", directory, "--json"], capture_output=True, timeout=120, check=False
    )

    answer = checked("upgrade", gone_on.stdout)
    manifests = [json.loads(path.read_text()) for path in found[0].parent.parent.glob("2*/m*.json")]
    first_pair = {each["run_id"] for each in manifests if each["tags"]["pair"] == "1"}
    used = {run["run_id"] for side in SIDES for run in answer["comparison"][side]}
    assert gone_on.returncode == 4
    assert len(first_pair) == 2
    assert first_pair <= used


def test_a_side_that_fails_leaves_an_experiment_that_can_go_on(
    scenario: Path, tmp_path: Path
) -> None:
    cut = "upgrade.contender.environment.gateway.timeout_s=0.0001"

    failed = headroom("upgrade", scenario, "--virtual-time", "--set", cut, "--runs", tmp_path)

    (directory,) = tmp_path.iterdir()
    assert isinstance(failed.exception, HeadroomError)
    assert f"`headroom upgrade {directory}` goes on" in failed.stderr
