"""What does the quickstart say when this machine begins to do something else in the middle of it?

Runs `headroom run scenarios/quickstart.toml` (about four minutes, real Airflow on this machine) in
turns alone and with two busy processes, which start at a random moment of the load and stay to the
end. Prints of each run the answer, the demand of the mix and what was said about the host, and how
busy and how fast the host was in each stage. The machine must have nothing else to do.

    .venv/bin/python benchmarks/disturbed_host.py [--runs 5] [--seed 1] [--directory DIRECTORY]

Runs that are in the directory already are not repeated, so that it can be ended and started again;
what is printed is always computed anew from their records. Claims, in the exit code too:

    every quiet run has an answer, and all recommend the same number of webservers
    no disturbed run that has an answer recommends another, unless its interval holds that one
"""

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mwaa_headroom.analysis.host import speeds
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.sentences import told
from mwaa_headroom.analysis.run import Run

ROOT = Path(__file__).resolve().parents[1]
SCENARIO = ROOT / "scenarios" / "quickstart.toml"
LOAD_S = 142.0  # of all stages of the quickstart, without recoveries
LONGEST_S = 900.0
ANSWERED, NOT_ANSWERED = 0, 5
HOGS = 2
# Ends by itself when whoever started it is gone.
HOG = """
import json, os, sys
parent = os.getppid()
while os.getppid() == parent:
    for _ in range(100):
        json.loads(json.dumps(list(range(500))))
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """One quickstart and what it said."""

    name: str
    hog_after_s: float | None  # of the load; None: quiet
    run: Run

    @property
    def exit_code(self) -> int:
        """Of the answer, as this version gives it."""
        return self.run.verdict.exit_code

    @property
    def recommended(self) -> tuple[int, int, int] | None:
        """Webservers for the target and the ends of the interval; None: no number is given."""
        target = self.run.sizing.target
        if target is None or target.webservers is None:
            return None
        return (
            target.webservers,
            target.webservers_low or 0,
            target.webservers_high or sys.maxsize,
        )


def main() -> int:
    """Run what is missing, print the table, and check the claims."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="of each kind")
    parser.add_argument("--quiet-runs", type=int, help="if not as many as the others")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--directory", type=Path, default=ROOT / "runs" / "disturbed_host")
    options = parser.parse_args()
    moments = np.random.default_rng(options.seed)
    hog_after_s = moments.uniform(0.0, LOAD_S, options.runs).round(1).tolist()
    quiet_runs = options.runs if options.quiet_runs is None else options.quiet_runs
    planned = [(f"quiet-{number + 1}", None, number) for number in range(quiet_runs)]
    planned += [(f"hog-{number + 1}", at_s, number) for number, at_s in enumerate(hog_after_s)]
    ended = []
    print(
        "| run | hog from | exit | webservers (95 %) | demand of the mix (95 %) | host by stage: "
        "taken, speed | said about the host |\n|---|---|---|---|---|---|---|",
        flush=True,
    )
    for name, at_s, _ in sorted(planned, key=lambda each: each[2]):
        run = one_run(options.directory / name, at_s)
        if run is None:
            print(f"| {name} | - | broke down, see {options.directory / name} | | | | |")
            continue
        ended.append(Ended(name, at_s, run))
        print(row_of(ended[-1]), flush=True)
    return check(ended, expected=len(planned))


def one_run(directory: Path, hog_after_s: float | None) -> Run | None:
    """A run from its record, carried out unless it is there; None: it broke down."""
    finished = directory / "finished.json"
    if not finished.exists():
        began_s = time.monotonic()
        exit_code = carry_out(directory, hog_after_s)
        took_s = round(time.monotonic() - began_s)
        if exit_code not in (ANSWERED, NOT_ANSWERED):
            return None
        latest = (directory / "latest").resolve().name
        text = json.dumps({"run": latest, "exit_code": exit_code, "took_s": took_s})
        finished.write_text(text + "\n")
    return Run.read(directory / json.loads(finished.read_text())["run"])


