"""Which simulated change stands for which recorded one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwaa_headroom.analysis.policy.recorded import Change
from mwaa_headroom.analysis.policy.replay import LOST, align, compared

PERIOD_S = 60.0


def decided(at_s: float, from_count: int = 2, to_count: int = 3) -> Change:
    return Change(at_s, at_s, from_count, to_count)


@pytest.mark.parametrize(
    ("recorded", "simulated", "verdicts", "cost"),
    [
        ([decided(120)], [decided(120)], ["matched"], 0),
        ([decided(121)], [decided(120)], ["matched"], 0),  # the rule is asked a moment later
        ([decided(120)], [decided(180)], ["off"], 1),
        ([decided(120)], [decided(120, 2, 4)], ["off"], 1),  # at its time, but of another size
        ([decided(120)], [], ["missed"], LOST),
        ([], [decided(120)], ["extra"], LOST),
        ([decided(120)], [decided(1200)], ["extra", "missed"], 2 * LOST),  # too far to be one
        ([decided(120)], [decided(120, 3, 2)], ["extra", "missed"], 2 * LOST),  # the other way
        ([Change(120, 180, 2, 3)], [decided(150)], ["matched"], 0),  # somewhere in a period
        ([Change(120, 180, 2, 3)], [decided(200)], ["off"], 1),
        (
            [decided(60), decided(120, 3, 4), decided(600, 4, 3)],
            [decided(120, 3, 4), decided(600, 4, 3)],
            ["missed", "matched", "matched"],
            LOST,
        ),
    ],
)
def test_pairs(
    recorded: list[Change], simulated: list[Change], verdicts: list[str], cost: float
) -> None:
    assert align(recorded, simulated, PERIOD_S)[0] == cost
    assert sorted(event.verdict for event in compared(recorded, simulated, PERIOD_S)) == sorted(
        verdicts
    )


def test_the_difference_is_simulated_minus_recorded() -> None:
    early, late = compared(
        [decided(120), Change(600, 660, 3, 2)], [decided(60), decided(700, 3, 2)], PERIOD_S
    )
    assert early.difference_s == -60
    assert late.difference_s == 40  # after the end of the interval
    assert (late.recorded_from_s, late.recorded_s, late.simulated_s) == (600, 660, 700)


def test_starts_that_vary_may_be_off_and_removals_may_not() -> None:
    recorded = [Change(120, 180, 2, 3), Change(600, 660, 3, 2)]
    simulated = [decided(240), decided(720, 3, 2)]

    assert align(recorded, simulated, PERIOD_S)[0] == 2
    assert align(recorded, simulated, PERIOD_S, 60.0)[0] == 1
    assert [e.verdict for e in compared(recorded, simulated, PERIOD_S, 0.0, 60.0)] == [
        "matched",
        "off",
    ]


changes = st.lists(
    st.tuples(st.integers(0, 100), st.sampled_from([(2, 3), (3, 2), (2, 4)])), max_size=6
).map(lambda found: [decided(60.0 * at, *counts) for at, counts in sorted(found)])


@given(recorded=changes, simulated=changes)
def test_every_change_is_told_once_and_no_alignment_is_dearer_than_none(
    recorded: list[Change], simulated: list[Change]
) -> None:
    cost, pairs = align(recorded, simulated, PERIOD_S)
    assert [was for was, _ in pairs if was is not None] == recorded
    assert [now for _, now in pairs if now is not None] == simulated
    assert 0 <= cost <= LOST * (len(recorded) + len(simulated))
    assert align(recorded, recorded, PERIOD_S)[0] == 0
    assert align(simulated, recorded, PERIOD_S)[0] == pytest.approx(cost)
