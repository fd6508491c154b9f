"""The parts of an analysis that only longer runs have: scaling in detail, a known truth."""

from dataclasses import replace

from hand_built import said

from mwaa_headroom.analysis.findings import note, warning
from mwaa_headroom.analysis.results import (
    CountRow,
    Elasticity,
    RunAnalysis,
    ScalingEvent,
    SteadyState,
    TransientCost,
    TruthCheck,
)
from mwaa_headroom.analysis.statistics import Estimate

SETTLED = SteadyState("steady", 12.0, Estimate(0.01, -0.02, 0.04, 40))
RISING = SteadyState(
    "rising", None, Estimate(0.32, 0.2, 0.44, 40), warning("steady.rising", fraction_per_min=0.32)
)
NEED = said("Needed is what keeps CPU at 70 % by the service demand that was measured.")
ELASTICITY = Elasticity(
    under_provisioned=0.0162,
    over_provisioned=0.08,
    under_time=0.18,
    over_time=0.32,
    duration_s=600.0,
    needed_by=NEED,
)
TRUTH = (
    TruthCheck("service demand of the mix", "s", Estimate(0.0752, 0.0723, 0.0781), 0.0741, True),
    TruthCheck("rate of one webserver", "1/s", Estimate(8.9, 8.4, 9.4), 9.6, False),
    TruthCheck("webservers for 25 calls/s", "webservers", Estimate(3.0, 3.0, 3.0), 3.0, True),
)


def rich(plain: RunAnalysis) -> RunAnalysis:
    """`plain` with everything that may be known of a run with a scale-out."""
    stages = tuple(
        replace(
            stage,
            steady=SETTLED,
            database_cpu_percent=11.0 + stage.index,
            database_connections_max=24.0,
        )
        for stage in plain.stages
    )
    return replace(
        plain,
        stages=stages,
        capacity=plain.capacity
        and replace(
            plain.capacity,
            rate_per_s=Estimate(24.13, 22.8, 25.6, 4),
            rate_webservers=plain.capacity.webservers,
        ),
        periods=tuple(
            replace(point, database_cpu_percent=9.0 + point.offered_per_s / 4)
            for point in plain.periods
        ),
        scaling=(*(_paid(event) for event in plain.scaling), _scale_in(plain)),
        elasticity=ELASTICITY,
        by_webservers=(count_row(2, 92.0), count_row(3, 28.0)),
        truth=TRUTH,
        environment={**plain.environment, "facts": {"webserver_cpu": 1.0, "virtual_time": True}},
    )


def count_row(webservers: int, time_s: float) -> CountRow:
    return CountRow(
        webservers=webservers,
        time_s=time_s,
        calls=int(time_s * 14),
        offered_per_s=14.0,
        goodput_per_s=12.5,
        goodput_per_webserver_per_s=12.5 / webservers,
        cpu_percent=150.0 / webservers,
        latency_p50_s=Estimate(0.12, 0.11, 0.13, 1000),
        latency_p95_s=Estimate(0.91, 0.85, 0.98, 1000),
        error_rate=Estimate(0.01, 0.006, 0.016, 1000),
    )


def _paid(event: ScalingEvent) -> ScalingEvent:
    step_s = event.load_step_s or 0.0
    cost = TransientCost(step_s, step_s + 41, 1870, 13, 12.6, 212, 205.3, ended=True)
    return replace(
        event,
        cost=cost,
        count_changed_after_s=(event.count_changed_s or 0.0) - 5,
        takes_traffic_s=event.ready_s,
        slo_broke=True,
        period_s=5.0,
    )


def _scale_in(plain: RunAnalysis) -> ScalingEvent:
    at_s = plain.ended_at_s - 12
    return ScalingEvent(
        3,
        2,
        None,
        None,
        at_s,
        at_s + 5,
        None,
        None,
        reason=note("scaling.quiet", cpu_below_percent=30.0, connections_below=5.0, periods=6),
        slo_broke=False,
    )
