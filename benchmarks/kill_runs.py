"""Runs of which one process is killed with SIGKILL: the part of kills.py that runs and kills."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from loopback import cheap_scenario, events_of, variables
from rig import fast_server

from mwaa_headroom.analysis.schema import EVENTS_FILE, METRICS_SCHEMA, METRICS_STREAM
from mwaa_headroom.harness.aws.environment import EnvironmentFacts
from mwaa_headroom.harness.local.instance import RUN_PREFIX, Instance
from mwaa_headroom.harness.record.stream import StreamWriter
from mwaa_headroom.harness.run.environments import RunEnvironment
from mwaa_headroom.harness.run.host_watch import HostWatch
from mwaa_headroom.harness.run.load import carry_load
from mwaa_headroom.harness.run.load_processes import Generator, LoadProcesses
from mwaa_headroom.harness.run.progress import LoadStatus
from mwaa_headroom.harness.run.recording import Phases, start_recording
from mwaa_headroom.harness.scenario.load import load_scenario
from mwaa_headroom.harness.scenario.model import Scenario
from mwaa_headroom.harness.traffic.operations import Targets, save_targets

RATE_PER_S = 80.0
DURATION_S = 6.0
ANSWER_S = 0.01
# A worker reports every second, looks every 0.2 s whether it must, and may have to wait for a core.
LAST_REPORT_S = 1.5
METRIC_PERIOD_S = 1
# The collector reads every period; discovering and reading take part of a second.
LAST_READING_S = 3.0
LOAD_WITHIN_S = 240.0  # on a machine with much else to do
GONE_WITHIN_S = 60.0
ENDS_WITHIN_S = 120.0  # a run that lost its environment, report included
HEADROOM = Path(sys.executable).with_name("headroom")
DAEMON = "mwaa_headroom.harness.local.daemon"
MARK = "XDG_CACHE_HOME"  # of a folder per trial: keeps environments apart and processes findable
ENVIRONMENT = "kills"
SIMULATED = f"""
name = "kills"
slo = ["p95(latency) < 1s"]
[question]
ask = "check"
[environment]
kind = "simulated"
name = "{ENVIRONMENT}"
latency_s = {ANSWER_S}
demand_s = {{ list_pools = 0.001 }}
metrics = {{ period_s = {METRIC_PERIOD_S} }}
[traffic]
mix = {{ list_pools = 1 }}
[[stages]]
rate_per_s = {RATE_PER_S}
duration_s = {DURATION_S}
[recovery]
longest_s = 0
[limits]
max_rate_per_s = 500
"""


@dataclass(frozen=True, slots=True)
class Moment:
    """When the load began and when its victim was killed, in epoch seconds."""

    load_s: float
    killed_s: float
    calls: int  # that had reached the server by then, where it can be asked


@dataclass(frozen=True, slots=True)
class Ended:
    """A run of which nothing is left but its record."""

    directory: Path
    scenario: Scenario
    moment: Moment
    calls: int  # that the server got in the end
    gone_s: float  # epoch
    left: int  # processes that did not end by themselves
    exit_code: int | None = None  # of a `headroom run`; None: it did not end by itself


class Silence:
    """Progress that is told to nobody."""

    def step(self, text: str) -> None:
        """See `Progress`."""

    def note(self, text: str) -> None:
        """See `Progress`."""

    def recording(self, directory: Path) -> None:
        """See `Progress`."""

    def load(self, status: LoadStatus) -> None:
        """See `Progress`."""


def processes_of(folder: Path, *words: str) -> list[psutil.Process]:
    """The processes of the trial in this folder, with these words among their arguments."""
    return [
        process
        for process in psutil.process_iter(["environ", "cmdline"])
        if (process.info["environ"] or {}).get(MARK) == str(folder)
        and all(word in process.info["cmdline"] for word in words)
    ]


def kill_in_load(
    folder: Path,
    after_s: float,
    choose: Callable[[], psutil.Process],
    count_calls: Callable[[], int],
) -> Moment:
    """Wait for the load of the one run in this folder; kill its victim so much later."""
    load_s = _load_began_s(folder)
    victim = choose()
    time.sleep(max(0.0, load_s + after_s - time.time()))
    killed_s = time.time()
    victim.kill()
    return Moment(load_s, killed_s, count_calls())


def _load_began_s(folder: Path) -> float:
    gives_up_s = time.monotonic() + LOAD_WITHIN_S
    while time.monotonic() < gives_up_s:
        for directory in _run_directories(folder):
            for event in events_of(directory):
                if event["kind"] == "stage_started":
                    return float(event["time_s"])
        time.sleep(0.02)
    raise SystemExit(f"No load began within {LOAD_WITHIN_S:g} s.")


def _run_directories(folder: Path) -> list[Path]:
    """All but the link to the latest one."""
    return [path.parent for path in folder.glob(f"runs/[0-9]*/{EVENTS_FILE}")]


def wait_until_gone(folder: Path) -> int:
    """Wait until no process is left; how many had to be ended."""
    gives_up_s = time.monotonic() + GONE_WITHIN_S
    while left := processes_of(folder):
        if time.monotonic() > gives_up_s:
            print(f"left behind: {[process.info['cmdline'] for process in left]}", flush=True)
            for process in left:
                process.kill()
            break
        time.sleep(0.05)
    return len(left)


def with_load_process_killed(
    kind: str, folder: Path, after_s: float, randomly: random.Random
) -> Ended:
    """A run one of whose load processes, `--master` or `--worker`, is killed."""
    scenario = cheap_scenario([{"rate_per_s": RATE_PER_S, "duration_s": DURATION_S}])
    with fast_server(None, delay_s=ANSWER_S) as server, ThreadPoolExecutor(1) as killer:
        killing = killer.submit(
            kill_in_load,
            folder,
            after_s,
            lambda: randomly.choice(processes_of(folder, kind)),
            lambda: int(server.report()["calls"]),
        )
        directory = carry(scenario, folder, {**variables(server.port), MARK: str(folder)})
        left = wait_until_gone(folder)
        calls = int(server.report()["calls"])
        return Ended(directory, scenario, killing.result(), calls, time.time(), left)


def carry(scenario: Scenario, folder: Path, surroundings: dict[str, str]) -> Path:
    """What `headroom run` does from the load to the finished record; the run directory."""
    name, load_processes = scenario.environment.name, LoadProcesses(processes=2)
    recording = start_recording(
        scenario,
        scenario_file=Path("kills.toml"),
        runs_directory=folder / "runs",
        load_processes=load_processes,
        facts=EnvironmentFacts(name, "", "AVAILABLE", "3.3.1", None, None, {}),
        stand_in_facts={},
        phases=Phases(),
    )
    save_targets(recording.directory, Targets("3.3.1", "kills", {}))
    StreamWriter(recording.directory / METRICS_STREAM, METRICS_SCHEMA).close()
    environment = RunEnvironment(
        clients=None,  # nothing here asks AWS
        generator_variables=surroundings,
        facts={},
        metric_period_s=METRIC_PERIOD_S,
        metrics_settle_s=0.0,
        new_events=list,
        is_alive=lambda: True,
        logs="",
        is_ours=True,
        keys=None,
    )
    ending = carry_load(
        Generator(recording.directory, surroundings, load_processes),
        environment,
        recording,
        Silence(),
        latest_metrics=lambda: None,
        longest_call_s=scenario.limits.call_timeout_s,
        host=HostWatch(recording.event, None),
    )
    recording.finish(ending)
    return recording.directory


def with_collector_killed(folder: Path, after_s: float, _: random.Random) -> Ended:
    """A `headroom run` that is killed itself."""
    return _with_command(folder, after_s, lambda run: psutil.Process(run.pid))


def with_environment_killed(folder: Path, after_s: float, _: random.Random) -> Ended:
    """A `headroom run` whose environment, the stand-in with its gateway, is killed."""
    return _with_command(folder, after_s, lambda _: processes_of(folder, DAEMON)[0])


def _with_command(
    folder: Path, after_s: float, choose: Callable[[subprocess.Popen[bytes]], psutil.Process]
) -> Ended:
    scenario_file = folder / "kills.toml"
    scenario_file.write_text(SIMULATED, encoding="utf-8")
    command = [str(HEADROOM), "run", str(scenario_file), "--processes", "2"]
    with (folder / "output.txt").open("wb") as output:
        run = subprocess.Popen(
            [*command, "--runs", str(folder / "runs")],
            env={**os.environ, MARK: str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    exit_code = None
    try:
        moment = kill_in_load(folder, after_s, lambda: choose(run), lambda: 0)
        with suppress(subprocess.TimeoutExpired):
            exit_code = run.wait(ENDS_WITHIN_S)
    finally:
        run.kill()
        run.wait()
        left = wait_until_gone(folder)
    gone_s = time.time()
    (directory,) = _run_directories(folder)
    calls = _calls_in_trail(folder)
    scenario = load_scenario(scenario_file)
    return Ended(directory, scenario, moment, calls, gone_s, left, exit_code)


def _calls_in_trail(folder: Path) -> int:
    """Calls of the load; preparing the run calls other paths, and this one once."""
    trail = Instance(folder / "headroom" / "local" / f"{RUN_PREFIX}{ENVIRONMENT}").cloudtrail_path
    whole, _, _ = trail.read_text(encoding="utf-8").rpartition("\n")  # who wrote it may be killed
    events = map(json.loads, whole.splitlines())
    return sum(event["requestParameters"].get("Path") == "/pools" for event in events) - 1
