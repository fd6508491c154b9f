"""Two sets of imagined runs, and a history of them: verdicts, exit codes, refusals."""

from dataclasses import replace

import pytest
from compared_runs import imagined_manifest, imagined_run, imagined_runs

from mwaa_headroom.analysis.comparison.compare import compare_runs
from mwaa_headroom.analysis.comparison.history import trace_history
from mwaa_headroom.analysis.comparison.regression import (
    ERROR_RATE,
    MIX_DEMAND,
    gate_stages,
    run_metrics,
)
from mwaa_headroom.analysis.comparison.results import Comparison
from mwaa_headroom.analysis.results import RunAnalysis, StageStats


def against(contender: list[RunAnalysis], margin: float = 0.1) -> Comparison:
    return compare_runs(imagined_runs("old", 6), contender, margin=margin)


@pytest.mark.parametrize(
    ("factor", "verdict", "exit_code", "begins"),
    [
        (1.3, "regression", 4, "Regression: "),
        (1.0, "pass", 0, "Pass: no gate metric is worse by more than 10 %"),
        (1.1, "inconclusive", 5, "Inconclusive: "),
    ],
)
def test_verdicts_and_exit_codes(factor: float, verdict: str, exit_code: int, begins: str) -> None:
    found = against(imagined_runs("new", 6, factor=factor, airflow="3.3.1", first_day=1))

    assert (found.verdict, found.exit_code) == (verdict, exit_code)
    assert found.sentence.startswith(begins)
    assert [each.what for each in found.meant_to_differ] == ["Airflow"]
    assert found.notes == ()


def test_the_gate_is_small_and_the_rest_informs() -> None:
    found = against(imagined_runs("new", 6, factor=1.3, first_day=1))

    assert [each.metric.name for each in found.gate] == [
        "p95 latency, stage 1, 4/s",
        "p95 latency, stage 2, 8/s",
        "errors where the SLO held",
        "service demand of the mix",
    ]
    informational = {each.metric.name: each.verdict for each in found.informational}
    assert informational["service demand of health"] == "worse"
    assert informational["goodput, stage 1, 4/s"] == "~"
    assert not informational.keys() & {each.metric.name for each in found.gate}


def test_stages_that_broke_the_slo_in_the_baseline_are_not_in_the_gate() -> None:
    baseline = imagined_runs("old", 6)
    first, second = baseline[3].stages
    broken: StageStats = replace(second, met_slo=False)
    baseline[3] = replace(baseline[3], stages=(first, broken))

    found = compare_runs(baseline, imagined_runs("new", 6, first_day=1), margin=0.1)

    assert "p95 latency, stage 2, 8/s" not in [each.metric.name for each in found.gate]
    assert "p95 latency, stage 2, 8/s" in [each.metric.name for each in found.informational]


def test_gate_stages_by_share() -> None:
    runs = list(imagined_runs("old", 4))
    for index in (0, 1):
        first, second = runs[index].stages
        runs[index] = replace(runs[index], stages=(first, replace(second, met_slo=False)))

    assert gate_stages(runs) == (0,)
    assert gate_stages(runs, share=0.5) == (0, 1)
    assert gate_stages(runs, share=0.6) == (0,)


def test_the_error_rate_is_over_the_gate_stages() -> None:
    run = imagined_run("x")
    first, second = run.stages
    failing = replace(second, outcomes={**second.outcomes, "ok": second.outcomes["ok"] - 10})
    run = replace(run, stages=(first, failing))

    assert run_metrics(run, (0,)).gate[ERROR_RATE].value == 0
    both = run_metrics(run, (0, 1)).gate[ERROR_RATE].value
    assert both == pytest.approx(10 / (first.sent + second.sent))
    assert run_metrics(replace(run, demand=None), ()).gate == {}
    assert MIX_DEMAND in run_metrics(run, ()).gate


