"""What a recorded run says about the cost of its calls, for the simulator.

    L = R - s - W       time in a call that costs no CPU, of the stage with the least CPU
    k = C / (X R)       connections a call in flight counts for, median over stages

R measured mean service time (the median where calls were cut), s and W as in
`analysis.policy.workload`, C connections and X rate of the stage. The demand is that of the mix.
"""

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, median

from analysis.errors import SloSyntaxError
from analysis.policy.workload import Workload
from analysis.results import RunAnalysis, StageStats
from analysis.slo import parse_slo

_FEWEST_IN_FLIGHT = 0.2  # below, connections say little


def workload_of(run: RunAnalysis) -> Workload | str:
    """The run's calls, or one sentence that says what is missing.

    The demand is that of the mix as it was sent.
    """
    webserver_cpu = run.sizing.webserver_cpu if run.sizing else None
    if webserver_cpu is None:
        return (
            f"{run.run_id} does not say how many CPUs a webserver has, so its load cannot be "
            "simulated."
        )
    demand_s = run.demand.mix_s.value if run.demand else None
    if run.demand is None or not demand_s:
        reason = " ".join(run.demand.mix_s.warnings) if run.demand else "No call reached one."
        return f"{run.run_id} gives no service demand, so its load cannot be simulated: {reason}"
    background = run.demand.background_cpu_per_webserver.value or 0.0
    if background >= webserver_cpu:
        return (
            f"{run.run_id} shows webservers that are busy without calls, so no load can be "
            "simulated; record a run in which they are not."
        )
    without = Workload(
        demand_s=demand_s,
        background_cpu=background,
        webserver_cpu=webserver_cpu,
        latency_s=0.0,
        slow_after_s=_latency_limit_s(run),
    )
    return replace(
        without,
        latency_s=_free_time_s(run.stages, without),
        connections_per_call=_connections_per_call(run),
    )


def with_demand(workload: Workload, demand_s: float | None) -> Workload:
    """The same calls with another demand; unchanged when there is none."""
    return replace(workload, demand_s=demand_s) if demand_s else workload


def _latency_limit_s(run: RunAnalysis) -> float | None:
    """The tightest limit that the SLO sets to the latency of all calls."""
    limits = []
    for line in (*run.slo, *(line for stage in run.stages for line in stage.slo)):
        try:
            slo = parse_slo(line.slo)
        except SloSyntaxError:
            continue
        if slo.metric == "latency" and slo.selector_key is None:
            limits.append(slo.threshold)
    return min(limits, default=None)


def _free_time_s(stages: Sequence[StageStats], workload: Workload) -> float:
    told = [
        (stage.webserver_cpu_percent, stage, time_s)
        for stage in stages
        if stage.webserver_cpu_percent is not None
        and stage.webservers_max
        and (time_s := _service_time_s(stage)) is not None
    ]
    if not told:
        return 0.0
    _, stage, time_s = min(told, key=lambda each: each[0])
    per_webserver = stage.achieved_per_s / (stage.webservers_max or 1)
    share, delay_s = workload.delay(per_webserver / workload.rate_per_webserver_per_s)
    return max(0.0, time_s - workload.alone_s - share * delay_s)


def _connections_per_call(run: RunAnalysis) -> float:
    ratios = []
    for stage in run.stages:
        time_s = _service_time_s(stage)
        seen = [
            point.connections
            for point in run.periods
            if point.connections is not None
            and point.start_s >= stage.measured_from_s
            and point.start_s + point.period_s <= stage.ended_at_s
        ]
        in_flight = stage.achieved_per_s * (time_s or 0.0)
        if seen and in_flight > _FEWEST_IN_FLIGHT:
            ratios.append(fmean(seen) / in_flight)
    return median(ratios) if ratios else 1.0


def _service_time_s(stage: StageStats) -> float | None:
    if stage.service_time_mean_s is not None:
        return stage.service_time_mean_s
    middle = stage.service_time_s.get("p50")
    return middle.value if middle else None
