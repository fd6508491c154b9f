"""A small analysis with round numbers, and the pieces to vary it."""

from mwaa_headroom.analysis.findings import Finding, note, refusal, warning
from mwaa_headroom.analysis.results import (
    CapacityResult,
    DemandResult,
    Expectation,
    GeneratorHealth,
    Identity,
    OperationStats,
    RunAnalysis,
    ScalingEvent,
    SizingResult,
    SizingRow,
    SloResult,
    StageStats,
    Verdict,
    WorkerHealth,
)
from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.analysis.statistics import Estimate

LATENCY = parse_slo("p95(latency) < 800ms")
START_S = 1_790_000_000.0
HEALTHY = GeneratorHealth(
    ok=True,
    arrivals=1000,
    rows=1000,
    unsent=0,
    lag_p99_s=0.002,
    longest_stall_s=0.0,
    cpu_fraction_max=0.18,
    workers=(WorkerHealth(0, 1000, 0.18, 0.0, None, None),),
)


def said(text: str) -> Finding:
    """A finding whose sentence is given."""
    return note("run.note", message=text)


def lower_bound(percent: float, cut_calls: int) -> Finding:
    return warning("percentile.lower_bound", percent=percent, cut_calls=cut_calls)


def stage(index: int, *, p95_s: float, met: bool, errors: int = 0) -> StageStats:
    failed = errors / 500
    latency_s = {
        "p50": Estimate(0.1, 0.09, 0.11, 500),
        "p95": Estimate(p95_s, p95_s - 0.03, p95_s + 0.04, 500),
        "p99": Estimate(
            None,
            n=500,
            warnings=(refusal("percentile.few_calls", percent=99.0, needed=1000, calls=500),),
        ),
    }
    return StageStats(
        index=index,
        name=("calm", "burst")[index],
        rate_per_s=10.0 * (index + 1),
        started_at_s=START_S + 60 * index,
        measured_from_s=START_S + 60 * index + 10,
        ended_at_s=START_S + 60 * (index + 1),
        complete=True,
        arrivals=500,
        sent=500,
        unsent=0,
        offered_per_s=10.0 * (index + 1),
        achieved_per_s=10.0 * (index + 1),
        goodput_per_s=10.0 * (index + 1) - failed,
        latency_s=latency_s,
        service_time_s=latency_s,
        lag_p99_s=0.002,
        error_rate=Estimate(failed, 0.0, failed * 2, 500),
        error_rate_by_layer={"airflow": Estimate(failed, 0.0, failed * 2, 500)} if errors else {},
        outcomes={"ok": 500 - errors} | ({"airflow_server_error": errors} if errors else {}),
        operations=(
            OperationStats("health", 500, 500 - errors, latency_s["p50"], latency_s["p95"]),
        ),
        webservers_min=2,
        webservers_max=2 + index,
        webserver_cpu_percent=35.0 * (index + 1),
        webserver_cpu_max_percent=40.0 * (index + 1),
        connections_max=6.0,
        slo=(SloResult(LATENCY, p95_s, met),),
        met_slo=met,
        generator_ok=True,
        trial="pass" if met else "fail",
    )


def hand_built() -> RunAnalysis:
    stages = (stage(0, p95_s=0.612, met=True), stage(1, p95_s=1.25, met=False, errors=5))
    rows = (SizingRow(10.0, 1, 1, 2, True), SizingRow(25.0, 3, 3, 4, True))
    return RunAnalysis(
        identity=Identity({}, {}, {}, {}),
        run_id="0001_golden",
        directory="runs/0001_golden",
        scenario_name="golden",
        question="capacity",
        status="finished",
        complete=True,
        started_at_s=START_S,
        ended_at_s=START_S + 120,
        environment={
            "name": "demo",
            "kind": "local",
            "airflow_version": "2.10.3",
            "facts": {"webserver_cpu": 0.25},
        },
        versions={"headroom": "0.1.0"},
        mix={"health": 1.0},
        slos=(LATENCY,),
        slo=stages[0].slo,
        stages=stages,
        periods=(),
        scaling=(
            ScalingEvent(
                from_count=2,
                to_count=3,
                load_step_s=START_S + 30,
                breach_s=START_S + 42,
                decision_s=START_S + 47,
                count_changed_s=START_S + 65,
                ready_s=START_S + 59,
                slo_restored_s=START_S + 67,
                reason=note("scaling.cpu_above", threshold_percent=70.0),
            ),
        ),
        demand=DemandResult(
            mix_s=Estimate(0.021, 0.02, 0.022, 24),
            per_operation_s={},
            refusal=said("The operations varied together, so only the mix can be told."),
            condition_number=99.0,
            background_cpu_per_webserver=Estimate(0.03, 0.02, 0.04, 24),
            rate_per_webserver_per_s=Estimate(10.0, 9.0, 11.0, 24),
            periods=24,
        ),
        capacity=CapacityResult(
            highest_stage=0,
            highest_rate_per_s=10.0,
            webservers=2,
            stopped_by_stage=1,
            bottleneck="webserver_cpu",
            explanation=said("Stage 2 broke the SLO at 80 % CPU."),
        ),
        sizing=SizingResult(
            target_rate_per_s=25.0,
            target=rows[1],
            rows=rows,
            utilisation_target=0.7,
            webserver_cpu=0.25,
            explanation=said("One call costs 21 ms of CPU."),
        ),
        expectations=(Expectation("DAG headroom_noop", True, "present"),),
        verdict=Verdict("capacity", True, None, 0),
        workload="open: Poisson arrivals",
        transport="lean",
        generator=HEALTHY,
        warnings=(said("Two metric periods are missing."),),
        notes=(said("The arrivals were Poisson with seed 1."),),
    )
