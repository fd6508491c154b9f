"""What an analysis says, as plain frozen values: the only thing a report renders.

Every estimate carries its interval, its n and its warnings; rendering decides what to show.
A `value` of None means refused: `warnings` then says why and what would be needed.
"""

from dataclasses import dataclass, field

from mwaa_headroom.analysis.findings import Finding
from mwaa_headroom.analysis.slo import Slo
from mwaa_headroom.analysis.statistics import Estimate

StageLabel = tuple[int, str]  # index and name, as findings carry a stage


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
    tells, else at the latest, after `takes_traffic_after_s`, as read from the metrics; `start_up`
    is whether these show that it burnt CPU before, None where they do not tell.
    """

    from_count: int
    to_count: int
    load_step_s: float | None = None
    breach_s: float | None = None
    decision_s: float | None = None
    count_changed_s: float | None = None
    ready_s: float | None = None
    slo_restored_s: float | None = None
    reason: Finding | None = None
    count_changed_after_s: float | None = None
    takes_traffic_s: float | None = None
    cost: TransientCost | None = None  # of the first scale-out after a load step
    slo_broke: bool | None = None  # out: before the webserver came; in: after it; None: not known
    load_step_within_s: float = 0.0  # how well the load step is known; a stage's start: exactly
    period_s: float | None = None  # of the metrics
    takes_traffic_after_s: float | None = None
    start_up: bool | None = False


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
    needed_by: Finding | None  # who says how many were needed
    refusal: Finding | None = None


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


@dataclass(frozen=True, slots=True)
class SloResult:
    """One SLO line, judged over some window."""

    slo: Slo
    observed: float | None  # in base units: s, fraction, count
    met: bool | None  # None: cannot be judged; `reason` says why
    reason: Finding | None = None
    is_lower_bound: bool = False  # of what was observed: calls were cut at a time limit


@dataclass(frozen=True, slots=True)
class OperationStats:
    """One operation within one stage."""

    operation: str
    arrivals: int
    ok: int
    latency_p50_s: Estimate
    latency_p95_s: Estimate


@dataclass(frozen=True, slots=True)
class AnswerSize:
    """The answers of one operation over a run, of calls that ended ok."""

    operation: str
    answers: int
    bytes_p50: int
    bytes_max: int


@dataclass(frozen=True, slots=True)
class SteadyState:
    """Whether a stage settled: MSER-5 over its seconds, then the trend of the rest."""

    verdict: str  # steady | rising | unsteady | not_checked
    settled_after_s: float | None  # from the stage's start; None: never, or not checked
    trend_per_min: Estimate  # of the latency of the rest, as a fraction of its mean
    reason: Finding | None = None  # why not steady, or not checked


@dataclass(frozen=True, slots=True)
class StageStats:
    """One stage, measured from `measured_from_s` (its start plus warm-up) to `ended_at_s`."""

    index: int
    name: str
    rate_per_s: float  # as configured (a ramp: its mean)
    started_at_s: float
    measured_from_s: float
    ended_at_s: float
    complete: bool
    arrivals: int
    sent: int
    unsent: int
    offered_per_s: float
    achieved_per_s: float
    goodput_per_s: float
    latency_s: dict[str, Estimate]  # "p50", "p95", "p99"
    service_time_s: dict[str, Estimate]
    lag_p99_s: float | None
    error_rate: Estimate
    error_rate_by_layer: dict[str, Estimate]
    outcomes: dict[str, int]
    operations: tuple[OperationStats, ...]
    webservers_min: int | None
    webservers_max: int | None
    webserver_cpu_percent: float | None  # mean over webservers and periods inside the stage
    webserver_cpu_max_percent: float | None
    connections_max: float | None
    slo: tuple[SloResult, ...]
    met_slo: bool | None
    generator_ok: bool  # False: lag or unsent arrivals past the stated limits
    generator_reason: Finding | None = None
    failed_before: Finding | None = None  # too many calls failed before the environment
    host_disturbed: Finding | None = None  # of a local environment: its host had other things to do
    censored: int = 0  # calls cut at the service's time limit
    users: int | None = None  # of a closed workload; None: open
    generator_cpu_fraction: float | None = None  # of one core, the busiest worker's mean
    generator_stalled_fraction: float | None = None  # of the stage, the worst worker's
    steady: SteadyState | None = None
    trial: str = "undecided"  # pass | fail | undecided: the stage as a trial of its webserver count
    trial_reason: Finding | None = None  # why undecided
    service_time_mean_s: float | None = None  # of the calls timed; None also when one was cut
    database_cpu_percent: float | None = None  # mean over the periods inside the stage
    database_connections_max: float | None = None
    rate_is_mean: bool = False  # of a ramp or a trace: the rate was not constant

    @property
    def label(self) -> StageLabel:
        """How findings name it."""
        return self.index, self.name

    @property
    def speaks(self) -> bool:
        """Whether what it saw says something about the environment."""
        return self.generator_ok and self.spoilt_by is None

    @property
    def spoilt_by(self) -> Finding | None:
        """What else than the generator kept it from being what it was meant to be."""
        return self.failed_before or self.host_disturbed


@dataclass(frozen=True, slots=True)
class WorkerHealth:
    """One load process over the whole run; None: not recorded."""

    worker: int
    rows: int
    cpu_fraction_max: float | None  # of one core, its busiest seconds while a stage ran
    longest_stall_s: float | None
    clock_offset_s: float | None  # its clock minus the master's; largest in size
    clock_uncertainty_s: float | None
    lost: Finding | None = None  # why it did not come to the end; None: it did


@dataclass(frozen=True, slots=True)
class GeneratorHealth:
    """Whether the load generator itself can have bent the numbers."""

    ok: bool  # no stage is past a stated limit, and every arrival is known to have its row
    arrivals: int  # by the schedule; of a closed workload, or cut short: as they were counted
    rows: int
    unsent: int
    lag_p99_s: float | None  # of the stage in which it was worst
    longest_stall_s: float | None
    cpu_fraction_max: float | None
    workers: tuple[WorkerHealth, ...]
    reasons: tuple[Finding, ...] = ()  # what is past a limit
    counted: bool = True  # False: the run ended before arrivals and rows were compared


@dataclass(frozen=True, slots=True)
class RecoveryResult:
    """How long after an overload the SLO held again; judged by its lines about calls."""

    after_stage: int  # index in stages
    load_ended_at_s: float
    watched_s: float
    rate_per_s: float  # of the light load
    calls: int
    hold_s: float  # the lines had to hold for that long
    recovered_after_s: float | None  # None: not while it was watched
    explanation: Finding


@dataclass(frozen=True, slots=True)
class RetryResult:
    """What a client's own retries did; counts of calls, not attempts, unless named so."""

    mode: str  # legacy | standard | adaptive
    sent: int
    attempts: int
    repeated: int  # calls sent more than once
    repeated_ok: int  # of these, ended ok: errors that the retries hid
    duplicate_triggers: int  # repeated triggers that Airflow had already taken (409)


