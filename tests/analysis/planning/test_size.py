"""A size for a load, from runs of an imagined environment."""

import json
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from sizing_by_hand import (
    PRICES,
    TRUE_RATE_OF_ONE_PER_S,
    recorded,
    recorded_runs,
    with_capacity,
)

from mwaa_headroom.analysis.findings import Finding, note, refusal, warning
from mwaa_headroom.analysis.planning.classes import ClassPrice, Money
from mwaa_headroom.analysis.planning.loads import load_between, load_of_rates
from mwaa_headroom.analysis.planning.options import SizeOption
from mwaa_headroom.analysis.planning.size import SizingAnswer, answer_size
from mwaa_headroom.analysis.report.as_json import as_json
from mwaa_headroom.analysis.report.document import Bullets
from mwaa_headroom.analysis.report.size_report import size_document
from mwaa_headroom.analysis.results import RunAnalysis
from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.analysis.statistics import Estimate


def answer(
    runs: list[RunAnalysis], low_per_s: float, high_per_s: float | None = None, **more: object
) -> SizingAnswer:
    load = load_between(low_per_s, high_per_s or low_per_s)
    return answer_size(runs, load, (PRICES,), **more)  # type: ignore[arg-type]


def chosen(found: SizingAnswer) -> SizeOption:
    assert found.chosen is not None
    return found.chosen


def conditions(found: SizingAnswer) -> str:
    """What is told beside the sentence."""
    sections = {section.title: section.blocks for section in size_document(found).sections}
    (bullets,) = sections["Conditions"]
    assert isinstance(bullets, Bullets)
    return " ".join(bullets.items)


def codes(findings: Iterable[Finding]) -> list[str]:
    return [each.code for each in findings]


def decisive(found: SizingAnswer) -> list[Finding]:
    """What is to be measured."""
    return list(found.deciding.values["measurements"]) if found.deciding else []


def test_the_cheapest_setting_that_is_sure_enough() -> None:
    # one vCPU serves 15.7 calls/s at 70 %: 40 need three
    found = answer(recorded_runs(1), 40)
    option = chosen(found)

    assert found.classes[0].rate_of_one_per_s.value == pytest.approx(
        TRUE_RATE_OF_ONE_PER_S, rel=0.05
    )
    assert (option.environment_class, option.min_webservers, option.max_webservers) == (
        "mw1.small", 3, 3,
    )  # fmt: skip
    assert option.probability > 0.95
    assert option.monthly == PRICES.month("mw1.small", 3)
    assert found.exit_code == 0


def test_options_trade_price_against_slow_calls() -> None:
    options = [
        o for o in answer(recorded_runs(1), 70).options if o.environment_class == "mw1.small"
    ]
    late = [(o.burst.slow_calls.value or 0) + (o.burst.failed_calls.value or 0) for o in options]
    months = [o.monthly.high for o in options if o.monthly]

    assert [option.min_webservers for option in options] == [2, 3, 4, 5]
    assert late == sorted(late, reverse=True)
    assert months == sorted(months)
    assert [option.meets for option in options] == [False, False, False, True]


def test_a_load_beyond_a_class_goes_to_the_next() -> None:
    found = answer(recorded_runs(1), 100)

    assert [size.suffices for size in found.classes[:2]] == [False, True]
    assert chosen(found).environment_class == "mw1.large"
    assert note("size.classes_left_out", names=("mw1.medium",)) in found.assumptions


def test_a_load_beyond_every_class_has_no_size() -> None:
    found = answer(recorded_runs(1), 5000)

    assert (found.exit_code, found.recommended) == (5, None)
    assert (found.options, found.classes[-1].environment_class) == ((), "mw1.2xlarge")


def test_without_prices_the_smallest_is_recommended() -> None:
    found = answer(recorded_runs(1), 40, region="nowhere-2")

    assert chosen(found).environment_class == "mw1.small"
    assert chosen(found).monthly is None
    assert found.prices is None
    assert found.price_refusal == refusal("size.no_prices", region="nowhere-2")


