"""Calls as columns of numbers, and which of them are what."""

from dataclasses import fields
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwaa_headroom.analysis.calls import (
    CENSORED_OUTCOMES,
    Calls,
    Labels,
    calls_of,
    good_calls,
    labels_of,
)
from mwaa_headroom.analysis.outcomes import LAYER_OF_OUTCOME, OUTCOMES_BEFORE_WEBSERVER
from mwaa_headroom.analysis.record import encoded, whole
from mwaa_headroom.analysis.schema import REQUESTS_SCHEMA
from mwaa_headroom.analysis.slo import parse_slo

TIMES_S = st.none() | st.floats(0, 20) | st.just(float("nan"))
ROWS = st.fixed_dictionaries(
    {
        "arrival": st.integers(0, 2**40),
        "stage": st.integers(-3, 3),
        "operation": st.sampled_from(["list_dags", "health", "trigger_dag_run"]),
        "intended_start_s": st.floats(1.79e9, 1.8e9),
        "lag_s": TIMES_S,
        "service_time_s": TIMES_S,
        "outcome": st.sampled_from([*LAYER_OF_OUTCOME, "melted"]),
        "attempts": st.integers(0, 3),
        "worker": st.integers(0, 3),
    }
)
SLOS = ("p95(latency) < 8s", "p99(latency{operation=health}) < 2s", "max(latency) <= 15s")


