"""Every arrival has exactly one row, whoever is lost; how far a worker's clock is ahead."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from load_parts import plan_by_hand, scenario_of
from rows_by_hand import rows_by_hand

from mwaa_headroom.analysis.schema import REQUESTS_SCHEMA, WORKER_LOST
from mwaa_headroom.harness.traffic.schedule import Share
from mwaa_headroom.locustfiles.master import KEPT_PONGS, ClockOffset, PhaseArrivals

START_S = 5000.0
SCENARIO = scenario_of(
    {"rate_per_s": 5},
    {"rate_per_s": 40},
    traffic={"mix": {"health": 1, "list_dags": 2}},
    recovery={"longest_s": 10.0, "hold_s": 1.0, "rate_per_s": 3},
)
BEFORE, PHASE = plan_by_hand(SCENARIO).phases()
COUNT, FIRST = PHASE.schedule.count, PHASE.schedule.first
OFFSETS_S = np.concatenate([block.offset_s for block in PHASE.schedule.blocks()])
LABELS = np.concatenate([block.label for block in PHASE.schedule.blocks()])


def rows(arrivals):
    return rows_by_hand(arrivals, stage=1, starts_s=lambda n: START_S + OFFSETS_S[n - FIRST])


def arrivals_of(phase, workers=1):
    shares = {number: Share(number, workers) for number in range(workers)}
    return PhaseArrivals(phase.schedule, START_S, shares)


def lost_rows(arrivals, now_s, worker=0):
    batches = list(arrivals.missing_rows(worker, now_s))
    assert all(batch.schema == REQUESTS_SCHEMA for batch in batches)
    return [row for batch in batches for row in batch.to_pylist()]


@given(data=st.data())
def test_every_arrival_has_exactly_one_row(data):
    """Any workers, of which some are lost; of any reports, some lost and some twice, any order."""
    workers = data.draw(st.integers(1, 4))
    lost = data.draw(st.sets(st.integers(0, workers - 1)))
    reported = [
        n
        for n in range(FIRST, FIRST + COUNT)
        if n % workers not in lost or data.draw(st.booleans(), label=f"{n} was reported")
    ]
    reports = data.draw(st.permutations(reported))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(reports)), max_size=5)))
    parts = [reports[a:b] for a, b in zip([0, *cuts], [*cuts, len(reports)], strict=True)]
    again = data.draw(st.lists(st.sampled_from(parts), max_size=3))
    torn = data.draw(st.lists(st.sampled_from(reports), max_size=5)) if reports else []

    arrivals = arrivals_of(PHASE, workers)
    taken = [arrivals.new_rows(rows(part)) for part in [*parts, *again, torn + torn] if part]
    fresh = [n for batch in taken for n in batch.column("arrival").to_pylist()]
    missing = [row for worker in sorted(lost) for row in lost_rows(arrivals, START_S + 1e6, worker)]

    assert sorted(fresh) == sorted(reported), "a row that came twice counts once"
    everything = sorted(fresh + [row["arrival"] for row in missing])
    assert everything == list(range(FIRST, FIRST + COUNT))
    for row in missing:
        assert row["worker"] == row["arrival"] % workers
        assert (row["outcome"], row["error_code"], row["attempts"]) == ("unsent", WORKER_LOST, 0)
        assert row["intended_start_s"] == START_S + OFFSETS_S[row["arrival"] - FIRST]
        assert row["operation"] == PHASE.labels[LABELS[row["arrival"] - FIRST]]
        assert row["stage"] == 1
        assert row["lag_s"] is row["service_time_s"] is row["http_status"] is None


def test_what_is_twice_within_one_report_counts_once():
    arrivals = arrivals_of(PHASE)
    batch = rows([FIRST + 2, FIRST + 1, FIRST + 2])
    assert arrivals.new_rows(batch).column("arrival").to_pylist() == [FIRST + 2, FIRST + 1]
    assert arrivals.new_rows(batch).num_rows == 0


def test_a_batch_of_new_rows_is_not_copied():
    batch = rows([FIRST, FIRST + 1])
    assert arrivals_of(PHASE).new_rows(batch) is batch


def test_only_what_was_due_is_missing():
    """Of a phase that was cut short, the rest was nobody's."""
    arrivals = arrivals_of(PHASE)
    until_s = START_S + float(np.median(OFFSETS_S))
    due = [row["arrival"] for row in lost_rows(arrivals, until_s)]
    assert due == list(range(FIRST, FIRST + int(np.sum(until_s >= START_S + OFFSETS_S))))
    assert lost_rows(arrivals, until_s) == [], "and nothing is missing twice"