def test_a_dear_small_class_gives_way() -> None:
    price = ClassPrice(Money(0.5, 0.5), Money(5, 5), 2)
    dear = replace(PRICES, classes={**PRICES.classes, "mw1.small": price})
    found = answer_size(recorded_runs(1), load_between(40, 40), (dear,))

    assert chosen(found).environment_class == "mw1.large"
    assert "size.prices_incomplete" not in codes(found.warnings)


def test_a_price_that_is_not_known_is_not_a_high_one() -> None:
    unknown = replace(PRICES, classes={**PRICES.classes, "mw1.small": PRICES.classes["mw1.xlarge"]})
    found = answer_size(recorded_runs(1), load_between(40, 40), (unknown,))

    assert {option.environment_class for option in found.options if option.monthly} >= {"mw1.large"}
    assert (chosen(found).environment_class, chosen(found).monthly) == ("mw1.small", None)
    assert "size.prices_incomplete" in codes(found.warnings)


def test_when_two_counts_are_possible_it_says_what_would_decide() -> None:
    one = answer(recorded_runs(1), 30).classes[0].rate_of_one_per_s
    found = answer(recorded_runs(1), 2 * (one.value or 0) * 1.01)
    size = found.classes[0]

    assert (size.webservers_low, size.webservers_high) == (2, 3)
    assert [(each.code, each.values["webservers"]) for each in decisive(found)] == [
        ("sizing.close", 2)
    ]
    assert chosen(found).max_webservers == 3


def test_a_range_starts_its_burst_at_its_lower_end() -> None:
    found = answer(recorded_runs(1), 10, 40)

    assert chosen(found).burst.from_per_s == 10
    assert answer(recorded_runs(1), 40).options[0].burst.from_per_s == 0
    assert answer(recorded_runs(1), 40, burst_from_per_s=7.0).options[0].burst.from_per_s == 7
    assert note("size.even_range") in found.assumptions


def test_a_quiet_trace_with_bursts_needs_fewer_than_its_peak_all_the_time() -> None:
    """The bursts are 40 calls/s: three webservers, which come 14 to 19 s after each began."""
    starts = np.arange(0, 20) * 600.0
    time_s = np.sort(np.concatenate([starts, starts + 480.0]))
    rates = np.tile([4.0, 40.0], 20)
    load = load_of_rates(time_s, rates, "bursts.csv")

    found = answer_size(recorded_runs(1), load, (PRICES,))

    assert chosen(found).min_webservers == 2
    assert chosen(found).max_webservers == 3
    assert chosen(found).trace is not None
    assert found.options[0].probability > 0.95


def test_a_trace_whose_bursts_outrun_autoscaling_needs_more_all_the_time() -> None:
    starts = np.arange(0, 20) * 40.0
    time_s = np.sort(np.concatenate([starts, starts + 25.0]))
    load = load_of_rates(time_s, np.tile([2.0, 70.0], 20), "short.csv")

    found = answer_size(recorded_runs(1), load, (PRICES,))
    two = found.options[0]

    assert two.trace is not None
    assert two.trace.slow_share > 0.05
    assert not two.meets
    assert two.shortcoming is not None
    assert two.shortcoming.code == "size.too_many_slow"
    assert two.shortcoming.values["allowed"] == pytest.approx(0.05)
    assert [(o.min_webservers, o.max_webservers) for o in found.options[:3]] == [
        (2, 3), (3, 3), (4, 4),
    ]  # fmt: skip
    assert chosen(found).min_webservers == 4
    assert "size.start_time_decides" in codes(decisive(found))


def test_bursts_that_outrun_every_setting_name_what_to_measure() -> None:
    time_s = np.sort(np.concatenate([np.arange(20) * 40.0, np.arange(20) * 40.0 + 25.0]))
    load = load_of_rates(time_s, np.tile([2.0, 70.0], 20), "short.csv")
    runs = recorded_runs(1)
    strict = replace(runs[0], slos=(parse_slo("p99.99(latency) < 1ms"),))

    found = answer_size([strict], load, (PRICES,))

    assert found.exit_code == 5
    assert note("size.start_time_decides", rate_per_s=load.high_per_s, webservers=2) in decisive(
        found
    )


