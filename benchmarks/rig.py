"""What benchmarks that compare load generators share: cores, the fast server, processes, tables.

The server has a core to itself where there are two; everything else runs on another one.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from loopback import events_of, prepare, variables

from mwaa_headroom.analysis.calls import Calls, calls_of
from mwaa_headroom.analysis.record import read_run
from mwaa_headroom.analysis.schema import MANIFEST_FILE, SCHEMA_VERSION
from mwaa_headroom.analysis.statistics import Floats, nearest_rank
from mwaa_headroom.harness.run.load_processes import GENERATOR_LOG, Generator
from mwaa_headroom.harness.scenario.model import Scenario

HERE = Path(__file__).parent
PLAIN_LOCUSTFILE = HERE / "plain_locustfile.py"
BEYOND_A_RUN_S = 60.0
WARM_AFTER_CALLS = 300


def take_cores() -> int | None:
    """Keep this process, and all it starts, off the core returned, the server's; None: only one."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    first, *others = sorted(os.sched_getaffinity(0))
    if not others:
        return None
    os.sched_setaffinity(0, {first})
    return others[-1]


@dataclass(frozen=True, slots=True)
class FastServer:
    """A running fast server."""

    port: int

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def report(self) -> dict[str, Any]:
        """Its account so far; see fast_server.py."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request("GET", "/report")
            return dict(json.load(connection.getresponse()))

    def bare_latencies_s(self, calls: int) -> Floats:
        """What one bare socket sees, a call after the other: the floor on this machine."""
        request = b"POST /restapi/bare HTTP/1.1\r\nHost: bare\r\nContent-Length: 0\r\n\r\n"
        latencies_s = []
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(calls):
                began_s = time.perf_counter()
                connection.sendall(request)
                connection.recv(65536)
                latencies_s.append(time.perf_counter() - began_s)
        return np.array(latencies_s)


@contextmanager
def fast_server(core: int | None, **options: float) -> Iterator[FastServer]:
    """A fast server on its core, as long as the block lasts; options as in `delay_s=0.02`."""
    command = [sys.executable, str(HERE / "fast_server.py")]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    if core is not None:
        command += ["--core", str(core)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield FastServer(int(process.stdout.readline()))
        finally:
            process.kill()
            process.wait()


@contextmanager
def our_generator(scenario: Scenario, server: FastServer, run_dir: Path) -> Iterator[Generator]:
    """The product's generator process, started; ended with the block."""
    prepare(run_dir, scenario)
    generator = Generator(run_dir, variables(server.port))
    generator.start()
    try:
        yield generator
    finally:
        generator.kill()


@dataclass(frozen=True, slots=True)
class OurRun:
    """What the product's generator recorded of one run."""

    calls: Calls
    events: list[dict[str, Any]]
    kept_waiting: float  # share of its time in which it was ready to run but had no core

    @property
    def started_s(self) -> float:
        """The epoch from which the first stage's offsets count."""
        return next(float(e["time_s"]) for e in self.events if e["kind"] == "stage_started")

    @property
    def unsent(self) -> int:
        """Arrivals that were not sent."""
        return int(np.count_nonzero(~self.calls.sent))

    @property
    def cpu_fraction(self) -> float:
        """CPU of the generator, in cores, averaged over the run."""
        loads = [e["cpu_fraction"] for e in self.events if e["kind"] == "generator_load"]
        return statistics.mean(loads) if loads else float("nan")


def run_ours(scenario: Scenario, server: FastServer) -> OurRun:
    """Run the product's generator to its end and read its record as an analysis does."""
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder)
        lasts_s = sum(stage.duration_s for stage in scenario.stages)
        with our_generator(scenario, server, run_dir) as generator:
            began_s = time.monotonic()
            waited_s = 0.0
            while generator.is_running() and time.monotonic() - began_s < lasts_s + BEYOND_A_RUN_S:
                waited_s = max(waited_s, _waited_for_a_core_s())
                time.sleep(0.2)
            kept_waiting = waited_s / (time.monotonic() - began_s)
            if generator.wait(0):
                raise SystemExit((run_dir / GENERATOR_LOG).read_text(encoding="utf-8"))
        manifest = json.dumps({"schema_version": SCHEMA_VERSION, "status": "finished"})
        (run_dir / MANIFEST_FILE).write_text(manifest, encoding="utf-8")
        calls = calls_of(read_run(run_dir).requests)
        return OurRun(calls.where(calls.stage >= 0), events_of(run_dir), kept_waiting)


@contextmanager
def plain_locust(
    user_class: str, server: FastServer, *, users: int, run_time_s: float
) -> Iterator[subprocess.Popen[str]]:
    """Locust with one of the users of plain_locustfile.py, started; ended with the block."""
    command = [sys.executable, "-P", "-m", "locust", "--headless", "--only-summary"]
    command += ["-f", str(PLAIN_LOCUSTFILE), user_class, "--host", server.url]
    command += ["--users", str(users), "--spawn-rate", str(users)]
    command += ["--run-time", f"{run_time_s:g}s"]
    inherited = {k: v for k, v in variables(server.port).items() if not k.startswith("LOCUST_")}
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            command,
            env=inherited,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def statistics_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for a plain Locust's end; what it counted and reports."""
    printed, _ = process.communicate()
    lines = [line for line in printed.splitlines() if line.startswith("{")]
    if not lines:
        raise SystemExit(f"Locust ended with code {process.returncode} and said nothing.")
    return dict(json.loads(lines[-1]))


@dataclass(frozen=True, slots=True)
class Cost:
    """What a stretch of time cost the generator's processes."""

    calls: int
    cpu_s: float
    wall_s: float

    @property
    def us_per_call(self) -> float:
        """CPU microseconds per call."""
        return 1e6 * self.cpu_s / self.calls

    @property
    def calls_per_cpu_s(self) -> float:
        """Calls per second of a core."""
        return self.calls / self.cpu_s

    @property
    def calls_per_s(self) -> float:
        """Calls per second."""
        return self.calls / self.wall_s


def cost_of_window(server: FastServer, window_s: float) -> Cost:
    """Watch the running Locust for a while, once it is warm: the server counts, the system too."""
    gives_up_s = time.monotonic() + BEYOND_A_RUN_S
    while server.report()["calls"] < WARM_AFTER_CALLS:
        if time.monotonic() > gives_up_s:
            raise SystemExit("The load generator sends nothing.")
        time.sleep(0.05)
    time.sleep(1.0)
    calls, cpu_s, began_s = server.report()["calls"], _locust_cpu_s(), time.monotonic()
    time.sleep(window_s)
    return Cost(
        calls=server.report()["calls"] - calls,
        cpu_s=_locust_cpu_s() - cpu_s,
        wall_s=time.monotonic() - began_s,
    )


def _locust_cpu_s() -> float:
    """CPU seconds of every Locust that this process has started, its workers included."""
    total_s = 0.0
    for process in _locusts():
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total_s += times.user + times.system
    return total_s


def _waited_for_a_core_s() -> float:
    """How long they were ready to run but others had the core; 0 where the system does not say."""
    waited_ns = 0
    for process in _locusts():
        with suppress(OSError):
            waited_ns += int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[1])
    return waited_ns / 1e9


def _locusts() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has just ended
            if "locust" in child.cmdline():
                found.append(child)
    return found


def rank(values: Floats, percent: float) -> float:
    """A percentile by nearest rank, as the analysis takes it, whatever their number."""
    return float(np.sort(values)[nearest_rank(len(values), percent) - 1])


def median(values: Sequence[float]) -> float:
    """The median of repeats."""
    return statistics.median(values)
