"""Two sets of imagined runs: verdicts, exit codes, refusals."""

from dataclasses import replace

import pytest
from compared_runs import imagined_manifest, imagined_run, imagined_runs

from mwaa_headroom.analysis.comparison.compare import Comparison, compare_runs
from mwaa_headroom.analysis.findings import refusal
from mwaa_headroom.analysis.results import RunAnalysis, StageStats


def against(contender: list[RunAnalysis], margin: float = 0.1) -> Comparison:
    return compare_runs(imagined_runs("old", 6), contender, margin=margin)


@pytest.mark.parametrize(
    ("factor", "verdict", "exit_code"),
    [(1.3, "regression", 4), (1.0, "pass", 0), (1.1, "inconclusive", 5)],
)
def test_verdicts_and_exit_codes(factor: float, verdict: str, exit_code: int) -> None:
    found = against(imagined_runs("new", 6, factor=factor, airflow="3.3.1", first_day=1))

    assert (found.verdict, found.exit_code) == (verdict, exit_code)
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


def test_an_aborted_run_is_refused_by_name() -> None:
    contender = imagined_runs("new", 6, first_day=1)
    contender[2] = imagined_run("bad", day=5, status="aborted")

    found = against(contender)

    assert (found.verdict, found.exit_code, found.gate) == ("refused", 5, ())
    assert found.refusals == (refusal("identity.not_finished", run_id="bad", status="aborted"),)


def test_unlike_runs_are_refused_with_the_differences() -> None:
    manifest = imagined_manifest(
        scenario__traffic__retries="standard", environment__before__MinWebservers=3
    )
    contender = imagined_runs("new", 5, first_day=1)
    contender.append(imagined_run("unlike", manifest=manifest, day=11))

    found = against(contender)

    assert found.exit_code == 5
    assert [each.what for each in found.differences] == ["min webservers", "retries"]
    assert found.refusals[1] == refusal(
        "identity.unlike",
        what="retries",
        values=(("off", "baseline, contender"), ("standard", "contender")),
    )


def test_mixed_airflow_versions_on_one_side_are_refused() -> None:
    contender = imagined_runs("new", 5, airflow="3.3.1", first_day=1)
    contender.append(imagined_run("late", airflow="3.3.2", day=11))

    found = against(contender)

    assert found.verdict == "refused"
    assert [each.what for each in found.differences] == ["Airflow within the contender"]


@pytest.mark.parametrize(("count", "refused"), [(3, True), (4, True), (5, False)])
def test_too_few_runs_are_refused_with_the_number_needed(count: int, refused: bool) -> None:
    found = compare_runs(
        imagined_runs("old", count), imagined_runs("new", count, first_day=1), margin=0.1
    )

    assert (found.verdict == "refused") == refused
    if refused:
        (few,) = found.refusals
        assert (few.code, few.values["needed"]) == ("comparison.too_few_runs", 5)


def test_a_run_is_not_compared_with_itself() -> None:
    runs = imagined_runs("old", 6)

    found = compare_runs(runs, [*imagined_runs("new", 5, first_day=1), runs[0]], margin=0.1)

    assert found.refusals == (refusal("comparison.on_both_sides", run_id="old-00"),)


def test_what_weakens_the_answer_is_noted() -> None:
    found = against(imagined_runs("new", 6, first_day=100))

    assert [note.code for note in found.notes] == [
        "comparison.no_turns",
        "comparison.same_airflow",
    ]
    assert found.notes[0].values["one_side_first"]


def drifting(first_day: float, by: float = 0.2) -> Comparison:
    """Equal sides of which everything grows over the days, the contender from a day on."""

    def side(name: str, from_day: float) -> list[RunAnalysis]:
        factors = {
            from_day + 2 * place: 1.0 + by * (from_day + 2 * place) / 24 + noise
            for place, noise in enumerate((0.0, 0.02, -0.01, 0.01, 0.0, -0.02))
        }
        return [
            imagined_run(f"{name}-{day:g}", day=day, factor=factor)
            for day, factor in factors.items()
        ]

    return compare_runs(side("old", 0.0), side("new", first_day), margin=0.1)


def test_a_drift_is_taken_off_where_the_sides_took_turns() -> None:
    found = drifting(first_day=1)

    assert found.verdict == "pass"
    (note,) = (note for note in found.notes if note.code == "comparison.drift_taken_off")
    assert [name for name, _, _ in note.values["metrics"]] == [
        "p95 latency, stage 1, 4/s",
        "p95 latency, stage 2, 8/s",
        "service demand of the mix",
    ]
    assert note.values["metrics"][0][1] == pytest.approx(1.09, abs=0.03)  # over 11 of 24 days


@pytest.mark.parametrize(("by", "why"), [(0.3, "would be worse"), (-0.3, "would pass")])
def test_nothing_is_decided_of_a_drift_without_turns(by: float, why: str) -> None:
    found = drifting(first_day=12, by=by)

    assert (found.verdict, found.exit_code) == ("inconclusive", 5), why
    reasons = {each.metric.name: each.reason.code for each in found.gate if each.reason}
    assert reasons["service demand of the mix"] == "comparison.drift"
    assert reasons["errors where the SLO held"] == "comparison.others_drift"
