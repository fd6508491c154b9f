"""Where all rows come together: written, counted, and shown to overload and the abort rule."""

import pytest
from load_parts import Remembered
from rows_by_hand import rows_by_hand

from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.harness.traffic.overload import ErrorRateRule, Overload
from mwaa_headroom.locustfiles.recorder import Books


@pytest.fixture
def output():
    return Remembered()


@pytest.fixture
def overload():
    return Overload([parse_slo("rate(errors) < 10%")], hold_s=1.0)


@pytest.fixture
def rule():
    return ErrorRateRule(limit=0.5, window_s=10.0)


@pytest.fixture
def books(output, overload, rule):
    return Books(output, overload, rule)


def test_rows_are_written_as_they_come_and_counted(books, output):
    batches = [rows_by_hand(range(3)), rows_by_hand([7])]
    for batch in batches:
        books.take_in(batch)
    assert output.batches == batches
    assert books.rows == 4


def test_overload_sees_them(books, overload):
    overload.look_at(0, 0.0)
    assert not overload.broke_slo(in_flight=0, rate_per_s=1)
    books.take_in(rows_by_hand(range(30), outcome="throttled"))
    assert overload.broke_slo(in_flight=0, rate_per_s=1)


def failed(arrivals, **columns):
    return rows_by_hand(arrivals, starts_s=lambda _: 1000.0, outcome="throttled", **columns)


def test_errors_count_from_when_a_call_ended(books, rule):
    """Due at 1000 s, answered 25 s later."""
    books.take_in(failed(range(40), service_time_s=25.0))
    assert rule.reason_to_abort(1026.0) == (
        "40 of 40 calls in the last 10 s failed, limits.abort_error_rate is 0.5."
    )


def test_errors_of_long_ago_do_not_count(books, rule):
    books.take_in(failed(range(40)))
    assert rule.reason_to_abort(1026.0) is None


def test_good_calls_count_against_errors(books, rule):
    books.take_in(failed(range(30)))
    books.take_in(rows_by_hand(range(30, 61), starts_s=lambda _: 1000.5))
    assert rule.reason_to_abort(1001.0) is None
    books.take_in(failed([100]))
    assert "31 of 62 calls" in str(rule.reason_to_abort(1001.0))


def test_unsent_arrivals_are_no_errors_of_the_environment(books, rule):
    unsent = rows_by_hand(range(100), starts_s=lambda _: 1000.0, outcome="unsent")
    books.take_in(unsent)
    assert rule.reason_to_abort(1001.0) is None


def test_errors_of_a_recovery_do_not_abort(books, rule, output):
    """The light load is there to see them; they are written all the same."""
    books.take_in(failed(range(100), stage=-1))
    assert rule.reason_to_abort(1001.0) is None
    assert books.rows == len(output.all_rows) == 100
