"""Every arrival has exactly one row, whatever comes twice and whoever is lost."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from load_parts import blueprint_of, scenario_of
from rows_by_hand import rows_by_hand

from mwaa_headroom.analysis.schema import REQUESTS_SCHEMA, WORKER_LOST
from mwaa_headroom.harness.traffic.schedule import Share
from mwaa_headroom.locustfiles.master import PhaseAccount

START_S = 5000.0
SCENARIO = scenario_of(
    {"rate_per_s": 5},
    {"rate_per_s": 40},
    traffic={"mix": {"health": 1, "list_dags": 2}},
    recovery={"longest_s": 10.0, "hold_s": 1.0, "rate_per_s": 3},
)
BEFORE, PHASE = blueprint_of(SCENARIO).phases()
COUNT, FIRST = PHASE.schedule.count, PHASE.schedule.first
OFFSETS_S = np.concatenate([block.offset_s for block in PHASE.schedule.blocks()])
LABELS = np.concatenate([block.label for block in PHASE.schedule.blocks()])


def rows(arrivals):
    return rows_by_hand(arrivals, stage=1, starts_s=lambda n: START_S + OFFSETS_S[n - FIRST])


def lost_rows(account, share, until_s, worker=0):
    batches = list(account.missing(worker, share, until_s))
    assert all(batch.schema == REQUESTS_SCHEMA for batch in batches)
    return [row for batch in batches for row in batch.to_pylist()]


@settings(deadline=None)
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

    account = PhaseAccount(PHASE, START_S)
    taken = [account.take(rows(part)) for part in [*parts, *again, torn + torn] if part]
    fresh = [n for batch in taken for n in batch.column("arrival").to_pylist()]
    missing = [
        row
        for worker in sorted(lost)
        for row in lost_rows(account, Share(worker, workers), START_S + 1e6, worker)
    ]

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
    account = PhaseAccount(PHASE, START_S)
    batch = rows([FIRST + 2, FIRST + 1, FIRST + 2])
    assert account.take(batch).column("arrival").to_pylist() == [FIRST + 2, FIRST + 1]
    assert account.take(batch).num_rows == 0


def test_a_batch_of_new_rows_is_not_copied():
    batch = rows([FIRST, FIRST + 1])
    assert PhaseAccount(PHASE, START_S).take(batch) is batch


def test_only_what_was_due_is_missing():
    """Of a phase that was cut short, the rest was nobody's."""
    account = PhaseAccount(PHASE, START_S)
    until_s = START_S + float(np.median(OFFSETS_S))
    due = [row["arrival"] for row in lost_rows(account, Share(0, 1), until_s)]
    assert due == list(range(FIRST, FIRST + int(np.sum(until_s >= START_S + OFFSETS_S))))
    assert lost_rows(account, Share(0, 1), until_s) == [], "and nothing is missing twice"


def test_a_recovery_has_an_account_too():
    phase = blueprint_of(SCENARIO).recovery_after(1)
    account = PhaseAccount(phase, START_S)
    missing = lost_rows(account, Share(0, 1), START_S + 1e6)
    assert [row["stage"] for row in missing] == [-2] * phase.schedule.count
    assert missing[0]["arrival"] == phase.schedule.first


def test_a_closed_workload_has_no_account():
    scenario = scenario_of({"users": 2}, traffic={"arrivals": "closed", "think_time_s": 1})
    (phase,) = blueprint_of(scenario).phases()
    with pytest.raises(ValueError, match="closed"):
        PhaseAccount(phase, START_S)


def test_an_empty_batch_stays_empty():
    nothing = pa.RecordBatch.from_pylist([], schema=REQUESTS_SCHEMA)
    assert PhaseAccount(PHASE, START_S).take(nothing).num_rows == 0
