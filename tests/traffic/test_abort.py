"""The abort rule: enough calls, enough of them errors, all within the window."""

import pytest

from harness.traffic.abort import FEWEST_CALLS, ErrorRateRule


def rule_after(calls: list[tuple[float, bool]], **settings: float) -> ErrorRateRule:
    rule = ErrorRateRule(**{"limit": 0.5, "window_s": 10.0} | settings)
    for time_s, is_error in calls:
        rule.add(time_s, is_error=is_error)
    return rule


@pytest.mark.parametrize(
    ("calls", "now_s", "aborts", "why"),
    [
        ([], 0.0, False, "nothing was sent"),
        ([(1.0, True)] * (FEWEST_CALLS - 1), 1.5, False, "one call too few to say anything"),
        ([(1.0, True)] * FEWEST_CALLS, 1.5, True, "all failed"),
        ([(1.0, True), (1.0, False)] * 10, 1.5, True, "exactly at the limit"),
        ([(1.0, True)] * 10 + [(1.0, False)] * 11, 1.5, False, "just below the limit"),
        ([(1.0, True)] * 30, 13.0, False, "all errors have left the window"),
        ([(1.0, True)] * 30 + [(13.0, False)] * 30, 13.5, False, "only good calls are left"),
        ([(1.0, False)] * 30 + [(13.0, True)] * 30, 13.5, True, "only errors are left"),
    ],
)
def test_when_it_fires(calls, now_s, aborts, why):
    assert (rule_after(calls).reason_to_abort(now_s) is not None) is aborts, why


def test_the_reason_is_one_sentence_with_the_numbers():
    reason = rule_after([(1.0, True)] * 30, limit=0.9).reason_to_abort(2.0)
    assert reason == "30 of 30 calls in the last 10 s failed, limits.abort_error_rate is 0.9."
