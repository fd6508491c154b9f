"""What the report says of scaling: each step, what it cost, and how well the count fit the need."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hand_built import START_S, hand_built, said
from rendered import as_run, page, summary
from rich_run import ELASTICITY, NEED, rich
from sample_runs import Plan, made_up_run

from mwaa_headroom.analysis.findings import note
from mwaa_headroom.analysis.report import run_tables, run_text
from mwaa_headroom.analysis.report.plots.timeline import draw_timeline
from mwaa_headroom.analysis.report.sentences import told
from mwaa_headroom.analysis.results import ScalingEvent, TransientCost

SCALE_OUT = hand_built().scaling[0]
ON_AWS = replace(
    SCALE_OUT, decision_s=None, ready_s=None, takes_traffic_s=START_S + 65, period_s=60.0
)
SCALE_IN = ScalingEvent(
    3,
    2,
    load_step_s=None,
    breach_s=None,
    decision_s=START_S + 90,
    count_changed_s=START_S + 95,
    ready_s=None,
    slo_restored_s=None,
    reason=note("scaling.quiet", cpu_below_percent=30.0, connections_below=5.0, periods=6),
    slo_broke=True,
)


def cost(**changes: Any) -> ScalingEvent:
    paid = TransientCost(0.0, 41.0, 1870, 13, 13.0, 212, 212.0, ended=True)
    return replace(SCALE_OUT, cost=replace(paid, **changes))


@pytest.mark.parametrize(
    ("event", "sentence", "why"),
    [
        (
            cost(),
            "Until the SLO held again, 41 s after the load step, 212 of 1870 calls were slow and "
            "13 failed.",
            "all of it beyond what there was before",
        ),
        (
            cost(excess_slow_calls=200.4, excess_errors=12.0),
            "Until the SLO held again, 41 s after the load step, 212 of 1870 calls were slow and "
            "13 failed; at the shares before the load step it would have been 12 and 1.",
            "some were slow anyway",
        ),
        (
            cost(ended=False),
            "The SLO did not hold again in the 41 s it was watched after the load step: 212 of "
            "1870 calls were slow and 13 failed.",
            "watching ended first",
        ),
        (
            cost(slow_calls=0, errors=0, excess_slow_calls=-3.0, excess_errors=0.0),
            "Until the SLO held again, 41 s after the load step, none of 1870 calls was slow or "
            "failed; at the shares before the load step it would have been 3 and 0.",
            "fewer than before",
        ),
        (
            cost(errors=0, excess_errors=0.0),
            "Until the SLO held again, 41 s after the load step, 212 of 1870 calls were slow and "
            "none failed.",
            "slow only",
        ),
        (
            cost(slow_calls=1, errors=1, excess_slow_calls=1.0, excess_errors=1.0),
            "Until the SLO held again, 41 s after the load step, 1 of 1870 calls was slow and 1 "
            "failed.",
            "one is not many",
        ),
        (SCALE_OUT, "", "not known"),
        (cost(calls=0), "", "nobody called"),
    ],
)
def test_what_a_scale_out_cost(event: ScalingEvent, sentence: str, why: str) -> None:
    assert run_text.cost_sentence(event) == sentence, why


def test_a_scale_in_is_a_line_with_its_reason_and_what_came_of_it() -> None:
    assert run_text.scaling_sentence(SCALE_IN, START_S) == (
        "3 to 2 webservers: decision (CPU below 30 % and connections below 5 for 6 periods) at "
        "01:30, 2 webservers in the metrics +5 s; the SLO broke after it."
    )
    held = replace(SCALE_IN, slo_broke=False)
    assert run_text.scaling_sentence(held, START_S).endswith("; the SLO held after it.")
    assert run_tables.steps_table(SCALE_IN, START_S, folded=False) is None


def test_where_the_environment_tells_nothing_the_metrics_do() -> None:
    assert run_text.scaling_sentence(ON_AWS, START_S) == (
        "2 to 3 webservers: CPU above 70 % at 00:42 (12 s after the load rose), 3 webservers in "
        "the metrics +23 s, takes traffic +23 s, SLO restored +25 s."
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


def test_how_well_the_count_followed_the_need() -> None:
    assert tuple(run_text.elasticity(ELASTICITY)) == (
        "Too few webservers 18 % of the time with load, then on average 9 % fewer than were "
        "needed.",
        "Too many webservers 32 % of the time with load, then on average 25 % more than were "
        "needed.",
        told(NEED),
    )
    assert tuple(run_text.elasticity(None)) == ()


def test_a_need_that_is_not_known_is_said() -> None:
    unknown = replace(
        ELASTICITY,
        under_provisioned=None,
        over_provisioned=None,
        under_time=None,
        over_time=None,
        refusal=said("How many were needed is not known: there is no service demand."),
    )
    analysis = replace(rich(hand_built()), elasticity=unknown)
    assert told(unknown.refusal) in page(analysis)
    text = summary(analysis)
    assert told(unknown.refusal) in text
    assert "Too few" not in text


def test_scaling_is_told_in_sentences_and_tables() -> None:
    analysis = rich(hand_built())
    for text in (" ".join(summary(analysis).split()), page(analysis)):
        for shown in (
            "212 of 1870 calls were slow and 13 failed",
            "Too few webservers 18 % of the time with load",
            told(NEED),
            "By webserver count",
            "threshold passed",
            "910 ms (850-980)",
        ):
            assert shown in text


def test_the_steps_of_many_changes_are_folded() -> None:
    few, many = hand_built(), replace(hand_built(), scaling=(SCALE_OUT, SCALE_IN) * 10)
    assert page(many).count("2 to 3 webservers: ") == 10
    assert page(many).count("<summary>Steps from 2 to 3 webservers") == 10
    assert page(few).count("<summary>Steps from") == 0


def test_a_lost_load_process_is_marked_in_the_timeline() -> None:
    record, analysis = made_up_run(Plan(rates=(8, 12), duration_s=30))
    lost = {"time_s": analysis.started_at_s + 40.0, "kind": "worker_lost", "worker": 2}
    figure = draw_timeline(replace(analysis, events=(lost,)), as_run(analysis, record).calls)
    rate, latency, *others = figure.axes
    assert any("load process 2 lost 00:40" in text.get_text() for text in rate.texts)
    for axes, lines in ((rate, 1), (latency, 1), (others[-1], 0)):
        assert sum(np.array_equal(line.get_xdata(), [40.0, 40.0]) for line in axes.lines) == lines


def test_the_databases_cpu_is_a_line_where_it_is_known() -> None:
    record, plain = made_up_run(Plan(rates=(8, 22), duration_s=60, scale_out_at_s=75))
    for analysis, shown in ((plain, False), (rich(plain), True)):
        figure = draw_timeline(analysis, as_run(analysis, record).calls)
        (cpu,) = (axes for axes in figure.axes if axes.get_ylabel() == "CPU (%)")
        assert any(text.get_text() == "database" for text in cpu.texts) == shown
        table = run_tables.webserver_table(analysis.stages)
        assert table is not None
        assert any(column.heading == "database CPU" for column in table.columns) == shown