def carry_out(directory: Path, hog_after_s: float | None) -> int:
    """`headroom run`, with the hogs; its output is beside the record."""
    directory.mkdir(parents=True, exist_ok=True)
    before = set(directory.glob("*/requests.arrows"))
    headroom = Path(sys.executable).with_name("headroom")
    command = [headroom, "run", SCENARIO, "--runs", directory, "--no-progress"]
    with (
        (directory / "output.txt").open("wb") as output,
        subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT) as run,
    ):
        try:
            deadline_s = time.monotonic() + LONGEST_S
            if hog_after_s is None:
                return run.wait(LONGEST_S)
            while run.poll() is None and set(directory.glob("*/requests.arrows")) == before:
                if time.monotonic() > deadline_s:
                    raise subprocess.TimeoutExpired(command, LONGEST_S)
                time.sleep(0.2)
            time.sleep(hog_after_s)
            with hogs():
                return run.wait(max(deadline_s - time.monotonic(), 1.0))
        except subprocess.TimeoutExpired:
            run.terminate()
            return run.wait()
        except BaseException:
            run.terminate()
            raise


@contextmanager
def hogs() -> Iterator[None]:
    """Busy processes while inside."""
    busy = [subprocess.Popen([sys.executable, "-I", "-S", "-c", HOG]) for _ in range(HOGS)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def row_of(ended: Ended) -> str:
    """One line of the table."""
    run, number = ended.run, ended.recommended
    since = "-" if ended.hog_after_s is None else f"{ended.hog_after_s:.0f} s"
    if number is None:
        count = "none"
    else:
        webservers, low, high = number
        count = f"{webservers} ({low}-{'' if high == sys.maxsize else high})"
    demand = words.duration_estimate(run.demand.mix_s if run.demand else None)
    stages = "; ".join(
        host_in(run, stage.measured_from_s, stage.ended_at_s) for stage in run.stages
    )
    spoilt = [
        f"stage {stage.index + 1}: {told(stage.host_disturbed)}"
        for stage in run.stages
        if stage.host_disturbed
    ]
    first = spoilt[0].partition(": end what")[0] if spoilt else "nothing"
    said = f"{first} ({len(spoilt)} of {len(run.stages)} stages)" if spoilt else first
    cells = (ended.name, since, ended.exit_code, count, demand, stages, said)
    return f"| {' | '.join(map(str, cells))} |"


def host_in(run: Run, from_s: float, to_s: float) -> str:
    """Share of the CPUs taken and speed between two times."""
    inside = [
        (report.inside_s(from_s, to_s), report.taken_fraction, speed)
        for report, speed in zip(run.host, speeds(run.host), strict=True)
        if report.inside_s(from_s, to_s)
    ]
    whole_s = sum(weight_s for weight_s, _, _ in inside)
    if not whole_s:
        return "-"
    taken = sum(weight_s * taken for weight_s, taken, _ in inside) / whole_s
    slowness = sum(weight_s / speed for weight_s, _, speed in inside) / whole_s
    return f"{taken:.2f}, {1 / slowness:.2f}"


def check(ended: list[Ended], *, expected: int) -> int:
    """Print the claims and whether they hold; 1 if one does not."""
    quiet = [each for each in ended if each.hog_after_s is None]
    disturbed = [each for each in ended if each.hog_after_s is not None]
    counts = Counter(each.recommended[0] for each in quiet if each.recommended)
    usual = counts.most_common(1)[0][0] if counts else None
    same = all(
        each.exit_code == ANSWERED and each.recommended and each.recommended[0] == usual
        for each in quiet
    )
    wrong = [
        each.name
        for each in disturbed
        if each.exit_code == ANSWERED
        and usual is not None
        and each.recommended
        and each.recommended[0] != usual
        and not each.recommended[1] <= usual <= each.recommended[2]
    ]
    undecided = sum(each.exit_code == NOT_ANSWERED for each in disturbed)
    print(f"\nruns that ended: {len(ended)} of {expected}")
    print(f"quiet: {'all' if same else 'NOT all'} answered with the same number: {dict(counts)}")
    print(f"disturbed: {undecided} of {len(disturbed)} not answered, wrong: {wrong or 'none'}")
    return 0 if same and not wrong and len(ended) == expected else 1


if __name__ == "__main__":
    sys.exit(main())