def test_where_the_slo_broke_decides() -> None:
    # on 2 webservers with 0.5 CPU at 20 calls/s: 20 for each of 1 vCPU
    runs = with_capacity(recorded_runs(1), 20.0, webservers=2, bottleneck="webserver_cpu")
    found = answer(runs, 37)

    assert found.judged_by == "slo_capacity"
    assert (chosen(found).min_webservers, chosen(found).max_webservers) == (2, 3)
    assert found.classes[0].webservers == 3  # to stay below 70 % CPU


def test_where_the_cpu_asks_for_more_than_the_limit_it_says_so() -> None:
    runs = with_capacity(recorded_runs(1), 20.0, webservers=2, bottleneck="webserver_cpu")
    found = answer(runs, 85, environment_class="mw1.small")

    assert (chosen(found).environment_class, chosen(found).max_webservers) == ("mw1.small", 5)
    assert found.classes[0].webservers == 6
    assert "with 5, the most one may set, the CPU would be above 70 %" in conditions(found)


def test_a_size_far_from_the_runs_says_under_which_condition_it_holds() -> None:
    found = answer(recorded_runs(1), 40)

    assert size_document(found).sentence.startswith("By extrapolation, mw1.small")
    assert "grows in proportion to their CPU and number" in conditions(found)
    assert "the highest rate measured was 1" in conditions(found)


def test_a_size_like_the_runs_is_no_extrapolation() -> None:
    run = recorded(1, webserver_cpu=1.0)
    analysis = replace(run, environment={**run.environment, "kind": "aws"})
    like = [analysis]

    assert size_document(answer(like, 16)).sentence.startswith("mw1.small with")
    assert "This holds if" not in conditions(answer(like, 16))
    assert size_document(answer(like, 40)).sentence.startswith("By extrapolation")


def test_a_range_says_how_sure_its_highest_rate_is() -> None:
    found = answer(recorded_runs(1), 10, 30)
    option = chosen(found)

    assert option.min_webservers < option.max_webservers
    assert "over the range; at 30 calls/s" in conditions(found)
    assert "with the minimum and more than 99 % with the maximum" in conditions(found)
    assert "over the range" not in conditions(answer(recorded_runs(1), 40))


def test_a_throttle_below_the_load_leaves_nothing_to_recommend() -> None:
    runs = with_capacity(recorded_runs(1), 10.0, webservers=2, bottleneck="throttle")
    found = answer(runs, 25)

    assert found.exit_code == 5
    (stopped,) = (w for w in found.warnings if w.code == "size.stopped_by_another_limit")
    assert (stopped.values["bottleneck"], stopped.values["may_help"]) == ("throttle", False)


@pytest.mark.parametrize("bottleneck", ["connections", "unknown"])
def test_what_may_not_move_is_to_be_tried_with_more_webservers(bottleneck: str) -> None:
    runs = with_capacity(recorded_runs(1), 10.0, webservers=2, bottleneck=bottleneck)
    found = answer(runs, 25)

    assert found.exit_code == 5
    (stopped,) = (w for w in found.warnings if w.code == "size.stopped_by_another_limit")
    assert (stopped.values["bottleneck"], stopped.values["may_help"]) == (bottleneck, True)
    assert decisive(found) == [note("size.webservers_may_not_help", rate_per_s=25.0, webservers=5)]
    assert "with a probability of less than 1 % only" in size_document(found).sentence


def test_errors_of_airflow_say_nothing_of_size() -> None:
    runs = with_capacity(recorded_runs(1), 20.0, webservers=2, bottleneck="airflow")

    assert "size.stop_says_nothing" in codes(answer(runs, 25).warnings)


def with_rate(runs: list[RunAnalysis], **changes: object) -> list[RunAnalysis]:
    """The same runs, having found another capacity."""
    found = []
    for run in with_capacity(runs, 20.0, webservers=2, bottleneck="webserver_cpu"):
        capacity = run.capacity
        assert capacity is not None
        changed = replace(capacity, **changes)  # type: ignore[arg-type]
        found.append(replace(run, capacity=changed))
    return found


def test_where_the_slo_broke_counts_for_its_own_webservers() -> None:
    """Found at 2 webservers, though the highest stage that passed had 4."""
    found = answer(with_rate(recorded_runs(1), webservers=4), 37)

    assert found.runs[0].capacity_webservers == 2
    assert (chosen(found).min_webservers, chosen(found).max_webservers) == (2, 3)


