import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from sizing_by_hand import (
    HALF_CPU,
    PRICES,
    TRUE_RATE_OF_ONE_PER_S,
    recorded,
    recorded_runs,
    with_capacity,
)
from synthetic_records import write_synthetic_run

from mwaa_headroom.analysis.planning.classes import ClassPrice, Money
from mwaa_headroom.analysis.planning.loads import load_between, load_of_rates
from mwaa_headroom.analysis.planning.results import SizeOption, SizingAnswer
from mwaa_headroom.analysis.planning.sentences import chance_in_words
from mwaa_headroom.analysis.planning.size import answer_size
from mwaa_headroom.analysis.record import read_run
from mwaa_headroom.analysis.report.as_json import as_json
from mwaa_headroom.analysis.report.planning.size import chance, size_sections
from mwaa_headroom.analysis.results import RunAnalysis
from mwaa_headroom.analysis.setting import Setting, StagePlan, read_setting
from mwaa_headroom.analysis.sizing.one_run import size
from mwaa_headroom.analysis.statistics import Estimate


def answer(
    runs: list[RunAnalysis], low_per_s: float, high_per_s: float | None = None, **more: object
) -> SizingAnswer:
    load = load_between(low_per_s, high_per_s or low_per_s)
    return answer_size(runs, load, PRICES, **more)  # type: ignore[arg-type]


def chosen(found: SizingAnswer) -> SizeOption:
    assert found.recommended is not None
    return found.options[found.recommended]


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
    assert "MinWebservers 3 and MaxWebservers 3" in found.sentence
    assert "for 380 to 402 USD a month" in found.sentence


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
    assert any("mw1.medium" in text for text in found.assumptions)


def test_a_load_beyond_every_class_has_no_size() -> None:
    found = answer(recorded_runs(1), 5000)

    assert (found.exit_code, found.recommended) == (5, None)
    assert "even 5 mw1.2xlarge webservers" in found.sentence


def test_without_prices_the_smallest_is_recommended() -> None:
    found = answer_size(recorded_runs(1), load_between(40, 40), None, price_refusal="None.")

    assert chosen(found).environment_class == "mw1.small"
    assert chosen(found).monthly is None
    assert "USD" not in found.sentence
    assert found.price_refusal == "None."


def test_a_dear_small_class_gives_way() -> None:
    price = ClassPrice(Money(0.5, 0.5), Money(5, 5), 2)
    dear = replace(PRICES, classes={**PRICES.classes, "mw1.small": price})
    found = answer_size(recorded_runs(1), load_between(40, 40), dear)

    assert chosen(found).environment_class == "mw1.large"
    assert not any("has a price" in text for text in found.warnings)


def test_a_price_that_is_not_known_is_not_a_high_one() -> None:
    unknown = replace(PRICES, classes={**PRICES.classes, "mw1.small": PRICES.classes["mw1.xlarge"]})
    found = answer_size(recorded_runs(1), load_between(40, 40), unknown)

    assert {option.environment_class for option in found.options if option.monthly} >= {"mw1.large"}
    assert (chosen(found).environment_class, chosen(found).monthly) == ("mw1.small", None)
    assert any("Not every setting that is sure enough has a price" in t for t in found.warnings)


def test_when_two_counts_are_possible_it_says_what_would_decide() -> None:
    one = answer(recorded_runs(1), 30).classes[0].rate_of_one_per_s
    found = answer(recorded_runs(1), 2 * (one.value or 0) * 1.01)
    size = found.classes[0]

    assert (size.webservers_low, size.webservers_high) == (2, 3)
    assert "MinWebservers = MaxWebservers = 2" in found.deciding
    assert chosen(found).max_webservers == 3


