"""SIGKILL at random moments of a load: what is lost, and does the record still open?

    .venv/bin/python benchmarks/kills.py [--times 20] [--seed 1]

    worker     one of the two workers that a master directs
    master     of two workers; the run that started it lives on, as `headroom run` does
    collector  metrics are collected by a thread of `headroom run`: it is killed as a whole, with a
               master, two workers and a stand-in under it, which must all end by themselves

Each is killed --times times, at moments drawn evenly over a load of 6 s at 80 calls/s that are
answered after 10 ms. Worker and master run against fast_server.py, which counts the calls; the
collector against a simulated environment, whose trail has them.

Rows lost: calls that the server got before the kill (the trail: at all) but no row tells of.
Load lost: the kill's time minus the intended start of the first arrival without such a row.
Gone: from the kill (a worker's: from the end of the load, for the others go on) until no process of
the run is left.

Told: the record says what happened. Without row: arrivals due before the kill (of a killed worker's
run: all of the schedule).

Passed: every record opens, can be analysed and tells; a killed worker loses no more than it had not
reported, and every arrival has a row all the same; a killed collector loses no more than what a
reading brings; no process is left. Exit code 1 otherwise.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc
from loopback import cheap_scenario, events_of, offsets_of, variables
from rig import fast_server, median

from analysis.records.reader import RunRecord, read_run
from analysis.records.schema import (
    EVENTS_FILE,
    METRICS_SCHEMA,
    METRICS_STREAM,
    REQUESTS_SCHEMA,
    WORKER_LOST,
)
from analysis.run_analysis import analyse_run
from harness.aws.environment import EnvironmentFacts
from harness.fleet import Fleet
from harness.generator import Generator
from harness.local.instance import RUN_PREFIX, Instance
from harness.record.stream import StreamWriter
from harness.run.load import Watch, carry_load
from harness.run.narrator import LoadStatus
from harness.run.phases import Phases
from harness.run.recording import start_recording
from harness.scenario.load import load_scenario
from harness.scenario.model import Scenario
from harness.traffic.targets import Targets, save_targets

RATE_PER_S = 80.0
DURATION_S = 6.0
ANSWER_S = 0.01
# A worker reports every second, looks every 0.2 s whether it must, and may have to wait for a core.
LAST_REPORT_S = 1.5
METRIC_PERIOD_S = 1
# The collector reads every period; discovering and reading take part of a second.
LAST_READING_S = 3.0
LOAD_WITHIN_S = 120.0
GONE_WITHIN_S = 60.0
HEADROOM = Path(sys.executable).with_name("headroom")
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


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of victim."""

    name: str
    run_and_kill: Callable[[Path, float, random.Random], Ended]
    tells: Callable[[RunRecord], bool]  # whether the record says what happened
    others_go_on: bool  # to the end of the load
    all_is_recorded: bool  # what the others send after the kill, too


@dataclass(frozen=True, slots=True)
class Trial:
    """What one kill did."""

    problem: str  # why the record cannot be read or analysed; "": it can
    opened: bool
    warnings: tuple[str, ...]  # of the reader
    killed_after_s: float  # from the beginning of the load
    rows_lost: int
    load_lost_s: float
    without_row: int  # arrivals due before the kill, or until the end where others go on
    twice: int  # arrivals with several rows
    told: bool
    calls_after: int  # sent after the kill and recorded by nobody
    periods_lost: int  # of metrics, whole ones before the kill
    since_reading_s: float  # from the last reading of metrics to the kill
    gone_s: float
    left: int


class Silence:
    """A narrator that tells nobody."""

    def step(self, text: str) -> None:
        """See `Narrator`."""

    def note(self, text: str) -> None:
        """See `Narrator`."""

    def load(self, status: LoadStatus) -> None:
        """See `Narrator`."""


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
    name, fleet = scenario.environment.name, Fleet(processes=2)
    recording = start_recording(
        scenario,
        scenario_file=Path("kills.toml"),
        runs_directory=folder / "runs",
        fleet=fleet,
        facts=EnvironmentFacts(name, "", "AVAILABLE", "3.3.1", None, None, None, None, {}),
        stand_in_facts={},
        phases=Phases(),
    )
    save_targets(recording.directory, Targets("3.3.1", "kills", {}))
    StreamWriter(recording.directory / METRICS_STREAM, METRICS_SCHEMA).close()
    watch = Watch(lambda: None, list, lambda: True, "", scenario.limits.call_timeout_s)
    generator = Generator(recording.directory, surroundings, fleet)
    recording.finish(carry_load(generator, watch, recording, Silence()))
    return recording.directory