def test_a_rate_of_an_unknown_count_is_not_used() -> None:
    found = answer(with_rate(recorded_runs(1), rate_webservers=None), 37)

    assert found.runs[0].capacity_per_s is None
    assert found.judged_by == "utilisation"


def test_a_capacity_without_a_lower_end_is_said_and_not_used_alone() -> None:
    why = warning("capacity.open_below", lowest_per_s=15.5, next_per_s=10.0)
    open_below = Estimate(15.5, 0.0, 18.3, warnings=(why,))
    found = answer(with_rate(recorded_runs(1), rate_per_s=open_below), 1, 2)

    assert found.judged_by == "utilisation"
    assert chosen(found).probability > 0.99
    assert decisive(found) == [note("size.slo_rate_open", reasons=(why,))]
    assert warning("size.slo_rate_of_run", run_id="run-1", reason=why) in found.warnings
    assert note("size.slo_rate_without_lower_end") in found.assumptions


def test_one_run_says_beside_its_probability_what_is_not_in_it() -> None:
    said = "There is one run: how runs differ is not in the probability."

    assert said in conditions(answer(recorded_runs(1), 40))
    assert said not in conditions(answer(recorded_runs(2), 40))
    on_aws = replace(recorded(1), environment={**recorded(1).environment, "kind": "aws"})
    assert said not in conditions(answer([on_aws], 40))


def test_where_cpu_alone_was_judged_the_latency_to_expect_is_told() -> None:
    found = answer([recorded(1, webserver_cpu=1.0)], 40)
    assert found.judged_by == "utilisation"
    assert codes(found.latency) == ["size.slo_with_cpu"]
    assert "for CPU only" in size_document(found).sentence
    assert "without bursts" in conditions(found)


def test_webservers_of_another_size_have_a_latency_that_nobody_measured() -> None:
    assert answer(recorded_runs(1), 40).latency == ()


def test_runs_of_other_machines_are_named_and_refused() -> None:
    found = answer([recorded(1), recorded(2, webserver_cpu=0.25)], 20)

    assert found.exit_code == 5
    values = (("0.5", "run-1"), ("0.25", "run-2"))
    assert found.refusals == (refusal("identity.unlike", what="CPUs per webserver", values=values),)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"status": "interrupted"}, "identity.not_finished"),
        ({"complete": False}, "identity.incomplete_record"),
        ({"demand": None}, "sizing.no_call_reached_a_webserver"),
        ({"sizing": None}, "sizing.cpu_not_known"),
    ],
)
def test_a_run_that_says_nothing_is_refused(changes: dict[str, object], code: str) -> None:
    run = recorded(1)
    found = answer([replace(run, **changes)], 20)  # type: ignore[arg-type]

    (why,) = found.refusals
    assert why.values["run_id"] == "run-1"
    assert code in (why.code, getattr(why.values.get("reason"), "code", ""))
    assert found.exit_code == 5


def test_the_same_run_twice_is_no_more_evidence() -> None:
    found = answer([recorded(1), recorded(1)], 20)
    assert found.refusals == (refusal("size.run_given_twice", run_id="run-1"),)


def test_no_run_is_refused() -> None:
    assert answer([], 20).refusals == (refusal("planning.no_run"),)


def test_several_runs_have_the_interval_of_their_spread() -> None:
    found = answer(recorded_runs(3), 40)
    one = found.classes[0].rate_of_one_per_s

    assert one.low is not None
    assert one.high is not None
    assert one.low <= TRUE_RATE_OF_ONE_PER_S <= one.high
    assert note("size.interval_over_runs", runs=3, between_runs=0.0) in found.assumptions


def test_the_larger_class_is_where_one_may_begin() -> None:
    found = answer(recorded_runs(1), 20, environment_class="mw1.large")

    assert {option.environment_class for option in found.options} == {"mw1.large"}


def test_the_answer_is_strict_json() -> None:
    text = json.dumps(as_json(answer(recorded_runs(1), 40)), allow_nan=False)

    assert json.loads(text)["schema_version"] == 1
    assert json.loads(text)["options"][0]["burst"]["slow_calls"]["value"] >= 0
