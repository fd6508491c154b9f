"""What an analysis says of autoscaling; part of `analysis.results`."""

from dataclasses import dataclass

from analysis.estimate import Estimate


@dataclass(frozen=True, slots=True)
class TransientCost:
    """What callers paid from the load step until the SLO held again, or watching ended."""

    from_s: float
    to_s: float
    calls: int
    errors: int
    excess_errors: float  # beyond the share before the load step
    slow_calls: int  # ok, but past the tightest latency limit
    excess_slow_calls: float
    ended: bool  # False: the SLO did not hold again while it was watched


@dataclass(frozen=True, slots=True)
class ScalingEvent:
    """One change of the webserver count, with what led to it.

    Times are epoch seconds, None where the record does not show them: `breach_s` is the end of the
    first period past a scale-out threshold, `decision_s` and `ready_s` are known only where the
    environment tells (local kinds), `count_changed_s` is the end of the first period whose
    SampleCount shows the change, which happened after `count_changed_after_s`.
    `takes_traffic_s` is when the new webserver had calls: its readiness where the environment
    tells, else at the latest, as read from the metrics.
    """

    from_count: int
    to_count: int
    load_step_s: float | None
    breach_s: float | None
    decision_s: float | None
    count_changed_s: float | None
    ready_s: float | None
    slo_restored_s: float | None
    reason: str = ""
    count_changed_after_s: float | None = None
    takes_traffic_s: float | None = None
    cost: TransientCost | None = None  # of the first scale-out after a load step
    slo_broke: bool | None = None  # out: before the webserver came; in: after it; None: not known
    load_step_within_s: float = 0.0  # how well the load step is known; a stage's start: exactly
    period_s: float | None = None  # of the metrics


@dataclass(frozen=True, slots=True)
class Elasticity:
    """Webservers in service against webservers needed, over the time with load.

    None everywhere when the need is not known; `refusal` says why.
    """

    under_provisioned: float | None  # mean of max(needed - had, 0) / needed
    over_provisioned: float | None  # mean of max(had - needed, 0) / needed
    under_time: float | None  # share of the time with too few
    over_time: float | None
    duration_s: float
    needed_by: str  # one sentence: who says how many were needed
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class CountRow:
    """What the environment did while it had this many webservers."""

    webservers: int
    time_s: float
    calls: int
    offered_per_s: float
    goodput_per_s: float
    goodput_per_webserver_per_s: float
    cpu_percent: float | None
    latency_p50_s: Estimate
    latency_p95_s: Estimate
    error_rate: Estimate