def with_collector_killed(folder: Path, after_s: float, _: random.Random) -> Ended:
    """A `headroom run` that is killed itself."""
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
    try:
        moment = kill_in_load(folder, after_s, lambda: psutil.Process(run.pid), lambda: 0)
    finally:
        run.kill()
        run.wait()
        left = wait_until_gone(folder)
    gone_s = time.time()
    (directory,) = _run_directories(folder)
    calls = _calls_in_trail(folder)
    return Ended(directory, load_scenario(scenario_file), moment, calls, gone_s, left)


def _calls_in_trail(folder: Path) -> int:
    """Calls of the load; preparing the run calls other paths."""
    trail = Instance(folder / "headroom" / "local" / f"{RUN_PREFIX}{ENVIRONMENT}").trail_path
    events = map(json.loads, trail.read_text(encoding="utf-8").splitlines())
    return sum(event["requestParameters"].get("Path") == "/pools" for event in events)


def examine(case: Case, ended: Ended) -> Trial:
    """Read and analyse the record that is left, and compare it with what was due and sent."""
    problem, record = "", None
    try:
        record = read_run(ended.directory)
        analyse_run(record)
    except Exception as exc:  # whatever it is, it is what was looked for
        problem = f"{type(exc).__name__}: {exc}"
    requests = REQUESTS_SCHEMA.empty_table() if record is None else record.requests
    moment, offsets_s = ended.moment, offsets_of(ended.scenario)
    after_s = moment.killed_s - moment.load_s
    rows_of = np.bincount(requests["arrival"].to_numpy(), minlength=len(offsets_s))
    known = pc.not_equal(requests["error_code"].cast(pa.string()).fill_null(""), WORKER_LOST)
    is_known = np.isin(np.arange(len(offsets_s)), requests.filter(known)["arrival"].to_numpy())
    load_ends_s = moment.load_s + DURATION_S
    due = offsets_s < after_s
    lost_s = offsets_s[due & ~is_known]
    must_have_rows = rows_of if case.others_go_on else rows_of[due]
    answered = len(requests) - requests["http_status"].null_count
    got = ended.calls if case.all_is_recorded else moment.calls
    periods_lost, since_reading_s = 0, 0.0
    if record is not None:
        periods_lost, since_reading_s = _metrics_lost(record, moment.killed_s)
    return Trial(
        problem=problem,
        opened=record is not None,
        warnings=() if record is None else record.warnings,
        killed_after_s=after_s,
        rows_lost=got - answered,
        load_lost_s=float(after_s - lost_s.min()) if len(lost_s) else 0.0,
        without_row=int(np.count_nonzero(must_have_rows == 0)),
        twice=int(np.count_nonzero(rows_of > 1)),
        told=record is not None and case.tells(record),
        calls_after=ended.calls - got,
        periods_lost=periods_lost,
        since_reading_s=since_reading_s,
        gone_s=ended.gone_s - (load_ends_s if case.others_go_on else moment.killed_s),
        left=ended.left,
    )


