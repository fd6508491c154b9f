"""The tables of one run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hand_built import HEALTHY, START_S, hand_built, lower_bound, said, stage
from rendered import page, summary
from rich_run import RISING, rich
from synthetic_records import write_synthetic_run

from mwaa_headroom.analysis.record import read_run
from mwaa_headroom.analysis.report import run_tables
from mwaa_headroom.analysis.results import (
    RunAnalysis,
    SteadyState,
    WorkerHealth,
)
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.analysis.statistics import Estimate

SCALE_OUT = hand_built().scaling[0]


def with_stage(analysis: RunAnalysis, **changes: Any) -> RunAnalysis:
    """The same run, with its first stage changed."""
    first, *others = analysis.stages
    return replace(analysis, stages=(replace(first, **changes), *others))


MEAN_RATE = "~ is the mean of a rate that was not constant: of a ramp or a trace."


def test_several_load_processes_have_a_table() -> None:
    workers = (
        WorkerHealth(1, 600, 0.41, 0.052, 0.0013, 0.0002),
        WorkerHealth(2, 400, None, None, None, None, lost=said("lost: it is no longer connected")),
    )
    analysis = replace(hand_built(), generator=replace(HEALTHY, workers=workers))
    text = summary(analysis)
    assert "1   600         41 %  52.0 ms  1.30 ms ± 0.200 ms" in text
    assert "lost: it is no longer connected" in text
    assert "2 load processes)" in " ".join(text.split())
    assert "lost: it is no longer connected" in page(analysis)


def test_a_percentile_among_cut_calls_is_marked_in_the_tables() -> None:
    bound = Estimate(10.0, 9.9, 10.0, 300, warnings=(lower_bound(95.0, 20),))
    slow = replace(stage(1, p95_s=1.0, met=False), latency_s={"p95": bound}, censored=20)
    analysis = replace(hand_built(), stages=(stage(0, p95_s=0.6, met=True), slow))
    assert " ≥10.0 s " in summary(analysis)
    assert "≥10.0 s (9.9-10.0)" in page(analysis)


@pytest.mark.parametrize(
    ("steady", "cell"),
    [
        (SteadyState("steady", 12.0, Estimate(0.0)), "12 s"),
        (RISING, "rising"),
        (
            SteadyState("unsteady", None, Estimate(None), said("Its latency went up and down.")),
            "never",
        ),
        (SteadyState("not_checked", None, Estimate(None), said("It was too short.")), "-"),
        (None, "-"),
    ],
)
def test_when_a_stage_settled(steady: SteadyState | None, cell: str) -> None:
    table = run_tables.stage_table(with_stage(hand_built(), steady=steady).stages)
    place = [column.heading for column in table.columns].index("settled")
    assert table.rows[0][place] == cell


def test_a_run_without_an_slo_has_no_trials() -> None:
    bare = with_stage(hand_built(), slo=(), trial="undecided")
    assert run_tables.stage_table(bare.stages).rows[0][-1] == "-"


def test_the_mean_of_a_ramp_is_marked() -> None:
    ramp = with_stage(hand_built(), rate_is_mean=True)
    assert run_tables.stage_load(ramp.stages[0]) == "~10 calls/s"
    assert "  1 calm    ~10 " in summary(ramp)
    assert MEAN_RATE in summary(ramp)
    assert MEAN_RATE in page(ramp)
    assert "~" not in summary(hand_built())


def test_the_mean_of_a_ramp_is_marked_from_the_record_on(tmp_path: Path) -> None:
    write_synthetic_run(tmp_path / "run", rates_per_s=(4.0, 6.0), stage_s=40.0)
    record = read_run(tmp_path / "run")
    scenario = record.manifest["scenario"]
    first, second = scenario["stages"]
    stages = [{**first, "ramp_to_rate_per_s": 8.0}, second]
    manifest = {**record.manifest, "scenario": {**scenario, "stages": stages}}
    analysis = Run(replace(record, manifest=manifest)).analysis
    assert [stage.rate_is_mean for stage in analysis.stages] == [True, False]
    assert run_tables.stage_load(analysis.stages[0]) == "~6 calls/s"
    assert MEAN_RATE in summary(analysis)


ON_AWS = replace(
    SCALE_OUT, decision_s=None, ready_s=None, takes_traffic_s=START_S + 65, period_s=60.0
)


def test_the_steps_of_a_scale_out_say_how_well_they_are_known() -> None:
    table = run_tables.steps_table(
        replace(ON_AWS, count_changed_after_s=START_S + 5), 0.0, folded=False
    )
    assert table is not None
    assert [(row[0], *row[2:]) for row in table.rows] == [
        ("load step", "", "exactly"),
        ("threshold passed", "12 s", "60 s"),
        ("count rises", "23 s", "60 s"),
        ("takes traffic", "0 s", "60 s"),
        ("SLO restored", "2 s", "5 s"),
    ]


def test_the_truth_of_simulated_webservers_is_beside_the_estimates() -> None:
    analysis = rich(hand_built())
    assert run_tables.truth_table(analysis.truth).rows == (
        ("service demand of the mix", "75.2 ms (72.3-78.1)", "74.1 ms", "✓"),
        ("rate of one webserver", "8.9 calls/s (8.40-9.40)", "9.6 calls/s", "✗"),
        ("webservers for 25 calls/s", "3", "3", "✓"),
    )
    told = "Truth of the simulation: inside 2 of 3 intervals; not of the rate of one webserver."
    assert told in summary(analysis)


def test_the_probability_of_a_webserver_count_is_shown_with_what_would_decide() -> None:
    analysis = hand_built()
    assert analysis.sizing
    row = replace(analysis.sizing.rows[1], probability=0.87)
    sure = replace(
        analysis.sizing,
        target=row,
        rows=(row,),
        deciding=said("To decide, hold 25 calls/s for longer."),
    )
    text = summary(replace(analysis, sizing=sure))
    assert "25           3       3-4         87 %  target" in text
    assert "To decide, hold 25 calls/s for longer." in text
    assert "To decide, hold" in page(replace(analysis, sizing=sure))


def test_the_lag_over_time_is_told_where_calls_were_late() -> None:
    run = Run.read(Path(__file__).parents[2] / "frozen_runs" / "quickstart")
    table = run_tables.lag_table(run.calls, run.analysis.started_at_s)
    assert table is not None
    assert table.rows == (
        ("00:00", "365", "2.47 ms", "4.15 ms"),
        ("01:00", "629", "2.52 ms", "4.61 ms"),
        ("02:00", "1496", "4.15 ms", "22.4 ms"),
    )
    on_time = replace(run.calls, lag_s=run.calls.lag_s * 0)
    assert run_tables.lag_table(on_time, run.analysis.started_at_s) is None
