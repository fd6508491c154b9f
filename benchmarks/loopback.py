"""What benchmarks and tests of the generator share: canned server, scenario, run directory."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mwaa_headroom.analysis.schema import EVENTS_FILE, REQUESTS_STREAM
from mwaa_headroom.harness.run.load_processes import SCENARIO_FILE
from mwaa_headroom.harness.scenario.load import check_scenario
from mwaa_headroom.harness.scenario.model import Scenario
from mwaa_headroom.harness.traffic.operations import Targets, save_targets
from mwaa_headroom.harness.traffic.schedule import schedule_of


@contextmanager
def canned_server(*options: str) -> Iterator[int]:
    """The port of a canned server with these options, as long as the block lasts."""
    command = [sys.executable, str(Path(__file__).parent / "canned_server.py"), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()
            process.wait()


def cheap_scenario(
    stages: list[dict[str, float]], *, traffic: dict[str, Any] | None = None, **limits: float
) -> Scenario:
    """Poisson arrivals of one kind of call; `traffic` and `limits` over what allows much."""
    tree = {
        "name": "lag",
        "slo": ["p95(latency) < 1s"],
        "question": {"ask": "check"},
        "environment": {"kind": "simulated"},
        "traffic": {"seed": 7, "mix": {"list_dags": 1}, **(traffic or {})},
        "stages": stages,
        "recovery": {"longest_s": 0.0},
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
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "benchmark",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
    }


def rows_of(run_dir: Path) -> list[dict[str, Any]]:
    """All rows that can be read; a torn last message is left out."""
    rows: list[dict[str, Any]] = []
    with pa.ipc.open_stream(run_dir / REQUESTS_STREAM) as reader:
        try:
            for batch in reader:
                rows += batch.to_pylist()
        except (OSError, pa.ArrowInvalid):
            pass
    return rows


def events_of(run_dir: Path) -> list[dict[str, Any]]:
    """All events."""
    lines = (run_dir / EVENTS_FILE).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def offsets_of(scenario: Scenario) -> npt.NDArray[np.float64]:
    """Intended starts of an open workload's arrivals, each from the start of its stage."""
    blocks = [block for schedule in schedule_of(scenario, {}) for block in schedule.blocks()]
    return np.concatenate([block.offset_s for block in blocks])
