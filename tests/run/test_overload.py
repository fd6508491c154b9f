"""Whether a stage broke the SLO, and when it holds again, from the rows that have come in."""

import pytest
from rows_by_hand import rows_by_hand

from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.harness.traffic import overload as overload_module
from mwaa_headroom.harness.traffic.overload import Overload

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
