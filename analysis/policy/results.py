"""What the simulator says: replays of recorded runs, a fitted rule, the answer to a what-if."""

from dataclasses import dataclass
from typing import Literal

from mwaa_headroom.analysis.policy.rule import PolicyParameters
from mwaa_headroom.analysis.policy.simulate import SimulatedEvent
from mwaa_headroom.analysis.statistics import Estimate

Verdict = Literal["matched", "off", "missed", "extra"]


@dataclass(frozen=True, slots=True)
class ComparedEvent:
    """One change of the webserver count as it was recorded and as it was simulated.

    Times are seconds from the run's start: of decisions where the record tells them
    and of a replayed rule; else the change happened from `recorded_from_s` to `recorded_s`, and the
    start time is counted into the difference.
    """

    verdict: Verdict
    from_count: int
    to_count: int
    recorded_from_s: float | None  # None: extra; equal to `recorded_s` when the moment is known
    recorded_s: float | None
    simulated_s: float | None  # None: missed
    difference_s: float | None  # simulated minus recorded; 0 inside the recorded interval
    reason: str = ""  # the simulated rule's


@dataclass(frozen=True, slots=True)
class ReplayPoint:
    """One metric period; None where it was not recorded."""

    at_s: float  # its end
    recorded_webservers: int | None
    simulated_webservers: float
    recorded_cpu_percent: float | None
    simulated_cpu_percent: float


@dataclass(frozen=True, slots=True)
class LostCalls:
    """How many calls of a run were lost, and how many the simulator says."""

    recorded: float
    simulated: float


@dataclass(frozen=True, slots=True)
class Replay:
    """A recorded run played again.

    `rule`: the rule was shown the recorded metrics. `load`: the simulator was given only the
    recorded load, and made the metrics itself.
    """

    kind: Literal["rule", "load"]
    run_id: str
    period_s: float
    changes: tuple[ComparedEvent, ...]
    points: tuple[ReplayPoint, ...] = ()
    cpu_off_percent: float | None = None  # mean distance of the simulated CPU, in % of the CPUs
    failed: LostCalls | None = None  # of a load
    slow: LostCalls | None = None  # of a load, if the SLO has a latency limit
    refusal: str = ""

    @property
    def agrees(self) -> bool:
        """Whether every recorded event was simulated at its time, and no other."""
        return not self.refusal and all(event.verdict == "matched" for event in self.changes)


@dataclass(frozen=True, slots=True)
class FittedParameter:
    """One unknown of the rule, and the values that explain the recorded runs equally well."""

    name: str  # the field of `PolicyParameters`, or "start_s"
    meaning: str
    verdict: Literal["determined", "not told apart", "unknown"]
    values: tuple[str, ...]  # of those tried, as people read them; ranges where values have order
    used: str  # what the simulator takes
    why: str = ""


@dataclass(frozen=True, slots=True)
class FittedRule:
    """One rule that explains the recorded runs, with the start time that belongs to it."""

    policy: PolicyParameters
    start_s: float


@dataclass(frozen=True, slots=True)
class PolicyFit:
    """The rule's unknowns, as far as recorded runs tell them."""

    rule: FittedRule | None  # of all that fit equally well, the one nearest to the usual values
    others: tuple[FittedRule, ...]  # that fit as well, with an end of what is left of a parameter
    parameters: tuple[FittedParameter, ...]
    start_s: Estimate  # decision -> in service; value None: not known, low is a lower bound
    mismatch_periods: float | None  # periods the decisions are off in all; a lost one counts as 3
    changes: int  # scale-outs and scale-ins that were recorded
    runs_used: tuple[str, ...]
    left_out: tuple[str, ...]  # one sentence each
    refusal: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Figure:
    """A number, with the least and the largest over everything that is not known better."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Overload:
    """A time in which more work came than was done; neighbours less than a minute apart are one."""

    from_s: float
    to_s: float
    caught_up: bool  # False: the load ended before
    slow_calls: float
    failed_calls: float


@dataclass(frozen=True, slots=True)
class LoadPoint:
    """Some seconds of a simulated load; means where nothing else is said."""

    at_s: float  # the middle
    rate_per_s: float
    webservers: int  # in the middle
    fewest_webservers: int  # of all simulations
    most_webservers: int
    cpu_percent: float
    connections: float  # per webserver
    slow_share: float
    failed_share: float
    least_lost_share: float  # slow or failed, of all simulations
    most_lost_share: float


@dataclass(frozen=True, slots=True)
class SimulatedLoad:
    """What would come of a load."""

    name: str
    duration_s: float
    mean_rate_per_s: float
    peak_rate_per_s: float
    min_webservers: int
    max_webservers: int
    period_s: float
    calls: float
    slow_after_s: float | None  # None: the SLO has no latency limit, so no call is slow
    slow_calls: Figure
    failed_calls: Figure
    slow_share: Figure
    failed_share: Figure
    webserver_hours: Figure
    most_webservers: Figure
    overload_s: Figure  # time in which calls piled up
    caught_up_after_s: Figure  # of the longest overload, from its beginning; None: it did not end
    under_provisioned_time: Figure  # share of the time with fewer webservers than the load needs
    over_provisioned_time: Figure  # ... with more, by the utilisation target
    overloads: tuple[Overload, ...]
    changes: tuple[SimulatedEvent, ...]
    points: tuple[LoadPoint, ...]
    simulations: int  # behind the ranges
    load_of: str  # run that recorded the load; "": none did
    calls_of: str  # run whose mix and demand the calls have
    demand_s: float  # CPU-seconds of a call


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The answer to `headroom what-if`."""

    runs: tuple[str, ...]
    fit: PolicyFit
    replays: tuple[Replay, ...]
    load: SimulatedLoad | None  # None: none was asked about, or refused
    refusals: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 answered, 5 something that was asked could not be."""
        return 5 if self.refusals else 0
