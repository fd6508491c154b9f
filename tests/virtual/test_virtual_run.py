"""What a run in virtual time leaves is a record like any other."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from virtual_runs import STARTED_AT_S, column, events_of, simulated

from mwaa_headroom.analysis.record import RunRecord, read_run
from mwaa_headroom.analysis.run import ANALYSED_COLUMNS, Run
from mwaa_headroom.analysis.schema import EVENT_KINDS, METRICS_SCHEMA, REQUESTS_SCHEMA
from mwaa_headroom.harness.errors import HeadroomError, PreflightError, UsageError
from mwaa_headroom.harness.scenario.load import load_scenario
from mwaa_headroom.harness.scenario.model import Scenario
from mwaa_headroom.harness.traffic.stage_traces import traces_beside
from mwaa_headroom.harness.virtual import run
from mwaa_headroom.harness.virtual.run import run_virtually, save_run

MIX = {"health": 1.0, "get_dag_run": 1.0, "trigger_dag_run": 1.0, "set_variable": 1.0}


def busy() -> Scenario:
    """With a scale-out, timeouts, unsent arrivals and a recovery in it."""
    return simulated(
        mix=MIX,
        slo=("p95(latency) < 500ms", "rate(errors) < 1%"),
        stages=[{"rate_per_s": 20, "duration_s": 30}, {"rate_per_s": 150, "duration_s": 30}],
        demand_cv=0.5,
        max_webservers=3,
        limits={"max_in_flight": 900, "abort_error_rate": 1.0},
        recovery={"rate_per_s": 10, "longest_s": 20},
    )


def plain(table: pa.Table, schema: pa.Schema) -> list[dict[str, Any]]:
    return list(table.cast(schema).to_pylist())


def same(one: RunRecord, other: RunRecord) -> bool:
    return (
        plain(one.requests, REQUESTS_SCHEMA) == plain(other.requests, REQUESTS_SCHEMA)
        and plain(one.metrics, METRICS_SCHEMA) == plain(other.metrics, METRICS_SCHEMA)
        and one.events == other.events
    )


def test_the_same_seed_gives_the_same_record() -> None:
    first, again, other = (
        run_virtually(busy(), seed=seed, started_at_s=STARTED_AT_S + 1.3) for seed in (4, 4, 5)
    )
    assert same(first, again)
    assert first.manifest == again.manifest
    assert not same(first, other)
    assert {"ok", "service_timeout", "unsent"} <= set(column(first, "outcome"))
    recorded = first.manifest["scenario"]
    assert recorded["traffic"]["seed"] == recorded["environment"]["seed"] == 4


def test_a_saved_run_reads_back_as_it_was(tmp_path: Path) -> None:
    record = run_virtually(busy(), seed=4, started_at_s=STARTED_AT_S)
    directory = save_run(record, tmp_path / "runs")
    found = read_run(directory)
    assert found.complete
    assert found.warnings == ()
    assert same(record, found)
    assert record.requests.schema == found.requests.schema
    assert found.manifest == {**record.manifest, "run_id": directory.name}
    assert directory.name.startswith("20260921T141320-virtual-test-")
    assert (tmp_path / "runs" / "latest").resolve() == directory
    assert [path.name for path in (tmp_path / "runs").iterdir() if path.name.startswith(".")] == []


def test_the_analysis_cannot_tell_memory_from_disk(tmp_path: Path) -> None:
    record = run_virtually(busy(), seed=4, started_at_s=STARTED_AT_S)
    in_memory = Run(record).analysis
    found = Run(read_run(save_run(record, tmp_path), ANALYSED_COLUMNS)).analysis
    assert replace(found, run_id="", directory="") == replace(in_memory, run_id="", directory="")
    assert found.generator.ok, found.generator.reasons
    assert [stage.complete for stage in found.stages] == [True, True]
    assert found.demand is not None
    assert found.recoveries[0].after_stage == 1


def test_every_event_is_one_that_the_schema_knows() -> None:
    record = run_virtually(busy(), seed=4, started_at_s=STARTED_AT_S)
    kinds = {event["kind"] for event in record.events}
    assert {"generator_load", "drained", "recovery_ended", "rows_checked"} <= kinds
    for event in record.events:
        assert set(EVENT_KINDS[event["kind"]]) <= set(event)


def test_the_manifest_tells_the_truth_and_that_time_was_virtual() -> None:
    scenario = simulated(background_cpu=0.1, start_s=3.0, start_cv=0.2, demand_cv=0.4)
    environment = run_virtually(scenario, seed=1, started_at_s=STARTED_AT_S).manifest["environment"]
    facts: Mapping[str, Any] = environment["facts"]
    assert facts["virtual_time"] is True
    assert (facts["background_cpu"], facts["start_s"], facts["start_cv"]) == (0.1, 3.0, 0.2)
    assert (facts["demand_cv"], facts["demand_s"]["health"]) == (0.4, 0.05)
    assert (facts["webserver_cpu"], facts["scale_out_cpu_percent"]) == (1.0, 70.0)
    assert environment["before"] == environment["after"]
    assert environment["before"]["MinWebservers"] == 1


def test_metrics_cover_the_run_period_by_period() -> None:
    scenario = simulated(stages=[{"rate_per_s": 5, "duration_s": 12}])
    record = run_virtually(scenario, seed=1, started_at_s=STARTED_AT_S + 4.0)
    starts_s = sorted(set(record.metrics.column("period_start_s").to_pylist()))
    assert starts_s == [STARTED_AT_S + start_s for start_s in (0, 5, 10, 15)]
    for row in record.metrics.to_pylist():
        assert row["read_at_s"] > row["period_start_s"] + row["period_s"]


def test_an_interrupted_save_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    record = run_virtually(simulated(), seed=1, started_at_s=STARTED_AT_S)
    for step in ("finish_tables", "write_manifest"):
        with monkeypatch.context() as patch:
            patch.setattr(run, step, interrupt)
            with pytest.raises(KeyboardInterrupt):
                save_run(record, tmp_path)
        assert [path for path in tmp_path.iterdir() if not path.is_symlink()] == []


def test_expectations_are_checked_and_recorded() -> None:
    scenario = simulated(
        expect={"dags": ["headroom_example", "missing"], "healthy_components": ["scheduler"]}
    )
    record = run_virtually(scenario, seed=1, started_at_s=STARTED_AT_S)
    met = {event["name"]: event["met"] for event in events_of(record, "expectation")}
    assert met == {
        "scheduler is healthy": True,
        "DAG headroom_example": True,
        "DAG missing": False,
    }


def test_calls_of_a_dag_that_is_not_there_fail_as_they_would() -> None:
    mix: dict[str, Any] = {"get_dag_run": {"weight": 1, "dag_id": "missing"}}
    scenario = simulated(mix=mix, expect={"dags": ["missing"]}, limits={"abort_error_rate": 1.0})
    record = run_virtually(scenario, seed=1, started_at_s=STARTED_AT_S)
    assert record.manifest["status"] == "aborted"
    row = record.requests.to_pylist()[0]
    assert (row["outcome"], row["airflow_status"], row["http_status"], row["error_code"]) == (
        "airflow_client_error",
        404,
        400,
        "RestApiClientException",
    )
    with pytest.raises(PreflightError, match="deploy DAG 'missing'"):
        run_virtually(simulated(mix=mix), seed=1, started_at_s=STARTED_AT_S)


def test_a_trace_is_played_and_kept(tmp_path: Path) -> None:
    (tmp_path / "calls.csv").write_text("time_s\n0\n1.5\n1.5\n7\n")
    scenario_file = tmp_path / "replay.toml"
    scenario_file.write_text(
        """
        slo = ["rate(errors) < 1%"]
        question = { ask = "check" }
        environment = { kind = "simulated" }
        traffic = { arrivals = "trace", mix = { health = 1 } }
        stages = [{ trace_file = "calls.csv", duration_s = 10 }]
        """
    )
    scenario = load_scenario(scenario_file)
    record = run_virtually(
        scenario,
        seed=1,
        started_at_s=STARTED_AT_S,
        traces=traces_beside(scenario, scenario_file),
    )
    offsets_s = [at_s - STARTED_AT_S for at_s in column(record, "intended_start_s")]
    assert offsets_s == pytest.approx([0, 1.5, 1.5, 7])
    directory = save_run(record, tmp_path / "runs", scenario_file=scenario_file)
    assert (directory / "trace-0.csv").read_text() == (tmp_path / "calls.csv").read_text()
    assert json.loads((directory / "manifest.json").read_text())["scenario_file"] == "replay.toml"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"traffic": {"retries": "standard", "transport": "boto3"}}, "retries"),
        ({"traffic": {"transport": "web_token"}}, "web login tokens"),
        ({"limits": {"call_timeout_s": 8.0}}, "limits.call_timeout_s above 10 s"),
        ({"limits": {"abort_webserver_cpu": 80}}, "leave --virtual-time or the limit out"),
        (
            {
                "traffic": {"arrivals": "closed", "think_time_s": 1.0},
                "stages": [{"users": 3, "duration_s": 10}],
            },
            "Users who wait",
        ),
    ],
)
def test_what_only_a_real_run_can_do_is_refused(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told) as refusal:
        run_virtually(simulated(**changed), seed=1, started_at_s=STARTED_AT_S)
    assert isinstance(refusal.value, HeadroomError)
    assert str(refusal.value).count(". ") == 0  # one sentence
