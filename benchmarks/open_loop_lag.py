"""How punctual is the generator? Lag and completeness against a server with endless capacity.

    python benchmarks/open_loop_lag.py [--rates 50 100] [--duration-s 11]

For each rate: rows / arrivals of the schedule (must be 1), unsent arrivals, lag p50, p99 and the
highest, CPU in cores, and p50 latency over p50 service time (1 means that lag cannot be seen).
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from loopback import (
    canned_server,
    cheap_scenario,
    events_of,
    offsets_of,
    prepare,
    rows_of,
    variables,
)

from mwaa_headroom.harness.run.load_processes import GENERATOR_LOG, Generator


def measure(rate_per_s: float, duration_s: float) -> str:
    """One line for one rate."""
    scenario = cheap_scenario([{"rate_per_s": rate_per_s, "duration_s": duration_s}])
    with tempfile.TemporaryDirectory() as folder, canned_server("--delay-s", "0.02") as port:
        run_dir = Path(folder)
        prepare(run_dir, scenario)
        generator = Generator(run_dir, variables(port))
        generator.start()
        if generator.wait(duration_s + 60):
            raise SystemExit((run_dir / GENERATOR_LOG).read_text(encoding="utf-8"))
        rows = rows_of(run_dir)
        loads = [e["cpu_fraction"] for e in events_of(run_dir) if e["kind"] == "generator_load"]
    arrivals = len(offsets_of(scenario))
    sent = [row for row in rows if row["lag_s"] is not None]
    lag_ms = np.array([1000 * row["lag_s"] for row in sent])
    service_ms = np.array([1000 * row["service_time_s"] for row in sent])
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
    parser.add_argument("--duration-s", type=float, default=11.0)
    options = parser.parse_args()
    for rate_per_s in options.rates:
        print(measure(rate_per_s, options.duration_s), flush=True)


if __name__ == "__main__":
    main()
