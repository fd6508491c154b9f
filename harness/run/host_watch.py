"""What the host of a run had to do besides: read from /proc while the load is sent, and recorded.

Every few seconds one `host_load` event. Whatever the system does not tell is null; where it tells
nothing, as on macOS, there is no event. A fixed piece of work (`reference_work`), a process of its
own at the priority of local webservers, is timed all the while: 0.5 % of one CPU.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Final

from mwaa_headroom.harness.local.airflow.cpu_limit import groups_of
from mwaa_headroom.harness.local.backend import WEBSERVER_NICENESS
from mwaa_headroom.harness.local.processes import descendants

EVERY_S: Final = 5.0
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_BUSY: Final = (0, 1, 2)  # user, nice, system: columns of /proc/stat; interrupts are nobody's
_STEAL: Final = 7


@dataclass(frozen=True, slots=True)
class ProcessTimes:
    """CPU-seconds of one process and of its descendants that have ended, and its waits."""

    own_s: float
    ended_s: float
    waited_s: float  # runnable and without a CPU; the main thread's


@dataclass(frozen=True, slots=True)
class Reading:
    """Totals since some time in the past, in CPU-seconds if not said otherwise; None: not told."""

    cpus: int
    busy_s: float
    steal_s: float
    pressure_s: float | None  # seconds in which some process waited for a CPU
    throttled_s: float | None  # of the groups that this process is in
    ours: Mapping[int, ProcessTimes] | None  # by process id


def host_times(stat: str) -> tuple[int, float, float]:
    """CPUs, busy and stolen CPU-seconds of the text of /proc/stat."""
    lines = [line.split() for line in stat.splitlines() if line.startswith("cpu")]
    ticks = [int(word) for word in lines[0][1:]] + [0] * 10
    busy = sum(ticks[column] for column in _BUSY)
    return len(lines) - 1, busy / _TICKS_PER_S, ticks[_STEAL] / _TICKS_PER_S


def pressure_s(pressure: str) -> float | None:
    """Seconds of the line "some" of the text of /proc/pressure/cpu."""
    some = [line for line in pressure.splitlines() if line.startswith("some ")]
    return int(some[0].rpartition("total=")[2]) / 1e6 if some else None


def throttled_s(cpu_stat: str) -> float:
    """CPU-seconds withheld from a control group by the text of its cpu.stat, v1 or v2."""
    values = dict(line.split() for line in cpu_stat.splitlines())
    return int(values.get("throttled_time", 0)) / 1e9 + int(values.get("throttled_usec", 0)) / 1e6


def process_times(stat: str, schedstat: str) -> ProcessTimes:
    """Of the texts of /proc/PID/stat and /proc/PID/schedstat; an empty schedstat has no waits."""
    ticks = list(map(int, stat.rpartition(")")[2].split()[11:15]))
    waited_ns = int((schedstat.split() or "00")[1])
    user, system, user_of_ended, system_of_ended = ticks
    return ProcessTimes(
        own_s=(user + system) / _TICKS_PER_S,
        ended_s=(user_of_ended + system_of_ended) / _TICKS_PER_S,
        waited_s=waited_ns / 1e9,
    )


def used_s(before: Mapping[int, ProcessTimes], now: Mapping[int, ProcessTimes]) -> float:
    """CPU-seconds that the processes of a tree used between two readings.

    What an ended process used in its life comes to its parent's account when it has been waited
    for; of those known before, only what is new counts.
    """
    nothing = ProcessTimes(0.0, 0.0, 0.0)
    lived_s = sum(t.own_s - before.get(pid, nothing).own_s for pid, t in now.items())
    came_in_s = sum(t.ended_s - before.get(pid, nothing).ended_s for pid, t in now.items())
    known_s = sum(t.own_s + t.ended_s for pid, t in before.items() if pid not in now)
    return lived_s + max(came_in_s - known_s, 0.0)


def figures(before: Reading, now: Reading, over_s: float) -> dict[str, float | None]:
    """The figures of a `host_load` event that come of two readings so many seconds apart."""
    ours = waited_s = None
    if before.ours is not None and now.ours is not None:
        ours = used_s(before.ours, now.ours)
        waited_s = sum(
            now.ours[pid].waited_s - before.ours[pid].waited_s
            for pid in before.ours.keys() & now.ours.keys()
        )
    others = None if ours is None else now.busy_s - before.busy_s - ours

    def per_s(seconds: float | None) -> float | None:
        return None if seconds is None else round(seconds / over_s, 4)

    def risen(first: float | None, last: float | None) -> float | None:
        return None if first is None or last is None else last - first

    return {
        "over_s": round(over_s, 3),
        "cpus": now.cpus,
        "ours_cpus": per_s(ours),
        "others_cpus": per_s(others),
        "stolen_cpus": per_s(now.steal_s - before.steal_s),
        "throttled_cpus": per_s(risen(before.throttled_s, now.throttled_s)),
        "waiting_fraction": per_s(risen(before.pressure_s, now.pressure_s)),
        "our_waits": per_s(waited_s),
    }


@dataclass(frozen=True, slots=True)
class Host:
    """This machine, as its kernel tells of it.

    Attributes:
        pid: the process whose descendants, with itself, are ours.
        proc: where the kernel tells.
        groups: control groups that this process is in.
    """

    pid: int
    proc: Path
    groups: tuple[Path, ...]

    @classmethod
    def of_this_process(cls) -> "Host":
        """The one that this process and its children run on."""
        return cls(os.getpid(), Path("/proc"), groups_of(Path("/sys/fs/cgroup")))

    def read(self) -> Reading | None:
        """The totals now; None: the system does not tell."""
        stat = _text(self.proc / "stat")
        if not stat.startswith("cpu"):
            return None
        throttled = [
            throttled_s(text) for group in self.groups if (text := _text(group / "cpu.stat"))
        ]
        cpus, busy_s, steal_s = host_times(stat)
        return Reading(
            cpus=cpus,
            busy_s=busy_s,
            steal_s=steal_s,
            pressure_s=pressure_s(_text(self.proc / "pressure" / "cpu")),
            throttled_s=sum(throttled) if throttled else None,
            ours=self._ours(),
        )

    def _ours(self) -> dict[int, ProcessTimes] | None:
        """None: the kernel does not list the children of a process."""
        if not (self.proc / f"{self.pid}/task/{self.pid}/children").exists():
            return None
        found = {}
        for pid in (self.pid, *descendants(self.pid)):
            # It may have ended meanwhile.
            if stat := _text(self.proc / f"{pid}/stat"):
                found[pid] = process_times(stat, _text(self.proc / f"{pid}/schedstat"))
        return found


class Reference:
    """The process that times the reference work, from its start on."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("reference_work.py")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(script), str(WEBSERVER_NICENESS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        if self._process.stdout is not None:
            os.set_blocking(self._process.stdout.fileno(), False)

    def take(self) -> tuple[float, float] | None:
        """Mean CPU and wall-clock seconds of a round since the last time; None: none ended."""
        told = b""
        if self._process.stdout is not None:
            with suppress(BlockingIOError):
                told = os.read(self._process.stdout.fileno(), 65536)
        rounds = [tuple(map(float, line.split())) for line in told.splitlines()]
        if not rounds:
            return None
        cpu_s, wall_s = map(fmean, zip(*rounds, strict=True))
        return cpu_s, wall_s

    def close(self) -> None:
        """End the process."""
        with self._process:
            self._process.terminate()


