"""`headroom doctor` for scenarios of this machine: fewer lines, and nothing is started."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mwaa_headroom.analysis.findings import warning
from mwaa_headroom.harness.aws.doctor import Checked
from mwaa_headroom.harness.cli.main import app
from mwaa_headroom.harness.local.airflow.cpu_limit import CpuLimiter, Unavailable
from mwaa_headroom.harness.run import doctor
from mwaa_headroom.harness.run.doctor import examine
from mwaa_headroom.harness.scenario.load import load_scenario

SCENARIOS = Path(__file__).parents[2] / "scenarios"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(CpuLimiter, "detect", lambda: Unavailable("there are none"))
    return tmp_path


def examined(name: str, *overrides: str) -> dict[str, Checked]:
    scenario = load_scenario(SCENARIOS / f"{name}.toml", overrides=overrides)
    return {line.finding.code: line for line in examine(scenario)}


def test_a_simulated_scenario_needs_little(cache: Path) -> None:
    lines = examined("smoke")

    assert {line.area for line in lines.values()} == {
        *("machine", "packages", "environment", "generator", "plan")
    }
    assert {line.finding.severity for line in lines.values()} == {"note"}
    assert lines["doctor.duration"].finding.values["load_s"] == 30
    assert list(cache.iterdir()) == []


def test_a_local_scenario_looks_at_airflow_and_at_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_cpus", lambda: 2)
    lines = examined("quickstart", "environment.webserver_cpu=1", "environment.max_webservers=4")

    severities = {code: line.finding.severity for code, line in lines.items()}
    assert severities["doctor.airflow_to_install"] == "warning"
    assert severities["doctor.cpu_limits"] == "warning"
    assert lines["doctor.cpus"].finding == warning("doctor.cpus", cpus=2, needed=4.0)


def test_an_installed_airflow_and_a_full_disk(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "AIRFLOW_BYTES", 10**18)
    assert examined("quickstart")["doctor.airflow_to_install"].finding.severity == "refusal"
    from mwaa_headroom.harness.local.airflow.install import COMPLETE, installation_of

    folder = installation_of("3.3.1").folder
    folder.mkdir(parents=True)
    (folder / COMPLETE).touch()
    assert "doctor.airflow_cached" in examined("quickstart")


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        lines = examined("smoke", f"environment.gateway_port={port}")
    free = examined("smoke", f"environment.gateway_port={port}")

    assert lines["doctor.problem"].area == "port"
    assert "doctor.port_free" in free


def test_a_rate_beyond_one_load_process() -> None:
    high = ("limits.max_rate_per_s=5000", "environment.max_webservers=5")
    lines = examined("smoke", *high, "stages=[{rate_per_s=5000, duration_s=10}]")

    found = lines["doctor.generator"].finding
    assert (found.severity, found.values["processes"]) == ("warning", 2)


def call(*words: str) -> Any:
    return CliRunner().invoke(app, ["doctor", *words], standalone_mode=False)


def test_the_command_marks_lines_and_ends_with_a_code() -> None:
    smoke = str(SCENARIOS / "smoke.toml")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = f"environment.gateway_port={taken.getsockname()[1]}"
        stopped = call(smoke, "--set", port, "--json")
    fine = call(smoke)

    assert (fine.return_value, stopped.return_value) == (0, 2)
    *lines, last = fine.stdout.splitlines()
    assert {line[:2] for line in lines} == {"✓ ", "- "}
    assert last.startswith("Ready: ")
    checks = json.loads(stopped.stdout)["checks"]
    assert [c["finding"]["severity"] for c in checks if c["area"] == "port"] == ["refusal"]
    assert {"code", "values", "sentence"} <= checks[0]["finding"].keys()
    assert call(smoke, "--region", "x").exception.exit_code == 2


def test_only_what_was_judged_has_a_tick() -> None:
    lines = CliRunner().invoke(app, ["doctor", str(SCENARIOS / "smoke.toml")]).output.splitlines()

    marks = {line.split(":")[0][2:]: line[0] for line in lines[:-1]}
    assert marks == {
        "machine": "-",
        "packages": "✓",
        "environment": "✓",
        "generator": "✓",
        "plan": "-",
    }
