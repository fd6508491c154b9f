"""What the kernel tells of the host of a run, from its texts and, once, from this machine."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwaa_headroom.analysis.host import host_reports
from mwaa_headroom.harness.run import reference_work
from mwaa_headroom.harness.run.host_watch import (
    Host,
    HostWatch,
    ProcessTimes,
    Reading,
    figures,
    host_times,
    pressure_s,
    process_times,
    throttled_s,
    used_s,
)

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
STAT = """cpu  1000 200 300 90000 50 10 20 700 400 0
cpu0 500 100 150 45000 25 5 10 350 200 0
cpu1 500 100 150 45000 25 5 10 350 200 0
intr 1234 5
ctxt 99
"""
PROCESS = "42 (a (strange) name) S 1 42 42 0 -1 4194560 100 200 0 0 250 50 30 20 25 5 4 0 900 1 1"


def test_the_texts_of_the_kernel() -> None:
    assert host_times(STAT) == pytest.approx((2, 1500 * TICK_S, 700 * TICK_S))
    assert host_times("cpu  1 2 3 4\ncpu0 1 2 3 4\n") == pytest.approx((1, 6 * TICK_S, 0.0))
    pressure = "some avg10=5.22 avg60=3.04 avg300=21.64 total=15165422\nfull avg10=0.00 total=0\n"
    assert pressure_s(pressure) == pytest.approx(15.165422)
    assert pressure_s("") is None
    assert throttled_s("nr_periods 9\nnr_throttled 3\nthrottled_time 2500000000\n") == 2.5
    assert throttled_s("usage_usec 7\nnr_throttled 3\nthrottled_usec 250000\n") == 0.25
    assert throttled_s("usage_usec 7\n") == 0.0
    times = process_times(PROCESS, "300 4000000000 17\n")
    assert times == ProcessTimes(300 * TICK_S, 50 * TICK_S, 4.0)
    assert process_times(PROCESS, "").waited_s == 0.0


@given(
    st.lists(
        st.tuples(st.sampled_from(("fork", "work", "end")), st.integers(0, 9), st.booleans()),
        max_size=60,
    )
)
def test_what_a_tree_used_is_counted_once_however_its_processes_come_and_go(
    steps: list[tuple[str, int, bool]],
) -> None:
    """Each step: who does what, and whether it is read afterwards; parents wait for children."""
    parent = {0: -1}
    times = {0: ProcessTimes(0.0, 0.0, 0.0)}
    before, used, worked = dict(times), 0.0, 0.0
    for number, (what, who, is_read) in enumerate(steps, start=1):
        pid = sorted(times)[who % len(times)]
        own = times[pid]
        if what == "fork":
            parent[number], times[number] = pid, ProcessTimes(0.0, 0.0, 0.0)
        elif what == "work":
            times[pid] = ProcessTimes(own.own_s + 1, own.ended_s, 0.0)
            worked += 1
        elif pid not in parent.values() and pid:
            over = times[parent[pid]]
            came_in_s = over.ended_s + own.own_s + own.ended_s
            times[parent.pop(pid)] = ProcessTimes(over.own_s, came_in_s, 0.0)
            del times[pid]
        if is_read:
            used += used_s(before, times)
            before = dict(times)
    assert used + used_s(before, times) == worked


def test_a_process_whose_times_nobody_took_over_is_no_negative_use() -> None:
    before = {1: ProcessTimes(1.0, 0.0, 0.0), 2: ProcessTimes(50.0, 0.0, 0.0)}
    assert used_s(before, {1: ProcessTimes(1.5, 0.0, 0.0)}) == 0.5


def test_figures_are_rates_and_unknown_where_nothing_is_told() -> None:
    nothing = Reading(2, 100.0, 10.0, None, None, None)
    first = Reading(2, 100.0, 10.0, 5.0, 1.0, {1: ProcessTimes(1.0, 0.0, 2.0)})
    last = Reading(2, 110.0, 10.5, 9.0, 1.5, {1: ProcessTimes(5.0, 0.0, 3.0)})
    told = {"over_s": 5.0, "cpus": 2, "stolen_cpus": 0.1}
    assert figures(first, last, 5.0) == told | {
        "ours_cpus": 0.8,
        "others_cpus": 1.2,
        "throttled_cpus": 0.1,
        "waiting_fraction": 0.8,
        "our_waits": 0.2,
    }
    unknown = ("ours_cpus", "others_cpus", "throttled_cpus", "waiting_fraction", "our_waits")
    assert figures(nothing, last, 5.0) == told | dict.fromkeys(unknown)


def test_a_host_with_a_bare_proc(tmp_path: Path) -> None:
    assert Host(7, tmp_path, ()).read() is None
    (tmp_path / "stat").write_text(STAT)
    (tmp_path / "cpu.stat").write_text("throttled_usec 250000\n")
    reading = Host(7, tmp_path, (tmp_path, tmp_path / "none")).read()
    assert reading == Reading(2, 1500 * TICK_S, 700 * TICK_S, None, 0.25, None)


@pytest.mark.parametrize("host", [None, Host(7, Path("/nowhere"), ())])
def test_where_nothing_can_be_told_nothing_is_recorded(host: Host | None) -> None:
    told: list[str] = []
    with HostWatch(lambda kind, **_: told.append(kind), host) as watch:
        watch.look()
    assert told == []


@pytest.fixture
def works() -> Iterator[Any]:
    """Starts processes that work for some CPU-seconds, told at their start, and then stay idle."""
    code = (
        "import sys, time\n"
        "while time.process_time() < float(sys.argv[1]): pass\n"
        "print('done', flush=True)\n"
        "time.sleep(100)"
    )
    started: list[subprocess.Popen[bytes]] = []

    def start(cpu_s: float) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-I", "-S", "-c", code, str(cpu_s)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE))
        return started[-1]

    yield start
    for process in started:
        with process:
            process.kill()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_work_of_others_is_told_from_ours(works: Any) -> None:
    """On a busy machine, too: others use at least what the one we started does."""
    told: list[dict[str, Any]] = []
    ours = works(0.3)
    host = Host(ours.pid, Path("/proc"), ())
    with HostWatch(lambda kind, **fields: told.append({"kind": kind, **fields}), host):
        hog = works(1.0)
        for process in (ours, hog):
            process.stdout.readline()
        time.sleep(2.5)  # the reference has had its turn

    (event,) = told
    (report,) = host_reports([{"time_s": 0.0, **event}])
    assert event["kind"] == "host_load"
    assert report.others_cpus * event["over_s"] >= 0.9
    assert 0.2 <= event["ours_cpus"] * event["over_s"] <= 0.4
    assert 0.0002 < report.reference_s < 0.05
    assert event["reference_wall_s"] >= 0.9 * event["reference_cpu_s"]


@pytest.mark.slow
def test_the_reference_work_ends_with_whoever_started_it() -> None:
    script = [sys.executable, "-I", "-S", reference_work.__file__, "5"]
    ended = subprocess.run(script, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