def test_a_recovery_is_counted_too():
    phase = plan_by_hand(SCENARIO).recovery_after(1)
    arrivals = arrivals_of(phase)
    missing = lost_rows(arrivals, START_S + 1e6)
    assert [row["stage"] for row in missing] == [-2] * phase.schedule.count
    assert missing[0]["arrival"] == phase.schedule.first


def test_after_the_end_of_a_phase_nothing_more_is_missing():
    arrivals = arrivals_of(PHASE)
    arrivals.until_s = START_S + float(np.median(OFFSETS_S))
    assert 0 < len(lost_rows(arrivals, START_S + 1e6)) < COUNT


def test_a_worker_without_a_share_owes_nothing():
    """It was lost before the phase began."""
    assert lost_rows(arrivals_of(PHASE), START_S + 1e6, worker=1) == []


def test_an_empty_batch_stays_empty():
    nothing = pa.RecordBatch.from_pylist([], schema=REQUESTS_SCHEMA)
    assert arrivals_of(PHASE).new_rows(nothing).num_rows == 0


seconds = st.floats(0, 10)
delays = st.lists(st.tuples(seconds, seconds), min_size=1, max_size=2 * KEPT_PONGS)
truths = st.floats(-1e5, 1e5)
ROUNDING_S = 1e-5  # of epoch seconds as floats, many times over


def after(pings: list[tuple[float, float]], ahead_s: float) -> ClockOffset:
    """Pings, one a second, each so long on its way there and back."""
    offset = ClockOffset()
    for number, (there_s, back_s) in enumerate(pings):
        sent_s = 1.7e9 + number
        arrived_s = sent_s + there_s
        offset.add(sent_s=sent_s, answered_s=arrived_s + ahead_s, received_s=arrived_s + back_s)
    return offset


@given(pings=delays, ahead_s=truths)
def test_the_truth_is_within_the_uncertainty(pings, ahead_s):
    offset = after(pings, ahead_s)
    assert abs(offset.ahead_s - ahead_s) <= offset.uncertainty_s + ROUNDING_S


@given(ways_s=st.lists(seconds, min_size=1, max_size=50), ahead_s=truths)
def test_with_equal_ways_the_estimate_is_exact(ways_s, ahead_s):
    offset = after([(way_s, way_s) for way_s in ways_s], ahead_s)
    assert offset.ahead_s == pytest.approx(ahead_s, abs=ROUNDING_S)


@given(pings=delays, ahead_s=truths)
def test_the_shortest_way_of_the_last_answers_counts(pings, ahead_s):
    offset = after(pings, ahead_s)
    shortest_s = min(there_s + back_s for there_s, back_s in pings[-KEPT_PONGS:])
    assert offset.uncertainty_s == pytest.approx(shortest_s / 2, abs=ROUNDING_S)
    assert offset.count == min(len(pings), KEPT_PONGS)


def test_a_clock_that_drifts_is_followed():
    offset = after([(0.001, 0.001)], ahead_s=0.0)
    for number in range(KEPT_PONGS):
        sent_s = 1.7e9 + 100 + number
        offset.add(sent_s=sent_s, answered_s=sent_s + 0.002 + 5.0, received_s=sent_s + 0.004)
    assert offset.ahead_s == pytest.approx(5.0, abs=ROUNDING_S)


def test_nothing_is_known_without_an_answer():
    nothing = ClockOffset()
    assert (nothing.count, nothing.ahead_s, nothing.uncertainty_s) == (0, 0.0, math.inf)
