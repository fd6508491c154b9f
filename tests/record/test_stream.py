"""Rows must survive: concurrent appends, torn messages, killed processes, full disks."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mwaa_headroom.analysis.schema import (
    METRICS_STREAM,
    REQUESTS_SCHEMA,
    REQUESTS_STREAM,
    REQUESTS_TABLE,
)
from mwaa_headroom.harness.errors import HeadroomError
from mwaa_headroom.harness.record.directory import finish_tables
from mwaa_headroom.harness.record.stream import StreamWriter

SMALL = pa.schema([pa.field("n", pa.int64(), nullable=False), pa.field("text", pa.string())])


def request_row(arrival: int) -> tuple[object, ...]:
    return (arrival, 0, "health", 1.0 + arrival, 0.001, 0.2, "ok", 200, 200, None, 17, 1, 0)


def read_back(path: Path) -> list[dict[str, object]]:
    with pa.OSFile(str(path)) as source:
        return pa.ipc.open_stream(source).read_all().to_pylist()


def test_rows_come_back_in_order_with_their_nulls(tmp_path: Path) -> None:
    path = tmp_path / "rows.arrows"
    writer = StreamWriter(path, SMALL)
    writer.append((1, "one"))
    writer.append((2, None))
    writer.flush()
    writer.append((3, "three"))
    writer.close()
    assert read_back(path) == [
        {"n": 1, "text": "one"},
        {"n": 2, "text": None},
        {"n": 3, "text": "three"},
    ]


def test_appended_rows_are_not_on_disk_before_the_flush_and_are_after_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.arrows"
    writer = StreamWriter(path, SMALL)
    before = path.stat().st_size
    writer.append((1, "one"))
    assert path.stat().st_size == before
    writer.flush()
    assert read_back(path) == [{"n": 1, "text": "one"}]  # without an end mark: still being written
    writer.close()


def test_closing_twice_is_fine_and_an_empty_stream_is_readable(tmp_path: Path) -> None:
    path = tmp_path / "rows.arrows"
    writer = StreamWriter(path, SMALL)
    writer.close()
    writer.close()
    assert read_back(path) == []


def test_no_row_is_lost_or_doubled_when_threads_append_while_another_flushes(
    tmp_path: Path,
) -> None:
    path = tmp_path / "rows.arrows"
    writer = StreamWriter(path, SMALL)
    done = threading.Event()

    def flush_all_the_time() -> None:
        while not done.is_set():
            writer.flush()

    def append_many(first: int) -> None:
        for n in range(first, first + 5000):
            writer.append((n, None))

    flusher = threading.Thread(target=flush_all_the_time)
    appenders = [threading.Thread(target=append_many, args=(k * 5000,)) for k in range(3)]
    for thread in (flusher, *appenders):
        thread.start()
    for thread in appenders:
        thread.join()
    done.set()
    flusher.join()
    writer.close()
    assert sorted(row["n"] for row in read_back(path)) == list(range(15000))


def test_an_existing_stream_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "rows.arrows"
    StreamWriter(path, SMALL).close()
    with pytest.raises(HeadroomError, match=r"Cannot write '.*rows\.arrows'"):
        StreamWriter(path, SMALL)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "rows.arrows"
    writer = StreamWriter(path, SMALL)
    with Path("/dev/full").open("wb", buffering=0) as full:
        writer._file, real = full, writer._file
        writer.append((1, "one"))
        with pytest.raises(HeadroomError, match=r"Cannot write '.*': the disk is full; free some"):
            writer.flush()
        real.close()
        writer.append((2, "two"))
        writer.close()  # nothing may follow a torn message


@settings(max_examples=30)
@given(cut=st.integers(min_value=0, max_value=10_000), batches=st.integers(1, 5))
def test_however_a_stream_is_cut_the_whole_batches_before_the_cut_are_kept(
    tmp_path_factory: pytest.TempPathFactory, cut: int, batches: int
) -> None:
    directory = tmp_path_factory.mktemp("cut")
    stream = directory / REQUESTS_STREAM
    writer = StreamWriter(stream, REQUESTS_SCHEMA)
    whole_after = {stream.stat().st_size: 0}
    for batch in range(batches):
        writer.append(request_row(2 * batch))
        writer.append(request_row(2 * batch + 1))
        writer.flush()
        whole_after[stream.stat().st_size] = 2 * (batch + 1)
    os.truncate(stream, min(cut, stream.stat().st_size))
    size = stream.stat().st_size
    expected = max((rows for end, rows in whole_after.items() if end <= size), default=0)

    assert finish_tables(directory) == {"requests": expected, "metrics": 0}

    table = pq.read_table(directory / REQUESTS_TABLE)
    assert table.schema.equals(REQUESTS_SCHEMA)
    assert table["arrival"].to_pylist() == list(range(expected))
    assert not stream.exists()
    writer.close()


KILLED_WRITER = """
import sys, time
from pathlib import Path
from mwaa_headroom.analysis.schema import REQUESTS_SCHEMA
from mwaa_headroom.harness.record.stream import StreamWriter

writer = StreamWriter(Path(sys.argv[1]), REQUESTS_SCHEMA)
for arrival in range(10_000_000):
    writer.append((arrival, 0, "health", 1.0, 0.0, 0.1, "ok", 200, 200, None, 17, 1, 0))
    if arrival % 500 == 499:
        writer.flush()
        print(arrival + 1, flush=True)
"""


@pytest.mark.slow
def test_what_was_flushed_survives_kill_9(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED_WRITER, str(tmp_path / REQUESTS_STREAM)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        flushed = 0
        for line in process.stdout:
            flushed = int(line)
            if flushed >= 20_000:
                break
        process.send_signal(signal.SIGKILL)
    rows = finish_tables(tmp_path)["requests"]
    assert rows >= flushed
    arrivals = pq.read_table(tmp_path / REQUESTS_TABLE)["arrival"].to_pylist()
    assert arrivals == list(range(rows))
    assert not (tmp_path / METRICS_STREAM).exists()