def _metrics_lost(record: RunRecord, killed_s: float) -> tuple[int, float]:
    """Whole periods before the kill without samples, and how long ago the last reading was.

    Where nothing was read, both count from the beginning of the run.
    """
    began_s = float(record.manifest["started_at_s"])
    known_s = [began_s, *(record.metrics["period_start_s"].to_numpy() + METRIC_PERIOD_S)]
    read_s = [began_s, *record.metrics["read_at_s"].to_numpy()]
    return int((killed_s - max(known_s)) // METRIC_PERIOD_S), float(killed_s - max(read_s))


def tells_of_worker(record: RunRecord) -> bool:
    """It names the one worker whose arrivals are marked as lost."""
    lost = [event["worker"] for event in record.events if event["kind"] == "worker_lost"]
    marked = record.requests.filter(pc.equal(record.requests["error_code"], WORKER_LOST))
    return len(lost) == 1 and set(marked["worker"].to_pylist()) <= set(lost)


def tells_of_master(record: RunRecord) -> bool:
    """It ended as failed, and why."""
    notes = [event["message"] for event in record.events if event["kind"] == "note"]
    return record.manifest["status"] == "failed" and any("code -9" in note for note in notes)


def tells_of_run(record: RunRecord) -> bool:
    """It never ended in order."""
    return record.manifest["status"] == "running" and not record.complete


CASES = (
    Case(
        "worker",
        partial(with_load_process_killed, "--worker"),
        tells_of_worker,
        others_go_on=True,
        all_is_recorded=True,
    ),
    Case(
        "master",
        partial(with_load_process_killed, "--master"),
        tells_of_master,
        others_go_on=False,
        all_is_recorded=False,
    ),
    Case(
        "collector",
        with_collector_killed,
        tells_of_run,
        others_go_on=False,
        all_is_recorded=True,
    ),
)


def print_trial(name: str, trial: Trial) -> None:
    """One line, as it comes."""
    print(
        f"{name:10} killed after {trial.killed_after_s:4.2f} s: {trial.rows_lost:4} rows, "
        f"{1000 * trial.load_lost_s:5.0f} ms of load lost, {trial.without_row:3} arrivals without; "
        f"gone after {trial.gone_s:4.1f} s {trial.problem}",
        flush=True,
    )


def print_table(trials: dict[str, list[Trial]]) -> None:
    """All trials of a kind in one line, and what belongs to one kind only."""
    print("\nmedian / worst")
    print(
        f"{'killed':10}{'trials':>7}{'opened':>7}{'analysed':>9}{'told':>5}{'rows lost':>12}"
        f"{'load lost, ms':>15}{'without row':>14}{'gone, s':>12}{'left':>5}"
    )
    for name, own in trials.items():
        print(
            f"{name:10}{len(own):7}{sum(trial.opened for trial in own):7}"
            f"{sum(not trial.problem for trial in own):9}{sum(trial.told for trial in own):5}"
            f"{_spread([trial.rows_lost for trial in own]):>12}"
            f"{_spread([1000 * trial.load_lost_s for trial in own]):>15}"
            f"{_spread([trial.without_row for trial in own]):>14}"
            f"{_spread([trial.gone_s for trial in own], digits=1):>12}"
            f"{sum(trial.left for trial in own):5}"
        )
    masters, collectors = trials["master"], trials["collector"]
    after = _spread([trial.calls_after for trial in masters])
    print(f"master: calls its workers sent after the kill, recorded by nobody: {after}")
    periods = _spread([trial.periods_lost for trial in collectors])
    reading = _spread([trial.since_reading_s for trial in collectors], digits=1)
    print(f"collector: periods of metrics lost: {periods}; since its last reading: {reading} s")
    for name, own in trials.items():
        for warning, count in Counter(w for trial in own for w in trial.warnings).items():
            print(f"{name}, warned {count} times: {warning}")


def _spread(values: Sequence[float], digits: int = 0) -> str:
    return f"{median(values):.{digits}f} / {max(values):.{digits}f}"


def print_claims(trials: dict[str, list[Trial]]) -> bool:
    """Whether all of them hold."""
    everything = [trial for own in trials.values() for trial in own]
    claims = {
        "the record opens": all(trial.opened for trial in everything),
        "the record can be analysed": all(not trial.problem for trial in everything),
        "the record says what happened": all(trial.told for trial in everything),
        "a killed worker loses at most its last report": all(
            trial.load_lost_s <= LAST_REPORT_S for trial in trials["worker"]
        ),
        "after a worker's death every arrival has a row": all(
            not trial.without_row for trial in trials["worker"]
        ),
        "no arrival has two rows": all(not trial.twice for trial in everything),
        "a killed collector loses at most its last reading": all(
            trial.since_reading_s <= LAST_READING_S for trial in trials["collector"]
        ),
        "no process is left": all(not trial.left for trial in everything),
    }
    for claim, holds in claims.items():
        print(f"{claim}: {'pass' if holds else 'FAIL'}")
    return all(claims.values())


def main() -> int:
    """One trial after the other, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    randomly = random.Random(options.seed)  # noqa: S311 - not for secrets
    trials: dict[str, list[Trial]] = {case.name: [] for case in CASES}
    for _ in range(options.times):
        for case in CASES:
            with tempfile.TemporaryDirectory() as name:
                after_s = randomly.uniform(0.0, DURATION_S)
                ended = case.run_and_kill(Path(name), after_s, randomly)
                trials[case.name].append(examine(case, ended))
            print_trial(case.name, trials[case.name][-1])
    print_table(trials)
    return 0 if print_claims(trials) else 1


if __name__ == "__main__":
    sys.exit(main())
