"""How often do the 95 % intervals of the analysis hold the truth?

    .venv/bin/python benchmarks/coverage.py [--runs 500] [--processes 2] [--only capacity ...]

Carries out runs against simulated webservers in virtual time (`known_environments.py`), analyses
their records as any others, and counts how many intervals hold what the environment was set to:

    service demand    of the mix and of single operations; the rate one webserver serves at 70 % CPU
    webserver count   before it is rounded up (load over the rate of one webserver), and rounded:
                      for any load, and at the very border between two counts. An interval of
                      whole numbers is rounded outwards: it holds the truth in 97.5 % or more
    capacity          where p95 latency breaks the SLO; truth: a few much longer runs
    scale-out delay   from the load step until the new webserver has calls, the mean of six runs, by
                      the environment's events, and from the metrics alone as on AWS, where
                      nothing is known below a metric period; truth: the mean of all runs' events
    regression ratio  of six runs against six: equal, or every call 10 % dearer

"none" is the share of runs that gave no interval at all, "open" that of intervals with one end.
"interval holds" is counted over all intervals and should be 92-98 %; beside it is the interval of
that share itself (Wilson, 95 %). "width" is the median of a closed interval's width over the truth.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from statistics import median
from typing import Final

import coverage_studies as studies
from coverage_studies import Interval

from mwaa_headroom.analysis.stages import share
from mwaa_headroom.analysis.statistics import Estimate

NOMINAL: Final = (0.92, 0.98)
STUDIES: Final[Mapping[str, Callable[[int], dict[str, Interval]]]] = {
    "demand": studies.demand,
    "minutes": studies.minutes,
    "calibration": studies.calibration,
    "capacity": studies.capacity,
    "delay": studies.delay,
    "ratio": studies.ratio,
}


@dataclass(frozen=True, slots=True)
class Row:
    """One estimator in one design."""

    what: str
    runs: int
    missing: float
    open: float
    held: int
    counted: int
    width: float

    @property
    def holds(self) -> Estimate:
        """The share of the intervals that hold the truth."""
        return share(self.held, self.counted)

    @property
    def is_nominal(self) -> bool:
        """Whether that share is what 95 % intervals should have, or more where a grain widens."""
        most = 1.0 if self.what.startswith(studies.WIDENED) else NOMINAL[1]
        return self.holds.value is not None and NOMINAL[0] <= self.holds.value <= most

    def __str__(self) -> str:
        held = "-"
        if self.holds.value is not None:
            ends = f"{100 * (self.holds.low or 0):.1f}-{100 * (self.holds.high or 1):.1f}"
            held = f"{100 * self.holds.value:.1f} % ({ends})"
        return (
            f"| {self.what} | {self.runs} | {100 * self.missing:.1f} % | "
            f"{100 * self.open:.1f} % | {held} | "
            f"{100 * self.width:.0f} % |"
        )


def main() -> int:
    """Print a row for each estimate as soon as its study is done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=500, help="repetitions of each study")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=STUDIES, default=list(STUDIES))
    parser.add_argument("--first-seed", type=int, default=1)
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.runs)
    print(
        "| estimate | runs | missing | interval holds | width |\n|---|---|---|---|---|", flush=True
    )
    outside = []
    with ProcessPoolExecutor(options.processes) as pool:
        for name in options.only:
            for row in rows_of(name, pool.map(STUDIES[name], seeds, chunksize=5)):
                print(row, flush=True)
                if not row.is_nominal:
                    outside.append(row.what)
    print(f"\nOutside of 92-98 %: {'; '.join(outside) or 'none'}.")
    return 1 if outside else 0


def rows_of(study: str, found: Iterator[dict[str, Interval]]) -> Iterator[Row]:
    """One row for each estimate of a study."""
    intervals: dict[str, list[Interval]] = defaultdict(list)
    for one in found:
        for what, interval in one.items():
            intervals[what].append(interval)
    for what, several in studies.with_truth(study, intervals).items():
        yield row_of(what, several)


def row_of(what: str, intervals: list[Interval]) -> Row:
    """How many of the intervals hold their truth."""
    known = [one for one in intervals if one.low is not None]
    widths = [one.width for one in known if one.high is not None]
    return Row(
        what=what,
        runs=len(intervals),
        missing=1 - len(known) / len(intervals),
        open=1 - len(widths) / max(len(known), 1),
        held=sum(one.holds for one in known),
        counted=len(known),
        width=median(widths) if widths else float("nan"),
    )


if __name__ == "__main__":
    sys.exit(main())
