"""How punctual is the generator? Lag and completeness against a server with endless capacity.

    python benchmarks/open_loop_lag.py [--rates 50 100] [--duration-s 10]

For each rate: rows / arrivals of the schedule (must be 1), unsent arrivals, lag p50, p99 and the
highest, the cost in CPU, and p50 latency over service time (1 means lag is nowhere to be seen).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute

from analysis.records.schema import REQUESTS_STREAM
from harness.generator import SCENARIO_FILE, Generator
from harness.scenario.load import check_scenario
from harness.scenario.model import Scenario
from harness.traffic.schedule import schedule_of
from harness.traffic.targets import Targets, save_targets

HERE = Path(__file__).parent


@contextmanager
def canned_server(*options: str) -> Iterator[int]:
    """The port of a canned server with these options, as long as the block lasts."""
    command = [sys.executable, str(HERE / "canned_mwaa.py"), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def scenario_of(stages: list[dict[str, float]], **limits: float) -> Scenario:
    """Poisson arrivals of the cheapest call."""
    tree = {
        "name": "lag",
        "slo": ["p95(latency) < 1s"],
        "question": {"ask": "check"},
        "environment": {"kind": "simulated"},
        "traffic": {"seed": 7, "mix": {"list_dags": 1}},
        "stages": stages,
        "limits": {"max_rate_per_s": 500, **limits},
    }
    return check_scenario(tree, origin="benchmark")


def prepare(run_dir: Path, scenario: Scenario) -> None:
    """Put into a run directory what the generator reads."""
    tree = scenario.model_dump(mode="json")
    (run_dir / SCENARIO_FILE).write_text(json.dumps(tree), encoding="utf-8")
    save_targets(run_dir, Targets("3.3.1", "lag", {}))


def variables(port: int) -> dict[str, str]:
    """The process environment for a server on loopback."""
    return {
        **os.environ,
        "AWS_ENDPOINT_URL_MWAA": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "benchmark",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
    }


def measure(rate_per_s: float, duration_s: float) -> str:
    """One line for one rate."""
    scenario = scenario_of([{"rate_per_s": rate_per_s, "duration_s": duration_s}])
    with tempfile.TemporaryDirectory() as folder, canned_server("--delay-s", "0.02") as port:
        run_dir = Path(folder)
        prepare(run_dir, scenario)
        generator = Generator(run_dir, variables(port))
        generator.start()
        code = generator.wait(duration_s + 60)
        if code:
            raise SystemExit((run_dir / "generator.log").read_text(encoding="utf-8"))
        rows = pa.ipc.open_stream(run_dir / REQUESTS_STREAM).read_all()
        loads = [
            event["cpu_fraction"]
            for event in map(json.loads, (run_dir / "events.jsonl").open(encoding="utf-8"))
            if event["kind"] == "generator_load"
        ]
    arrivals = sum(len(schedule.arrival) for schedule in schedule_of(scenario))
    sent = rows.filter(pa.compute.is_valid(rows["lag_s"]))
    lag_ms = 1000 * sent["lag_s"].to_numpy()
    service_ms = 1000 * sent["service_time_s"].to_numpy()
    p50, p99 = np.quantile(lag_ms, [0.5, 0.99])
    ratio = np.median(lag_ms + service_ms) / np.median(service_ms)
    return (
        f"{rate_per_s:6.0f}/s  rows/arrivals {len(rows) / arrivals:.4f} ({len(rows)}/{arrivals})  "
        f"unsent {len(rows) - len(sent)}  lag p50 {p50:.2f} ms  p99 {p99:.2f} ms  "
        f"max {lag_ms.max():.1f} ms  cpu {np.mean(loads) if loads else float('nan'):.2f}  "
        f"p50 service {np.median(service_ms):.1f} ms  p50 latency/service {ratio:.3f}"
    )


def main() -> None:
    """Measure all rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", type=float, nargs="+", default=[50.0, 100.0])
    parser.add_argument("--duration-s", type=float, default=10.0)
    options = parser.parse_args()
    for rate_per_s in options.rates:
        print(measure(rate_per_s, options.duration_s), flush=True)


if __name__ == "__main__":
    main()
