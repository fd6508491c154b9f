"""Answers of another size are other work, and no verdict on who is slower."""

import dataclasses
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from compared_runs import imagined_runs
from spoilt_records import change_rows
from synthetic_records import write_synthetic_run

from mwaa_headroom.analysis.answer_sizes import answer_sizes, size_warnings
from mwaa_headroom.analysis.comparison.compare import Comparison, compare_runs
from mwaa_headroom.analysis.results import AnswerSize, RunAnalysis
from mwaa_headroom.analysis.run import Run


def answering(runs: list[RunAnalysis], **sizes: int) -> list[RunAnalysis]:
    answers = tuple(AnswerSize(name, 100, size, size) for name, size in sizes.items())
    return [dataclasses.replace(run, answers=answers) for run in runs]


def compared(before: dict[str, int], after: dict[str, int], factor: float = 1.0) -> Comparison:
    return compare_runs(
        answering(imagined_runs("old", 6), **before),
        answering(imagined_runs("new", 6, factor=factor, first_day=1.0), **after),
        margin=0.1,
    )


def test_the_sizes_of_answers_are_those_of_calls_that_ended_ok(tmp_path: Path) -> None:
    write_synthetic_run(tmp_path / "run", rates_per_s=(4.0,), airflow_error_share=0.2)
    run = Run.read(tmp_path / "run")
    assert [each.operation for each in run.answers] == ["health", "list_dags", "trigger_dag_run"]
    assert {(each.bytes_p50, each.bytes_max) for each in run.answers} == {(512, 512)}
    failed = sum(stage.sent - stage.outcomes["ok"] for stage in run.stages)
    assert sum(each.answers for each in run.answers) <= run.requests.num_rows - failed

    def unknown(row: dict[str, Any]) -> dict[str, Any]:
        return row | {"response_bytes": None}

    change_rows(tmp_path / "run", "requests", unknown)
    assert Run.read(tmp_path / "run").answers == ()


def test_the_median_is_by_nearest_rank() -> None:
    rows = pa.table({"operation": ["a"] * 4, "outcome": ["ok"] * 4, "response_bytes": [4, 1, 3, 2]})
    assert answer_sizes(rows) == (AnswerSize("a", 4, 2, 4),)


@pytest.mark.parametrize("factor", [1.0, 1.5], ids=["alike", "slower"])
def test_a_page_that_one_side_caps_is_no_pass_and_no_regression(factor: float) -> None:
    """100 rows instead of 1000: a "faster" or "slower" side did other work."""
    sizes = {"list_dags": 210_000, "health": 200, "trigger_dag_run": 300}
    told = compared(sizes, sizes | {"list_dags": 21_000}, factor)
    assert (told.verdict, told.exit_code) == ("inconclusive", 5)
    (note,) = [each for each in told.notes if each.code == "comparison.other_work"]
    assert note.values["operation"] == "list_dags"
    assert (note.values["baseline_bytes"], note.values["contender_bytes"]) == (210_000, 21_000)
    by_name = {each.metric.name: each for each in (*told.gate, *told.informational)}
    assert by_name["service demand of the mix"].reason == note
    assert by_name["service demand of list_dags"].verdict == "~"
    # What no answer's size enters is judged as ever.
    assert by_name["errors where the SLO held"].verdict == "pass"
    assert by_name["service demand of health"].reason != note


@pytest.mark.parametrize(
    ("before", "after", "is_other_work"),
    [
        (1000, 500, True),  # a configured cap of 500
        (200, 100, True),  # the default cap
        (1000, 100, True),  # a version that begins to keep the cap
        (1200, 1000, False),  # the answer says 1200 and holds 1000
        (97, 96, False),  # all there are
    ],
)
def test_pages_as_versions_cap_them(before: int, after: int, is_other_work: bool) -> None:
    row_bytes = 210
    told = compared({"list_dags": before * row_bytes}, {"list_dags": after * row_bytes})
    codes = [each.code for each in told.notes]
    assert ("comparison.other_work" in codes) is is_other_work
    assert told.verdict == ("inconclusive" if is_other_work else "pass")


@pytest.mark.parametrize(
    ("after", "code"),
    [
        (1000, None),
        (1090, None),
        (1200, "comparison.answers_differ"),
        (830, "comparison.answers_differ"),
    ],
)
def test_small_differences_are_told_and_judged(after: int, code: str | None) -> None:
    told = compared({"health": 1000}, {"health": after})
    codes = [each.code for each in told.notes if each.code.startswith("comparison.answers")]
    assert codes == ([code] if code else [])
    assert told.verdict == "pass"


def test_an_answer_that_cannot_have_come_through_the_service() -> None:
    large = [AnswerSize("list_dags", 5, 100, 7_000_000)]
    assert [each.code for each in size_warnings(large, "lean")] == ["answers.over_limit"]
    assert list(size_warnings(large, "web_token")) == []
