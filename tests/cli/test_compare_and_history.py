"""`headroom compare` and `headroom history` on records of an imagined environment."""

import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from compared_runs import write_imagined_run
from spoilt_records import move

from mwaa_headroom.harness.cli.main import main


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `old`, `same` and `slow` of five runs each; on all days one of each."""
    root = tmp_path_factory.mktemp("runs")
    for index in range(5):
        for place, (name, airflow, slowness) in enumerate(
            (("old", "3.2.1", 1.0), ("same", "3.3.1", 1.0), ("slow", "3.3.1", 1.4))
        ):
            write_imagined_run(
                root / name / f"{name}-{index}",
                seed=10 * place + index,
                slowness=slowness,
                airflow=airflow,
                day=index + place / 10,
            )
    return root


def headroom(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def test_a_slower_airflow_is_a_regression(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = headroom(
        *("compare", "--baseline", *sorted((runs / "old").iterdir())),
        *(
            "--contender",
            runs / "slow",
            "--output",
            tmp_path / "out",
            "--junit",
            tmp_path / "x.xml",
        ),
    )

    shown = capsys.readouterr().out
    assert code == 4
    assert "Regression: " in shown
    assert shown.rstrip().endswith("comparison.html")
    assert (tmp_path / "out" / "comparison.html").exists()
    suites = ET.parse(tmp_path / "x.xml").getroot()  # noqa: S314 - our own
    assert int(suites.get("failures", 0)) > 0


def test_the_same_airflow_passes_a_wide_margin(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = headroom(
        "compare",
        "--baseline",
        runs / "old",
        "--contender",
        runs / "same",
        "--margin",
        "45%",
        "--json",
    )

    found = json.loads(capsys.readouterr().out)
    assert (code, found["verdict"], found["margin_fraction"]) == (0, "pass", 0.45)


def test_a_narrow_margin_is_inconclusive(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = headroom(
        "compare", "--baseline", runs / "old", "--contender", runs / "same", "--margin", "0.001"
    )

    assert code == 5
    assert "Inconclusive: " in capsys.readouterr().out


def test_unlike_runs_are_not_compared(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(runs / "same", tmp_path / "unlike")
    path = tmp_path / "unlike" / "same-0" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["scenario"]["traffic"]["retries"] = "standard"
    path.write_text(json.dumps(manifest))

    code = headroom("compare", "--baseline", runs / "old", "--contender", tmp_path / "unlike")

    assert code == 5
    assert "differ in retries" in capsys.readouterr().out


def test_a_run_named_twice_counts_once(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "latest").symlink_to(runs / "old" / "old-0")

    headroom(
        *("compare", "--baseline", runs / "old", tmp_path / "latest"),
        *("--contender", runs / "same", "--json"),
    )

    assert len(json.loads(capsys.readouterr().out)["baseline"]) == 5


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("compare",), "Missing option '--baseline'"),
        (("compare", "--baseline", "nowhere", "--contender", "nowhere"), "no run directory"),
        (
            ("compare", "--baseline", "a", "--contender", "b", "--margin", "5"),
            "not a share such as",
        ),
        (
            ("compare", "--baseline", "a", "--contender", "b", "--margin", "nan"),
            "not a share such as",
        ),
        (("compare", "stray", "--baseline", "a", "--contender", "b"), "unexpected extra argument"),
        (("compare", "--baseline", "tests", "--contender", "b"), "neither a run directory nor"),
        (("history",), "Missing argument 'DIR...'"),
        (("history", "nowhere"), "no run directory 'nowhere'"),
    ],
)
def test_usage_errors_exit_2(
    arguments: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert headroom(*arguments) == 2
    assert told in capsys.readouterr().err


def test_a_directory_that_cannot_be_written_is_a_usage_error(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")

    code = headroom("history", runs / "old", "--output", tmp_path / "file")

    assert code == 2
    assert "it is a file; choose a directory" in capsys.readouterr().err


@pytest.mark.slow
def test_a_history_finds_the_upgrade(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten runs of one Airflow, then five of a slower one."""
    for name, first_day in (("old", 0), ("same", 10), ("slow", 20)):
        for index in range(5):
            run = tmp_path / "all" / f"{name}-{index}"
            shutil.copytree(runs / name / run.name, run)
            move(run, 86_400 * first_day)

    code = headroom("history", tmp_path / "all", "--json", "--output", tmp_path / "out")

    found = json.loads(capsys.readouterr().out)
    first = {
        point["first_run"]["run_id"]
        for metric in found["metrics"]
        for point in metric["change_points"]
    }
    assert code == 0
    assert first == {"slow-0"}
    assert (tmp_path / "out" / "history.html").exists()


def test_a_short_history_is_refused(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert headroom("history", runs / "old") == 5
    assert "needs at least 15 valid runs, there are 5" in capsys.readouterr().out
