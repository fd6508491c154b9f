"""Are consecutive scale-outs told apart in metric periods of a minute?

    .venv/bin/python benchmarks/other_worlds_scaling.py [--runs 1000]

Imagines when each new webserver was counted and writes what SampleCount shows of it: the count at
the end of each period, of which some are lost and some lack the additional cluster because it was
published late. Nothing of the analysis is used to make them. Six scale-outs of one webserver each,
2 -> 8, at a random place within the periods and so far apart:

    gap       seconds from one to the next, drawn evenly from half of it to one and a half
    missed    scale-outs that no change of the count holds: not (after, seen]
    lumped    those of them that lie in a change that holds several
    alone     with a change of their own
    extra     changes that hold none
"""

import argparse
from typing import Final

import numpy as np

from mwaa_headroom.analysis.metric_periods import WebserverPeriod
from mwaa_headroom.analysis.scaling.events import count_changes

PERIOD_S: Final = 60.0
BEFORE_S: Final = 300.0
AFTER_S: Final = 300.0
STEPS: Final = 6
GAPS_S: Final = (60.0, 90.0, 120.0, 180.0, 300.0)
LOST: Final = (0.0, 0.03)  # share of the periods
LATE: Final = 0.03  # share of those with losses that show 1 webserver too few


def row(gap_s: float, lost: float, runs: int) -> str:
    """One row of the table."""
    alone = together = missed = extra = 0
    for seed in range(runs):
        random = np.random.default_rng(seed)
        between_s = gap_s * random.uniform(0.5, 1.5, STEPS)
        added_s = BEFORE_S + random.uniform(0, PERIOD_S) + np.cumsum(between_s)
        periods = []
        for start_s in np.arange(0.0, added_s[-1] + AFTER_S, PERIOD_S):
            count = 2 + int((added_s <= start_s + PERIOD_S).sum())
            count -= int(random.random() < LATE) if lost else 0
            if random.random() >= lost:
                periods.append(WebserverPeriod(start_s, PERIOD_S, count, 50.0, None, None, None))
        held = [
            [at_s for at_s in added_s if change.after_s < at_s <= change.seen_s]
            for change in count_changes(periods)
            if change.to_count > change.from_count
        ]
        alone += sum(len(each) == 1 for each in held)
        together += sum(len(each) for each in held if len(each) > 1)
        extra += sum(not each for each in held)
        missed += STEPS - len({at_s for each in held for at_s in each})
    whole = runs * STEPS
    shares = (f"{100 * part / whole:.1f} %" for part in (alone, together, missed, extra))
    return f"| {gap_s:g} | {100 * lost:g} % | {' | '.join(shares)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    runs = parser.parse_args().runs
    print("| gap, s | periods lost | alone | lumped | missed | extra |\n|---|---|---|---|---|---|")
    for lost in LOST:
        for gap_s in GAPS_S:
            print(row(gap_s, lost, runs), flush=True)


if __name__ == "__main__":
    main()
