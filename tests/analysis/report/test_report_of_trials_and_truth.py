"""What the report says of trials, capacity and a known truth."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hand_built import hand_built, said
from rendered import page, summary
from rich_run import RISING, rich
from sample_runs import Plan, made_up_run
from synthetic_records import write_synthetic_run

from mwaa_headroom.analysis.calls import calls_of
from mwaa_headroom.analysis.record import read_run
from mwaa_headroom.analysis.report import run_tables, run_text
from mwaa_headroom.analysis.report.as_json import as_json
from mwaa_headroom.analysis.report.plots.stages import draw_throughput_latency
from mwaa_headroom.analysis.report.plots.timeline import draw_timeline
from mwaa_headroom.analysis.report.run_notes import findings
from mwaa_headroom.analysis.report.sentences import told
from mwaa_headroom.analysis.report.words import lowered
from mwaa_headroom.analysis.results import RunAnalysis, SteadyState
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.analysis.statistics import Estimate

MEAN_RATE = "~ is the mean of a rate that was not constant: of a ramp or a trace."


def with_stage(analysis: RunAnalysis, **changes: Any) -> RunAnalysis:
    """The same run, with its first stage changed."""
    first, *others = analysis.stages
    return replace(analysis, stages=(replace(first, **changes), *others))


def every_finding(analysis: RunAnalysis) -> tuple[str, ...]:
    concerning, others = findings(analysis)
    return (*concerning, *others)


def test_a_stage_that_met_the_slo_but_still_rises_says_so() -> None:
    analysis = with_stage(
        hand_built(), trial="undecided", trial_reason=RISING.reason, steady=RISING
    )
    remark = f"Stage 1 calm met the SLO but is undecided: {lowered(told(RISING.reason))}"
    html = page(analysis)
    for text in (summary(analysis), summary(analysis, verbose=False), html):
        assert remark in " ".join(text.split())
    assert '<td class="number unsure">undecided</td>' in html
    assert '<td class="number">rising</td>' in html
    assert not any(told(RISING.reason) in each for each in every_finding(analysis)), (
        "it is told above"
    )


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


def test_a_stage_that_never_settled_is_a_note() -> None:
    unsteady = SteadyState("unsteady", None, Estimate(None), said("Its latency went up and down."))
    noted = every_finding(with_stage(hand_built(), steady=unsteady))
    assert "Stage 1 calm: its latency went up and down." in noted


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


def test_the_titles_of_the_timeline_can_count_to_one() -> None:
    record, analysis = made_up_run(Plan())
    requests, analysis = record.requests, replace(analysis, scaling=())
    one = draw_timeline(analysis, calls_of(requests.slice(0, 1))).texts[0].get_text()
    assert one.startswith("1 call in ")
    place = requests.schema.get_field_index("outcome")
    kind = requests.schema.field(place)
    outcomes = pa.array(["unsent", "airflow_server_error"]).cast(kind.type)
    two = requests.slice(0, 2).set_column(place, kind, outcomes)
    title = draw_timeline(analysis, calls_of(two)).texts[0].get_text()
    assert "it failed, 1 arrival was not sent" in " ".join(title.split())


def test_the_capacity_has_its_interval_and_what_stopped_more() -> None:
    analysis = hand_built()
    assert analysis.capacity
    known = replace(
        analysis.capacity, rate_per_s=Estimate(14.13, 12.84, 15.6, 4), rate_webservers=2
    )
    told = "14.1 calls/s (12.8-15.6) with 2 webservers; more was stopped by "
    assert run_text.capacity_sentence(known) == f"{told}webserver CPU."
    by_database = replace(known, bottleneck="database")
    assert run_text.capacity_sentence(by_database) == f"{told}the metadata database."
    assert f"Capacity\n  {told}webserver CPU.\n" in summary(replace(analysis, capacity=known))
    unsized = replace(analysis, capacity=known, sizing=None)
    assert run_text.headline(unsized) == "14.1 calls/s with 2 webservers"


def test_the_capacity_of_one_count_is_not_told_as_that_of_another() -> None:
    """2 webservers broke between the stages, and then 3 of them held more."""
    analysis = hand_built()
    assert analysis.capacity
    known = replace(
        analysis.capacity,
        rate_per_s=Estimate(16.1, 13.3, 17.1, 4, warnings=(said("Nothing was measured between."),)),
        rate_webservers=2,
        highest_rate_per_s=22.0,
        webservers=3,
    )
    unsized = replace(analysis, capacity=known, sizing=None)

    assert run_text.capacity_sentence(known) == (
        "16.1 calls/s (13.3-17.1) with 2 webservers; 22 calls/s with 3 webservers met the SLO, "
        "more was stopped by webserver CPU."
    )
    assert run_text.headline(unsized) == "22 calls/s with 3 webservers"
    assert "Capacity with 2 webservers: Nothing was measured between." in every_finding(unsized)
    held = replace(known, bottleneck="not_reached")
    assert (
        run_text.headline(replace(unsized, capacity=held))
        == "At least 22 calls/s with 3 webservers"
    )
    assert run_text.capacity_sentence(held).endswith("; 22 calls/s with 3 webservers met the SLO.")
    texts = [text.get_text() for text in draw_throughput_latency(unsized).axes[0].texts]
    assert "capacity with 2 webservers" in texts


def test_one_call_is_not_told_as_many() -> None:
    text = "\n".join(every_finding(with_stage(hand_built(), censored=1, unsent=1)))
    assert "1 call was cut at a time limit" in text
    assert re.search(r"1 of \d+ arrivals was not sent\.", text)


def test_a_capacity_that_was_refused_is_a_note() -> None:
    analysis = hand_built()
    assert analysis.capacity
    refused = Estimate(None, warnings=(said("Two stages on either side of it are needed."),))
    text = summary(replace(analysis, capacity=replace(analysis.capacity, rate_per_s=refused)))
    assert "Capacity: Two stages on either side of it are needed." in text
    assert "\nCapacity" not in text


def test_the_picture_of_the_stages_shows_the_capacity_and_doubtful_passes() -> None:
    _, analysis = made_up_run(Plan())
    analysis = with_stage(rich(analysis), trial="undecided")
    figure = draw_throughput_latency(analysis)
    texts = [text.get_text() for text in (*figure.texts, *figure.axes[0].texts)]
    assert any(text.startswith("The SLO breaks at 24.1 calls/s (22.8-25.6)") for text in texts)
    assert "met, but undecided" in texts
    assert "capacity with 2 webservers" in texts


def test_a_single_interval_is_one() -> None:
    told = run_text.truth_sentence(rich(hand_built()).truth[:1])
    assert told == "Truth of the simulation: inside 1 of 1 interval."


def test_the_truth_of_simulated_webservers_is_beside_the_estimates() -> None:
    analysis = rich(hand_built())
    assert run_tables.truth_table(analysis.truth).rows == (
        ("service demand of the mix", "75.2 ms (72.3-78.1)", "74.1 ms", "✓"),
        ("rate of one webserver", "8.9 calls/s (8.40-9.40)", "9.6 calls/s", "✗"),
        ("webservers for 25 calls/s", "3", "3", "✓"),
    )
    told = "Truth of the simulation: inside 2 of 3 intervals; not of the rate of one webserver."
    assert told in summary(analysis)


def test_virtual_time_is_said() -> None:
    told = "Simulated in virtual time: no call was really sent."
    assert told in summary(rich(hand_built()))
    assert told in page(rich(hand_built()))
    assert told not in summary(hand_built())


def test_the_json_has_all_of_it() -> None:
    answer = as_json(rich(hand_built()))
    assert answer["elasticity"]["under_time_fraction"] == 0.18
    assert answer["scaling"][0]["cost"]["slow_calls"] == 212
    assert answer["by_webservers"][1]["webservers"] == 3
    assert answer["truth"][1]["within"] is False
    assert answer["capacity"]["rate_per_s"]["low"] == 22.8
    assert answer["stages"][0]["steady"]["trend_fraction_per_min"]["value"] == 0.01
    assert answer["stages"][0]["trial"] == "pass"


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
        ("00:00", "585", "2.51 ms", "4.45 ms"),
        ("01:00", "1285", "5.09 ms", "9.15 ms"),
        ("02:00", "1412", "11.4 ms", "31.8 ms"),
    )
    on_time = replace(run.calls, lag_s=run.calls.lag_s * 0)
    assert run_tables.lag_table(on_time, run.analysis.started_at_s) is None
