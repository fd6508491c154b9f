"""Whole runs by several load processes, on this machine and in network namespaces of their own."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from relay import serve
from whole_runs import kill_one, pids_of, run, start, until, wait_for_load

from mwaa_headroom.analysis.record import read_run
from mwaa_headroom.analysis.schema import WORKER_LOST
from mwaa_headroom.harness.aws.clients import make_clients
from mwaa_headroom.harness.aws.environment import describe_environment
from mwaa_headroom.harness.local.handle import StandIn
from mwaa_headroom.harness.local.settings import SimulatedSettings
from mwaa_headroom.harness.run.load_processes import reserve_port
from mwaa_headroom.harness.scenario.load import load_scenario
from mwaa_headroom.harness.traffic.schedule import schedule_of

SCENARIO = """
slo = ["p95(latency) < 500ms", "rate(errors) < 1%"]
[question]
ask = "check"
[environment]
{environment}
[traffic]
seed = 3
[traffic.mix]
health = 1
list_dags = 1
[[stages]]
name = "steady"
rate_per_s = 40
duration_s = {duration_s}
[limits]
max_rate_per_s = 400
{limits}
"""
EXIT_CODES = {0, 3, 5}  # a run that has ended in order, whatever its verdict

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


class Remote:
    """An environment that a scenario of kind aws may load, and how to reach it."""

    def __init__(self, stand_in: StandIn) -> None:
        self.name = stand_in.endpoints.environment_name
        self.port = int(stand_in.endpoints.mwaa_url.rpartition(":")[2])
        self.variables = stand_in.endpoints.environment_from(os.environ)
        clients = make_clients(environment=self.name, variables=self.variables)
        self.arn = describe_environment(clients, self.name).arn
        self.settings = f'kind = "aws"\nname = "{self.name}"\nmetrics_settle_s = 0'
        self.limits = f'allow_environment = "{self.arn}"'


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    settings = SimulatedSettings(name=f"remote-{os.getpid()}")
    directory = tmp_path_factory.mktemp("stand-in")
    with StandIn.start(settings, directory, lambda _: None) as stand_in:
        yield Remote(stand_in)


class Here:
    """A place for one test's run: its own directory, and a mark on all its processes."""

    def __init__(self, directory: Path, remote: Remote) -> None:
        self.directory = directory
        self.runs = directory / "runs"
        self.remote = remote
        self._cache = directory / "cache"
        self._started: list[subprocess.Popen[str]] = []
        self.variables = {**remote.variables, "XDG_CACHE_HOME": str(self._cache)}

    def scenario(self, duration_s: float) -> str:
        """A scenario file for the shared environment."""
        path = self.directory / "short.toml"
        text = SCENARIO.format(
            environment=self.remote.settings,
            duration_s=duration_s,
            limits=self.remote.limits,
        )
        path.write_text(text)
        return str(path)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run(*arguments, cwd=self.directory, variables=self.variables)

    def start(
        self, *arguments: str, variables: dict[str, str] | None = None, before: tuple[str, ...] = ()
    ) -> subprocess.Popen[str]:
        own = {**self.variables, **(variables or {})}
        process = start(*arguments, cwd=self.directory, variables=own, before=before)
        self._started.append(process)
        return process

    def pids(self, *words: str) -> list[int]:
        return pids_of(self._cache, *words)

    def kill_one(self, word: str) -> None:
        kill_one(self._cache, word)

    def clear_away(self) -> None:
        """Nothing of a test that failed halfway may stay."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self._started:
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


@pytest.fixture
def here(tmp_path: Path, remote: Remote) -> Iterator[Here]:
    place = Here(tmp_path, remote)
    yield place
    place.clear_away()


def events_of(directory: Path, kind: str) -> list[dict[str, Any]]:
    return [event for event in read_run(directory).events if event["kind"] == kind]


def assert_every_arrival_is_a_row(scenario: str, requests: pa.Table) -> None:
    """None missing, none twice, each when the schedule has it, whoever sent it."""
    (schedule,) = schedule_of(load_scenario(Path(scenario)), {})
    of_stage = requests.filter(pc.equal(requests["stage"], 0))  # a busy machine may add a recovery
    rows = of_stage.sort_by("arrival").to_pydict()
    assert rows["arrival"] == list(range(schedule.count))
    offset_s = np.concatenate([block.offset_s for block in schedule.blocks()])
    starts_s = np.array(rows["intended_start_s"]) - offset_s
    assert np.ptp(starts_s) < 0.005, "one schedule, on the master's clock"


def test_two_processes_share_one_schedule(here: Here) -> None:
    scenario = here.scenario(4)
    answer = here.run("run", scenario, "--processes", "2", "--json")

    assert answer.returncode == 0, answer.stderr + answer.stdout
    directory = (here.runs / "latest").resolve()
    manifest = json.loads((directory / "manifest.json").read_text())
    requests = pq.read_table(directory / "requests.parquet")
    assert manifest["generator"] == {"workers": 2, "remote": False}
    assert manifest["status"] == "finished"
    assert_every_arrival_is_a_row(scenario, requests)
    assert set(requests["outcome"].to_pylist()) == {"ok"}
    shares = np.bincount(requests["worker"].to_numpy())
    assert abs(int(shares[0]) - int(shares[1])) <= 1, "every second arrival each"
    assert {event["worker"] for event in events_of(directory, "worker_joined")} == {0, 1}
    offsets = {e["worker"]: e for e in events_of(directory, "clock_offset")}
    assert set(offsets) == {0, 1}
    for offset in offsets.values():  # the same clock, read by two processes
        assert abs(offset["offset_s"]) <= offset["uncertainty_s"] + 0.005
    (checked,) = events_of(directory, "rows_checked")
    assert checked["arrivals"] == checked["rows"] == requests.num_rows
    assert "Sending the load from 2 processes" in answer.stderr
    assert here.pids() == []


def test_a_killed_worker_costs_its_last_report(here: Here) -> None:
    scenario = here.scenario(5)
    process = here.start("run", scenario, "--processes", "2", "--json")
    directory = wait_for_load(here.runs)
    time.sleep(2)

    here.kill_one("--worker")
    output, _ = process.communicate(timeout=120)

    assert process.returncode in EXIT_CODES, output
    requests = read_run(directory).requests
    assert_every_arrival_is_a_row(scenario, requests)
    codes = requests["error_code"].to_pylist()
    lost = [n for n, code in enumerate(codes) if code == WORKER_LOST]
    assert lost
    assert {requests["outcome"][n].as_py() for n in lost} == {"unsent"}
    assert len(lost) < requests.num_rows / 2, "the other worker sent its share to the end"
    assert len(events_of(directory, "worker_lost")) == 1
    assert "lost" in (directory / "report.html").read_text()
    assert here.pids() == []


def test_a_killed_master_ends_the_run(here: Here) -> None:
    scenario = here.scenario(100)
    process = here.start("run", scenario, "--processes", "2")
    directory = wait_for_load(here.runs)
    time.sleep(1)

    here.kill_one("--master")
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 5, output
    assert "The load generator ended with code -9" in output
    assert json.loads((directory / "manifest.json").read_text())["status"] == "failed"
    assert read_run(directory).requests.num_rows > 20
    assert here.pids() == []


def test_no_process_outlives_a_killed_run(here: Here) -> None:
    scenario = here.scenario(100)
    process = here.start("run", scenario, "--processes", "2")
    directory = wait_for_load(here.runs)
    assert len(here.pids("--worker")) == 2

    process.kill()
    process.communicate()

    until(lambda: here.pids() == [], "all processes gone", within_s=30)
    assert read_run(directory).requests.num_rows > 10


def test_a_worker_that_cannot_start_is_named(here: Here) -> None:
    """Killed before the load began, as by a machine that is out of memory."""
    scenario = here.scenario(100)
    process = here.start("run", scenario, "--processes", "2")
    until(lambda: here.pids("--worker"), "a worker")

    here.kill_one("--worker")
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 5, output
    assert "of the load generator ended before the load began; generator-worker-" in output
    assert "Traceback" not in output
    assert here.pids() == []


def test_workers_that_never_come(here: Here) -> None:
    scenario = here.scenario(5)
    port = reserve_port()
    answer = here.run(
        *("run", scenario, "--expect-workers", "2", "--port", str(port)),
        *("--wait-for-workers", "3"),
    )

    assert answer.returncode == 5, answer.stderr
    assert f"headroom worker --master 127.0.0.1:{port} --allow-environment {here.remote.arn}" in (
        answer.stderr
    )
    assert "Nothing was sent, because fewer than 2 workers came within 3 s" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert read_run(here.runs / "latest").requests.num_rows == 0
    assert here.pids() == []


def test_a_worker_loads_only_what_its_own_user_allows(here: Here) -> None:
    scenario = here.scenario(5)
    port = reserve_port()
    master = here.start(
        *("run", scenario, "--expect-workers", "1", "--port", str(port)),
    )
    worker = here.run(
        *("worker", "--master", f"127.0.0.1:{port}", "--allow-environment", "arn:aws:another"),
    )
    output, _ = master.communicate(timeout=90)

    assert worker.returncode == 2, worker.stderr
    assert f"start it with --allow-environment {here.remote.arn}" in worker.stderr
    assert "Traceback" not in worker.stderr
    assert len(worker.stderr.splitlines()) == 3, worker.stderr  # waiting, working, refusing
    assert master.returncode == 5, output
    assert f"--allow-environment {here.remote.arn}" in output
    assert here.pids() == []


def test_ctrl_c_at_a_worker_leaves_the_run_to_the_others(here: Here) -> None:
    scenario = here.scenario(6)
    port = reserve_port()
    master = here.start(
        *("run", scenario, "--expect-workers", "2", "--port", str(port), "--json"),
    )
    workers = [
        here.start(
            *("worker", "--master", f"127.0.0.1:{port}", "--allow-environment", here.remote.arn),
        )
        for _ in range(2)
    ]
    directory = wait_for_load(here.runs)
    time.sleep(2)

    workers[0].terminate()
    left, _ = workers[0].communicate(timeout=60)
    output, _ = master.communicate(timeout=90)
    stayed, _ = workers[1].communicate(timeout=60)

    assert workers[0].returncode == 130, left
    assert workers[1].returncode == 0, stayed
    assert master.returncode in EXIT_CODES, output
    requests = read_run(directory).requests
    assert_every_arrival_is_a_row(scenario, requests)
    assert requests["outcome"].to_pylist().count("ok") > requests.num_rows / 2
    assert len(events_of(directory, "worker_lost")) == 1
    assert here.pids() == []


def test_workers_on_other_machines(here: Here) -> None:
    """Two network namespaces stand for the machines; they reach this one by a cable each."""
    scenario = here.scenario(4)
    port = reserve_port()
    with other_machines(2) as machines:
        host = machines[0].gateway
        with relay(host, here.remote.port) as relay_port, ExitStack() as relays:
            for machine in machines:
                # A stand-in answers only who calls it by a name of loopback.
                relays.enter_context(machine.loopback_to(host, relay_port, here.remote.port))
            master = here.start(
                *("run", scenario, "--expect-workers", "2", "--bind", host, "--json"),
                *("--port", str(port)),
            )
            workers = [
                here.start(
                    *("worker", "--master", f"{host}:{port}"),
                    *("--allow-environment", here.remote.arn),
                    before=machine.inside,
                )
                for machine in machines
            ]
            output, _ = master.communicate(timeout=90)
            said = [worker.communicate(timeout=60)[0] for worker in workers]

    assert [worker.returncode for worker in workers] == [0, 0], said
    assert master.returncode == 0, output
    directory = (here.runs / "latest").resolve()
    manifest = json.loads((directory / "manifest.json").read_text())
    requests = pq.read_table(directory / "requests.parquet")
    assert manifest["generator"] == {"workers": 2, "remote": True}
    assert_every_arrival_is_a_row(scenario, requests)
    assert set(requests["worker"].to_pylist()) == {0, 1}
    assert set(requests["outcome"].to_pylist()) == {"ok"}
    assert "Locust neither authenticates nor encrypts" in output
    assert here.pids() == []


class Machine:
    """A network namespace with a cable to this one."""

    def __init__(self, number: int) -> None:
        self.name = f"headroom-{os.getpid()}-{number}"
        network = f"10.213.{os.getpid() % 100 * 2 + number}"
        self.gateway = f"{network}.1"  # our end of the cable
        self._address = f"{network}.2"
        self.inside = ("ip", "netns", "exec", self.name)
        self._ends = (f"hr{os.getpid() % 100000}a{number}", f"hr{os.getpid() % 100000}b{number}")

    def plug_in(self) -> None:
        ours, theirs = self._ends
        _ip("netns", "add", self.name)
        _ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", self.name)
        _ip("address", "add", f"{self.gateway}/24", "dev", ours)
        _ip("link", "set", ours, "up")
        within = ("-n", self.name)
        _ip(*within, "address", "add", f"{self._address}/24", "dev", theirs)
        _ip(*within, "link", "set", theirs, "up")
        _ip(*within, "link", "set", "lo", "up")
        _ip(*within, "route", "add", "default", "via", self.gateway)

    @contextmanager
    def loopback_to(self, host: str, port: int, loopback_port: int) -> Iterator[None]:
        """Lead a port of the namespace's loopback on to another address."""
        program = Path(__file__).parent.parent / "relay.py"
        addresses = ("127.0.0.1", str(loopback_port), host, str(port))
        process = subprocess.Popen([*self.inside, sys.executable, program, *addresses])
        try:
            yield
        finally:
            process.terminate()
            process.wait()

    def pull_out(self) -> None:
        for command in (("link", "del", self._ends[0]), ("netns", "del", self.name)):
            subprocess.run(["ip", *command], capture_output=True, check=False)


@contextmanager
def other_machines(count: int) -> Iterator[list[Machine]]:
    """So many namespaces; the test is skipped where none may be made."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and the command `ip`")
    machines = [Machine(number) for number in range(1, count + 1)]
    with ExitStack() as stack:
        for machine in machines:
            stack.callback(machine.pull_out)
            try:
                machine.plug_in()
            except subprocess.CalledProcessError as exc:
                pytest.skip(f"network namespaces cannot be made here: {exc.stderr.strip()}")
        yield machines


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True)


@contextmanager
def relay(host: str, to_port: int) -> Iterator[int]:
    """A port at `host` from which every connection is led on to loopback."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    listening = serve(host, 0, "127.0.0.1", to_port)
    serving = asyncio.run_coroutine_threadsafe(listening, loop).result(10)
    try:
        yield serving.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(_end(serving), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _end(serving: asyncio.Server) -> None:
    serving.close()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