def requests_of(rows: list[dict[str, Any]], pieces: int = 1) -> pa.Table:
    """A requests table, in several chunks."""
    table = pa.Table.from_pylist(rows, schema=REQUESTS_SCHEMA)
    size = max(1, -(-len(rows) // pieces))
    return pa.Table.from_batches(table.to_batches(max_chunksize=size), schema=REQUESTS_SCHEMA)


def in_one_piece(table: pa.Table) -> pa.Table:
    """As the reader hands it over."""
    return pa.table(
        {
            name: encoded(table[name]) if pa.types.is_string(kind) else whole(table[name])
            for name, kind in zip(table.schema.names, table.schema.types, strict=True)
        }
    )


@given(rows=st.lists(ROWS, max_size=30), pieces=st.integers(1, 4))
def test_masks_and_times_are_what_the_rows_say(rows: list[dict[str, Any]], pieces: int) -> None:
    table = requests_of(rows, pieces)
    for calls in (calls_of(table), calls_of(in_one_piece(table))):
        _compare(calls, rows)


def _compare(calls: Calls, rows: list[dict[str, Any]]) -> None:
    outcomes = [r["outcome"] if r["outcome"] in LAYER_OF_OUTCOME else "service_error" for r in rows]
    took_s = [_sum_s(row) for row in rows]
    sent = [t is not None and o != "unsent" for t, o in zip(took_s, outcomes, strict=True)]

    def sent_as(*words: str) -> list[bool]:
        return [was and o in words for was, o in zip(sent, outcomes, strict=True)]

    assert len(calls) == len(rows)
    assert calls.stage.tolist() == [row["stage"] for row in rows]
    assert calls.sent.tolist() == sent
    assert calls.ok.tolist() == sent_as("ok")
    assert calls.censored.tolist() == sent_as(*CENSORED_OUTCOMES)
    assert calls.timed.tolist() == sent_as("ok", *CENSORED_OUTCOMES)
    behind = set(LAYER_OF_OUTCOME) - OUTCOMES_BEFORE_WEBSERVER
    assert calls.reached_webserver.tolist() == sent_as(*behind)
    assert calls.times_s("latency", calls.sent).tolist() == [
        took for took, was in zip(took_s, sent, strict=True) if was
    ]
    assert calls.times_s("service_time", calls.ok).tolist() == [
        row["service_time_s"] for row, was in zip(rows, sent_as("ok"), strict=True) if was
    ]
    health = calls.of_operation("health")
    assert len(health) == sum(row["operation"] == "health" for row in rows)
    assert health.operation.are("health").all()


def _sum_s(row: dict[str, Any]) -> float | None:
    lag_s, service_time_s = row["lag_s"], row["service_time_s"]
    if lag_s is None or service_time_s is None:
        return None
    total = lag_s + service_time_s
    return None if np.isnan(total) else total


@given(rows=st.lists(ROWS, max_size=30), texts=st.sets(st.sampled_from(SLOS)))
def test_good_calls_are_those_that_no_limit_concerning_them_forbids(
    rows: list[dict[str, Any]], texts: set[str]
) -> None:
    slos = [parse_slo(text) for text in sorted(texts)]
    expected = [
        row["outcome"] == "ok"
        and (took_s := _sum_s(row)) is not None
        and all(
            took_s <= slo.threshold
            for slo in slos
            if slo.selector_value in (None, row["operation"])
        )
        for row in rows
    ]
    assert good_calls(calls_of(requests_of(rows)), slos).tolist() == expected


def _row(arrival: int) -> dict[str, Any]:
    return {
        "arrival": arrival,
        "stage": 0,
        "operation": ("list_dags", "health")[arrival % 2],
        "intended_start_s": 1.0 + arrival,
        "lag_s": 0.001,
        "service_time_s": 0.2,
        "outcome": "ok",
        "attempts": 1,
        "worker": 0,
    }


def test_a_call_takes_no_more_memory_than_its_numbers() -> None:
    calls = calls_of(requests_of([_row(n) for n in range(1000)], pieces=3))
    held = [getattr(calls, field.name) for field in fields(calls)]
    arrays = [each.codes if isinstance(each, Labels) else each for each in held]
    assert sum(array.nbytes for array in arrays) <= 30 * len(calls)


@pytest.mark.parametrize(
    "column", ["stage", "intended_start_s", "lag_s", "service_time_s", "operation", "outcome"]
)
def test_a_column_in_one_piece_without_nulls_is_not_copied(column: str) -> None:
    table = in_one_piece(requests_of([_row(n) for n in range(10)]))
    held = table.column(column).chunk(0)
    memory = held.indices if isinstance(held, pa.DictionaryArray) else held
    taken = getattr(calls_of(table), column)
    codes = taken.codes if isinstance(taken, Labels) else taken
    assert np.shares_memory(codes, memory.to_numpy())


WORDS = st.lists(st.sampled_from(["ok", "throttled", "unsent", "ä", ""]), max_size=40)


def chunked(words: list[str], cut: int, *, encoded: bool) -> pa.ChunkedArray:
    """A column in two pieces, each with a dictionary of its own when encoded."""
    column = pa.chunked_array([words[:cut], words[cut:]], type=pa.string())
    return column.dictionary_encode() if encoded else column


@given(words=WORDS, cut=st.integers(0, 40), encoded=st.booleans())
def test_labels_say_of_each_row_what_the_words_say(
    words: list[str], cut: int, encoded: bool
) -> None:
    labels = labels_of(chunked(words, cut, encoded=encoded))
    assert len(labels) == len(words)
    assert labels.are("ok").tolist() == [word == "ok" for word in words]
    assert labels.are("ok", "ä").tolist() == [word in ("ok", "ä") for word in words]
    assert labels.are("melted").tolist() == [False] * len(words)
    assert labels.counts() == {word: words.count(word) for word in sorted(set(words))}


@given(words=WORDS, data=st.data())
def test_chosen_rows_keep_their_words(words: list[str], data: st.DataObject) -> None:
    labels = labels_of(pa.chunked_array([words], type=pa.string()))
    mask = np.array([data.draw(st.booleans()) for _ in words], dtype=bool)
    left = [word for word, kept in zip(words, mask.tolist(), strict=True) if kept]
    assert labels[mask].counts() == {word: left.count(word) for word in sorted(set(left))}
    assert labels[np.flatnonzero(mask)].are("ok").tolist() == [word == "ok" for word in left]


def test_several_words_may_become_one() -> None:
    labels = Labels(np.array([0, 1, 2, 0], dtype=np.int8), ("ok", "melted", "burnt"))
    known = labels.restricted_to({"ok", "failed"}, otherwise="failed")
    assert known.counts() == {"failed": 2, "ok": 2}
    assert known.are("failed").tolist() == [False, True, True, False]


@pytest.mark.parametrize(("different", "bytes_each"), [(1, 1), (128, 1), (129, 2), (40_000, 4)])
def test_codes_are_no_wider_than_their_words_need(different: int, bytes_each: int) -> None:
    words = [f"operation {n}" for n in range(different)]
    labels = labels_of(pa.chunked_array([words]))
    assert labels.codes.itemsize == bytes_each
    assert labels.words == tuple(words)
    assert np.flatnonzero(labels.are(words[-1])).tolist() == [different - 1]
