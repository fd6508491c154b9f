"""How far can the generator's latencies be trusted? Read near its own limit, beside the truth.

    .venv/bin/python benchmarks/latency_near_limit.py [--repeat 5] [--duration-s 10]

The server, on another core, always takes 20 ms. First the limit of each transport in one process:
the highest rate of Poisson arrivals, in steps of 5 %, with lag p99 below 100 ms and nothing unsent
(a rate is given two chances, because others may use the machine too). Then, in turns, at 50 % and
90 % of it: latency from the intended start, service time, lag, and the CPU of the generator.

Every run begins with a ramp to its rate, in which connections are opened; its calls are left out,
but not what it left unsent.

Beside it: what one bare socket sees with nothing else running, the share of its time in which the
generator was ready to run but had no core, and by how much the server says its own answers were
late: what these show is the machine's, not the generator's.
"""

import argparse
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
from loopback import cheap_scenario
from rig import OurRun, fast_server, median, rank, run_ours, take_cores

from mwaa_headroom.harness.scenario.model import HIGHEST_RATE_PER_S

TRUTH_S = 0.020
TRANSPORTS = ("lean", "boto3")
SHARES = (0.5, 0.9)
RAMP_S = 2.0
RAMP_FROM = 0.1
BARE_CALLS = 100

FIRST_GUESS_PER_S = {"lean": 3500.0, "boto3": 500.0}
STEP = 1.05
MOST_STEPS = 16
CHANCES = 2
SEARCH_S = 6.0
LAG_P99_BELOW_S = 0.1

TITLES = (
    *("p50", "p99", "serv p50", "serv p99", "lag p50", "lag p99"),
    *("unsent", "cpu", "waiting", "late p99"),
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What one run says; times in ms."""

    p50: float
    p99: float
    service_p50: float
    service_p99: float
    lag_p50: float
    lag_p99: float
    unsent: float
    cpu: float
    kept_waiting: float
    server_late_p99: float


def run_at(transport: str, rate_per_s: float, duration_s: float, core: int | None) -> Reading:
    """One run against a server of its own."""
    scenario = cheap_scenario(
        [
            {
                "rate_per_s": RAMP_FROM * rate_per_s,
                "ramp_to_rate_per_s": rate_per_s,
                "duration_s": RAMP_S,
            },
            {"rate_per_s": rate_per_s, "duration_s": duration_s},
        ],
        traffic={"transport": transport},
        max_rate_per_s=rate_per_s,
    )
    with fast_server(core, delay_s=TRUTH_S) as server:
        run = run_ours(scenario, server)
        return reading_of(run, server.report()["late_p99_s"])


def reading_of(run: OurRun, server_late_p99_s: float) -> Reading:
    """The numbers of a run, its ramp left out."""
    calls = run.calls.where((run.calls.stage == 1) & run.calls.sent)
    return Reading(
        p50=1000 * rank(calls.latency_s, 50),
        p99=1000 * rank(calls.latency_s, 99),
        service_p50=1000 * rank(calls.service_time_s, 50),
        service_p99=1000 * rank(calls.service_time_s, 99),
        lag_p50=1000 * rank(calls.lag_s, 50),
        lag_p99=1000 * rank(calls.lag_s, 99),
        unsent=run.unsent,
        cpu=run.cpu_fraction,
        kept_waiting=run.kept_waiting,
        server_late_p99=1000 * server_late_p99_s,
    )


def keeps_up(transport: str, rate_per_s: float, core: int | None) -> bool:
    """Whether the generator is punctual and complete at a rate, at least once in two times."""
    for _ in range(CHANCES):
        reading = run_at(transport, rate_per_s, SEARCH_S, core)
        good = reading.unsent == 0 and reading.lag_p99 < 1000 * LAG_P99_BELOW_S
        print(
            f"  {transport}: {rate_per_s:6.0f}/s  lag p99 {reading.lag_p99:7.1f} ms  "
            f"unsent {reading.unsent:.0f}  {'keeps up' if good else 'does not'}",
            flush=True,
        )
        if good:
            return True
    return False


def limit_of(transport: str, core: int | None) -> float:
    """The highest rate that the generator keeps up with, or that a scenario may ask for."""
    rate_per_s = FIRST_GUESS_PER_S[transport]
    upwards = keeps_up(transport, rate_per_s, core)
    for _ in range(MOST_STEPS):
        candidate_per_s = rate_per_s * STEP if upwards else rate_per_s / STEP
        if candidate_per_s > HIGHEST_RATE_PER_S:
            return rate_per_s
        if keeps_up(transport, candidate_per_s, core) != upwards:
            return rate_per_s if upwards else candidate_per_s
        rate_per_s = candidate_per_s
    raise SystemExit(f"No limit found around {rate_per_s:.0f}/s: change FIRST_GUESS_PER_S.")


def median_reading(readings: Sequence[Reading]) -> Reading:
    """The medians of all numbers."""
    return Reading(*map(median, zip(*map(astuple, readings), strict=True)))


def line(name: str, reading: Reading) -> str:
    """One line of the table."""
    return f"{name:28}" + "".join(f"{value:9.2f}" for value in astuple(reading))


def main() -> None:
    """Search, take turns, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--duration-s", type=float, default=10.0)
    options = parser.parse_args()
    core = take_cores()

    print("The limit of one process")
    limits_per_s = {transport: limit_of(transport, core) for transport in TRANSPORTS}

    print(f"\nms; the server always takes {1000 * TRUTH_S:.0f}")
    print(f"{'':28}" + "".join(f"{title:>9}" for title in TITLES))
    readings: dict[str, list[Reading]] = {}
    bare_s: list[np.ndarray] = []
    for _ in range(options.repeat):
        with fast_server(core, delay_s=TRUTH_S) as server:
            bare_s.append(server.bare_latencies_s(BARE_CALLS))
        for share in SHARES:
            for transport, limit_per_s in limits_per_s.items():
                name = f"{transport} {share:.0%} of max, {share * limit_per_s:.0f}/s"
                reading = run_at(transport, share * limit_per_s, options.duration_s, core)
                readings.setdefault(name, []).append(reading)
                print(line(name, reading), flush=True)
    print("\nmedians")
    for name, repeats in readings.items():
        print(line(name, median_reading(repeats)))
    for percent in (50, 99):
        seen_ms = median([1000 * rank(values, percent) for values in bare_s])
        print(f"one bare socket p{percent} {seen_ms:.2f} ms")


if __name__ == "__main__":
    main()
