"""Whether a stage broke the SLO, when it holds again, and when too many errors abort a run."""

import pytest
from rows_by_hand import rows_by_hand

from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.harness.traffic import overload as overload_module
from mwaa_headroom.harness.traffic.overload import FEWEST_CALLS, ErrorRateRule, Overload

HOLD_S = 3.0
RECOVERY = -1


def overload_of(*lines):
    return Overload([parse_slo(line) for line in lines], hold_s=HOLD_S)


def after_stage(*batches, lines=("p95(latency) < 1s",), from_s=0.0):
    overload = overload_of(*lines)
    overload.look_at(0, from_s)
    for batch in batches:
        overload.add(batch)
    return overload


def tenths(arrivals, **columns):
    """Ten calls a second."""
    return rows_by_hand(arrivals, starts_s=lambda n: n / 10, **columns)


@pytest.mark.parametrize(
    ("lines", "rows", "broke", "why"),
    [
        (("p95(latency) < 1s",), [tenths(range(100))], False, "all fast"),
        (("p95(latency) < 1s",), [tenths(range(100), service_time_s=2.0)], True, "all slow"),
        (
            ("p95(latency) < 1s",),
            [tenths(range(92)), tenths(range(92, 100), service_time_s=2.0)],
            True,
            "8 % slow",
        ),
        (
            ("p95(latency) < 1s",),
            [tenths(range(97)), tenths(range(97, 100), service_time_s=2.0)],
            False,
            "3 % slow",
        ),
        (("p95(latency) < 1s",), [tenths(range(3), service_time_s=2.0)], False, "too few to say"),
        (("p95(latency) < 1s",), [tenths(range(99), outcome="throttled")], True, "none ended ok"),
        (("rate(errors) < 5%",), [tenths(range(90)), tenths([95], outcome="denied")], False, "1 %"),
        (("rate(errors) < 5%",), [tenths(range(9)), tenths([95], outcome="denied")], True, "10 %"),
        (
            ("p95(latency) < 1s", "max(webserver.cpu) < 85%"),
            [tenths(range(100))],
            False,
            "metrics come too late to be looked at",
        ),
        ((), [tenths(range(100), outcome="denied")], False, "there is no line to break"),
        (("max(webserver.cpu) < 85%",), [tenths(range(100), outcome="denied")], False, "nor here"),
    ],
)
def test_a_stage_breaks_the_slo_by_a_line(lines, rows, broke, why):
    overload = after_stage(*rows, lines=lines)
    assert overload.broke_slo(in_flight=0, rate_per_s=10) is broke, why


def test_warm_up_is_left_out():
    slow, fast = tenths(range(50), service_time_s=5.0), tenths(range(50, 150))
    assert after_stage(slow, fast).broke_slo(in_flight=0, rate_per_s=10)
    assert not after_stage(slow, fast, from_s=5.0).broke_slo(in_flight=0, rate_per_s=10)


def test_other_stages_are_left_out():
    slow = tenths(range(100), service_time_s=5.0)
    other = tenths(range(100), stage=1, service_time_s=0.1)
    assert not after_stage(other).broke_slo(in_flight=0, rate_per_s=10)
    overload = after_stage(slow)
    overload.look_at(1, 0.0)
    overload.add(other)
    assert not overload.broke_slo(in_flight=0, rate_per_s=10)


@pytest.mark.parametrize(
    ("lines", "in_flight", "broke", "why"),
    [
        (
            ("p95(latency) < 1s",),
            21,
            True,
            "far more than 10/s for 1 s, nothing answered",
        ),
        (("p95(latency) < 1s",), 20, False, "calls may take 1 s, and arrivals come in bunches"),
        (("p95(latency) < 50ms",), 3, False, "three may just have begun"),
        (("p95(latency) < 50ms",), 4, True, "four at a time take 400 ms each"),
        (("p95(latency) < 3s", "p99(latency) < 2s"), 35, True, "the tightest line counts"),
        (("rate(errors) < 1%",), 500, False, "no line about latency"),
        (("p95(latency{operation=health}) < 100ms",), 50, False, "others may take longer"),
        (("p95(latency) > 1s",), 500, False, "slowness does not break this line"),
    ],
)
def test_a_stage_breaks_the_slo_by_littles_law(lines, in_flight, broke, why):
    overload = after_stage(lines=lines)
    assert overload.broke_slo(in_flight=in_flight, rate_per_s=10) is broke, why