def test_an_aborted_run_is_refused_by_name() -> None:
    contender = imagined_runs("new", 6, first_day=1)
    contender[2] = imagined_run("bad", day=5, status="aborted")

    found = against(contender)

    assert (found.verdict, found.exit_code, found.gate) == ("refused", 5, ())
    assert found.refusals == ("Run bad is aborted: only finished runs can be compared.",)
    assert found.sentence.startswith("Not compared: run bad is aborted")


def test_unlike_runs_are_refused_with_the_differences() -> None:
    manifest = imagined_manifest(
        scenario__traffic__retries="standard", environment__before__MinWebservers=3
    )
    contender = imagined_runs("new", 5, first_day=1)
    contender.append(imagined_run("unlike", manifest=manifest, day=11))

    found = against(contender)

    assert found.exit_code == 5
    assert [each.what for each in found.differences] == ["min webservers", "retries"]
    assert found.refusals[1] == (
        "The runs differ in retries: off (baseline, contender); standard (contender)."
    )


def test_mixed_airflow_versions_on_one_side_are_refused() -> None:
    contender = imagined_runs("new", 5, airflow="3.3.1", first_day=1)
    contender.append(imagined_run("late", airflow="3.3.2", day=11))

    found = against(contender)

    assert found.verdict == "refused"
    assert "Airflow within the contender" in found.sentence


@pytest.mark.parametrize(("count", "refused"), [(3, True), (4, True), (5, False)])
def test_too_few_runs_are_refused_with_the_number_needed(count: int, refused: bool) -> None:
    found = compare_runs(
        imagined_runs("old", count), imagined_runs("new", count, first_day=1), margin=0.1
    )

    assert (found.verdict == "refused") == refused
    if refused:
        assert "make at least 5 of each, taking turns" in found.sentence


def test_a_run_is_not_compared_with_itself() -> None:
    runs = imagined_runs("old", 6)

    found = compare_runs(runs, [*imagined_runs("new", 5, first_day=1), runs[0]], margin=0.1)

    assert found.refusals == (
        "Run old-00 is given on both sides: a run cannot be compared with itself.",
    )


def test_what_weakens_the_answer_is_noted() -> None:
    found = against(imagined_runs("new", 6, first_day=100))

    assert any("take turns" in note for note in found.notes)


def test_a_change_of_airflow_shows_in_the_history() -> None:
    runs = [
        *imagined_runs("old", 10),
        *imagined_runs("new", 10, factor=1.3, airflow="3.3.1", first_day=50),
    ]

    found = trace_history(runs[::-1])

    assert (found.exit_code, found.refusals) == (0, ())
    demand = next(each for each in found.metrics if each.metric == MIX_DEMAND)
    (point,) = demand.change_points
    assert (point.index, point.is_worse) == (10, True)
    assert (point.run_before.airflow_version, point.first_run.airflow_version) == ("3.2.1", "3.3.1")
    assert point.first_run.run_id == "new-00"
    assert point.change.value == pytest.approx(1.3, rel=0.03)
    assert point.change.low is not None
    assert point.change.low <= point.change.value
    assert "new-00 (Airflow 3.2.1 before, 3.3.1 since)" in found.sentence


def test_a_history_without_a_change_says_so() -> None:
    found = trace_history(imagined_runs("old", 16))

    assert found.sentence == "No change in 4 metrics of 16 runs."
    assert found.exit_code == 0


def test_a_history_leaves_invalid_runs_out_by_name_and_needs_fifteen() -> None:
    runs = imagined_runs("old", 15)
    bad = imagined_run("bad", day=3, status="aborted")

    assert trace_history([*runs, bad]).exit_code == 0
    assert trace_history([*runs, bad]).notes == (
        "Left out: Run bad is aborted: only finished runs can be compared.",
    )
    refused = trace_history([*runs[:14], bad])
    assert refused.exit_code == 5
    assert "at least 15 valid runs, there are 14" in refused.sentence


def test_a_history_of_unlike_runs_is_refused() -> None:
    other = imagined_run("other", manifest=imagined_manifest(scenario__traffic__retries="legacy"))

    found = trace_history([*imagined_runs("old", 15), other])

    assert found.exit_code == 5
    assert [each.what for each in found.differences] == ["retries"]
