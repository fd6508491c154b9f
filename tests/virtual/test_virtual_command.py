"""`headroom run --virtual-time`, from the command line to the report."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from json_outputs import checked

from mwaa_headroom.harness.cli.main import app
from mwaa_headroom.harness.errors import UsageError

SCENARIO = """
slo = ["p95(latency) < 500ms", "rate(errors) < 1%"]
question = { ask = "check" }
environment = { kind = "simulated" }
traffic = { seed = 3, mix = { health = 1, list_dags = 1 } }
stages = [{ rate_per_s = 10, duration_s = 3600 }]
"""


@pytest.fixture
def scenario_file(tmp_path: Path) -> Path:
    path = tmp_path / "hour.toml"
    path.write_text(SCENARIO)
    return path


@pytest.mark.slow
def test_an_hour_of_load_is_reported_like_any_run(scenario_file: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    arguments = ["run", str(scenario_file), "--virtual-time", "--runs", str(runs), "--json"]
    result = CliRunner().invoke(
        app, [*arguments, "--no-progress"], catch_exceptions=False, standalone_mode=False
    )
    assert result.return_value == 0
    report = checked("run", result.stdout)
    assert report["stages"][0]["complete"] is True
    assert report["stages"][0]["arrivals"] == pytest.approx(36_000, abs=4 * 190)  # Poisson
    assert (runs / "latest" / "report.html").exists()
    assert (runs / "latest" / "junit.xml").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--processes", "2"], "--virtual-time sends nothing"),
        (["--expect-workers", "2", "--bind", "10.0.0.5"], "--virtual-time sends nothing"),
        (["--set", 'environment={kind="local"}'], 'not "local"'),
    ],
)
def test_what_does_not_go_with_virtual_time_is_told(
    scenario_file: Path, tmp_path: Path, options: list[str], told: str
) -> None:
    runs = tmp_path / "runs"
    arguments = ["run", str(scenario_file), "--virtual-time", "--runs", str(runs), *options]
    with pytest.raises(UsageError, match=told):
        CliRunner().invoke(app, arguments, catch_exceptions=False, standalone_mode=False)
    assert not runs.exists()