class HostWatch:
    """Records how busy the host is with other things, from entering to leaving.

    Args:
        tell: takes an event's kind, then its keys by name.
        host: None: nothing is recorded, for the load is sent by other machines.
    """

    def __init__(self, tell: Callable[..., None], host: Host | None) -> None:
        self._tell = tell
        self._host = host
        self._reference: Reference | None = None
        self._before: Reading | None = None
        self._read_at_s = 0.0

    def __enter__(self) -> "HostWatch":
        self._before = self._host.read() if self._host else None
        self._read_at_s = time.monotonic()
        if self._before:
            with suppress(OSError):  # no more processes to be had
                self._reference = Reference()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._record()
        finally:
            if self._reference:
                self._reference.close()

    def look(self) -> None:
        """Asked often; records when it is time."""
        if time.monotonic() - self._read_at_s >= EVERY_S:
            self._record()

    def _record(self) -> None:
        if self._host is None or self._before is None:
            return
        now, over_s = self._host.read(), time.monotonic() - self._read_at_s
        if now is None or over_s <= 0:
            return
        reference = self._reference.take() if self._reference else None
        cpu_s, wall_s = reference or (None, None)
        self._tell(
            "host_load",
            **figures(self._before, now, over_s),
            reference_cpu_s=cpu_s,
            reference_wall_s=wall_s,
        )
        self._before = now
        self._read_at_s += over_s


def _text(path: Path) -> str:
    """Of a file of the kernel's; "": there is none, or it may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
