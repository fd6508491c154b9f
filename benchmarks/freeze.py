"""A server that stands still for 5 of 30 seconds: who sees it?

    .venv/bin/python benchmarks/freeze.py [--repeat 5] [--duration-s 30]

The server takes 5 ms a call and stands still as a whole for a sixth of the run, from a third on;
20 calls/s are asked for. Three sides take turns, each alone: the product's generator with constant
and with Poisson arrivals, percentiles by the product's analysis; and plain Locust, 10 FastHttpUsers
with constant_throughput(2), percentiles as Locust reports them.

The truth is exact: what each arrival of the schedule must take, given when the server stood still
by its own account. Locust has no schedule; beside it stands the closed formula for evenly spread
arrivals: with service s, freeze f and duration D, the q-quantile is s for q <= 1 - f/D and
s + f - (1 - q) D above.

Passed: unsent = 0, every arrival has a row, and p50, p90, p95, p99 of ours are within 3 % or 5 ms
of the truth. Exit code 1 if a repeat did not pass.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from fast_server import Freeze, answered_s
from loopback import cheap_scenario, offsets_of
from rig import (
    FastServer,
    fast_server,
    median,
    plain_locust,
    rank,
    run_ours,
    statistics_of,
    take_cores,
)

RATE_PER_S = 20.0
USERS = 10  # of constant_throughput(2), see plain_locustfile.py
SERVICE_S = 0.005
PERCENTILES = (50, 90, 95, 99)
WITHIN_RATIO = 0.03
WITHIN_MS = 5.0
LOCUST = "plain Locust"
OUR_SIDES = ("constant", "poisson")


@dataclass(frozen=True, slots=True)
class Seen:
    """What one side says about one run, and what it should have said; times in ms."""

    side: str
    asked: int
    sent: int
    unsent: int | None  # None: it keeps no account of them
    seen_ms: tuple[float, ...]
    truth_ms: tuple[float, ...]

    @property
    def passed(self) -> bool:
        """Whether everything was sent and every percentile is as exact as it must be."""
        exact = all(map(within, self.seen_ms, self.truth_ms))
        return exact and self.unsent == 0 and self.sent == self.asked


def within(seen_ms: float, truth_ms: float) -> bool:
    """Whether one percentile is as exact as it must be."""
    return abs(seen_ms - truth_ms) <= max(WITHIN_RATIO * truth_ms, WITHIN_MS)


def closed_formula_ms(percent: float, duration_s: float) -> float:
    """The truth for arrivals spread evenly, in the limit of many."""
    above = max(0.0, freeze_s(duration_s) - (1 - percent / 100) * duration_s)
    return 1000 * (SERVICE_S + above)


def freeze_s(duration_s: float) -> float:
    """How long the server stands still."""
    return duration_s / 6


def ours(arrivals: str, server: FastServer, duration_s: float, seed: int) -> Seen:
    """One run of the product's generator."""
    stages = [{"rate_per_s": RATE_PER_S, "duration_s": duration_s}]
    scenario = cheap_scenario(
        stages, traffic={"arrivals": arrivals, "seed": seed}, abort_window_s=30.0
    )
    offsets_s = offsets_of(scenario)
    run = run_ours(scenario, server)
    froze_s, thawed_s = server.report()["frozen"]
    freeze = Freeze(froze_s, thawed_s - froze_s)
    truth_s = np.array(
        [answered_s(at_s, SERVICE_S, freeze) - at_s for at_s in run.started_s + offsets_s]
    )
    latency_s = run.calls.latency_s[run.calls.sent]
    return Seen(
        side=f"ours, {arrivals}",
        asked=len(offsets_s),
        sent=len(latency_s),
        unsent=run.unsent,
        seen_ms=tuple(1000 * rank(latency_s, percent) for percent in PERCENTILES),
        truth_ms=tuple(1000 * rank(truth_s, percent) for percent in PERCENTILES),
    )


def locust(server: FastServer, duration_s: float) -> Seen:
    """One run of plain Locust."""
    with plain_locust("PacedUser", server, users=USERS, run_time_s=duration_s) as process:
        found = statistics_of(process)
    return Seen(
        side=LOCUST,
        asked=round(RATE_PER_S * duration_s),
        sent=found["sent"],
        unsent=None,
        seen_ms=tuple(map(float, found["percentiles_ms"])),
        truth_ms=tuple(closed_formula_ms(percent, duration_s) for percent in PERCENTILES),
    )


def median_of(repeats: Sequence[Seen]) -> Seen:
    """The medians of all numbers."""
    unsent = [seen.unsent for seen in repeats if seen.unsent is not None]
    return Seen(
        side=repeats[0].side,
        asked=round(median([seen.asked for seen in repeats])),
        sent=round(median([seen.sent for seen in repeats])),
        unsent=max(unsent) if unsent else None,
        seen_ms=tuple(map(median, zip(*(seen.seen_ms for seen in repeats), strict=True))),
        truth_ms=tuple(map(median, zip(*(seen.truth_ms for seen in repeats), strict=True))),
    )


def line(name: str, seen: Seen) -> str:
    """One line of the table: seen / truth."""
    pairs = zip(seen.seen_ms, seen.truth_ms, strict=True)
    columns = "".join(f"{value:8.0f} / {truth:<6.0f}" for value, truth in pairs)
    unsent = "-" if seen.unsent is None else str(seen.unsent)
    verdict = "pass" if seen.passed else "FAIL"
    return (
        f"{name:8}{seen.side:16}{seen.sent:5}/{seen.asked:<5}"
        f"{seen.sent / seen.asked:5.2f}{unsent:>7} {columns} {verdict}"
    )


def main() -> int:
    """Take turns, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--duration-s", type=float, default=30.0)
    options = parser.parse_args()
    duration_s: float = options.duration_s
    core = take_cores()
    print("seen / truth in ms")
    heads = "".join(f"{f'p{percent}':>8}{'':9}" for percent in PERCENTILES)
    print(f"{'repeat':8}{'side':16}{'sent/asked':12}ratio unsent {heads}")
    repeats: dict[str, list[Seen]] = {}
    for repeat in range(1, options.repeat + 1):
        for side in (*OUR_SIDES, LOCUST):
            with fast_server(
                core,
                delay_s=SERVICE_S,
                # Between two constant arrivals: one that comes with the freeze is a toss of a coin.
                freeze_after_s=duration_s / 3 + 0.5 / RATE_PER_S,
                freeze_s=freeze_s(duration_s),
            ) as server:
                if side == LOCUST:
                    seen = locust(server, duration_s)
                else:
                    seen = ours(side, server, duration_s, seed=repeat)
            repeats.setdefault(side, []).append(seen)
            print(line(str(repeat), seen), flush=True)
    for side in repeats:
        print(line("median", median_of(repeats[side])))
    passed = all(seen.passed for side in OUR_SIDES for seen in repeats[side])
    print("ours: passed in every repeat" if passed else "ours: FAILED")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
