"""What the analysis says of the frozen runs is what it said when they were made.

Numbers are compared to the digit (relative 1e-9, for another processor's last bit). Where a
sentence stood there is a finding now: then it is compared whether there is one, and of lists how
many.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from json_outputs import checked

from mwaa_headroom.analysis.report.as_json import as_json
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.harness.cli.main import app

FROZEN = Path(__file__).parent / "frozen_runs"
RUNS = sorted(path.parent.name for path in FROZEN.glob("*/report.json"))
# What went with the models that no answer rested on, and words that are made by reports now.
GONE = {
    "model_checks",
    "scalability",
    "instability_fraction",
    "jitter_per_h",
    "observed_text",
    "needed_by",
    "sentence",
    "stage",  # of a trial: its number and name are two fields now
    "meaning",  # of a parameter of the scaling rule: its report names it
}
ANSWERS: dict[str, tuple[int, str]] = {
    "capacity": (0, "capacity virtual_capacity pinned_three"),
    "capacity_unknown": (5, "capacity simulated_check"),
    "size": (0, "size virtual_capacity pinned_three --load 20-30 --region us-west-2"),
    "what_if": (0, "what-if scale_out --burst 4-20"),
    "compare_regression": (4, "compare --baseline compared/0[1-5] --contender compared/1[1-5]"),
    "compare_alike": (
        5,
        "compare --baseline compared/0[1-5] --contender compared/0[6-9] compared/10",
    ),
    "compare_wide_margin": (
        0,
        "compare --baseline compared/0[1-5] --contender compared/0[6-9] compared/10 --margin 25%",
    ),
    "compare_refused": (
        5,
        "compare --baseline compared/01 compared/02 --contender virtual_capacity pinned_three",
    ),
    "history": (0, "history compared"),
}


def is_finding(value: Any) -> bool:
    return isinstance(value, dict) and {"code", "severity", "values", "sentence"} <= value.keys()


def is_text(value: Any) -> bool:
    """Whether something is a sentence of ours or a list of them, rather than a name."""
    if isinstance(value, list):
        return bool(value) and all(map(is_text, value))
    return isinstance(value, str) and (not value or " " in value.strip())


def differences(was: Any, now: Any, where: str = "") -> Iterator[str]:
    if is_finding(now) or (now is None and was == ""):
        same = is_text(was) and bool(was) is bool(now)
    elif isinstance(was, dict) and isinstance(now, dict):
        for key in was.keys() - GONE:
            yield from differences(was[key], now.get(key, "missing"), f"{where}.{key}")
        return
    elif isinstance(was, list) and isinstance(now, list):
        for index, (old, new) in enumerate(zip(was, now, strict=False)):
            yield from differences(old, new, f"{where}[{index}]")
        same = len(was) == len(now)
    elif isinstance(was, float) and isinstance(now, int | float):
        same = math.isclose(was, now, rel_tol=1e-9, abs_tol=1e-12)
    else:
        same = was == now
    if not same:
        yield f"{where}: was {was!r}, is {now!r}"


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_analysed_as_it_was(name: str) -> None:
    now = as_json(Run.read(FROZEN / name).analysis)
    checked("report", json.dumps(now, allow_nan=False))
    was = json.loads((FROZEN / name / "report.json").read_text(encoding="utf-8"))
    assert list(differences(was, now | {"directory": was["directory"]})) == []


def test_all_kinds_of_runs_are_there() -> None:
    assert set(RUNS) == {
        "interrupted",
        "pinned_three",
        "quickstart",
        "scale_out",
        "simulated_check",
        "throttled",
        "virtual_capacity",
    }


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_over_runs_is_as_it_was(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FROZEN)
    code, command = ANSWERS[name]
    arguments = [
        str(found)
        for word in command.split()
        for found in (sorted(Path().glob(word)) if "[" in word else (word,))
    ]
    done = CliRunner().invoke(app, [*arguments, "--json"], standalone_mode=False)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert (done.return_value or done.exit_code or 0) == code
    now = checked(arguments[0], done.stdout.replace(str(FROZEN), "runs"))
    was = json.loads((FROZEN / "answers" / f"{name}.json").read_text(encoding="utf-8"))
    assert list(differences(was, now)) == []


def test_differences_are_seen() -> None:
    finding = {"code": "a.b", "severity": "note", "values": {}, "sentence": "So."}
    same: list[tuple[Any, Any]] = [
        ({"a": 1.0, "gone": 1}, {"a": 1.0, "gone": 1, "new": 2}),
        ({"a": "It is late."}, {"a": finding}),
        ({"a": ""}, {"a": None}),
        ({"a": ["One thing.", "Another one."]}, {"a": [finding, finding]}),
    ]
    other: list[tuple[Any, Any]] = [
        ({"a": 1.0}, {"a": 1.0001}),
        ({"a": 1.0}, {}),
        ({"a": "pass"}, {"a": "fail"}),
        ({"a": "It is late."}, {"a": None}),
        ({"a": ""}, {"a": finding}),
        ({"a": ["One thing."]}, {"a": [finding, finding]}),
        ({"a": None}, {"a": 1.0}),
    ]
    assert [list(differences(*each)) for each in same] == [[]] * len(same)
    assert all(list(differences(*each)) for each in other)