def recovering(*batches, lines=("p95(latency) < 1s",)):
    overload = overload_of(*lines)
    overload.look_at(RECOVERY, 0.0)
    for batch in batches:
        overload.add(batch)
    return overload.has_recovered()


def light(arrivals, **columns):
    return tenths(arrivals, stage=RECOVERY, **columns)


@pytest.mark.parametrize(
    ("rows", "recovered", "why"),
    [
        ([], False, "nothing is known"),
        ([light(range(20))], False, "it has not held for long enough"),
        ([light(range(40))], True, "it held from the first call on"),
        ([light(range(60), service_time_s=2.0)], False, "still slow"),
        ([light(range(60), outcome="airflow_server_error")], False, "still broken"),
        ([light(range(60), service_time_s=2.0), light(range(60, 80))], False, "not long enough"),
        ([light(range(60), service_time_s=2.0), light(range(60, 100))], True, "it came back"),
        ([light(range(10)), light(range(11, 60))], False, "one early call has no answer yet"),
        ([light(range(45)), light(range(46, 50))], True, "it held for long enough before the gap"),
        ([light(range(11, 60)), light(range(11))], True, "answers may come in any order"),
        ([light(range(30, 60)), light([*range(10), *range(11, 30)])], False, "but one is missing"),
        ([light(range(60), outcome="unsent")], False, "unsent arrivals show nothing"),
        ([tenths(range(60))], False, "rows of the stage are none of the recovery"),
    ],
)
def test_the_slo_holds_again(rows, recovered, why):
    assert recovering(*rows) is recovered, why


def test_without_a_line_about_calls_nothing_can_be_seen():
    assert recovering(light(range(100)), lines=("max(webserver.cpu) < 85%",)) is False


def test_memory_is_bounded_and_the_last_calls_are_judged(monkeypatch):
    monkeypatch.setattr(overload_module, "KEPT_ROWS", 200)
    batches = [tenths(range(n, n + 50), service_time_s=5.0) for n in range(0, 1000, 50)]
    overload = after_stage(*batches)
    assert overload.broke_slo(in_flight=0, rate_per_s=10)
    for n in range(1000, 1300, 50):
        overload.add(tenths(range(n, n + 50)))
    assert not overload.broke_slo(in_flight=0, rate_per_s=10)
    assert sum(batch.num_rows for batch in overload._batches) <= 250


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


def rule_of_rows(*batches):
    rule = ErrorRateRule(limit=0.5, window_s=10.0)
    for batch in batches:
        rule.add_rows(batch)
    return rule


def failed(arrivals, **columns):
    return rows_by_hand(arrivals, starts_s=lambda _: 1000.0, outcome="throttled", **columns)


def test_errors_count_from_when_a_call_ended():
    """Due at 1000 s, answered 25 s later."""
    rule = rule_of_rows(failed(range(40), service_time_s=25.0))
    assert "40 of 40 calls in the last 10 s" in str(rule.reason_to_abort(1026.0))
    assert rule_of_rows(failed(range(40))).reason_to_abort(1026.0) is None, "that was long ago"


def test_good_calls_count_against_errors():
    good = rows_by_hand(range(30, 61), starts_s=lambda _: 1000.5)
    rule = rule_of_rows(failed(range(30)), good)
    assert rule.reason_to_abort(1001.0) is None
    rule.add_rows(failed([100]))
    assert "31 of 62 calls" in str(rule.reason_to_abort(1001.0))


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ({"outcome": "unsent"}, "unsent arrivals are no errors of the environment"),
        ({"outcome": "throttled", "stage": -1}, "light load is there to see errors"),
    ],
)
def test_what_is_no_reason_to_abort(rows, why):
    batch = rows_by_hand(range(100), starts_s=lambda _: 1000.0, **rows)
    assert rule_of_rows(batch).reason_to_abort(1001.0) is None, why