def test_a_range_starts_its_burst_at_its_lower_end() -> None:
    found = answer(recorded_runs(1), 10, 40)

    assert chosen(found).burst.from_per_s == 10
    assert answer(recorded_runs(1), 40).options[0].burst.from_per_s == 0
    assert answer(recorded_runs(1), 40, burst_from_per_s=7.0).options[0].burst.from_per_s == 7
    assert "Every rate of the range is as likely as any other." in found.assumptions


def test_a_quiet_trace_with_bursts_needs_fewer_than_its_peak_all_the_time() -> None:
    """The bursts are 40 calls/s: three webservers, which come 14 to 19 s after each began."""
    starts = np.arange(0, 20) * 600.0
    time_s = np.sort(np.concatenate([starts, starts + 480.0]))
    rates = np.tile([4.0, 40.0], 20)
    load = load_of_rates(time_s, rates, "bursts.csv")

    found = answer_size(recorded_runs(1), load, PRICES)

    assert chosen(found).min_webservers == 2
    assert chosen(found).max_webservers == 3
    assert chosen(found).trace is not None
    assert found.options[0].probability > 0.95


def test_a_trace_whose_bursts_outrun_autoscaling_needs_more_all_the_time() -> None:
    starts = np.arange(0, 20) * 40.0
    time_s = np.sort(np.concatenate([starts, starts + 25.0]))
    load = load_of_rates(time_s, np.tile([2.0, 70.0], 20), "short.csv")

    found = answer_size(recorded_runs(1), load, PRICES)
    two = found.options[0]

    assert two.trace is not None
    assert two.trace.slow_share > 0.05
    assert not two.meets
    assert "would be slow or fail, the SLO allows 5 %" in two.shortcoming
    assert [(o.min_webservers, o.max_webservers) for o in found.options[:3]] == [
        (2, 3), (3, 3), (4, 4),
    ]  # fmt: skip
    assert chosen(found).min_webservers == 4
    assert "how long a webserver takes to start" in found.deciding


def test_bursts_that_outrun_every_setting_name_what_to_measure() -> None:
    time_s = np.sort(np.concatenate([np.arange(20) * 40.0, np.arange(20) * 40.0 + 25.0]))
    load = load_of_rates(time_s, np.tile([2.0, 70.0], 20), "short.csv")
    runs = recorded_runs(1)
    strict = tuple(replace(line, slo="p99.99(latency) < 1ms") for line in runs[0].slo[:1])
    analysis = replace(runs[0], slo=strict)

    found = answer_size([analysis], load, PRICES)

    assert found.exit_code == 5
    assert "to start: to decide, measure it in a run with MinWebservers 2" in found.deciding


def test_where_the_slo_broke_decides() -> None:
    # on 2 webservers with 0.5 CPU at 20 calls/s: 20 for each of 1 vCPU
    runs = with_capacity(recorded_runs(1), 20.0, webservers=2, bottleneck="webserver_cpu")
    found = answer(runs, 37)

    assert found.judged_by == "slo_capacity"
    assert "meets the SLO" in found.sentence
    assert (chosen(found).min_webservers, chosen(found).max_webservers) == (2, 3)
    assert found.classes[0].webservers == 3  # to stay below 70 % CPU


def test_where_the_cpu_asks_for_more_than_the_limit_it_says_so() -> None:
    runs = with_capacity(recorded_runs(1), 20.0, webservers=2, bottleneck="webserver_cpu")
    found = answer(runs, 85, environment_class="mw1.small")

    assert (chosen(found).environment_class, chosen(found).max_webservers) == ("mw1.small", 5)
    assert found.classes[0].webservers == 6
    assert "the rate at which the SLO broke in the runs decides" in found.sentence
    assert "with 5, the most one may set, the CPU would be above 70 %" in found.sentence
    assert "autoscaling would want more than it may have" in found.sentence


def test_a_size_far_from_the_runs_says_under_which_condition_it_holds() -> None:
    found = answer(recorded_runs(1), 40)

    assert found.sentence.startswith("By extrapolation, mw1.small")
    assert "grows in proportion to their CPU and number" in found.sentence
    assert "the highest rate measured was 1" in found.sentence