@dataclass(frozen=True, slots=True)
class PeriodPoint:
    """One metric period over all webservers, beside the calls of the same seconds."""

    start_s: float
    period_s: float
    webservers: int | None
    cpu_percent: float | None  # mean over webservers
    cpu_max_percent: float | None
    memory_percent: float | None
    connections: float | None  # total over webservers
    offered_per_s: float
    achieved_per_s: float
    goodput_per_s: float
    errors_per_s: float
    latency_p50_s: float | None = None  # of the calls that should have started in the period
    latency_p95_s: float | None = None
    database_cpu_percent: float | None = None
    database_connections: float | None = None


@dataclass(frozen=True, slots=True)
class DemandResult:
    """Service demand: CPU-seconds of the webservers one call costs."""

    mix_s: Estimate  # of the mix as it was sent
    per_operation_s: dict[str, Estimate]  # empty when refused
    refusal: Finding | None  # why there are no per-operation demands
    condition_number: float | None
    background_cpu_per_webserver: Estimate  # CPUs used without calls
    rate_per_webserver_per_s: Estimate  # of this mix, at the utilisation target, in this run
    periods: int
    # Demand of the mix by a straight line that knows no drift: it varies less from run to run where
    # load rose with time, and what the order of stages does to it is alike in runs of one scenario.
    mix_of_plain_fit_s: float | None = None


