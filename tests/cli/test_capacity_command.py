"""`headroom capacity` on runs in virtual time."""

import json
from pathlib import Path

import pytest
from virtual_runs import STARTED_AT_S, simulated

from mwaa_headroom.harness.cli.main import main
from mwaa_headroom.harness.virtual.run import run_virtually, save_run

SLO = ("p95(latency) < 400ms", "rate(errors) < 1%")


def write_run(
    root: Path, webservers: int, rates: tuple[float, ...], slo: tuple[str, ...] = SLO
) -> Path:
    """Stages of 40 s; one webserver takes 20 calls/s at 100 % CPU."""
    scenario = simulated(
        stages=[{"rate_per_s": rate, "duration_s": 40, "warmup_s": 5} for rate in rates],
        slo=slo,
        min_webservers=webservers,
        max_webservers=webservers,
        metrics={"period_s": 5},
    )
    record = run_virtually(scenario, seed=webservers, started_at_s=STARTED_AT_S)
    return save_run(record, root)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("capacity")
    write_run(root, 1, (9.0, 14.0, 18.0, 22.0))
    write_run(root, 2, (24.0, 32.0, 38.0, 44.0))
    return root


def headroom(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def test_two_counts_have_their_capacities(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = headroom("capacity", runs, "--output", tmp_path / "out")

    shown = capsys.readouterr().out
    assert code == 0
    assert "The SLO holds up to " in shown
    assert shown.rstrip().endswith("capacity.html")
    files = {
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")
    }
    assert files == {
        *("capacity.html", "capacity.json", "junit.xml", "summary.txt", "summary.md"),
        "plots/capacity_curve.png",
    }


def test_json_has_the_estimates(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert headroom("capacity", *sorted(runs.iterdir()), "--json") == 0

    found = json.loads(capsys.readouterr().out)
    one, two = found["counts"]
    assert found["schema_version"] == 1
    assert 9 < one["capacity_per_s"]["value"] < 20 < two["capacity_per_s"]["value"] < 40
    assert one["capacity_per_s"]["low"] < one["capacity_per_s"]["value"]


def test_when_nothing_breaks_there_is_no_capacity(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = headroom("capacity", write_run(tmp_path, 1, (2.0, 4.0)))

    shown = " ".join(capsys.readouterr().out.split())
    assert code == 5
    assert "No capacity: with 1 webserver, the SLO still held at 4 calls/s" in shown
    assert "Hold 1 webserver at 6 calls/s for 40 s." in shown


def test_unlike_runs_are_refused(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_run(tmp_path, 3, (30.0,), slo=("p95(latency) < 1s",))

    assert headroom("capacity", runs, other) == 5
    assert "The runs differ in SLO" in capsys.readouterr().out


def test_a_directory_without_runs_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert headroom("capacity", tmp_path) == 2
    assert "holds any" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_named(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")

    assert headroom("capacity", runs, "--output", tmp_path / "file" / "out") == 2
    assert "a part of that path is a file" in capsys.readouterr().err
