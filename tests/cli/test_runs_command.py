"""`headroom runs`, `open` and `diff`, and the tags of `headroom run`."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from json_outputs import checked
from runs_by_hand import put_run

from mwaa_headroom.harness.cli import runs as runs_module
from mwaa_headroom.harness.cli.main import app

SCENARIO = """
slo = ["rate(errors) < 1%"]
question = { ask = "check" }
environment = { kind = "simulated", name = "tagged" }
stages = [{ rate_per_s = 2, duration_s = 10 }]
traffic.mix.health = 1
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    runs, now_s = tmp_path / "runs", time.time()
    put_run(runs, "first", of="virtual_capacity", started_at_s=now_s - 90_000)
    put_run(runs, "second", started_at_s=now_s - 60, tags={"branch": "main", "n": "1"})
    put_run(runs, "third", started_at_s=now_s - 50, tags={"branch": "main", "n": "2"})


def headroom(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, standalone_mode=False, catch_exceptions=False)


def listed(*arguments: str) -> list[str]:
    return [
        run["run"] for run in checked("runs", headroom("runs", *arguments, "--json").stdout)["runs"]
    ]


@pytest.mark.parametrize(
    ("filters", "runs"),
    [
        ("", ["third", "second", "first"]),
        ("--tag branch=main --tag n=1", ["second"]),
        ("--scenario smoke", ["third", "second"]),
        ("--scenario pinned*", ["first"]),
        ("--environment headroom-s*", ["third", "second"]),
        ("--verdict answered --verdict damaged", ["first"]),
        ("--since 1h", ["third", "second"]),
        ("--since 2d", ["third", "second", "first"]),
        ("--since 2020-01-01 --tag n=2", ["third"]),
        ("--tag n=3", []),
    ],
)
def test_runs_are_listed_newest_first_and_filtered(filters: str, runs: list[str]) -> None:
    assert listed(*filters.split()) == runs


def test_the_table_has_a_line_for_each_run_and_for_what_is_wrong() -> None:
    (Path("runs/second/manifest.json")).write_text("{", encoding="utf-8")
    head, *lines = headroom("runs").stdout.splitlines()
    assert head.split() == [
        *("run", "began", "scenario", "environment", "Airflow", "question", "verdict", "tags")
    ]
    assert [line.split()[0] for line in lines[:3]] == ["third", "first", "second"]
    assert "answered: 14/s" in lines[1]
    assert len(lines) == 4
    assert "runs/second/manifest.json" in lines[3]


@pytest.mark.slow
def test_open_makes_a_report_that_is_missing_and_tells_the_browser(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    directory = put_run(Path("runs"), "whole", whole=True)
    shown: list[str] = []
    monkeypatch.setattr(runs_module.webbrowser, "open", lambda url: not shown.append(url))
    page = directory.resolve() / "report.html"

    def opened(*options: str) -> Any:
        return checked("open", headroom("open", "who", "--json", *options).stdout)

    expected = {"schema_version": 1, "run": "whole", "page": str(page)}
    assert opened() == {**expected, "made": True, "opened": False}
    assert page.is_file()
    monkeypatch.setenv("BROWSER", "firefox")
    assert opened("--no-browser") == {**expected, "made": False, "opened": False}
    assert shown == []
    assert opened() == {**expected, "made": False, "opened": True}
    assert shown == [page.as_uri()]


def test_diff_tells_settings_and_figures_that_differ() -> None:
    for name, n in (("one", "1"), ("two", "2")):
        put_run(Path("runs"), name, whole=True, tags={"n": n})
    path = Path("runs/two/manifest.json")
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["scenario"]["stages"][0]["duration_s"] += 1
    path.write_text(json.dumps(manifest), encoding="utf-8")

    found = checked("diff", headroom("diff", "one", "two", "--json").stdout)

    changes = [(each["group"], each["key"]) for each in found["settings"]]
    assert changes == [("scenario", "stages[0].duration_s"), ("tags", "n")]
    assert (found["settings"][1]["first"], found["settings"][1]["second"]) == ("1", "2")
    assert found["stages"]
    for pair in found["stages"]:
        assert pair["first"]["latency_p95_s"] == pair["second"]["latency_p95_s"] > 0
    assert "headroom compare" in headroom("diff", "one", "two").stdout


def test_diff_shows_stages_that_only_one_run_has() -> None:
    put_run(Path("runs"), "short", whole=True)
    put_run(Path("runs"), "long", of="pinned_three", whole=True)
    found = checked("diff", headroom("diff", "short", "long", "--json").stdout)
    names = {bool(pair["first"]) for pair in found["stages"]}
    assert names == {True, False}


@pytest.mark.slow
def test_tags_of_a_run_are_in_its_record_and_find_it() -> None:
    Path("tagged.toml").write_text(SCENARIO, encoding="utf-8")
    tags = ("--tag", "branch=fix/x", "--tag", "n=7")
    headroom("run", "tagged.toml", "--virtual-time", "--no-progress", *tags)
    (run,) = json.loads(headroom("runs", "--tag", "n=7", "--json").stdout)["runs"]
    assert run["tags"] == {"branch": "fix/x", "n": "7"}
    assert headroom("report", "branch=fix/x", "--json").stdout