@dataclass(frozen=True, slots=True)
class CapacityResult:
    """The highest stage that met the SLO and what stopped the next one.

    `bottleneck` is one of throttle, webserver_cpu, connections, database, airflow, generator,
    unknown, and not_reached when no stage broke the SLO.
    """

    highest_stage: int | None  # index in stages
    highest_rate_per_s: float | None  # achieved there
    webservers: int | None  # in force there
    stopped_by_stage: int | None
    bottleneck: str
    explanation: Finding  # with the evidence
    rate_per_s: Estimate | None = None  # where the SLO breaks, between the stages
    rate_webservers: int | None = None  # of which count that is, whatever `webservers` is
    highest_holds: float | None = None  # probability that its rate meets the SLO in the long run
    next_rate_per_s: float | None = None  # the lowest rate above, of the stages
    next_holds: float | None = None  # the same probability there


@dataclass(frozen=True, slots=True)
class SizingRow:
    """Webservers needed for one rate of this mix."""

    rate_per_s: float
    webservers: int | None
    webservers_low: int | None
    webservers_high: int | None
    within_limits: bool  # not above what the service allows (5)
    probability: float | None = None  # that so many keep the utilisation at or below its target


@dataclass(frozen=True, slots=True)
class SizingResult:
    """A first recommendation by the utilisation law."""

    target_rate_per_s: float | None
    target: SizingRow | None
    rows: tuple[SizingRow, ...]
    utilisation_target: float  # fraction of a webserver's CPU
    webserver_cpu: float | None  # CPUs per webserver
    explanation: Finding
    warnings: tuple[Finding, ...] = ()
    deciding: Finding | None = None  # what would tell, when the interval spans counts
    impossible: Finding | None = None  # why no webserver count reaches the target
    rate_of_one_per_s: Estimate | None = None  # of one webserver, with its interval over runs


@dataclass(frozen=True, slots=True)
class Expectation:
    """A post-deployment check and its result."""

    name: str
    met: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to the scenario's question."""

    question: str  # capacity | check
    answered: bool
    passed: bool | None  # check: SLO and expectations hold; capacity: None
    exit_code: int  # 0, 3, 5 or 130
    reasons: tuple[Finding, ...] = ()  # refusals: what keeps it from being answered


@dataclass(frozen=True, slots=True)
class TruthCheck:
    """An estimate beside what a simulated environment was set to."""

    what: str
    unit: str  # s | 1/s | webservers
    estimate: Estimate
    truth: float
    within: bool | None  # whether the interval holds the truth; None: there is no interval


@dataclass(frozen=True, slots=True)
class Identity:
    """What a run was, by name; values as people read them."""

    must_agree: dict[str, str]
    settings: dict[str, str]
    under_test: dict[str, str]
    may_differ: dict[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """Something in which runs differ, and who has which value."""

    what: str
    values: tuple[tuple[str, str], ...]  # (value, which runs: "baseline", "contender", run ids)


@dataclass(frozen=True, slots=True)
class RunAnalysis:
    """Everything that is known about one run."""

    run_id: str
    directory: str
    scenario_name: str
    question: str
    status: str
    complete: bool
    started_at_s: float
    ended_at_s: float
    identity: Identity
    environment: dict[str, object]  # name, kind, airflow_version, class, min/max webservers, facts
    versions: dict[str, str]
    mix: dict[str, float]  # label -> fraction
    slos: tuple[Slo, ...]  # all lines
    slo: tuple[SloResult, ...]  # whole run (check) or of the highest stage that met it (capacity)
    stages: tuple[StageStats, ...]
    periods: tuple[PeriodPoint, ...]
    scaling: tuple[ScalingEvent, ...]
    demand: DemandResult | None
    capacity: CapacityResult | None
    sizing: SizingResult | None
    expectations: tuple[Expectation, ...]
    verdict: Verdict
    workload: str  # "open: Poisson arrivals", "closed: users with think time", ...
    transport: str  # lean | boto3 | web_token
    generator: GeneratorHealth
    recoveries: tuple[RecoveryResult, ...] = ()
    retries: RetryResult | None = None  # None: they were off
    elasticity: Elasticity | None = None  # None: no metrics
    by_webservers: tuple[CountRow, ...] = ()
    admitted_per_s: Estimate | None = None  # by the service's throttle; None: not seen at work
    answers: tuple[AnswerSize, ...] = ()
    truth: tuple[TruthCheck, ...] = ()  # of simulated webservers, whose demands are known
    warnings: tuple[Finding, ...] = ()
    notes: tuple[Finding, ...] = ()
    events: tuple[dict[str, object], ...] = field(default=(), repr=False)
