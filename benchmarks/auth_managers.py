"""What a call costs a real webserver, operation by operation, under one setting and another.

By default: Airflow 3's two auth managers, the one that MWAA runs (fab) and the local default
(simple). Each side is started anew in turn, so that what the machine does meanwhile falls on both;
CPU-seconds are those of all processes of one webserver, divided by the calls that it answered one
after another. The first calls of each operation, which import and cache, are left out.

    benchmarks/auth_managers.py [--version 3.3.1] [--repeat 2] [--calls 40]
    benchmarks/auth_managers.py --of 2.11.2 3.3.1      versions instead, each as MWAA runs it
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from mwaa_headroom.harness.local.airflow.backend import AirflowBackend, release_of
from mwaa_headroom.harness.local.airflow.webserver import AirflowWebserver
from mwaa_headroom.harness.local.processes import Children
from mwaa_headroom.harness.local.settings import LocalSettings
from mwaa_headroom.harness.traffic.operations import OPERATIONS, RestCall, Targets, build_call

DAG = "headroom_example"
RUNS = 30  # that lists and reads find
WARM_UP_CALLS = 8


@dataclass
class Side:
    """One setting and what was seen of it, one value a start."""

    name: str
    settings: LocalSettings
    start_s: list[float] = field(default_factory=list)
    memory_mib: list[float] = field(default_factory=list)
    cpu_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", default="3.3.1")
    parser.add_argument("--of", nargs="+", metavar="VERSION")
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--calls", type=int, default=40)
    given = parser.parse_args()
    if given.of:
        sides = [
            Side(version, LocalSettings(airflow_version=version, auth_manager="fab"))
            for version in given.of
        ]
    else:
        sides = [
            Side("simple", LocalSettings(airflow_version=given.version, auth_manager="simple")),
            Side("fab", LocalSettings(airflow_version=given.version, auth_manager="fab")),
        ]
    for turn in range(given.repeat):
        for side in sides if turn % 2 == 0 else reversed(sides):
            print(f"turn {turn + 1}: {side.name}", flush=True)
            with tempfile.TemporaryDirectory() as folder:
                asyncio.run(measure(side, Path(folder), given.calls))
    print_table(sides)


async def measure(side: Side, folder: Path, calls: int) -> None:
    """Start one environment with one webserver, and call every operation."""
    with Children(folder / "processes") as children:
        backend = AirflowBackend(
            side.settings, directory=folder, children=children, progress=lambda _: None
        )
        try:
            began_s = time.monotonic()
            await backend.start()
            webserver = backend.new_webserver("webserver-1")
            await webserver.wait_until_ready()
            await backend.wait_for_dags()
            side.start_s.append(time.monotonic() - began_s)
            side.memory_mib.append(
                webserver.usage().memory_fraction * side.settings.webserver_memory_mib
            )
            await call_all(side, backend, webserver, calls)
        finally:
            await backend.stop()


async def call_all(
    side: Side, backend: AirflowBackend, webserver: AirflowWebserver, calls: int
) -> None:
    """Every operation, one call after another."""
    headers = {"Authorization": await backend.authorization("Admin") or ""}
    base_url = webserver.base_url + release_of(side.settings).api
    targets = Targets(
        side.settings.airflow_version, "seed", {DAG: tuple(f"r{index}" for index in range(RUNS))}
    )
    async with aiohttp.ClientSession(headers=headers) as session:

        async def send(call: RestCall) -> None:
            url = base_url + call.path
            async with session.request(
                call.method, url, params=call.query, json=call.body
            ) as answer:
                assert answer.ok, f"{call}: {answer.status} {await answer.text()}"
                await answer.read()

        for run in targets.dag_run_ids[DAG]:
            trigger = build_call("trigger_dag_run", {}, arrival=0, targets=targets)
            body = {**(trigger.body or {}), "dag_run_id": run}
            await send(RestCall("POST", trigger.path, body=body))
        await send(RestCall("POST", "/variables", body={"key": "headroom_variable", "value": "0"}))
        for name in OPERATIONS:
            for arrival in range(WARM_UP_CALLS + calls):
                if arrival == WARM_UP_CALLS:
                    before_s = webserver.usage().cpu_s
                await send(build_call(name, {}, arrival=arrival, targets=targets))
            side.cpu_ms[name].append((webserver.usage().cpu_s - before_s) / calls * 1000)


def print_table(sides: list[Side]) -> None:
    """Medians of the starts, and the ratio of each side to the first."""
    first, *others = sides
    ratios = "".join(f"{f'{side.name} / {first.name}':>16}" for side in others)
    print(f"{'CPU ms a call':22}" + "".join(f"{side.name:>10}" for side in sides) + ratios)
    for name in OPERATIONS:
        row([side.cpu_ms[name] for side in sides], name, digits=1)
    row(
        [[sum(start) for start in zip(*side.cpu_ms.values(), strict=True)] for side in sides],
        "all of them once",
        digits=1,
    )
    row([side.start_s for side in sides], "start-up, s", digits=1)
    row([side.memory_mib for side in sides], "webserver, MiB", digits=0)


def row(values: list[list[float]], name: str, *, digits: int) -> None:
    """One line of the table."""
    first, *others = medians = [statistics.median(of_side) for of_side in values]
    shown = "".join(f"{value:10.{digits}f}" for value in medians)
    print(f"{name:22}{shown}" + "".join(f"{other / first:16.2f}" for other in others))


if __name__ == "__main__":
    main()
