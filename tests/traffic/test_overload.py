"""Whether a stage broke the SLO, when it holds again, and when too many errors abort a run."""

import pyarrow as pa
import pytest
from rows_by_hand import rows_by_hand

from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.harness.record.stream import ROWS_OF_A_BATCH
from mwaa_headroom.harness.traffic import overload as overload_module
from mwaa_headroom.harness.traffic.overload import FEWEST_CALLS, AbortRule, Overload

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


@pytest.mark.parametrize("stage", [0, RECOVERY])
def test_memory_is_bounded_and_the_last_calls_are_judged(monkeypatch, stage):
    monkeypatch.setattr(overload_module, "KEPT_ROWS", 2 * ROWS_OF_A_BATCH)
    overload = overload_of("p95(latency) < 1s")
    overload.look_at(stage, 0.0)
    for n in range(0, 6 * ROWS_OF_A_BATCH, 64):
        overload.add(tenths(range(n, n + 64), stage=stage, service_time_s=5.0))
    assert overload.broke_slo(in_flight=0, rate_per_s=10)
    for n in range(6 * ROWS_OF_A_BATCH, 9 * ROWS_OF_A_BATCH, 64):
        overload.add(tenths(range(n, n + 64), stage=stage))
    assert not overload.broke_slo(in_flight=0, rate_per_s=10)
    assert sum(batch.num_rows for batch in overload._batches) <= 3 * ROWS_OF_A_BATCH + 64


def test_calls_that_come_one_by_one_take_no_more_memory_than_many_at_once():
    def bytes_for(rows_at_once):
        before = pa.total_allocated_bytes()
        overload = overload_of("p95(latency) < 1s")
        overload.look_at(0, 0.0)
        for n in range(0, 4 * ROWS_OF_A_BATCH, rows_at_once):
            overload.add(tenths(range(n, n + rows_at_once)))
        used = pa.total_allocated_bytes() - before
        assert overload.broke_slo(in_flight=0, rate_per_s=10) is False
        assert len(overload._batches) <= 5
        return used

    assert bytes_for(2) < 1.5 * bytes_for(ROWS_OF_A_BATCH)


FEW = FEWEST_CALLS - 1


def rule_after(seconds: list[tuple[int, int, int]], **settings: float) -> AbortRule:
    """Of each second: calls that ended in it, and errors among them."""
    rule = AbortRule(**{"limit": 0.5, "window_s": 10.0} | settings)
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
    rule = AbortRule(limit=0.5, window_s=10.0)
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


@pytest.mark.parametrize(
    ("calls_per_s", "after_s"),
    [(1, 20), (2, 10), (5, 5), (50, 5)],
)
def test_after_a_healthy_phase_it_takes_five_seconds_or_twenty_calls(calls_per_s, after_s):
    """The share is 90 %, so it fires a little before."""
    rule = AbortRule(limit=0.9, window_s=5.0)
    for second in range(100):
        rule.add(second, calls=calls_per_s, errors=0)
    for second in range(100, 130):
        rule.add(second, calls=calls_per_s, errors=calls_per_s)
        if rule.reason_to_abort(second + 1.0):
            break
    assert 0.7 * after_s <= second + 1 - 100 <= after_s + 1


@pytest.mark.parametrize(
    ("last_end_s", "longest_good_s", "in_flight", "now_s", "aborts", "why"),
    [
        (109, 0.0, 50, 115.5, True, "nobody is answered any more"),
        (109, 0.0, 50, 114.5, False, "not yet for five seconds"),
        (None, 0.0, 50, 110.5, True, "nobody was answered at all"),
        (None, 0.0, 50, 109.5, False, "idle servers may be slow at first"),
        (109, 0.0, 4, 125.0, False, "too few calls wait"),
        (109, 8.0, 50, 117.5, False, "the SLO allows that"),
        (109, 8.0, 50, 118.5, True, "but not that"),
    ],
)
def test_calls_that_hang_abort_too(last_end_s, longest_good_s, in_flight, now_s, aborts, why):
    rule = AbortRule(limit=0.9, window_s=5.0, longest_good_s=longest_good_s)
    rule.begin(100.0)
    if last_end_s is not None:
        rule.add(last_end_s, calls=30, errors=0)
    assert (rule.reason_to_abort(now_s, in_flight=in_flight) is not None) is aborts, why


def test_time_without_calls_is_no_silence():
    """A trace pauses for a minute, then many calls come at once."""
    rule = AbortRule(limit=0.9, window_s=5.0)
    rule.begin(100.0)
    rule.add(100, calls=30, errors=0)
    for now_s in range(101, 161):
        assert rule.reason_to_abort(float(now_s)) is None
    for now_s in (161.0, 164.5):
        assert rule.reason_to_abort(now_s, in_flight=40) is None
    assert rule.reason_to_abort(165.5, in_flight=40) is not None


@pytest.mark.parametrize(
    ("outcome", "calls_per_s", "good", "after_s"),
    [
        ("denied", 2, 0, 3),
        ("invalid", 100, 0, 1),
        ("denied", 10, 1, None),
        ("throttled", 10, 0, None),
    ],
)
def test_nothing_but_the_callers_own_failures_stop_a_run(outcome, calls_per_s, good, after_s):
    """One call that ends otherwise, and they stop nothing."""
    rule = AbortRule(limit=1.0, window_s=1000.0)
    for second in range(10):
        if good:
            rule.add(1000 + second, calls=good, errors=0)
        if outcome == "throttled":
            rule.add(1000 + second, calls=1, errors=0)
        rule.add_rows(
            rows_by_hand(
                range(calls_per_s),
                starts_s=lambda _, second=second: 1000.0 + second,
                outcome=outcome,
                error_code="ExpiredTokenException",
            )
        )
        if reason := rule.reason_to_abort(1001.0 + second):
            assert "ExpiredTokenException" in reason
            assert second + 1 == after_s
            return
    assert after_s is None
