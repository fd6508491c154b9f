"""Trace files as people have them: what is understood, what is told, what is refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwaa_headroom.harness.errors import ScenarioError
from mwaa_headroom.harness.traffic.trace_files import parse_trace, read_trace

CLOUDWATCH = """Full label,InvokeRestApi calls
m1,
2026/09/21 14:00:00,120
2026/09/21 14:01:00,340
2026/09/21 14:02:00,60
"""


def test_plain_columns_are_read_without_a_word() -> None:
    for text in ("time_s\n0\n1\n1\n2.5\n", "time_s,rate_per_s\n10,1\n20,0\n"):
        trace = parse_trace(text, "t.csv")
        assert (trace.how_read, trace.began_at_s) == ("", None)


@pytest.mark.parametrize(
    ("text", "time_s", "rate_per_s", "told"),
    [
        ("time_s\n0\n1\n1\n2.5\n", [0, 1, 1, 2.5], None, ""),
        ("time_s\n1700000000.5\n1700000001\n", [0, 0.5], None, ""),
        ("time_s,rate_per_s\n10,1\n20,0\n", [0, 10], [1, 0], ""),
        ('"time_s"\n"3"\n\n4\n', [0, 1], None, ""),
        (" time_s , rate_per_s \n 0 , 1e1\n", [0], [10], ""),
        ("time_s,rate_per_s\n0,2\n60,3\n   \n", [0, 60], [2, 3], ""),
        ("time_s\n1790000000000\n1790000000400\n", [0, 0.4], None, "milliseconds since 1970"),
        ("time_s,rate_per_s\n1790000000000000,2\n", [0], [2], "microseconds since 1970"),
        ("ts\n1790000000000000000\n1790000001500000000\n", [0, 1.5], None, "nanoseconds"),
        ("time_s\n3\n1\n2\n", [0, 1, 2], None, "sorted"),
        ("timestamp\n2026-09-21T14:00:00Z\n2026-09-21T14:00:01Z\n", [0, 1], None, "dates in UTC"),
        (
            "time\n2026-09-21T14:00:00+02:00\n2026-09-21T12:00:01Z\n",
            [0, 1],
            None,
            "dates in UTC and UTC+02:00",
        ),
        (
            "Time,calls\n2026-09-21 14:00:00,2.5\n2026-09-21 14:01:00,3\n",
            [0, 60],
            [2.5, 3],
            "per s",
        ),
        (CLOUDWATCH, [0, 60, 120], [2, 340 / 60, 1], "the calls in each 60 s; rows left out: 1"),
        (
            '"eventtime","requestid","path"\n"2026-09-21T14:00:00Z","r","/dags"\n',
            [0],
            None,
            "not used: 'requestid', 'path'",
        ),
        ("time_s;rate_per_s\n0;2,5\n60;3\n", [0, 60], [2.5, 3], ""),
        ("sep=;\ntime_s;rate_per_s\n0;2,5\n", [0], [2.5], ""),
        ("time_s\tstatus\n0\t200\n0.5\t404\n", [0, 0.5], None, "not used: 'status'"),
        (
            "x\n21/Sep/2026:14:00:00 +0000\n21/Sep/2026:14:00:03 +0000\n",
            [0, 3],
            None,
            "dates in UTC",
        ),
        ("@timestamp\n2026-09-21 14:00:00.250\n2026-09-21 14:00:00.500\n", [0, 0.25], None, "zone"),
        ("time\n2026-09-21 14:00:00.000 UTC\n2026-09-21 14:00:01.000 UTC\n", [0, 1], None, "UTC"),
        (
            "Series;Time;Value\ncalls;2015-07-26T08:02:00Z;3\ncalls;2015-07-26T08:03:00Z;6\n",
            [0, 60],
            [0.05, 0.1],
            "'Value' taken for the calls in each 60 s; not used: 'Series'",
        ),
        (
            "Time;calls;\n1466074180000;60;\n1466074200000;40;\n1466074220000;20;\n",
            [0, 20, 40],
            [3, 2, 1],
            "milliseconds since 1970; 'calls' taken for the calls in each 20 s",
        ),
        (
            "metric_name,timestamp,metric_value\nhttp_reqs,1672766933,1\n"
            "http_req_duration,1672766933,20\nhttp_reqs,1672766934,1\ndata_sent,1672766934,9\n",
            [0, 1],
            None,
            "only rows of 'http_reqs'",
        ),
        (
            "timestamp,status\n2026-09-21T14:00:00Z,200\n2026-09-21T14:00:01Z,200\n",
            [0, 1],
            None,
            "st",
        ),
        ("time,n\n0,1\n1,2\n5,1\n9,3\n10,1\n", [0, 1, 5, 9, 10], None, "not used: 'n'"),
        (
            "time,value\n0,null\n60,3\n120,6\n",
            [0, 60],
            [0.05, 0.1],
            "rows left out: 1, because value",
        ),
        ("time_s,rpm\n0,120\n60,60\n", [0, 60], [2, 1], "'rpm' in calls per minute"),
        ("time_s,Requests/s,errors\n0,2,0\n60,1,0\n", [0, 60], [2, 1], "not used: 'errors'"),
        ("time_s\n0\n1_0\n5\n", [0, 5], None, "rows left out: 1, because time_s is no number"),
        ("time_s\n0\n\uff12\n5\n", [0, 5], None, "(line 3)"),
        ("time_s,rate_per_s\n0,3\n60,\n120,4\n", [0, 120], [3, 4], "rate_per_s is no number"),
        ("time_s,latency\n0,12\n0.5,9\n", [0, 0.5], None, "not used: 'latency'"),
    ],
)
def test_what_is_understood(
    text: str, time_s: list[float], rate_per_s: list[float] | None, told: str
) -> None:
    trace = parse_trace(text, "t.csv")

    assert trace.time_s == pytest.approx(time_s)
    assert trace.kind == ("arrivals" if rate_per_s is None else "rates")
    if trace.rate_per_s is not None:
        assert trace.rate_per_s == pytest.approx(rate_per_s)
    assert told in trace.how_read


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "t.csv line 1: a trace begins with the names of its columns, such as 'time_s'"),
        ("0\n1\n", "t.csv line 1: a trace begins with the names of its columns"),
        ("2026-09-21T14:00:00Z,a\n", "t.csv line 1: a trace begins with the names"),
        ("a,b\n1,2\n", "t.csv line 1: a trace has a column of times: call it 'time_s', or say"),
        ("time_s\n", "t.csv has no lines after its header."),
        (
            "time_s\nsoon\n",
            "t.csv line 2: time_s is no number and no date, here and in 1 of 1",
        ),
        ("time_s\n0\nsoon\nlater\n", "line 3: time_s is no number and no date, here and in 2 of 3"),
        ("time_s\n-1\n", "t.csv line 2: time_s must be a number from 0 on, got '-1'."),
        ("time_s\n1e999\n", "t.csv line 2: time_s must be a number from 0 on, got '1e999'."),
        ("time_s,rate_per_s\n0,-2\n", "rate_per_s must be a number from 0 on, got '-2'."),
        ("time_s,rate_per_s\n0,1\n1,inf\n", "line 3: rate_per_s must be a plain number, got 'inf'"),
        ("time_s,rate_per_s\n0,1\n1,NaN\n", "line 3: rate_per_s must be a plain number, got 'NaN'"),
        ("time_s,rate_per_s\n0,1\n1,1_0\n", "line 3: rate_per_s must be a plain number, got '1_0'"),
        (
            'Date,Hits\n0,12\n300,"1,200"\n600,1\n',
            "line 3: Hits must be a plain number, got '1,200'",
        ),
        ("time_s,rate_per_s\n0\n", "t.csv line 2: rate_per_s is no number"),
        ("time_s\n0,5\n", "t.csv line 2: expected values: 1, got: 2."),
        ("time_s,rate_per_s\n0,1\n0,2\n", "line 3: there is a rate for 0 s already."),
        ("time_s,operation\n0,a\n1,\n", "t.csv line 3: no operation is named."),
        (
            "time\n2026-09-21T14:00:00Z\n2026-09-21T14:00:00\n",
            "line 3: time is '2026-09-21T14:00:00'",
        ),
        (
            "time\n2026-09-21T14:00:00\n1790000000\n",
            "line 3: time is '1790000000', which is written",
        ),
        ("time,A,B\n0,1,2\n60,3,4\n", "each of 'A', 'B' could be the rate: call the one in calls"),
        ("time_s,Requests/s,Failures/s\n0,1,0\n", "each of 'Requests/s', 'Failures/s' could be"),
        (
            "Time,calls\n2024-10-27 02:00:00,1\n2024-10-27 02:30:00,2\n2024-10-27 03:00:00,3\n"
            "2024-10-27 03:30:00,3\n2024-10-27 02:30:00,3\n",
            "line 6: there is a rate for 1800 s already.",
        ),
        (
            "Time,calls\n2024-10-27 02:00:00,13.7 req/s\n2024-10-27 02:30:00,13.6 req/s\n",
            "line 2: calls is no number, here and in 2 of 2 rows.",
        ),
        ("1672766933000000000,200,12\n", "line 1: a trace begins with the names of its columns"),
        ("Timestamp,Name,Requests/s,Failures/s\n1,x,2,0\n", "each of 'Requests/s', 'Failures/s'"),
        ('{"Records": []}', "t.csv is JSON, but a trace is a CSV file with a column of times"),
        ('time_s\n"' + "1" * 200_000 + '"\n', "t.csv line 2 is not valid CSV: "),
    ],
)
def test_what_is_wrong_is_told_with_file_and_line(text: str, told: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse_trace(text, "t.csv")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_column_of_times_can_be_named() -> None:
    text = "time,Received\n2026-09-21T14:00:00Z,1\n2026-09-21T14:00:09Z,2\n"

    assert parse_trace(text, "t.csv", "received").time_s.tolist() == [0, 1]
    with pytest.raises(ScenarioError, match="there is no column 'sent', only 'time', 'Received'"):
        parse_trace(text, "t.csv", "sent")


def test_operations_are_those_of_each_call() -> None:
    trace = parse_trace("time_s,operation\n2,b\n0,a\n1,b\n", "t.csv")

    assert trace.operations == ("a", "b")
    assert trace.called is not None
    assert trace.called.tolist() == [0, 1, 1]


def test_the_rate_of_each_operation_holds_until_it_has_another() -> None:
    text = "time_s,rate_per_s,operation\n0,2,a\n0,1,b\n60,5,a\n90,0,a\n90,3,c\n"
    trace = parse_trace(text, "t.csv")

    assert trace.operations == ("a", "b", "c")
    assert trace.time_s.tolist() == [0, 60, 90]
    assert trace.rate_per_s is not None
    assert trace.rate_per_s.tolist() == [3, 6, 4]
    assert trace.shares_per_s is not None
    assert trace.shares_per_s.tolist() == [[2, 1, 0], [5, 1, 0], [0, 1, 3]]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "There is no trace file"),
        ("time_s\n0\n".encode("utf-16"), "is in UTF-16: save it as UTF-8"),
        ("time_s\n0\n".encode("utf-16-be"), "line 1 has a NUL character"),
        (b"time_s\n0\n1\0\n2\n", "line 3 has a NUL character"),
        ("time_s,wer\n0,Müller\n".encode("latin-1"), "line 2 is not text in UTF-8"),
        (b"\x1f\x8b\x08\x00", "is compressed: unpack it first"),
        (b"PK\x03\x04", "is a ZIP file or spreadsheet"),
    ],
)
def test_a_file_that_is_no_text_is_told(tmp_path: Path, content: bytes | None, told: str) -> None:
    if content is not None:
        (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ScenarioError, match=told):
        read_trace(tmp_path / "t.csv")
    with pytest.raises(ScenarioError, match="Cannot read"):
        read_trace(tmp_path)


def test_a_byte_order_mark_and_any_line_ends_are_no_matter(tmp_path: Path) -> None:
    for ends in (b"\n", b"\r\n", b"\r"):
        (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbf" + ends.join([b"time_s", b"0", b"2", b""]))
        assert read_trace(tmp_path / "t.csv").time_s.tolist() == [0, 2]


FORMS = {
    "seconds": lambda ms: f"{1_790_000_000 + ms / 1000:.3f}",
    "milliseconds": lambda ms: str(1_790_000_000_000 + ms),
    "microseconds": lambda ms: str((1_790_000_000_000 + ms) * 1000),
    "ISO 8601": lambda ms: f"{np.datetime64(1_790_000_000_000 + ms, 'ms')}Z",
    "a zone": lambda ms: f"{np.datetime64(1_790_000_000_000 + ms + 7_200_000, 'ms')}+02:00",
    "no zone": lambda ms: str(np.datetime64(1_790_000_000_000 + ms, "ms")).replace("T", " "),
}


@given(
    st.lists(st.integers(0, 100_000), min_size=1, max_size=20),
    st.sampled_from(sorted(FORMS)),
    st.sampled_from(",;\t|"),
    st.booleans(),
)
def test_calls_are_the_same_however_their_times_are_written(
    times_ms: list[int], form: str, delimiter: str, has_more: bool
) -> None:
    more = f"{delimiter}path" if has_more else ""
    rows = [f"{FORMS[form](ms)}{f'{delimiter}/dags' if has_more else ''}\n" for ms in times_ms]
    trace = parse_trace(f"time{more}\n{''.join(rows)}", "t.csv")

    assert trace.kind == "arrivals"
    assert trace.began_at_s == pytest.approx(1_790_000_000 + min(times_ms) / 1000, abs=1e-6)
    expected_s = (np.sort(times_ms) - min(times_ms)) / 1000
    assert trace.time_s == pytest.approx(expected_s, abs=1e-6)
