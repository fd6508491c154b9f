"""The scaling rule: each row of a table is one story, and hypothesis looks for broken promises."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwaa_headroom.analysis.findings import note
from mwaa_headroom.analysis.policy.scaling_rule import (
    Decision,
    Observation,
    PolicyParameters,
    ScalingRule,
)

PERIOD_S = 5.0

RULE = PolicyParameters(
    connections_scope="per_webserver",
    datapoints_to_alarm=2,
    evaluation_periods=3,
    scale_out_cooldown_s=10.0,
    scale_in_cooldown_s=20.0,
    scale_in_periods=2,
)


@dataclass(frozen=True)
class Story:
    words: str
    periods: list[tuple[float, float]]  # CPU and connections, the same on every webserver
    decided: list[tuple[int, int]]  # (period, target), with every decision carried out at once
    changes: dict[str, Any] = field(default_factory=dict)
    begin: int = 2


STORIES = [
    Story("nothing to do: between the thresholds", [(50, 8)] * 8, []),
    Story("one high period of three is not enough", [(90, 1), (50, 1), (50, 1)], []),
    Story("two high of three scale out, in the second", [(90, 1), (50, 1), (90, 1)], [(2, 3)]),
    Story("exactly at the threshold is not above it", [(70, 15)] * 6, []),
    Story("connections alone are enough", [(10, 16)] * 2, [(1, 3)]),
    Story(
        "CPU high once and connections high once is no alarm: each metric counts for itself",
        [(90, 1), (10, 16)],
        [],
    ),
    Story(
        "the cooldown lets one step through every 10 s, up to the maximum of 4",
        [(90, 1)] * 8,
        [(1, 3), (3, 4)],
    ),
    Story("a step of 5 still ends at the maximum", [(90, 1)] * 8, [(1, 4)], {"scale_out_step": 5}),
    Story("never below the minimum", [(1, 0)] * 8, []),
    Story("quiet for two periods removes one", [(1, 0)] * 2, [(1, 2)], begin=3),
    Story("one period in between is not quiet", [(1, 0), (50, 0), (1, 0)], [], begin=3),
    Story("low CPU with many connections is not quiet", [(1, 9)] * 8, [], begin=3),
    Story("few connections with busy CPU is not quiet", [(50, 0)] * 8, [], begin=3),
    Story("scaling in cools down for 20 s", [(1, 0)] * 8, [(1, 3), (5, 2)], begin=4),
    Story(
        "out waits for nothing after in; in waits for out",
        [(1, 0), (1, 0), (90, 0), (90, 0), (1, 0), (1, 0), (1, 0), (1, 0)],
        [(1, 2), (3, 3), (7, 2)],
        begin=3,
    ),
    Story("switched off it never decides", [(99, 99)] * 8, [], {"enabled": False}),
]


def rule(changes: dict[str, Any]) -> PolicyParameters:
    return replace(RULE, **changes)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.words)
def test_story(story: Story) -> None:
    scaling = ScalingRule(rule(story.changes), min_webservers=2, max_webservers=4)
    count, decided = story.begin, []
    for period, (cpu, connections) in enumerate(story.periods):
        decision = scaling.observe(
            Observation(period * PERIOD_S, (cpu,) * count, (connections,) * count, count, 0)
        )
        if decision is not None:
            assert decision.from_count == count
            count = decision.to_count
            decided.append((period, count))
    assert decided == story.decided


def decide(
    parameters: PolicyParameters, cpu: tuple[float, ...], connections: tuple[float, ...]
) -> Decision | None:
    """What is decided in the last of three such periods, or before."""
    scaling = ScalingRule(parameters, min_webservers=2, max_webservers=4)
    decisions = [
        scaling.observe(Observation(at_s, cpu, connections, len(cpu), 0)) for at_s in range(3)
    ]
    return next((decision for decision in decisions if decision), None)


def test_average_needs_all_webservers_busy_and_maximum_only_one() -> None:
    one_busy = ((95.0, 20.0), (1.0, 1.0))
    assert decide(rule({"statistic": "Average"}), *one_busy) is None
    assert decide(rule({"statistic": "Maximum"}), *one_busy) is not None


def test_total_scope_adds_the_connections_of_all_webservers() -> None:
    ten_each = ((50.0, 50.0), (10.0, 10.0))
    assert decide(rule({"connections_scope": "per_webserver"}), *ten_each) is None
    assert decide(rule({"connections_scope": "total"}), *ten_each) is not None


def test_the_reason_is_the_metric_its_value_and_its_threshold() -> None:
    by_cpu = decide(RULE, (83.25, 83.25), (1.0, 1.0))
    by_connections = decide(RULE, (20.0, 20.0), (16.0, 18.0))
    assert by_cpu == Decision(
        2, 3, note("scaling.cpu_above", threshold_percent=70.0, observed_percent=83.25)
    )
    assert by_connections == Decision(
        2, 3, note("scaling.connections_above", threshold=15.0, observed=17.0)
    )


def test_starting_webservers_count_so_that_nothing_is_ordered_twice() -> None:
    scaling = ScalingRule(RULE, min_webservers=2, max_webservers=3)
    for at_s in (0.0, 5.0, 10.0):
        assert scaling.observe(Observation(at_s, (90, 90), (1, 1), 2, 1)) is None


def test_a_period_without_data_is_neither_high_nor_quiet() -> None:
    scaling = ScalingRule(RULE, min_webservers=1, max_webservers=4)
    for at_s in range(0, 60, 5):
        assert scaling.observe(Observation(at_s, (), (), 2, 0)) is None


loads = st.lists(
    st.tuples(
        st.floats(0, 100),
        st.floats(0, 40),
        st.integers(0, 2),  # how many periods a new webserver takes to start
    ),
    max_size=60,
)
rules = st.builds(
    PolicyParameters,
    datapoints_to_alarm=st.just(1),
    evaluation_periods=st.integers(1, 4),
    scale_out_step=st.integers(1, 5),
    scale_in_step=st.integers(1, 5),
    scale_out_cooldown_s=st.floats(0, 60),
    scale_in_cooldown_s=st.floats(0, 60),
    scale_in_periods=st.integers(1, 6),
    connections_scope=st.sampled_from(["per_webserver", "total"]),
    statistic=st.sampled_from(["Average", "Maximum"]),
)


@given(parameters=rules, load=loads, limits=st.tuples(st.integers(1, 5), st.integers(1, 5)))
def test_promises(
    parameters: PolicyParameters,
    load: list[tuple[float, float, int]],
    limits: tuple[int, int],
) -> None:
    """Within the limits, never inside a cooldown, in only when quiet, out only when high."""
    low, high = sorted(limits)
    scaling = ScalingRule(parameters, min_webservers=low, max_webservers=high)
    count, starting = low, 0
    last_out_s = last_decision_s = float("-inf")
    for period, (cpu, connections, start_periods) in enumerate(load):
        now_s = period * PERIOD_S
        ready = count - starting
        decision = scaling.observe(
            Observation(now_s, (cpu,) * ready, (connections,) * ready, ready, starting)
        )
        starting = 0
        if decision is None:
            continue
        assert low <= decision.to_count <= high
        assert decision.from_count == count
        assert decision.to_count != count
        if decision.to_count > count:
            assert now_s - last_out_s >= parameters.scale_out_cooldown_s
            starting = decision.to_count - count if start_periods else 0
            last_out_s = now_s
        else:
            assert now_s - last_decision_s >= parameters.scale_in_cooldown_s
            total = connections * ready if parameters.connections_scope == "total" else connections
            assert cpu < parameters.scale_in_cpu_below_percent
            assert total < parameters.scale_in_connections_below * (1 + 1e-9)
        last_decision_s = now_s
        count = decision.to_count
