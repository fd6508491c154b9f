"""What is said of one run from its numbers: capacity, scaling and its cost, a known truth."""

from dataclasses import replace
from typing import Any

import pytest
from hand_built import START_S, hand_built, said
from rendered import every_finding, summary
from rich_run import ELASTICITY, NEED, rich

from mwaa_headroom.analysis.findings import note
from mwaa_headroom.analysis.report import run_tables, run_text
from mwaa_headroom.analysis.report.plots.stages import draw_throughput_latency
from mwaa_headroom.analysis.report.sentences import told
from mwaa_headroom.analysis.results import (
    ScalingEvent,
    TransientCost,
)
from mwaa_headroom.analysis.statistics import Estimate

SCALE_OUT = hand_built().scaling[0]

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

ON_AWS = replace(
    SCALE_OUT, decision_s=None, ready_s=None, takes_traffic_s=START_S + 65, period_s=60.0
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


def test_how_well_the_count_followed_the_need() -> None:
    assert tuple(run_text.elasticity(ELASTICITY)) == (
        "Too few webservers 18 % of the time with load, then on average 9 % fewer than were "
        "needed.",
        "Too many webservers 32 % of the time with load, then on average 25 % more than were "
        "needed.",
        told(NEED),
    )
    assert tuple(run_text.elasticity(None)) == ()


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


def test_the_highest_stage_is_told_with_how_sure_it_is() -> None:
    capacity = hand_built().capacity
    assert capacity
    assert run_text.chances_sentence(capacity) == ""
    sure = replace(capacity, highest_rate_per_s=17.0, webservers=2, highest_holds=0.83)
    told = "In the long run 17 calls/s with 2 webservers meet the SLO with a probability of 83 %"
    assert run_text.chances_sentence(sure) == f"{told}."
    following = replace(sure, next_rate_per_s=18.5, next_holds=0.004)
    assert (
        run_text.chances_sentence(following) == f"{told}, 18.5 calls/s with one of less than 1 %."
    )


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


def test_a_single_interval_is_one() -> None:
    told = run_text.truth_sentence(rich(hand_built()).truth[:1])
    assert told == "Truth of the simulation: inside 1 of 1 interval."
