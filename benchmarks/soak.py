"""Does anything grow over as many calls as six hours have? Memory of generator and gateway.

`headroom run` of simulated webservers over real HTTP makes the calls of six hours at 5 calls/s in
18 minutes. Meanwhile the resident memory of `headroom run` and of every process it started is read
once a second; for each the growth by a call is told, with its interval. Not counted are the first
25,000 calls: connections, caches, and the last 20,000 calls by which a stage is judged.

What grows with time and not with calls (samples of metrics in the local CloudWatch and in
`headroom run`) counts here as growth by calls; --rate tells the two apart.

    .venv/bin/python benchmarks/soak.py [--calls 108000] [--rate 100] [--processes 1]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mwaa_headroom.analysis.statistics import Estimate
from mwaa_headroom.analysis.trend import HOUR_S, trend_per_h

SCENARIO = """\
name = "soak"
slo = ["rate(errors) < 1%"]
[question]
ask = "check"
[environment]
kind = "simulated"
name = "soak-{pid}"
gateway_port = 0
min_webservers = 2
max_webservers = 2
demand_s = {{ health = 0.002 }}
[traffic.mix]
health = 1
[[stages]]
rate_per_s = {rate}
duration_s = {duration}
[recovery]
longest_s = 0
[limits]
max_rate_per_s = 1000
"""
SETTLING_CALLS = 25_000
CALLS_OF_SIX_HOURS = 108_000
FEWEST_READINGS = 60


def memory_by_process(root: int) -> dict[tuple[int, str], int]:
    """Resident bytes of a process and all below it, by pid and what they are."""
    parents, names, used = {}, {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            words = (path / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has ended
            continue
        pid = int(path.name)
        parents[pid], used[pid] = int(fields[1]), int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
        names[pid] = " ".join(Path(word).name for word in words[1:4] if word)[:48]
    below = {root}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return {(pid, names[pid]): used[pid] for pid in below if used.get(pid)}


def growth(readings: Sequence[tuple[float, int]], rate_per_s: float) -> Estimate | None:
    """Bytes for each call; None: too few readings."""
    if len(readings) < FEWEST_READINGS:
        return None
    times_s, used = np.array(readings, dtype=np.float64).T
    found = trend_per_h(times_s, used)
    low, value, high = (
        (each or 0.0) / HOUR_S / rate_per_s for each in (found.low, found.value, found.high)
    )
    return Estimate(value, low, high, found.n)


def main() -> None:
    """Run, read, tell."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--calls", type=int, default=CALLS_OF_SIX_HOURS)
    options.add_argument("--rate", type=float, default=100.0)
    options.add_argument("--processes", type=int, default=1)
    given = options.parse_args()
    duration_s = given.calls / given.rate
    readings: dict[tuple[int, str], list[tuple[float, int]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as directory:
        scenario = Path(directory) / "soak.toml"
        scenario.write_text(SCENARIO.format(pid=os.getpid(), rate=given.rate, duration=duration_s))
        headroom = Path(sys.executable).with_name("headroom")
        processes = str(given.processes)
        command = [headroom, "run", scenario, "--runs", directory, "--processes", processes]
        run = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            while run.poll() is None:
                for process, used in memory_by_process(run.pid).items():
                    readings[process].append((time.monotonic(), used))
                time.sleep(1.0)
        finally:
            run.terminate()
            run.wait()
    print(f"{given.calls} calls at {given.rate:g}/s, exit code {run.returncode}")
    print(f"{'process':<50} {'first':>8} {'last':>9}   bytes by call (95 %), and over six hours")
    load_processes = [own for (_, name), own in readings.items() if "locust" in name]
    ended_s = min((own[-1][0] for own in load_processes), default=0.0)
    settled_s = ended_s - duration_s + SETTLING_CALLS / given.rate
    for (pid, name), all_of_it in readings.items():
        own = [reading for reading in all_of_it if settled_s < reading[0] <= ended_s]
        found = growth(own, given.rate)
        if found is None or found.value is None:
            continue
        print(
            f"{name or pid:<50} {own[0][1] / 1e6:>5.1f} MB {own[-1][1] / 1e6:>6.1f} MB   "
            f"{found.value:+.1f} ({found.low or 0.0:+.1f} to {found.high or 0.0:+.1f})   "
            f"{found.value * CALLS_OF_SIX_HOURS / 1e6:+.1f} MB"
        )


if __name__ == "__main__":
    main()
