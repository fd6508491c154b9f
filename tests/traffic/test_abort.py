"""The abort rule: enough calls, enough of them errors, all within the window."""

import pytest

from mwaa_headroom.harness.traffic.overload import FEWEST_CALLS, ErrorRateRule

FEW = FEWEST_CALLS - 1


def rule_after(seconds: list[tuple[int, int, int]], **settings: float) -> ErrorRateRule:
    """Of each second: calls that ended in it, and errors among them."""
    rule = ErrorRateRule(**{"limit": 0.5, "window_s": 10.0} | settings)
    for second, calls, errors in seconds:
        rule.add(second, calls=calls, errors=errors)
    return rule


@pytest.mark.parametrize(
    ("seconds", "now_s", "aborts", "why"),
    [
        ([], 0.0, False, "nothing was sent"),
        ([(1, FEW, FEW)], 1.5, False, "one call too few to say anything"),
        ([(1, FEWEST_CALLS, FEWEST_CALLS)], 1.5, True, "all failed"),
        ([(1, 20, 10)], 1.5, True, "exactly at the limit"),
        ([(1, 21, 10)], 1.5, False, "just below the limit"),
        ([(1, 30, 30)], 13.0, False, "all errors have left the window"),
        ([(1, 30, 30), (13, 30, 0)], 13.5, False, "only good calls are left"),
        ([(1, 30, 0), (13, 30, 30)], 13.5, True, "only errors are left"),
        ([(3, 10, 10)] * 3, 3.5, True, "one second may come in parts"),
        ([(9, 15, 15), (5, 15, 0)], 9.5, True, "workers report in any order"),
        ([(9, 15, 15), (2, 16, 0)], 9.5, False, "and what comes late still counts"),
    ],
)
def test_when_it_fires(seconds, now_s, aborts, why):
    assert (rule_after(seconds).reason_to_abort(now_s) is not None) is aborts, why


def test_what_has_left_the_window_does_not_come_back():
    rule = rule_after([(1, 30, 30)])
    assert rule.reason_to_abort(100.0) is None
    assert rule.reason_to_abort(2.0) is None


def test_the_reason_is_one_sentence_with_the_numbers():
    reason = rule_after([(1, 30, 30)], limit=0.9).reason_to_abort(2.0)
    assert reason == "30 of 30 calls in the last 10 s failed, limits.abort_error_rate is 0.9."
