"""Stages in numbers, for tests of what is computed from `StageStats` alone."""

from mwaa_headroom.analysis.results import OperationStats, StageStats, SteadyState
from mwaa_headroom.analysis.statistics import Estimate

NOTHING = Estimate(None)


def stage_by_hand(
    index: int,
    *,
    rate_per_s: float,
    service_time_mean_s: float | None,
    webservers: int | tuple[int, int] | None = 2,
    mix: dict[str, float] | None = None,
    outcomes: dict[str, float] | None = None,
    steady: str = "steady",
    generator_ok: bool = True,
    measured_s: float = 1000.0,
    users: int | None = None,
    rate_is_mean: bool = False,
) -> StageStats:
    """A stage at a rate, with shares of operations and of outcomes (all ok unless given)."""
    arrivals = round(rate_per_s * measured_s)
    low, high = webservers if isinstance(webservers, tuple) else (webservers, webservers)
    counts = {name: round(part * arrivals) for name, part in (outcomes or {"ok": 1.0}).items()}
    return StageStats(
        index=index,
        name=f"stage {index + 1}",
        rate_per_s=rate_per_s,
        started_at_s=0.0,
        measured_from_s=100.0,
        ended_at_s=100.0 + measured_s,
        complete=True,
        arrivals=arrivals,
        sent=arrivals - counts.get("unsent", 0),
        unsent=counts.get("unsent", 0),
        offered_per_s=rate_per_s,
        achieved_per_s=rate_per_s,
        goodput_per_s=counts.get("ok", 0) / measured_s,
        latency_s={},
        service_time_s={},
        lag_p99_s=0.001,
        error_rate=NOTHING,
        error_rate_by_layer={},
        outcomes=counts,
        operations=tuple(
            OperationStats(name, round(part * arrivals), round(part * arrivals), NOTHING, NOTHING)
            for name, part in (mix or {"list_dags": 1.0}).items()
        ),
        webservers_min=low,
        webservers_max=high,
        webserver_cpu_percent=None,
        webserver_cpu_max_percent=None,
        connections_max=None,
        slo=(),
        met_slo=True,
        generator_ok=generator_ok,
        users=users,
        steady=SteadyState(steady, None, NOTHING),
        service_time_mean_s=service_time_mean_s,
        rate_is_mean=rate_is_mean,
    )