def test_a_size_like_the_runs_is_no_extrapolation() -> None:
    run = recorded(1, webserver_cpu=1.0)
    analysis = replace(run, environment={**run.environment, "kind": "aws"})
    like = [analysis]

    assert answer(like, 16).sentence.startswith("mw1.small with")
    assert "This holds if" not in answer(like, 16).sentence
    assert answer(like, 40).sentence.startswith("By extrapolation")


def test_a_range_says_how_sure_its_highest_rate_is() -> None:
    found = answer(recorded_runs(1), 10, 32)
    option = chosen(found)

    assert option.min_webservers < option.max_webservers
    assert "over the range; at 32 calls/s" in found.sentence
    assert "with the minimum, more than 99 % with the maximum" in found.sentence
    assert "over the range" not in answer(recorded_runs(1), 40).sentence


def test_a_throttle_below_the_load_leaves_nothing_to_recommend() -> None:
    runs = with_capacity(recorded_runs(1), 10.0, webservers=2, bottleneck="throttle")
    found = answer(runs, 25)

    assert found.exit_code == 5
    assert any("stopped by the service's throttle: more" in text for text in found.warnings)


@pytest.mark.parametrize("bottleneck", ["connections", "unknown"])
def test_what_may_not_move_is_to_be_tried_with_more_webservers(bottleneck: str) -> None:
    runs = with_capacity(recorded_runs(1), 10.0, webservers=2, bottleneck=bottleneck)
    found = answer(runs, 25)

    assert found.exit_code == 5
    assert any("more webservers may not help against that" in text for text in found.warnings)
    assert "hold 25 calls/s with MinWebservers = MaxWebservers = 5" in found.deciding
    assert "with a probability of less than 1 % only" in found.sentence
    assert whole_sentences(found.warnings)


def test_errors_of_airflow_say_nothing_of_size() -> None:
    runs = with_capacity(recorded_runs(1), 20.0, webservers=2, bottleneck="airflow")

    assert any("stopped by errors of Airflow, which" in text for text in answer(runs, 25).warnings)


def whole_sentences(texts: tuple[str, ...]) -> bool:
    return all(text[0].isupper() and text.endswith(".") and "  " not in text for text in texts)


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
    warning = "The interval goes below the lowest rate, 15.5 calls/s; add a stage at about 10."
    open_below = Estimate(15.5, 0.0, 18.3, warnings=(warning,))
    found = answer(with_rate(recorded_runs(1), rate_per_s=open_below), 1, 2)

    assert found.judged_by == "utilisation"
    assert chosen(found).probability > 0.99
    assert found.deciding.endswith(warning)
    assert any("run-1: the interval goes below" in text for text in found.warnings)
    assert any("at most what is known of the rate" in text for text in found.assumptions)


def test_one_run_says_beside_its_probability_what_is_not_in_it() -> None:
    said = "(one run: how runs differ is not in it)"

    assert said in answer(recorded_runs(1), 40).sentence
    assert said not in answer(recorded_runs(2), 40).sentence


def test_runs_of_other_machines_are_named_and_refused() -> None:
    found = answer([recorded(1), recorded(2, webserver_cpu=0.25)], 20)

    assert found.exit_code == 5
    assert found.refusals == ("The runs differ in CPUs per webserver: 0.5 (run-1); 0.25 (run-2).",)
    assert found.sentence.startswith("No size can be given: the runs differ")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"status": "interrupted"}, "is not whole"),
        ({"complete": False}, "is not whole"),
        ({"demand": None}, "no call reached a webserver"),
        ({"sizing": None}, "environment.webserver_cpu"),
    ],
)
def test_a_run_that_says_nothing_is_refused(changes: dict[str, object], says: str) -> None:
    run = recorded(1)
    found = answer([replace(run, **changes)], 20)  # type: ignore[arg-type]

    assert says in found.refusals[0]
    assert found.exit_code == 5


