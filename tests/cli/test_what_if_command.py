"""`headroom what-if` on records of an imagined environment."""

import json
from pathlib import Path

import numpy as np
import pytest
from synthetic_records import write_synthetic_run

from mwaa_headroom.harness.cli.main import main
from mwaa_headroom.harness.errors import UsageError
from mwaa_headroom.harness.run.asked_loads import Burst, asked_load, trace_rates_per_second
from mwaa_headroom.harness.traffic.trace_files import parse_trace


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "rising"
    write_synthetic_run(directory, rates_per_s=(4.0, 8.0, 18.0, 24.0, 28.0), max_webservers=4)
    return directory


def headroom(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def test_only_runs_are_fitted_and_replayed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert headroom("what-if", run) == 0
    shown = capsys.readouterr().out
    assert "2 of 2" in shown
    assert "The way back is unknown" in shown
    assert "2 -> 3" in shown
    assert "The fitted rule makes 2 of 2 changes" in " ".join(shown.split())


def test_a_burst_is_answered_with_page_json_and_pictures(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    burst = ("--burst", "5-38", "--burst-at", 60, "--burst-for", 240)
    assert headroom("what-if", run, *burst, "--output", out) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "With 2-4 webservers, a burst from 5 to 38 calls/s at 60 s for 240 s would" in shown
    assert "slow calls (over 800 ms)" in shown
    written = {path.name for path in out.rglob("*") if path.is_file()}
    assert written == {
        "what-if.html",
        "what-if.json",
        "summary.md",
        "summary.txt",
        "what-if.png",
        "replay.png",
    }
    found = json.loads((out / "what-if.json").read_text())
    assert found["schema_version"] == 1
    assert found["load"]["duration_s"] == 600
    assert found["load"]["changes"][0]["to_count"] == 3
    assert found["fit"]["rule"]["policy"]["datapoints_to_alarm"] == 2
    assert (out / "what-if.html").read_text().count("data-chart=") == 2


def test_a_trace_scaled_up_on_more_webservers_is_json(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "day.csv"
    trace.write_text("time_s,rate_per_s\n0,5\n300,8\n600,4\n")
    options = ("--trace", trace, "--scale", "10", "--min", "3", "--max", "50", "--json")
    assert headroom("what-if", run, *options) == 0
    found = json.loads(capsys.readouterr().out)
    load = found["load"]
    assert load["name"] == "day.csv x 10"
    assert load["peak_rate_per_s"] == pytest.approx(80)
    assert (load["min_webservers"], load["max_webservers"]) == (3, 50)
    assert load["calls"] == pytest.approx(10 * 300 * (5 + 8 + 4))
    assert "policy.more_than_allowed" in [note["code"] for note in found["notes"]]


def test_a_pinned_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_synthetic_run(tmp_path / "pinned", max_webservers=2)
    assert headroom("what-if", tmp_path / "pinned", "--burst", "5-50") == 5
    shown = " ".join(capsys.readouterr().out.split())
    assert "there is no run that can scale" in shown
    assert "pinned at 2 webservers" in shown


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--burst", "60-10"), "does not go up"),
        (("--burst", "many"), "no pair of rates such as 10-60"),
        (("--burst-at", "30"), "go only with --burst"),
        (("--min", "4", "--max", "2"), "--min 4 is above --max 2"),
        (("--max", "501"), "501"),
        (("--scale", "0"), "0"),
        (("--trace", "nowhere.csv"), "There is no trace file"),
        (("--trace", "a.csv", "--burst", "1-2"), "two loads"),
        (("--burst", "1-2", "--burst-for", "9999999"), "at most a week"),
        (("--burst", "1-2", "--burst-for", "1e9"), "at most a week"),
        (("--burst", "1-2", "--burst-at", "nan"), "'nan' is not a number"),
        (("--burst", "4-1e9"), "at most 5000 can be simulated"),
        (("--burst", "4-40", "--scale", "200"), "8000 calls/s at its peak"),
        (("--scale", "nan"), "'nan' is not a number"),
        (("--scale", "1e9"), "--scale 1e+09 is no factor"),
    ],
)
def test_wrong_options_are_told_in_a_sentence(
    run: Path, options: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert headroom("what-if", run, *options) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("time_s,rate_per_s\n0,5\n2,8\n4,1\n", [5, 5, 8, 8, 1, 1]),
        (
            "time_s,rate_per_s\n0,4\n0.5,8\n2,2\n",
            [6, 8, 2, 2],
        ),  # the last as long as the one before
        ("time_s,rate_per_s\n100,3\n", [3] * 60),
        ("time_s\n0\n0.2\n2.5\n", [2, 0, 1]),
    ],
)
def test_a_trace_becomes_a_rate_of_each_second(text: str, rates: list[float]) -> None:
    assert trace_rates_per_second(parse_trace(text, "trace"), "trace").tolist() == pytest.approx(
        rates
    )


def test_a_trace_of_weeks_is_refused() -> None:
    with pytest.raises(UsageError, match="at most a week"):
        trace_rates_per_second(parse_trace("time_s,rate_per_s\n0,5\n700000,8\n", "x"), "x")


def test_a_trace_without_calls_is_refused() -> None:
    with pytest.raises(UsageError, match="x has no calls"):
        trace_rates_per_second(parse_trace("time_s,rate_per_s\n0,0\n60,0\n", "x"), "x")


def test_runs_that_are_not_alike_are_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_synthetic_run(tmp_path / "large", webserver_cpu=1.0)
    assert headroom("what-if", run, tmp_path / "large", "--burst", "5-50") == 5
    shown = " ".join(capsys.readouterr().out.split())
    assert "The runs differ in CPUs per webserver: 0.25 (rising); 1 (large)." in shown


def test_one_change_and_one_webserver_are_singular(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_synthetic_run(tmp_path / "one", rates_per_s=(4.0, 18.0), max_webservers=3)
    assert headroom("what-if", tmp_path / "one") == 0
    assert "makes 1 of 1 change of the webserver count at its time" in " ".join(
        capsys.readouterr().out.split()
    )
    options = ("--burst", "1-2", "--burst-at", 20, "--burst-for", 20, "--min", 1, "--max", 1)
    assert headroom("what-if", tmp_path / "one", *options, "--verbose") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "With 1 webserver, a burst" in shown
    assert "calls are those of one: " in shown
    assert "Ranges hold the quickest and the slowest way back that were tried." in shown


def test_nothing_asked_is_no_load() -> None:
    nothing = {"trace": None, "column": None, "burst": None, "scale": None, "min_webservers": None}
    assert asked_load(**nothing, max_webservers=None) is None
    limits_only = asked_load(**nothing, max_webservers=9)
    assert limits_only is not None
    assert limits_only.rate_per_s is None


def test_a_burst_goes_back() -> None:
    rates = Burst(low_per_s=5, high_per_s=50, at_s=10, for_s=20).rates()
    assert rates.tolist() == [5.0] * 10 + [50.0] * 20 + [5.0] * 30
    assert rates.dtype == np.float64
