"""SIGKILL at random moments of a load: what is lost, and does the record still open?

    .venv/bin/python benchmarks/kills.py [--times 20] [--seed 1]

    worker     one of the two workers that a master directs
    master     of two workers; the run that started it lives on, as `headroom run` does
    collector  metrics are collected by a thread of `headroom run`: it is killed as a whole, with a
               master, two workers and a stand-in under it, which must all end by themselves
    environment  the daemon of the run's own stand-in, with the gateway and the autoscaler in it;
               `headroom run` lives on and must say so

Each is killed --times times, at moments drawn evenly over a load of 6 s at 80 calls/s that are
answered after 10 ms. Worker and master run against fast_server.py, which counts the calls; the
other two against a simulated environment, whose trail has them, but for the last second before
the environment itself was killed.

Rows lost: calls that the server got before the kill (the trail: at all) but no row tells of.
Load lost: the kill's time minus the intended start of the first arrival without such a row.
Gone: from the kill (a worker's: from the end of the load, for the others go on) until no process of
the run is left.

Told: the record says what happened. Without row: arrivals due before the kill (of a killed worker's
run: all of the schedule).

Passed: every record opens, can be analysed and tells; a killed worker loses no more than it had not
reported, and every arrival has a row all the same; a killed collector loses no more than what a
reading brings; a run without its environment ends by itself with exit code 5, and every arrival
until then has a row; no process is left. Exit code 1 otherwise.
"""

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from kill_runs import (
    DURATION_S,
    LAST_READING_S,
    LAST_REPORT_S,
    METRIC_PERIOD_S,
    Ended,
    with_collector_killed,
    with_environment_killed,
    with_load_process_killed,
)
from loopback import offsets_of
from rig import median

from mwaa_headroom.analysis.record import RunRecord, read_run
from mwaa_headroom.analysis.report.sentences import told_each
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.analysis.schema import REQUESTS_SCHEMA, WORKER_LOST

INCONCLUSIVE = 5  # exit code


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
    exit_code: int | None  # of a `headroom run` that ended by itself


def examine(case: Case, ended: Ended) -> Trial:
    """Read and analyse the record that is left, and compare it with what was due and sent."""
    problem, record = "", None
    try:
        record = read_run(ended.directory)
        _ = Run(record).analysis
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
        warnings=() if record is None else told_each(record.warnings),
        killed_after_s=after_s,
        rows_lost=max(got - answered, 0),  # a trail may have been cut short too
        load_lost_s=float(after_s - lost_s.min()) if len(lost_s) else 0.0,
        without_row=int(np.count_nonzero(must_have_rows == 0)),
        twice=int(np.count_nonzero(rows_of > 1)),
        told=record is not None and case.tells(record),
        calls_after=ended.calls - got,
        periods_lost=periods_lost,
        since_reading_s=since_reading_s,
        gone_s=ended.gone_s - (load_ends_s if case.others_go_on else moment.killed_s),
        left=ended.left,
        exit_code=ended.exit_code,
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
    reasons = [each["reason"] for each in record.events if each["kind"] == "generator_ended"]
    return record.manifest["status"] == "failed" and any("code -9" in each for each in reasons)


def tells_of_run(record: RunRecord) -> bool:
    """It never ended in order."""
    return record.manifest["status"] == "running" and not record.complete


def tells_of_environment(record: RunRecord) -> bool:
    """It ended in order, as failed, and its analysis names the environment."""
    codes = {finding.code for finding in Run(record).analysis.warnings}
    in_order = record.complete and record.manifest["status"] == "failed"
    return in_order and "run.environment_ended" in codes


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
    Case(
        "environment",
        with_environment_killed,
        tells_of_environment,
        others_go_on=False,
        all_is_recorded=True,
    ),
)


def print_trial(name: str, trial: Trial) -> None:
    """One line, as it comes."""
    print(
        f"{name:12} killed after {trial.killed_after_s:4.2f} s: {trial.rows_lost:4} rows, "
        f"{1000 * trial.load_lost_s:5.0f} ms of load lost, {trial.without_row:3} arrivals without; "
        f"gone after {trial.gone_s:4.1f} s {trial.problem}",
        flush=True,
    )


def print_table(trials: dict[str, list[Trial]]) -> None:
    """All trials of a kind in one line, and what belongs to one kind only."""
    print("\nmedian / worst")
    print(
        f"{'killed':12}{'trials':>7}{'opened':>7}{'analysed':>9}{'told':>5}{'rows lost':>12}"
        f"{'load lost, ms':>15}{'without row':>14}{'gone, s':>12}{'left':>5}"
    )
    for name, own in trials.items():
        print(
            f"{name:12}{len(own):7}{sum(trial.opened for trial in own):7}"
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
        "a run without its environment ends by itself, with exit code 5": all(
            trial.exit_code == INCONCLUSIVE for trial in trials["environment"]
        ),
        "until its environment died every arrival has a row": all(
            not trial.without_row for trial in trials["environment"]
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
