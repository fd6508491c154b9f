"""The rate cap over any second, whatever happened before."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mwaa_headroom.harness.scenario.load import check_scenario
from mwaa_headroom.harness.traffic.rate_cap import (
    PATIENCE_S,
    AnySecond,
    RateCap,
    allowances,
    spaced_stages,
)
from mwaa_headroom.harness.traffic.schedule import Share


def scenario(*, arrivals="constant", rate_per_s=10.0, cap_per_s=10.0, **traffic):
    return check_scenario(
        {
            "name": "by hand",
            "slo": ["rate(errors) < 1%"],
            "question": {"ask": "check"},
            "environment": {"kind": "simulated"},
            "traffic": {"arrivals": arrivals, "mix": {"health": 1}, **traffic},
            "stages": [{"rate_per_s": rate_per_s, "duration_s": 1}],
            "limits": {"max_rate_per_s": cap_per_s},
        },
        origin="by hand",
    )


@settings(max_examples=80)
@given(
    most=st.integers(1, 8),
    then=st.integers(1, 8),
    pauses_s=st.lists(st.floats(0, 1.5), min_size=1, max_size=60),
)
def test_no_second_has_more_however_they_come(most, then, pauses_s):
    """Also when the allowance changes in between: then the larger one holds."""
    allowance, now_s, began_s = AnySecond(most), 100.0, []
    for number, pause_s in enumerate(pauses_s):
        if number == len(pauses_s) // 2:
            allowance.allow(then)
        now_s += pause_s
        wait_s = allowance.begin(now_s)
        if wait_s == 0.0:
            began_s.append(now_s)
        else:
            assert 0.0 < wait_s <= 1.0
            assert allowance.begin(now_s + wait_s + 1e-9) == 0.0, "it may begin then"
            now_s += wait_s + 1e-9
            began_s.append(now_s)
    bound = max(most, then)
    for first, beyond in zip(began_s, began_s[bound:], strict=False):
        assert beyond - first >= 1.0 - 1e-9


@pytest.mark.parametrize(
    ("settings_", "calls", "further"),
    [
        pytest.param({"rate_per_s": 10}, 11, 0, id="evenly spaced at the cap: one for jitter"),
        pytest.param({"rate_per_s": 4}, 11, 6, id="what is left may be repeated"),
        pytest.param({"rate_per_s": 10, "arrivals": "poisson"}, 11, 0, id="no room for chance"),
        pytest.param({"rate_per_s": 0.5, "cap_per_s": 0.5}, 2, 0, id="less than one a second"),
    ],
)
def test_what_a_stage_may_begin(settings_, calls, further):
    assert allowances(scenario(**settings_), 0) == (calls, further)


def test_a_recovery_has_its_own_rate():
    assert allowances(scenario(rate_per_s=8.0), -1) == (11, 6)  # half of the stage's


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_load_processes_share_it(workers):
    """Further attempts are those of one process; of calls each may have a part of one more."""
    plan = scenario(rate_per_s=4.0)
    calls = further = 0
    for worker in range(workers):
        cap = RateCap()
        cap.allow(plan, 0, Share(worker, workers))
        while cap.calls.begin(5.0) == 0.0:
            calls += 1
        while cap.further.begin(5.0) == 0.0:
            further += 1
    assert 11 <= calls < 11 + workers
    assert further == 6


@pytest.mark.parametrize(
    ("settings_", "needed_per_s"),
    [
        pytest.param({"arrivals": "poisson"}, 23, id="at the cap"),
        pytest.param({"arrivals": "poisson", "rate_per_s": 3.1}, 11, id="chance goes beyond it"),
        pytest.param({"arrivals": "poisson", "rate_per_s": 3.0}, None, id="chance stays within it"),
        pytest.param({"arrivals": "constant"}, None, id="no chance"),
    ],
)
def test_random_arrivals_near_the_cap_are_told(settings_, needed_per_s):
    told = {finding.values["needed_per_s"] for finding in spaced_stages(scenario(**settings_))}
    assert told == ({needed_per_s} if needed_per_s else set())


def test_another_attempt_waits_for_its_turn_but_not_for_long():
    now_s = [0.0]

    def sleep(seconds):
        now_s[0] += seconds

    cap = RateCap(clock=lambda: now_s[0], sleep=sleep)
    assert not cap.may_try_again(), "nothing has been allowed yet"
    cap.allow(scenario(rate_per_s=8.0), 0)
    began_s = []
    while len(began_s) < 6:
        assert cap.may_try_again()
        began_s.append(now_s[0])
    assert began_s == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]
    cap.allow(scenario(rate_per_s=10.0), 0)
    assert not cap.may_try_again()
    assert now_s[0] <= 2.0 + PATIENCE_S
