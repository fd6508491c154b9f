"""The same scenario over real HTTP and in virtual time."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from virtual_runs import column, cpu_seconds, events_of
from whole_runs import run

from mwaa_headroom.analysis.record import RunRecord, read_run
from mwaa_headroom.analysis.statistics import value_at_rank
from mwaa_headroom.harness.scenario.load import check_scenario
from mwaa_headroom.harness.virtual.run import run_virtually

SCENARIO = """
slo = ["p95(latency) < 5s", "rate(errors) < 1%"]
question = {{ ask = "check" }}
recovery = {{ longest_s = 0 }}
limits = {{ max_rate_per_s = 100 }}
[environment]
kind = "simulated"
name = "{name}"
min_webservers = 1
max_webservers = 2
start_s = 3.0
demand_s = {{ health = 0.04, list_dags = 0.06 }}
background_cpu = 0.05
[traffic]
seed = 8
mix = {{ health = 1, list_dags = 1 }}
[[stages]]
rate_per_s = 17
duration_s = 24
"""


def period_starts_s(record: RunRecord) -> list[float]:
    return record.metrics.column("period_start_s").to_pylist()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_virtual_time_tells_what_real_time_did(tmp_path: Path) -> None:
    """Real calls cost the machine some milliseconds, which virtual ones do not."""
    scenario_file = tmp_path / "both.toml"
    scenario_file.write_text(SCENARIO.format(name=f"both-{os.getpid()}"))
    variables = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = run("run", str(scenario_file), cwd=tmp_path, variables=variables)
    assert done.returncode == 0, done.stderr
    real = read_run((tmp_path / "runs" / "latest").resolve())

    scenario = check_scenario(real.manifest["scenario"], origin="the real run")
    began_s = events_of(real, "stage_started")[0]["time_s"]
    virtual = run_virtually(scenario, seed=8, started_at_s=began_s)

    order = np.argsort(column(real, "arrival"))
    assert sorted(column(real, "arrival")) == column(virtual, "arrival")
    for name in ("operation", "outcome"):
        assert np.array(column(real, name))[order].tolist() == column(virtual, name)
    starts_s = np.array(column(real, "intended_start_s"))[order]
    assert starts_s == pytest.approx(np.array(column(virtual, "intended_start_s")), abs=0.001)

    (real_decision,), (decision,) = (
        events_of(record, "scaling_decision") for record in (real, virtual)
    )
    assert abs(real_decision["time_s"] - decision["time_s"]) <= 5.0 + 0.5
    assert (real_decision["from_count"], real_decision["to_count"]) == (1, 2)
    for kind in ("webserver_starting", "webserver_ready"):
        assert len(events_of(real, kind)) == len(events_of(virtual, kind)) == 2

    # The real environment is there for some periods more, before the load, and a machine that is
    # busy otherwise leaves gaps: CPU is compared over the periods that both have.
    there = [set(period_starts_s(one)) for one in (real, virtual)]
    both = there[0] & there[1]
    assert len(both) >= len(there[1]) - 2
    real_s, virtual_s = (
        cpu_seconds(
            replace(
                one,
                metrics=one.metrics.filter(np.array([s in both for s in period_starts_s(one)])),
            )
        )
        for one in (real, virtual)
    )
    assert real_s == pytest.approx(virtual_s, rel=0.1)
    p95_s = [value_at_rank(np.array(column(one, "service_time_s")), 95) for one in (real, virtual)]
    assert p95_s[0] == pytest.approx(p95_s[1], rel=0.5)
    assert set(real.manifest) == set(virtual.manifest)
    told = [set(one.manifest["environment"]["facts"]) for one in (real, virtual)]
    assert told[1] == told[0] | {"virtual_time"}
    sorts = [
        {
            (row["metric"], row["cluster"], row["statistic"], row["unit"], row["dimensions"])
            for row in record.metrics.to_pylist()
        }
        for record in (real, virtual)
    ]
    assert sorts[0] == sorts[1]
