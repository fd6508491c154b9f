"""Every finding has a sentence, and every sentence a finding that needs it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from mwaa_headroom.analysis.findings import note, refusal, warning
from mwaa_headroom.analysis.report.sentences import sentences, told, told_each

ROOT = Path(__file__).parents[3]
MODULES = [
    path
    for place in ("analysis", "harness/aws", "harness/run", "harness/traffic")
    for path in (ROOT / place).rglob("*.py")
]
MAKERS = {"refusal", "warning", "note"}


def codes_in(path: Path) -> Iterator[str]:
    """The literal codes of all findings that a module makes."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            first = node.args[0]
            if node.func.id in MAKERS:
                assert isinstance(first, ast.Constant), f"{path}:{node.lineno}: write the code out"
                yield str(first.value)


def codes() -> set[str]:
    modules = [path for path in MODULES if "report" not in path.parts]
    return {code for path in modules for code in codes_in(path)}


def test_every_code_has_a_sentence_and_every_sentence_a_code() -> None:
    assert set(sentences()) == codes()


def test_a_finding_is_told_by_its_values(monkeypatch: pytest.MonkeyPatch) -> None:
    registered = sentences() | {
        "test.some": "{count} of {of}.".format,
        "test.same": "It is.".format,
    }
    monkeypatch.setattr("mwaa_headroom.analysis.report.sentences._SENTENCES", registered)
    assert told(note("test.some", count=3, of=4)) == "3 of 4."
    assert told(None) == ""
    assert told_each([warning("test.same"), refusal("test.same")]) == ("It is.",)


def test_a_code_without_a_sentence_is_an_error() -> None:
    with pytest.raises(KeyError):
        told(note("test.unknown"))


def test_a_metric_period_is_told_by_its_time_of_day() -> None:
    weighs = warning("demand.one_period_weighs", start_s=1_796_068_440.0, share=0.57)
    assert "(57 %) is from the metric period at 19:54:00 UTC" in told(weighs)
