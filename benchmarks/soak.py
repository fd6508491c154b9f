"""Does anything grow over as many calls as six hours have? Memory of generator and gateway.

`headroom run` of simulated webservers over real HTTP, at a rate that makes the calls of six hours
at 5 calls/s in nine minutes. Meanwhile the resident memory of every process it started is read once
a second; for each the growth is told, with its interval, as it would be over those six hours.

    .venv/bin/python benchmarks/soak.py [--calls 108000] [--rate 200]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
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
name = "soak-{port}"
gateway_port = {port}
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
SETTLING = 0.2  # of the readings, left out: imports, connections, caches
PORT = 18790


def memory_by_process(root: int) -> dict[tuple[int, str], int]:
    """Resident bytes of all processes below one, by pid and what they are."""
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
    return {(pid, names[pid]): used[pid] for pid in below - {root} if used.get(pid)}


def growth(readings: list[tuple[float, int]], speed: float) -> Estimate | None:
    """Bytes, over the six hours; None: too few readings."""
    settled = np.array(readings[int(SETTLING * len(readings)) :], dtype=np.float64)
    if len(settled) < 60:
        return None
    found = trend_per_h(settled[:, 0], settled[:, 1])
    hours = (settled[-1, 0] - settled[0, 0]) / HOUR_S / (1 - SETTLING)
    low, value, high = (
        (each or 0.0) * hours * speed for each in (found.low, found.value, found.high)
    )
    return Estimate(value, low, high, found.n)


def main() -> None:
    """Run, read, tell."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--calls", type=int, default=108_000)
    options.add_argument("--rate", type=float, default=200.0)
    given = options.parse_args()
    duration_s = given.calls / given.rate
    readings: dict[tuple[int, str], list[tuple[float, int]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as directory:
        scenario = Path(directory) / "soak.toml"
        scenario.write_text(SCENARIO.format(port=PORT, rate=given.rate, duration=duration_s))
        headroom = Path(sys.executable).with_name("headroom")
        command = [headroom, "run", scenario, "--runs", directory]
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
    print(f"{'process':<50} {'first':>8} {'last':>8}   growth over six hours' calls (95 %)")
    for (pid, name), own in readings.items():
        found = growth(own, speed=108_000 / given.calls)
        if found is None:
            continue
        first, last = own[int(SETTLING * len(own))][1] / 1e6, own[-1][1] / 1e6
        low, value, high = ((each or 0.0) / 1e6 for each in (found.low, found.value, found.high))
        print(
            f"{name or pid:<50} {first:>5.1f} MB {last:>5.1f} MB   {value:+.1f} MB "
            f"({low:+.1f} to {high:+.1f})"
        )


if __name__ == "__main__":
    main()