def test_the_same_run_twice_is_no_more_evidence() -> None:
    assert "given twice" in answer([recorded(1), recorded(1)], 20).refusals[0]


def test_no_run_is_refused() -> None:
    assert "There is no run" in answer([], 20).refusals[0]


def test_several_runs_have_the_interval_of_their_spread() -> None:
    found = answer(recorded_runs(3), 40)
    one = found.classes[0].rate_of_one_per_s

    assert one.low is not None
    assert one.high is not None
    assert one.low <= TRUE_RATE_OF_ONE_PER_S <= one.high
    assert any("over 3 runs" in text for text in found.assumptions)
    assert any("One run" in text for text in answer(recorded_runs(1), 40).assumptions)


def test_the_larger_class_is_where_one_may_begin() -> None:
    found = answer(recorded_runs(1), 20, environment_class="mw1.large")

    assert {option.environment_class for option in found.options} == {"mw1.large"}


def test_the_answer_is_strict_json() -> None:
    text = json.dumps(as_json(answer(recorded_runs(1), 40)), allow_nan=False)

    assert json.loads(text)["schema_version"] == 1
    assert json.loads(text)["options"][0]["burst"]["slow_calls"]["value"] >= 0


def test_runs_are_named_by_the_end_that_tells_them_apart() -> None:
    found = answer(recorded_runs(2), 40)
    long = tuple(
        replace(run, run_id=f"20261122T151{number}00-quickstart-{number}a5e")
        for number, run in enumerate(found.runs)
    )
    tables = [part.table for part in size_sections(replace(found, runs=long)).sections]
    table = next(each for each in tables if each and each.columns[0].heading == "run")

    assert [row[0] for row in table.rows] == ["…art-0a5e", "…art-1a5e"]


def test_tables_and_sentence_round_alike() -> None:
    assert [chance(p) for p in (0.992, 0.985, 0.004)] == ["> 99 %", "98 %", "< 1 %"]
    assert [chance_in_words(p) for p in (0.992, 0.985)] == ["more than 99 %", "98 %"]


def test_stages_of_one_operation_are_no_rates_of_the_mix() -> None:
    setting = setting_of(StagePlan(0, "calibration", 3.0, 30.0, 5.0, operation="health"))
    demand = recorded(1).demand

    assert [row.rate_per_s for row in size(setting, demand).rows] == [30.0]


def test_few_webservers_come_with_the_fewest_that_the_service_runs() -> None:
    demand = recorded(1).demand
    found = size(setting_of(StagePlan(0, "low", 2.0, 30.0, 5.0)), demand)

    assert (found.rows[0].webservers, (found.target or found.rows[0]).webservers) == (1, 4)
    assert found.explanation.endswith("Amazon MWAA runs at least 2, except in mw1.micro.")


def test_a_demand_without_refusal_tells_its_warning() -> None:
    demand = recorded(1).demand
    assert demand is not None
    unknown = replace(demand, refusal="", mix_s=Estimate(None, warnings=("Too few periods.",)))

    told = size(setting_of(), unknown).explanation
    assert told == "No webserver count can be given: too few periods."


def setting_of(*stages: StagePlan) -> Setting:
    """With a target of 30 calls/s on webservers with 0.5 CPU."""
    with TemporaryDirectory() as directory:
        write_synthetic_run(Path(directory) / "run", HALF_CPU)
        setting = read_setting(read_run(Path(directory) / "run").manifest)
    return replace(setting, stages=stages, target_rate_per_s=30.0)


def test_one_runs_own_sizing_says_how_sure_it_is() -> None:
    sizing = recorded(1).sizing
    assert sizing is not None
    assert sizing.target is not None
    assert sizing.target.webservers is not None

    assert 0.5 <= (sizing.target.probability or 0) <= 1
    spans = sizing.target.webservers_low != sizing.target.webservers_high
    assert bool(sizing.deciding) == spans
