"""`headroom size` on records of an imagined environment."""

import json
from pathlib import Path

import pytest
from sizing_by_hand import HALF_CPU
from synthetic_records import write_synthetic_run

from mwaa_headroom.harness.aws.prices import SHIPPED_FILE
from mwaa_headroom.harness.cli.main import main


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    for seed in (1, 2):
        write_synthetic_run(root / f"run-{seed}", HALF_CPU, seed=seed)
    return root


def headroom(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def test_a_load_is_sized(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = headroom("size", runs / "run-1", "--load", "40", "--output", tmp_path / "out")

    shown = capsys.readouterr().out
    assert code == 0
    assert "mw1.small with MinWebservers 3 and MaxWebservers 3" in " ".join(shown.split())
    assert "recommended" in shown
    assert "No region was given, so prices of us-west-2 are shown." in shown
    written = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert written == {
        *("size.html", "size.json", "junit.xml", "summary.txt", "summary.md"),
        "webservers_needed.png",
    }
    assert "data-chart=" in (tmp_path / "out" / "size.html").read_text()


def test_runs_are_pooled_and_the_answer_is_json(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = headroom("size", runs, "--load", "20-30", "--burst-from", "5", "--json")

    found = json.loads(capsys.readouterr().out)
    assert code == 0
    assert found["schema_version"] == 1
    assert [run["run_id"] for run in found["runs"]] == ["run-1", "run-2"]
    assert (found["low_per_s"], found["high_per_s"]) == (20, 30)
    assert found["options"][0]["burst"]["from_per_s"] == 5
    assert found["prices"]["region"] == "us-west-2"


def test_a_log_is_sized_by_the_column_that_is_named(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.csv"
    log.write_text(
        "when;path\n" + "".join(f"{1_790_000_000_000 + 111 * n};/dags\n" for n in range(999))
    )

    assert headroom("size", runs, "--load", log, "--column", "when") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "log.csv (999 calls over 110.778 s, times from 'when'; milliseconds since 1970" in shown
    assert headroom("size", runs, "--load", "25", "--column", "when") == 2


@pytest.mark.parametrize(
    ("option", "value"), [("--burst-from", "1_0"), ("--burst-from", "nan"), ("--load", "2_5")]
)
def test_numbers_are_read_strictly(runs: Path, option: str, value: str) -> None:
    assert headroom("size", runs, "--load", "25", option, value) == 2


@pytest.mark.parametrize(
    "text",
    [
        "time_s,rate_per_s\n0,10\n300,40\n420,10\n",
        "time_s\n" + "".join(f"{number / 9}\n" for number in range(999)),
    ],
    ids=["rates", "calls"],
)
def test_a_trace_is_sized(
    runs: Path, tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text(text)

    assert headroom("size", runs, "--load", trace) == 0
    shown = capsys.readouterr().out
    assert "Wanted: trace.csv: " in shown


def test_ones_own_prices(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(SHIPPED_FILE.read_text().replace("us-west-2", "eu-west-1"))

    own = ("--region", "eu-west-1", "--prices", mine)
    assert headroom("size", runs, "--load", "40", *own, "--verbose") == 0
    shown = capsys.readouterr().out
    assert "Prices of eu-west-1" in shown
    assert "No region was given" not in shown
    assert headroom("size", runs, "--load", "40", "--region", "eu-west-1") == 0
    shown = capsys.readouterr().out
    assert "There are no prices of eu-west-1" in shown
    assert "USD" not in shown


@pytest.mark.parametrize(
    ("load", "says"),
    [
        ("0", "a rate must be above 0 and at most 5000"),
        ("1e9", "a rate must be above 0 and at most 5000"),
        ("1e4", "a rate must be above 0 and at most 5000"),
        ("", "is neither a rate such as 25"),
        (".", "is neither a rate such as 25"),
        ("30-20", "a range from a lower to a higher one"),
        ("-5", "a rate must be above 0 and at most 5000"),
        ("many", "neither a rate such as 25"),
    ],
)
def test_a_load_that_is_none_is_refused(
    runs: Path, load: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert headroom("size", runs, f"--load={load}") == 2
    assert says in capsys.readouterr().err


def test_a_run_that_is_not_there_is_refused_before_others_are_read(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert headroom("size", runs, runs / "missing", "--load", "5") == 2
    assert "There is no run '" in capsys.readouterr().err


@pytest.mark.parametrize("rate", ["50", "5"])
def test_a_burst_goes_up(runs: Path, rate: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert headroom("size", runs, "--load", "5", "--burst-from", rate) == 2
    assert f"--burst-from {rate} is not below 5 calls/s" in capsys.readouterr().err


def test_a_wrong_trace_is_refused(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("when,how_many\n1,2\n")

    assert headroom("size", runs, "--load", trace) == 2
    assert "a trace has a column of times: call it 'time_s'" in capsys.readouterr().err


def test_what_no_class_serves_has_no_size(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert headroom("size", runs, "--load", "4900") == 5
    assert "No environment class" in capsys.readouterr().out


def test_unlike_runs_are_refused(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_synthetic_run(tmp_path / "other", HALF_CPU, mix={"health": 1.0})

    assert headroom("size", runs, tmp_path / "other", "--load", "20") == 5
    shown = " ".join(capsys.readouterr().out.split())
    assert "The runs differ in mix: trigger_dag_run" in shown
