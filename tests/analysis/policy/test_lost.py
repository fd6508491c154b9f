"""Ranges of lost calls: as wide as replays were off."""

import numpy as np
import pytest

from mwaa_headroom.analysis.policy.results import FittedRule, LostCalls, Replay
from mwaa_headroom.analysis.policy.rule import PolicyParameters
from mwaa_headroom.analysis.policy.simulate import Workload
from mwaa_headroom.analysis.policy.what_if import (
    LEAST_FACTOR,
    MOST_FACTOR,
    LoadToSimulate,
    factors,
    simulate_load,
    widened,
)
from mwaa_headroom.analysis.report.planning.what_if_load import load_sections


def replay(recorded: float, simulated: float) -> Replay:
    return Replay("load", "run", 60.0, (), failed=LostCalls(recorded, simulated))


def test_the_factor_is_the_largest_ratio_seen_either_way() -> None:
    failed, slow = factors([replay(980, 2980), replay(1980, 980)])
    assert failed == pytest.approx(3.0)
    assert slow == LEAST_FACTOR
    assert factors([replay(3980, 980)])[0] == pytest.approx(4.0)
    assert factors([replay(0, 5)])[0] == LEAST_FACTOR  # a handful
    assert factors([replay(0, 5000)])[0] == MOST_FACTOR
    assert factors([]) == (LEAST_FACTOR, LEAST_FACTOR)


def test_widened_ranges_hold_the_simulated_ones_and_no_more_than_all_calls() -> None:
    workload = Workload(0.1, 0.0, 1.0, 0.0, slow_after_s=1.0)
    load = LoadToSimulate("flood", np.full(600, 20.0), 1, 1, 60.0, 0.7, load_of="", calls_of="run")
    plain = simulate_load(load, workload, (), FittedRule(PolicyParameters(), 60.0), ())
    wide = widened(plain, 3.0, 2.0)
    for figure, was in (
        (wide.failed_calls, plain.failed_calls),
        (wide.slow_calls, plain.slow_calls),
    ):
        assert figure.low is not None
        assert figure.high is not None
        assert was.low is not None
        assert was.high is not None
        assert 0 < figure.low <= was.low / 2
        assert was.high <= figure.high <= plain.calls
    assert wide.failed_share.high == 1.0
    table = next(load_sections(wide)).table
    assert table is not None
    (row,) = [row for row in table.rows if row[0] == "longest until caught up"]
    assert row[1] == "never"
