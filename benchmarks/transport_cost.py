"""What a call costs the load generator: calls per second of a core, boto3 and lean.

    .venv/bin/python benchmarks/transport_cost.py [--repeat 5] [--window-s 5] [--parts]

A canned server on another core answers at once. Sides take turns, each alone, ten calls in flight:

    FastHttpUser      Locust's fastest client, unsigned, answers not looked at, nothing recorded
    boto3 in Locust   an InvokeRestApi call in a Locust user: what one writes first
    lean in Locust    the same with the product's lean transport instead of boto3
    ours, boto3       the product's generator, all of it, ten users who hardly think
    ours, lean        the same with the lean transport

The server counts the calls, the operating system the CPU of the generator's processes. After that,
ours at a fixed rate: what a call costs an open workload, waiting for the next arrival included.

With --parts also what each part of a call costs by itself; see call_parts.py.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from loopback import cheap_scenario
from rig import (
    HERE,
    Cost,
    FastServer,
    cost_of_window,
    fast_server,
    median,
    our_generator,
    plain_locust,
    take_cores,
)

from mwaa_headroom.harness.scenario.model import Scenario

IN_FLIGHT = 10
THINK_S = 0.0001
FIXED_RATE_PER_S = 200.0
LONGEST_S = 120.0  # ended long before
FAST_HTTP, BOTO3, LEAN, OUR_BOTO3, OUR_LEAN = (
    "FastHttpUser, unsigned",
    "boto3 in Locust",
    "lean in Locust",
    "ours, boto3",
    "ours, lean",
)
RATIOS = (  # of calls per second of a core, and what the first two must be
    (LEAN, BOTO3, 6.0),
    (LEAN, FAST_HTTP, 1.0),
    (OUR_LEAN, BOTO3, None),
    (OUR_LEAN, FAST_HTTP, None),
    (OUR_LEAN, OUR_BOTO3, None),
)
Measure = Callable[[FastServer, float], Cost]


def plain(user_class: str) -> Measure:
    """Plain Locust, as fast as it goes."""

    def measure(server: FastServer, window_s: float) -> Cost:
        with plain_locust(user_class, server, users=IN_FLIGHT, run_time_s=LONGEST_S):
            return cost_of_window(server, window_s)

    return measure


def ours(scenario: Scenario) -> Measure:
    """The product's generator."""

    def measure(server: FastServer, window_s: float) -> Cost:
        with (
            tempfile.TemporaryDirectory() as folder,
            our_generator(scenario, server, Path(folder)),
        ):
            return cost_of_window(server, window_s)

    return measure


def saturating(transport: str) -> Scenario:
    """Users who hardly think: as many calls as the generator can make."""
    return cheap_scenario(
        [{"users": IN_FLIGHT, "duration_s": LONGEST_S}],
        traffic={"arrivals": "closed", "think_time_s": THINK_S, "transport": transport},
        max_rate_per_s=IN_FLIGHT / THINK_S,
    )


def steady(transport: str) -> Scenario:
    """Poisson arrivals at a rate far from any limit."""
    return cheap_scenario(
        [{"rate_per_s": FIXED_RATE_PER_S, "duration_s": LONGEST_S}],
        traffic={"transport": transport},
    )


SIDES: dict[str, Measure] = {
    FAST_HTTP: plain("UnsignedUser"),
    BOTO3: plain("Boto3User"),
    LEAN: plain("LeanUser"),
    OUR_BOTO3: ours(saturating("boto3")),
    OUR_LEAN: ours(saturating("lean")),
}
STEADY_SIDES: dict[str, Measure] = {
    OUR_BOTO3: ours(steady("boto3")),
    OUR_LEAN: ours(steady("lean")),
}


def take_turns(
    sides: dict[str, Measure], *, repeat: int, window_s: float, core: int | None
) -> dict[str, list[Cost]]:
    """Measure every side once, then every side again."""
    costs: dict[str, list[Cost]] = {side: [] for side in sides}
    for _ in range(repeat):
        for side, measure in sides.items():
            with fast_server(core) as server:
                costs[side].append(measure(server, window_s))
    return costs


def print_table(costs: dict[str, list[Cost]]) -> None:
    """Medians, and the spread of the repeats."""
    print(f"{'':24}{'calls/s of a core':>18}{'lowest-highest':>18}{'us a call':>11}{'calls/s':>9}")
    for side, repeats in costs.items():
        per_core = [cost.calls_per_cpu_s for cost in repeats]
        print(
            f"{side:24}{median(per_core):18.0f}{f'{min(per_core):.0f}-{max(per_core):.0f}':>18}"
            f"{median([cost.us_per_call for cost in repeats]):11.0f}"
            f"{median([cost.calls_per_s for cost in repeats]):9.0f}"
        )


def print_ratios(costs: dict[str, list[Cost]]) -> bool:
    """Ratios within each repeat, their median, and whether all that is required holds."""
    passed = True
    for fast, slow, required in RATIOS:
        pairs = zip(costs[fast], costs[slow], strict=True)
        ratio = median([a.calls_per_cpu_s / b.calls_per_cpu_s for a, b in pairs])
        verdict = ""
        if required is not None:
            passed = passed and ratio >= required
            verdict = f"  at least {required:g}: {'pass' if ratio >= required else 'FAIL'}"
        print(f"{f'{fast} / {slow}':44}{ratio:6.2f}{verdict}")
    return passed


def print_parts(core: int | None, repeat: int) -> None:
    """What the parts of a call cost, each in a process of its own."""
    with fast_server(core) as server:
        command = [sys.executable, str(HERE / "call_parts.py"), str(server.port), str(repeat)]
        printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    for part, cost_us in json.loads(printed).items():
        print(f"{part:44}{cost_us:8.1f} us")


def main() -> int:
    """Take turns, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--window-s", type=float, default=5.0)
    parser.add_argument("--parts", action="store_true", help="also what the parts cost")
    options = parser.parse_args()
    core = take_cores()

    print(f"As fast as it goes, {IN_FLIGHT} in flight")
    costs = take_turns(SIDES, repeat=options.repeat, window_s=options.window_s, core=core)
    print_table(costs)
    passed = print_ratios(costs)

    print(f"\nPoisson arrivals, {FIXED_RATE_PER_S:g}/s")
    costs = take_turns(STEADY_SIDES, repeat=options.repeat, window_s=options.window_s, core=core)
    print_table(costs)

    if options.parts:
        print("\nParts of a call, CPU")
        print_parts(core, options.repeat)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
