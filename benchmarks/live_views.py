"""What do the live views cost, and do they hold up the generator?

    python benchmarks/live_views.py [--rate 100] [--turn-s 8] [--rounds 2]

One run against a canned server, watched in turn by nobody (what printing lines is), by the terminal
view, and by the page with one reader. Told of each: CPU of the generator and of the view in per
cent of a core, lag p99, and both of the generator's over those of the turns without a view.
"""

import argparse
import io
import json
import tempfile
import threading
import time
import urllib.request
from collections import defaultdict
from pathlib import Path

import numpy as np
import psutil
from loopback import canned_server, cheap_scenario, prepare, rows_of, variables
from rich.console import Console
from rich.live import Live

from mwaa_headroom.analysis.schema import MANIFEST_FILE, SCHEMA_VERSION
from mwaa_headroom.harness.cli.live_view import live_panel
from mwaa_headroom.harness.live.page_process import live_page
from mwaa_headroom.harness.live.state import LiveReader
from mwaa_headroom.harness.run.load_processes import Generator
from mwaa_headroom.harness.scenario.model import Scenario


def write_manifest(run_dir: Path, scenario: Scenario) -> None:
    """What a reader of a record asks for."""
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_dir.name,
        "status": "running",
        "started_at_s": time.time(),
        "finished_at_s": None,
        "scenario": scenario.model_dump(mode="json"),
        "environment": {"name": "lag", "kind": "simulated", "before": {}, "facts": {}},
    }
    (run_dir / MANIFEST_FILE).write_text(json.dumps(manifest), encoding="utf-8")


def cpu_s(process: psutil.Process) -> float:
    """User and system."""
    times = process.cpu_times()
    return float(times.user + times.system)


def watch_terminal(run_dir: Path, for_s: float) -> float:
    """CPU-seconds of looking and drawing for so long."""
    console = Console(file=io.StringIO(), force_terminal=True, width=120, height=40)
    reader, until_s = LiveReader(run_dir), time.monotonic() + for_s
    began_s = time.process_time()
    with Live(console=console, refresh_per_second=2) as live:
        while time.monotonic() < until_s:
            live.update(live_panel(reader.read(time.time()), 120))
            time.sleep(1.0)
    return time.process_time() - began_s


def watch_page(run_dir: Path, for_s: float) -> float:
    """CPU-seconds of the page's process from its start on."""
    until_s = time.monotonic() + for_s
    with live_page() as page:
        page.recording(run_dir)
        threading.Thread(target=_read, args=(page.address, until_s), daemon=True).start()
        time.sleep(max(until_s - time.monotonic() - 0.1, 0.0))
        (child,) = (
            process
            for process in psutil.Process().children()
            if "mwaa_headroom.harness.live.page" in process.cmdline()
        )
        return cpu_s(child)


def _read(address: str, until_s: float) -> None:
    with urllib.request.urlopen(f"{address}events") as events:  # noqa: S310 - ours
        while time.monotonic() < until_s and events.readline():
            pass


def watch_nothing(_: Path, for_s: float) -> float:
    """Nobody looks."""
    time.sleep(for_s)
    return 0.0


VIEWS = {"lines": watch_nothing, "terminal": watch_terminal, "page": watch_page}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--turn-s", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    duration_s = 4 + options.rounds * len(VIEWS) * (options.turn_s + 1)
    scenario = cheap_scenario([{"rate_per_s": options.rate, "duration_s": duration_s}])
    costs: dict[str, list[tuple[float, float]]] = defaultdict(list)
    turns: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, canned_server("--delay-s", "0.02") as port:
        run_dir = Path(folder)
        prepare(run_dir, scenario)
        write_manifest(run_dir, scenario)
        generator = Generator(run_dir, variables(port))
        generator.start()
        while not ((latest := generator.latest()) and latest.sent):
            time.sleep(0.2)
        (sender,) = (p for p in psutil.Process().children() if "locust" in p.cmdline())
        for _ in range(options.rounds):
            for name, watch in VIEWS.items():
                from_s, before_s = time.time(), cpu_s(sender)
                view_s = watch(run_dir, options.turn_s)
                turns[name].append((from_s, time.time()))
                took_s = turns[name][-1][1] - from_s
                costs[name].append(((cpu_s(sender) - before_s) / took_s, view_s / took_s))
        generator.wait(60)
        rows = rows_of(run_dir)
    base = _figures(rows, turns["lines"], costs["lines"])
    print("view       generator CPU (ratio)   lag p99 (ratio)   view's CPU")
    for name in VIEWS:
        cpu, lag_ms, view = _figures(rows, turns[name], costs[name])
        print(
            f"{name:10} {100 * cpu:6.1f} %  ({cpu / base[0]:.2f})   "
            f"{lag_ms:8.2f} ms ({lag_ms / base[1]:.2f})   {100 * view:6.2f} %"
        )


def _figures(
    rows: list[dict[str, float]],
    turns: list[tuple[float, float]],
    costs: list[tuple[float, float]],
) -> tuple[float, float, float]:
    lag_ms = [
        1000 * row["lag_s"]
        for row in rows
        for from_s, to_s in turns
        if from_s <= row["intended_start_s"] < to_s
    ]
    cpu, view = np.mean(costs, axis=0)
    return float(cpu), float(np.quantile(lag_ms, 0.99)), float(view)


if __name__ == "__main__":
    main()
