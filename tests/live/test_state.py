"""What is shown of a run that goes on, held against a record that grows by hand."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from synthetic_records import STARTED_AT_S, write_synthetic_run

from mwaa_headroom.analysis.results import SloResult
from mwaa_headroom.analysis.schema import (
    EVENT_KINDS,
    EVENTS_FILE,
    METRICS_SCHEMA,
    METRICS_STREAM,
    REQUESTS_SCHEMA,
    REQUESTS_STREAM,
)
from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.harness.cli.live_view import live_panel
from mwaa_headroom.harness.live.state import LiveReader
from mwaa_headroom.harness.live.words import end_words, live_rows, phase_words
from mwaa_headroom.harness.record.directory import EventLog
from mwaa_headroom.harness.record.stream import StreamWriter


class GrowingRecord:
    """Two stages of 60 s; times are seconds since the first began."""

    def __init__(self, directory: Path) -> None:
        write_synthetic_run(directory, rates_per_s=(4.0, 8.0), stage_s=60.0, status="running")
        for path in directory.iterdir():
            if path.name != "manifest.json":
                path.unlink()
        self.directory = directory
        self.reader = LiveReader(directory)  # before there is anything but the manifest
        self.requests = StreamWriter(directory / REQUESTS_STREAM, REQUESTS_SCHEMA)
        self.metrics = StreamWriter(directory / METRICS_STREAM, METRICS_SCHEMA)
        self.events = EventLog(directory / EVENTS_FILE)

    def event(self, at_s: float, kind: str, **fields: object) -> None:
        source = "generator"
        self.events.write(kind, source=source, time_s=STARTED_AT_S + at_s, **fields)

    def calls(
        self, starts_s: Sequence[float], took_s: float, *, outcome: str = "ok", stage: int = 0
    ) -> None:
        for place, at_s in enumerate(starts_s):
            times = (None, None) if outcome == "unsent" else (0.0, took_s)
            self.requests.append(
                (
                    *(place, stage, "health", STARTED_AT_S + at_s, *times, outcome),
                    *(200, 200, None, 10, 0 if outcome == "unsent" else 1, 0),
                )
            )
        self.requests.flush()

    def period(self, at_s: float, webservers: int, cpu_percent: float) -> None:
        for statistic, value in (("SampleCount", webservers), ("Average", cpu_percent)):
            dimensions = json.dumps({"Cluster": "WebServer", "Environment": "x"})
            self.metrics.append(
                (
                    *("CPUUtilization", "WebServer", dimensions, statistic, "Percent", 5.0),
                    *(STARTED_AT_S + at_s, float(value), STARTED_AT_S + at_s + 6),
                )
            )
        self.metrics.flush()

    def state(self, at_s: float):
        return self.reader.read(STARTED_AT_S + at_s)


@pytest.fixture
def record(tmp_path: Path) -> Iterator[GrowingRecord]:
    growing = GrowingRecord(tmp_path / "run")
    yield growing
    for file in (growing.requests, growing.metrics, growing.events):
        file.close()


def test_before_the_load_nothing_is_known(record: GrowingRecord) -> None:
    state = record.state(0.0)

    assert (state.phase, state.sent, state.p95_s, state.webservers) == ("waiting", 0, None, None)
    assert state.run_left_s == 120.0
    assert state.limit is None


def test_a_stage_that_goes_well(record: GrowingRecord) -> None:
    record.event(0.0, "stage_started", stage=0, name="stage 1")
    record.calls([at / 10 for at in range(200)], 0.1)
    record.calls([19.0, 19.1], 0.3)
    record.period(10.0, 2, 40.0)

    state = record.state(20.0)

    assert (state.phase, state.stage, state.stages, state.stage_left_s) == ("stage", 0, 2, 40.0)
    assert state.run_left_s == 100.0
    assert (state.sent, state.failed, state.unsent) == (202, 0, 0)
    assert state.window_s == 10.0
    assert state.offered_per_s == pytest.approx(10.2, abs=0.11)
    assert state.p50_s == pytest.approx(0.1)
    assert (state.webservers, state.cpu_percent) == (2, 40.0)
    assert [line.met for line in state.slo_lines] == [True, True]
    assert state.limit is None
    assert state.p95_history[-2] == pytest.approx(0.3)
    assert phase_words(state).startswith("Stage 1 of 2")
    assert end_words(state).startswith("01:40 left")


def test_what_came_since_the_last_look_is_added_and_half_a_message_waits(
    record: GrowingRecord,
) -> None:
    record.event(0.0, "stage_started", stage=0, name="stage 1")
    record.calls([0.0, 1.0], 0.1)
    assert record.state(2.0).sent == 2
    path = record.directory / REQUESTS_STREAM
    before = path.stat().st_size
    record.calls([2.0, 2.1, 2.2], 0.1)
    whole = path.read_bytes()
    os.truncate(path, before + 30)
    assert record.state(3.0).sent == 2
    path.write_bytes(whole)
    assert record.state(3.5).sent == 5
    assert record.state(3.6).sent == 5


def test_a_slow_environment_is_limited_by_its_cpu(record: GrowingRecord) -> None:
    record.event(0.0, "stage_started", stage=0, name="stage 1")
    record.period(0.0, 2, 50.0)
    record.period(5.0, 2, 93.0)
    record.calls([at / 10 for at in range(150)], 2.0)

    state = record.state(17.0)
    rows = {row.label: row for row in live_rows(state)}

    assert state.slo_lines[0].met is False
    assert state.limit is not None
    assert (state.limit.kind, state.limit.value) == ("webserver_cpu", 93.0)
    assert rows["SLO"].status == "bad"
    assert "2 s" in rows["SLO"].text
    assert "93 %" in rows["Limited by"].text


def test_a_scale_out_is_told_when_decided_and_when_there(record: GrowingRecord) -> None:
    record.event(0.0, "stage_started", stage=0, name="stage 1")
    record.period(0.0, 2, 80.0)
    record.event(6.0, "scaling_decision", from_count=2, to_count=3, reason="cpu")
    decided = record.state(7.0).scaling
    record.period(5.0, 3, 60.0)
    there = record.state(11.0).scaling

    assert decided is not None
    assert there is not None
    assert (decided.from_count, decided.to_count, decided.ready) == (2, 3, False)
    assert (there.from_count, there.to_count, there.ready) == (2, 3, True)
    assert there.at_s == STARTED_AT_S + 10.0


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [("throttled", "throttle"), ("airflow_server_error", "errors"), ("unsent", "generator")],
)
def test_what_holds_a_run_back(record: GrowingRecord, outcome: str, kind: str) -> None:
    record.event(0.0, "stage_started", stage=0, name="stage 1")
    record.calls([at / 10 for at in range(90)], 0.1)
    record.calls([at / 10 for at in range(10)], 0.1, outcome=outcome)

    state = record.state(10.0)

    assert state.limit is not None
    assert state.limit.kind == kind
    assert state.unsent == (10 if outcome == "unsent" else 0)
    assert state.failed == (0 if outcome == "unsent" else 10)


def test_a_recovery_counts_only_its_own_calls(record: GrowingRecord) -> None:
    record.event(0.0, "stage_started", stage=0, name="stage 1")
    record.calls([58.0 + at / 10 for at in range(20)], 3.0)
    record.event(60.0, "recovery_started", stage=0, rate_per_s=2.0)
    record.calls([61.0, 61.5], 0.05, stage=-1)

    state = record.state(62.0)

    assert (state.phase, state.asked_per_s) == ("recovery", 2.0)
    assert state.p95_s == pytest.approx(0.05)
    assert phase_words(state) == "Recovery after stage 1 of 2 stage 1: 2 calls/s"


@pytest.mark.parametrize(
    ("took_s", "host_taken", "met"), [(0.05, 0.0, True), (3.0, 0.0, False), (0.05, 1.5, None)]
)
def test_a_stage_that_is_over_keeps_its_verdict(
    record: GrowingRecord, took_s: float, host_taken: float, met: bool | None
) -> None:
    record.event(0.0, "stage_started", stage=0, name="stage 1")
    record.calls([at / 10 for at in range(590)], took_s)
    record.event(
        *(30.0, "host_load"),
        **dict.fromkeys(EVENT_KINDS["host_load"], 0.0)
        | {"cpus": 2, "over_s": 5.0, "ours_cpus": 0.4, "others_cpus": host_taken},
    )
    assert record.state(59.0).ended == ()
    record.event(60.0, "stage_ended", stage=0, name="stage 1")
    record.event(63.0, "stage_started", stage=1, name="stage 2")
    record.calls([64.0, 65.0], 0.05, stage=1)

    record.state(64.0)
    state = record.state(66.0)

    (ended,) = state.ended
    assert (ended.index, ended.met) == (0, met)
    assert live_rows(state)[0].status != "bad"  # what is now is another matter
    assert live_rows(state)[1].status == {True: "good", False: "bad", None: "unclear"}[met]


def test_a_stage_of_very_many_calls_is_not_kept_to_be_judged(
    record: GrowingRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mwaa_headroom.harness.live.state._MOST_ROWS", 100)
    record.event(0.0, "stage_started", stage=0, name="stage 1")
    for second in range(3):
        record.calls([second + at / 50 for at in range(50)], 0.05)
        record.state(second + 1.0)
    record.event(60.0, "recovery_started", stage=0, rate_per_s=2.0)
    record.state(61.0)

    (ended,) = record.state(64.0).ended

    assert ended.met is None


def test_metrics_alone_are_no_slo_that_holds(record: GrowingRecord) -> None:
    """A recovery that has had no call yet, its webservers still within their limit."""
    record.event(0.0, "stage_started", stage=0, name="stage 1")
    record.calls([30.0], 0.05)
    record.event(60.0, "recovery_started", stage=0, rate_per_s=2.0)
    record.period(55.0, 2, 40.0)
    state = record.state(62.0)
    of_webservers = SloResult(parse_slo("mean(webserver.cpu) < 90%"), 0.4, met=True)

    row = live_rows(replace(state, slo_lines=(*state.slo_lines, of_webservers)))[0]

    assert row.status == "unclear"


def test_a_host_with_other_things_to_do_is_what_limits(record: GrowingRecord) -> None:
    record.event(0.0, "stage_started", stage=0, name="stage 1")
    record.calls([at / 10 for at in range(100)], 0.1)
    state = record.state(10.0)

    free, taken = (live_rows(replace(state, host_taken=each))[2] for each in (None, 0.8))

    assert free.status == "good"
    assert taken.status == "unclear"
    assert "80 %" in taken.text


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_panel_has_room_for_all_of_it(record: GrowingRecord, columns: int) -> None:
    record.event(0.0, "stage_started", stage=0, name="a\x1b[2Jb" * 9)
    record.calls([at / 10 for at in range(100)], 0.1)
    console = Console(width=columns, force_terminal=True, color_system=None)

    with console.capture() as shown:
        console.print(live_panel(record.state(10.0), columns))

    lines = shown.get().splitlines()
    assert len(lines) <= 13
    assert max(map(len, lines)) <= columns
    assert "\x1b[2J" not in shown.get()
    assert "100 calls, 0 failed, 0 unsent" in shown.get()
