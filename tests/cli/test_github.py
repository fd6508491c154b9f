"""What GitHub Actions is told: a summary that is never told twice, and annotations."""

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest
from click.testing import CliRunner

from mwaa_headroom.analysis.report.document import Case, Document, Section, Text
from mwaa_headroom.harness.cli.github import (
    LARGEST_SUMMARY,
    MOST_ANNOTATIONS,
    annotations,
    tell_github,
)
from mwaa_headroom.harness.cli.main import app

ROOT = Path(__file__).parents[2]
FROZEN = ROOT / "tests" / "frozen_runs"
LINE = Case("stage 1 low", "p95(latency) < 1s", "failure", "observed 2 s, 100% over")
DOCUMENT = Document(
    kind="report",
    title="a:b,c",
    headline="SLO not met",
    about="a run",
    sentence="Not met: 50 %25 of::error::calls.",
    status="bad",
    sections=(Section("Long", (Text("x" * 5000),)),),
    result=None,
    cases=(LINE, Case("verdict", "check", "failure", "said already")),
)


def told(capsys: pytest.CaptureFixture[str], path: Path | str, actions: str = "true") -> list[str]:
    """The lines for GitHub."""
    tell_github(DOCUMENT, 3, {"GITHUB_STEP_SUMMARY": str(path), "GITHUB_ACTIONS": actions})
    said = capsys.readouterr()
    assert said.out == ""
    return said.err.splitlines()


def test_annotations_are_one_line_each_and_escaped() -> None:
    verdict, line = annotations(DOCUMENT, 3)

    pattern = r"::(\w+) title=([^:,]*)::(.*)"
    kind, title, message = re.fullmatch(pattern, verdict).groups()  # type: ignore[union-attr]
    assert (kind, unquote(title)) == ("error", "a:b,c: SLO not met")
    assert message == "Not met: 50 %2525 of::error::calls."
    assert line == "::error title=stage 1 low%3A p95(latency) < 1s::observed 2 s, 100%25 over"


@pytest.mark.parametrize(
    ("exit_code", "kind"),
    [(0, "notice"), (3, "error"), (4, "error"), (5, "warning"), (130, "warning")],
)
def test_the_verdict_decides_the_kind(exit_code: int, kind: str) -> None:
    assert next(annotations(DOCUMENT, exit_code)).startswith(f"::{kind} ")


@pytest.mark.parametrize("broken", [1, MOST_ANNOTATIONS - 1, MOST_ANNOTATIONS, 100])
def test_no_more_annotations_than_github_shows(broken: int) -> None:
    cases = tuple(replace(LINE, name=f"line {number}") for number in range(broken))
    lines = list(annotations(replace(DOCUMENT, cases=(*cases, *cases)), 3))

    assert len(lines) == min(broken + 1, MOST_ANNOTATIONS)
    named = sum("stage 1 low" in line for line in lines)
    rest = re.search(r"title=(\d+) more", lines[-1])
    assert named + (int(rest[1]) if rest else 0) == broken


def test_one_verdict_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("# Before\n")

    assert len(told(capsys, summary)) == 2
    assert told(capsys, summary) == []
    assert summary.read_text().startswith("# Before\n\n## a:b,c: SLO not met\n")
    assert summary.read_text().count("SLO not met") == 1


def test_without_github_there_are_no_annotations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(capsys, tmp_path / "summary.md", actions="") == []
    assert (tmp_path / "summary.md").stat().st_size > 5000


@pytest.mark.parametrize(("free", "contains"), [(3000, b"**Not met"), (20, b"")])
def test_a_summary_stays_within_the_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], free: int, contains: bytes
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_bytes(b"-" * (LARGEST_SUMMARY - free))

    assert len(told(capsys, summary)) == 2
    written = summary.read_bytes()[LARGEST_SUMMARY - free :]
    assert len(written) <= free
    assert contains in written
    assert b"xxx" not in written


def test_a_summary_that_cannot_be_written_ends_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed, *annotated = told(capsys, tmp_path)

    assert failed.startswith("The job summary cannot be written: ")
    assert len(annotated) == 2


@pytest.mark.slow
def test_commands_tell_github_their_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run and its report in one step are one verdict, a comparison is another."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    run = ["run", str(ROOT / "scenarios/smoke.toml"), "--virtual-time", "--runs", str(tmp_path)]
    junit = ["--junit", str(tmp_path / "out.xml"), "--no-progress", "--json"]
    compare = ["compare", f"--baseline={FROZEN}/compared/01", f"--contender={FROZEN}/compared/11"]

    ran, again, compared = (
        CliRunner().invoke(app, arguments, standalone_mode=False)
        for arguments in (
            [*run, *junit, "--set", 'slo=["p95(latency) < 20ms"]'],
            ["report", str(tmp_path / "latest")],
            compare,
        )
    )

    assert [each.return_value for each in (ran, again, compared)] == [3, 3, 5]
    assert [each.stderr.count("::error ") for each in (ran, again, compared)] == [2, 0, 0]
    assert compared.stderr.startswith("::warning title=Comparison")
    summary = (tmp_path / "summary.md").read_text()
    headings = re.findall(r"^## (.*)$", summary, re.M)
    assert [heading.split(":")[0] for heading in headings] == ["smoke", "Comparison"]
    assert (tmp_path / "out.xml").read_text() == (tmp_path / "latest/junit.xml").read_text()
