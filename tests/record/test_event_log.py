"""Events: whole lines from several processes, known kinds, no secrets."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mwaa_headroom.harness.errors import HeadroomError, UsageError
from mwaa_headroom.harness.record.directory import EventLog


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_an_event_is_one_json_line(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    log.write("stage_started", source="generator", time_s=12.5, stage=0, name="warm-up\nlate ü")
    log.write("interrupted", source="harness", time_s=13.0)
    log.close()
    log.close()
    assert lines_of(tmp_path / "events.jsonl") == [
        {
            "time_s": 12.5,
            "kind": "stage_started",
            "source": "generator",
            "stage": 0,
            "name": "warm-up\nlate ü",
        },
        {"time_s": 13.0, "kind": "interrupted", "source": "harness"},
    ]


def test_a_second_log_appends_to_the_first(tmp_path: Path) -> None:
    for message in ("first", "second"):
        log = EventLog(tmp_path / "events.jsonl")
        log.write("note", source="harness", time_s=1.0, message=message)
        log.close()
    assert [line["message"] for line in lines_of(tmp_path / "events.jsonl")] == ["first", "second"]


@pytest.mark.parametrize(
    ("kind", "source", "fields", "problem"),
    [
        ("explosion", "harness", {}, "unknown event kind 'explosion'"),
        ("note", "moon", {"message": "x"}, "unknown event source 'moon'"),
        ("metrics_gap", "collector", {"from_s": 1.0}, "needs to_s, reason"),
        ("note", "harness", {"message": float("nan")}, "JSON"),
    ],
)
def test_what_no_reader_understands_is_refused(
    tmp_path: Path, kind: str, source: str, fields: dict[str, object], problem: str
) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    with pytest.raises(ValueError, match=problem):
        log.write(kind, source=source, time_s=1.0, **fields)
    log.close()
    assert (tmp_path / "events.jsonl").read_text(encoding="utf-8") == ""


@pytest.mark.parametrize(
    "fields",
    [
        {"password": "x"},
        {"detail": {"AWS_SECRET_ACCESS_KEY": "x"}},
        {"detail": [{"WebToken": "x"}]},
        {"Authorization": "x"},
    ],
)
def test_a_key_that_looks_like_a_secret_is_refused_without_showing_its_value(
    tmp_path: Path, fields: dict[str, object]
) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    with pytest.raises(UsageError, match="looks like a secret") as caught:
        log.write("note", source="harness", time_s=1.0, message="", **fields)
    log.close()
    assert "'x'" not in str(caught.value)
    assert (tmp_path / "events.jsonl").read_text(encoding="utf-8") == ""


def test_a_directory_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(HeadroomError, match="Cannot write"):
        EventLog(tmp_path / "nowhere" / "events.jsonl")


WRITER = """
import sys
from pathlib import Path
from mwaa_headroom.harness.record.directory import EventLog

log = EventLog(Path(sys.argv[1]))
for n in range(300):
    log.write("note", source="generator", time_s=float(n), message=sys.argv[2] * 500)
"""


@pytest.mark.slow
def test_lines_of_several_processes_never_mix(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), letter]) for letter in "abc"
    ]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    messages = [str(line["message"]) for line in lines_of(path)]
    assert sorted(messages) == sorted([letter * 500 for letter in "abc"] * 300)
