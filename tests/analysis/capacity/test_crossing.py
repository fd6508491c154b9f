"""The rate at which the SLO breaks, and whether its interval can be believed.

How often the interval holds the truth over whole simulated runs is measured by
`benchmarks/coverage.py`; here it is held against queues that need no run.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from calls_by_hand import calls_by_hand, periods_by_hand, setting_of
from hypothesis import given, settings
from hypothesis import strategies as st

from mwaa_headroom.analysis.calls import good_calls
from mwaa_headroom.analysis.capacity.crossing import capacity_estimate, capacity_of
from mwaa_headroom.analysis.capacity.evidence import (
    BLOCKS,
    Ratio,
    StageEvidence,
    line_of,
    stage_evidence,
)
from mwaa_headroom.analysis.findings import Finding, refusal, warning
from mwaa_headroom.analysis.setting import Setting
from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.analysis.slo_judgement import Window
from mwaa_headroom.analysis.stages import StageTimes, stage_stats
from mwaa_headroom.analysis.statistics import Floats

P95 = parse_slo("p95(latency) < 1s")
CPU = parse_slo("mean(webserver.cpu) < 70%")
MEAN = parse_slo("mean(latency) < 200ms")
ERRORS = parse_slo("rate(errors) < 1%")
BUSIEST = parse_slo("max(webserver.cpu) < 90%")


def stage(
    rate: float, ratios: dict[str, Ratio], verdict: str = "", **changes: Any
) -> StageEvidence:
    """A stage that failed if any of its lines is past its limit."""
    broken = [
        text
        for text, ratio in ratios.items()
        if (line := line_of(parse_slo(text))) and ratio.value >= line.limit
    ]
    made = StageEvidence(
        rate_per_s=rate,
        measured_s=300.0,
        webservers=1,
        verdict=verdict or ("fail" if broken else "pass"),
        reason=None,
        as_planned=True,
        broken=frozenset(broken),
        arrivals=int(300 * rate),
        loss_ratio=0.0,
        started_at_s=0.0,
        ended_at_s=300.0,
        latency_s=np.full(BLOCKS, 0.3),
        tail=(0.0, 0),
        ratios=ratios,
    )
    return replace(made, **changes)


def spread_out(share: float, calls: int = 8000) -> Ratio:
    """The same share of calls beyond the limit in every block."""
    whole = np.full(BLOCKS, calls / BLOCKS)
    return Ratio(share * whole, whole)


def late(rate: float, share: float, **changes: Any) -> StageEvidence:
    return stage(rate, {P95.text: spread_out(share)}, **changes)


def test_a_share_crosses_where_its_odds_say() -> None:
    """logit 2.5 % = -3.664, logit 10 % = -2.197, logit 5 % = -2.944: 49.1 % of the way."""
    found = capacity_of([P95], [late(10, 0.025), late(20, 0.1)])

    assert found.value == pytest.approx(14.9, abs=0.1)
    assert found.low is not None
    assert found.high is not None
    assert 10 < found.low < 14.9 < found.high < 20


def test_cpu_crosses_on_the_straight_line() -> None:
    periods = {
        rate: Ratio(0.03 * rate + np.array([0.01, -0.01, 0.0]), np.ones(3)) for rate in RATES
    }

    found = capacity_of([CPU], [stage(rate, {CPU.text: periods[rate]}) for rate in RATES])

    assert found.value == pytest.approx(0.7 / 0.03, rel=1e-6)
    assert found.low is not None
    assert found.high is not None
    assert 22 < found.low < found.high < 25


RATES = (10.0, 20.0, 30.0)


def test_a_saturated_stage_counts_with_the_cpu_it_would_have_needed() -> None:
    """Without that, 60 % at 20 and 100 % at 50 calls/s would put 90 % at 42 and not at 30."""
    line = parse_slo("mean(webserver.cpu) < 90%")
    used = {10.0: 0.3, 20.0: 0.6, 50.0: 1.0}
    periods = {
        rate: Ratio(cpu + np.array([0.005, -0.005]), np.ones(2)) for rate, cpu in used.items()
    }
    periods[50.0] = Ratio(np.ones(2), np.ones(2))

    found = capacity_of([line], [stage(rate, {line.text: periods[rate]}) for rate in used])

    assert found.value == pytest.approx(30.0)


def test_a_mean_time_crosses_on_its_logarithm() -> None:
    times = {rate: Ratio(mean * np.full(BLOCKS, 100.0), np.full(BLOCKS, 100.0))
             for rate, mean in ((10.0, 0.1), (20.0, 0.4))}  # fmt: skip

    found = capacity_of([MEAN], [stage(rate, {MEAN.text: ratio}) for rate, ratio in times.items()])

    assert found.value == pytest.approx(15.0)


def test_the_tightest_line_decides() -> None:
    stages = [
        stage(rate, {P95.text: spread_out(beyond), ERRORS.text: spread_out(failed)})
        for rate, beyond, failed in ((10.0, 0.01, 0.001), (20.0, 0.02, 0.05), (30.0, 0.2, 0.3))
    ]

    both = capacity_of([P95, ERRORS], stages)
    latency = capacity_of([P95], stages)
    errors = capacity_of([ERRORS], stages)

    assert latency.value is not None
    assert errors.value is not None
    assert both.value == min(latency.value, errors.value) == errors.value


def test_bursts_make_it_less_sure() -> None:
    """The same share, but in a tenth of the time: ten calls there say as much as one."""
    burst = np.zeros(BLOCKS)
    burst[:4] = 0.5 * 200
    bursts = [
        stage(rate, {P95.text: Ratio(burst * share / 0.05, np.full(BLOCKS, 200.0))})
        for rate, share in ((10.0, 0.03), (20.0, 0.09))
    ]

    def width(stages: list[StageEvidence]) -> float:
        found = capacity_of([P95], stages)
        return (found.high or 99.0) - (found.low or 0.0)

    assert width(bursts) > 3 * width([late(10, 0.03), late(20, 0.09)])


def test_a_lucky_stage_above_an_unlucky_one_is_pooled_with_it() -> None:
    found = capacity_of([P95], [late(10, 0.01), late(20, 0.06), late(30, 0.03), late(40, 0.2)])

    assert found.value is not None
    assert 20 < found.value < 40


def test_stages_of_one_rate_are_one() -> None:
    once = capacity_of([P95], [late(10, 0.02), late(20, 0.1)])
    twice = capacity_of([P95], [late(10, 0.02), late(10, 0.02), late(20, 0.1), late(20, 0.1)])

    assert once.value == pytest.approx(twice.value, rel=1e-3)
    assert (twice.high or 0) - (twice.low or 0) < (once.high or 0) - (once.low or 0)


def test_undecided_stages_say_nothing() -> None:
    sure = [late(10, 0.02), late(20, 0.1)]

    assert capacity_of([P95], [*sure, late(12, 0.5, verdict="undecided")]) == capacity_of(
        [P95], sure
    )


@pytest.mark.parametrize(
    ("stages", "why"),
    [
        ([], refusal("capacity.none_judged")),
        (
            [late(10, 0.01), late(20, 0.02)],
            refusal("capacity.still_held", highest_per_s=20, next_per_s=30.0),
        ),
        (
            [late(10, 0.1), late(20, 0.2)],
            refusal("capacity.broken_at_lowest", lowest_per_s=10, next_per_s=6.7),
        ),
        ([late(10, 0.1, verdict="undecided")], refusal("capacity.none_judged")),
    ],
)
def test_without_both_a_pass_and_a_fail_it_says_which_stage_to_add(
    stages: list[StageEvidence], why: Finding
) -> None:
    found = capacity_of([P95], stages)

    assert found.value is None
    assert found.warnings == (why,)


def test_an_interval_beyond_the_stages_is_open() -> None:
    few = {P95.text: spread_out(0.06, calls=400)}

    found = capacity_of([P95], [late(10, 0.02), stage(20, few)])

    assert found.high is None
    assert warning("capacity.open_above", highest_per_s=20, next_per_s=30.0) in found.warnings


def test_a_wide_bracket_is_told() -> None:
    found = capacity_of([P95], [late(10, 0.01), late(40, 0.2)])

    assert found.warnings[0] == warning(
        "capacity.wide_bracket", below_per_s=10.0, above_per_s=40.0, next_per_s=20.0
    )


def test_a_line_without_a_curve_judges_the_stages_only() -> None:
    stages = [late(10, 0.01), late(20, 0.1)]

    fine = capacity_of([P95, BUSIEST], stages)
    broken = capacity_of(
        [P95, BUSIEST],
        [
            late(10, 0.01),
            late(14, 0.02, verdict="fail", broken=frozenset({BUSIEST.text})),
            stages[1],
        ],
    )

    assert fine.value == capacity_of([P95], stages).value
    assert fine.warnings[-1] == warning("capacity.lines_without_curve", slos=(BUSIEST,))
    assert broken.value is None
    assert broken.warnings == (
        refusal("capacity.broke_without_curve", slo=BUSIEST, broke_per_s=14),
    )


def test_a_stage_in_which_nothing_was_answered_is_far_beyond_a_mean() -> None:
    hopeless = stage(20, {MEAN.text: Ratio(np.full(BLOCKS, np.inf), np.full(BLOCKS, 5.0))})
    quick = stage(10, {MEAN.text: Ratio(np.full(BLOCKS, 10.0), np.full(BLOCKS, 100.0))})

    found = capacity_of([MEAN], [quick, hopeless])

    assert found.value is not None
    assert 10 < found.value < 11


@settings(max_examples=50)
@given(
    shares=st.lists(st.floats(0.0, 0.6), min_size=2, max_size=7),
    calls=st.integers(40, 20_000),
)
def test_any_shares_give_a_value_inside_its_interval_and_the_stages(
    shares: list[float], calls: int
) -> None:
    stages = [late(10.0 * (i + 1), 0.0) for i in range(len(shares))]
    stages = [
        stage(each.rate_per_s, {P95.text: spread_out(share, calls)})
        for each, share in zip(stages, shares, strict=True)
    ]

    found = capacity_of([P95], stages)

    if found.value is None:
        assert found.warnings
        return
    assert found.low is not None
    assert found.low <= found.value <= (found.high or np.inf)
    assert 10.0 <= found.value <= 10.0 * len(shares)
    assert found == capacity_of([P95], stages)


def queue_of_one(
    random: np.random.Generator, rate: float, seconds: float, demand_s: float
) -> tuple[Floats, Floats]:
    """Arrivals and times in an M/M/1 queue that starts empty, 30 s before time 0."""
    count = random.poisson(rate * (seconds + 30))
    arrivals = np.sort(random.uniform(-30, seconds, count))
    work = random.exponential(demand_s, count)
    # Lindley: the wait is how far the work brought so far is above its lowest level against time.
    level = np.concatenate([[0.0], np.cumsum(work[:-1])]) - (arrivals - arrivals[0])
    return arrivals, level - np.minimum.accumulate(level) + work


@pytest.mark.slow
def test_the_interval_holds_the_capacity_of_a_queue_nineteen_times_in_twenty() -> None:
    """M/M/1, first come first served: P(T > t) = exp(-(mu - lambda) t), mu = 33.3 calls/s.

    Five per cent take longer than 0.3 s from lambda = mu - ln(20) / 0.3 = 23.35 calls/s on.
    """
    random, truth, line = (
        np.random.default_rng(5),
        1 / 0.03 - np.log(20) / 0.3,
        "p95(latency) < 0.3s",
    )
    slo = parse_slo(line)
    held = answered = 0
    for _ in range(300):
        off = random.uniform(0.93, 1.07)
        stages = []
        for load in (0.6, 0.72, 0.84, 0.96, 1.08, 1.2):
            arrivals, times = queue_of_one(random, truth * load * off, 240.0, 0.03)
            arrivals, times = arrivals[arrivals >= 0], times[arrivals >= 0]
            block = (arrivals / 240 * BLOCKS).astype(int)
            beyond = np.bincount(block, (times >= 0.3).astype(float), BLOCKS).astype(float)
            whole = np.bincount(block, minlength=BLOCKS).astype(float)
            stages.append(stage(truth * load * off, {line: Ratio(beyond, whole)}))
        found = capacity_of([slo], stages)
        if found.value is not None and found.low is not None:
            answered += 1
            held += found.low <= truth <= (found.high or np.inf)
    assert answered >= 280
    # 95 %, give or take three standard errors of so few
    assert 0.91 <= held / answered <= 0.987


def measured(
    setting: Setting, index: int, times_s: list[float], outcomes: list[str], webservers: list[int]
) -> tuple[Any, Window]:
    """A stage of 100 s and its window, with calls evenly over it and CPU of 50 %."""
    starts = np.linspace(0.0, 99.9, len(times_s)).tolist()
    calls = calls_by_hand(outcomes=outcomes, service_times_s=times_s, starts_s=starts, stages=index)
    periods = periods_by_hand(webservers=webservers)
    window = Window(calls, good_calls(calls, setting.slos), periods)
    times = StageTimes(setting.stages[index], 0.0, 0.0, 100.0, complete=True)
    return stage_stats(times, window, setting.slos), window


def test_evidence_counts_what_the_lines_are_about() -> None:
    lines = ("p95(latency) < 1s", "rate(errors) < 1%", "rate(goodput) >= 90%",
             "mean(latency) < 2s", "mean(webserver.cpu) < 70%", "max(latency) < 9s")  # fmt: skip
    setting = setting_of({}, slo=lines)
    times = [0.5] * 60 + [2.0] * 20 + [0.1] * 10 + [0.2] * 10
    outcomes = ["ok"] * 80 + ["client_timeout"] * 10 + ["throttled"] * 10
    stats, window = measured(setting, 0, times, outcomes, [2, 2])

    told = stage_evidence(setting, stats, window)

    values = {text: ratio.value for text, ratio in told.ratios.items()}
    assert values == pytest.approx(
        {
            "p95(latency) < 1s": 30 / 90,  # a cut call counts as beyond
            "rate(errors) < 1%": 20 / 100,
            "rate(goodput) >= 90%": 40 / 100,
            "mean(latency) < 2s": (30 + 40 + 1) / 90,
            "mean(webserver.cpu) < 70%": 0.5,
        }
    )
    assert (told.webservers, told.verdict, told.loss_ratio) == (2, "fail", 0.4)


def test_a_stage_that_is_not_at_one_rate_of_the_mix_is_no_trial() -> None:
    ramp = setting_of({"rate_per_s": 1.0, "ramp_to_rate_per_s": 9.0}, slo=("p95(latency) < 1s",))
    stats, window = measured(ramp, 0, [0.5] * 100, ["ok"] * 100, [2, 2])
    told = stage_evidence(ramp, stats, window)
    assert (stats.trial, told.verdict, told.reason) == (
        "pass",
        "undecided",
        refusal("trial.rate_not_held"),
    )

    only = replace(ramp.stages[0], varies=False, operation="health")
    mixed = replace(ramp, stages=(only,), mix={"health": 0.5, "list_dags": 0.5})
    reason = refusal("trial.one_operation", operation="health")
    assert stage_evidence(mixed, stats, window).reason == reason
    alone = replace(ramp, stages=(only,), mix={"health": 1.0})
    assert stage_evidence(alone, stats, window).verdict == "pass"


def test_a_run_with_one_count_has_a_capacity_and_one_with_several_has_not() -> None:
    setting = setting_of({"rate_per_s": 2.0}, {"rate_per_s": 5.0}, slo=("p95(latency) < 1s",))
    quick = measured(setting, 0, [0.5] * 196 + [2.0] * 4, ["ok"] * 200, [2, 2])
    slow = measured(setting, 1, [0.5] * 400 + [2.0] * 100, ["ok"] * 500, [2, 2])
    grown = measured(setting, 1, [0.5] * 400 + [2.0] * 100, ["ok"] * 500, [3, 3])
    growing = measured(setting, 1, [0.5] * 400 + [2.0] * 100, ["ok"] * 500, [2, 3])

    def estimate(*stages: tuple[Any, Window]) -> Any:
        return of_count(*stages).estimate

    def of_count(*stages: tuple[Any, Window]) -> Any:
        return capacity_estimate(setting, [stage_evidence(setting, *each) for each in stages])

    assert 2.0 < estimate(quick, slow).value < 5.0
    codes = [
        estimate(*each).warnings[0].code
        for each in ((quick, grown), (quick, growing), (growing,), ())
    ]
    assert codes == [
        "capacity.count_changed",
        "capacity.still_held",
        "capacity.count_not_constant",
        "capacity.no_stage",
    ]
    assert [
        of_count(*each).webservers for each in ((quick, slow), (quick, grown), (growing,), ())
    ] == [
        2,
        None,
        None,
        None,
    ]


def test_the_capacity_is_of_the_count_that_both_held_and_broke() -> None:
    """2 webservers held 2 calls/s and broke at 5; 3 of them then held 8 and were never broken."""
    rates = ({"rate_per_s": 2.0}, {"rate_per_s": 5.0}, {"rate_per_s": 8.0})
    setting = setting_of(*rates, slo=("p95(latency) < 1s",))
    held = measured(setting, 0, [0.5] * 196 + [2.0] * 4, ["ok"] * 200, [2, 2])
    broke = measured(setting, 1, [0.5] * 400 + [2.0] * 100, ["ok"] * 500, [2, 2])
    more = measured(setting, 2, [0.5] * 800, ["ok"] * 800, [3, 3])

    found = capacity_estimate(
        setting, [stage_evidence(setting, *each) for each in (held, broke, more)]
    )

    assert found.webservers == 2
    assert found.estimate.value is not None
    assert 2.0 < found.estimate.value < 5.0


def test_a_fail_is_not_denied_where_all_stages_together_held() -> None:
    found = capacity_of([P95], [late(16, 0.051), late(17, 0.01)])

    assert found.value is None
    assert found.warnings == (refusal("capacity.broke_yet_held", broke_per_s=16, highest_per_s=17),)
