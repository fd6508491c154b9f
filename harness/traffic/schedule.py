"""When what is called: the arrivals of each stage, or what the users of a closed workload do.

An open workload has schedules, which do not depend on the answers; worker i of n sends every nth
arrival. In a closed workload users think, call, wait for the answer, and think again. Its rate
follows the answers: a slow environment is called less often. That is how people and workers of a
queue behave, but it hides overload, so no capacity can be read off it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from mwaa_headroom.analysis.schema import RECOVERY_ARRIVALS_FROM
from mwaa_headroom.harness.scenario.model import CALLS_PER_CLOSED_STAGE, Scenario, Stage
from mwaa_headroom.harness.traffic.arrivals import (
    CappedArrivals,
    PacedArrivals,
    Purpose,
    Ramp,
    Randomness,
    Steps,
    TimedArrivals,
)
from mwaa_headroom.harness.traffic.traces import Trace


class MixDraws:
    """Entries of a mix, drawn one after another, independently and by weight.

    Args:
        weights: of the entries.
        generator: what comes depends on it alone, not on how many are taken at a time.
    """

    def __init__(self, weights: Sequence[float], generator: np.random.Generator) -> None:
        shares = np.asarray(weights, dtype=float)
        self._shares = shares / shares.sum()
        self._generator = generator

    def take(self, count: int) -> npt.NDArray[np.int64]:
        """The next `count` of them, as indices into the weights."""
        return self._generator.choice(len(self._shares), size=count, p=self._shares)


class TracedDraws:
    """Entries of a mix as a trace names them: those of its calls, or drawn by its rates.

    Args:
        trace: names operations.
        labels: of the mix; all operations are among them.
        generator: for rates.
    """

    def __init__(self, trace: Trace, labels: Sequence[str], generator: np.random.Generator) -> None:
        self._trace = trace
        self._label = np.array([labels.index(name) for name in trace.operations])
        self._generator = generator
        self._taken = 0

    def take(self, offset_s: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Of the next arrivals, which are due then, as indices into the labels."""
        trace = self._trace
        if trace.called is not None:
            which = trace.called[self._taken : self._taken + len(offset_s)]
            self._taken += len(offset_s)
        elif trace.shares_per_s is not None:
            step = np.searchsorted(trace.time_s, offset_s, side="right") - 1
            until = np.cumsum(trace.shares_per_s, axis=1)[step]
            place = self._generator.random(len(offset_s)) * until[:, -1]
            which = np.minimum((place[:, None] >= until).sum(axis=1), len(self._label) - 1)
        else:
            raise ValueError("the trace names no operations")
        return self._label[which]


@dataclass(frozen=True, slots=True)
class Share:
    """Worker i of n has the arrivals whose index in the whole run is i modulo n."""

    worker: int
    workers: int


WHOLE: Final = Share(0, 1)
CYCLES_AT_ONCE: Final = 64  # drawing them one by one would cost more than the rest of a user


@dataclass(frozen=True, slots=True, eq=False)
class ArrivalBlock:
    """Consecutive arrivals of one share: three arrays of one length, ordered by time.

    Attributes:
        arrival: index in the whole run.
        offset_s: intended start, from the stage's start.
        label: the entry of the mix, as an index into the schedule's labels.
    """

    arrival: npt.NDArray[np.int64]
    offset_s: npt.NDArray[np.float64]
    label: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class StageSchedule:
    """The arrivals of one stage.

    Attributes:
        stage: index in the scenario; -1 - k: the recovery phase after stage k.
        name: of the stage.
        duration_s: how long the stage lasts.
        labels: names of the mix's entries.
        first: index of its first arrival in the whole run.
        count: its arrivals, of all workers.
        arrivals: when they are due.
        weights: of the mix's entries, 0 for those that the stage does not send.
        mix_randomness: chooses among them.
        trace: names what is called instead; None: the weights say it.
    """

    stage: int
    name: str
    duration_s: float
    labels: tuple[str, ...]
    first: int
    count: int
    arrivals: CappedArrivals = field(repr=False)
    weights: tuple[float, ...] = field(repr=False)
    mix_randomness: Randomness = field(repr=False)
    trace: Trace | None = field(default=None, repr=False)

    def blocks(self, share: Share = WHOLE) -> Iterator[ArrivalBlock]:
        """The arrivals of a share in order, none of the blocks empty; the same ones every time."""
        generator, first = self.mix_randomness.generator(), self.first
        draws = MixDraws(self.weights, generator)
        traced = None if self.trace is None else TracedDraws(self.trace, self.labels, generator)
        for offset_s in self.arrivals.blocks():
            arrival = np.arange(first, first + len(offset_s))
            label = draws.take(len(offset_s)) if traced is None else traced.take(offset_s)
            own = slice((share.worker - first) % share.workers, None, share.workers)
            first += len(offset_s)
            if len(arrival[own]):
                yield ArrivalBlock(arrival[own], offset_s[own], label[own])


def schedule_of(scenario: Scenario, traces: Mapping[int, Trace]) -> Iterator[StageSchedule]:
    """The schedules of all stages of an open workload, in order.

    The same scenario and traces always give the same ones. Counting a stage's arrivals takes about
    a second for every hundred million of them.

    Args:
        scenario: its arrivals are not "closed".
        traces: by stage, of all stages that replay one.

    Raises:
        ValueError: the workload is closed: its calls depend on the answers.
    """
    seed, first = scenario.traffic.seed, 0
    for index, stage in enumerate(scenario.stages):
        trace = traces.get(index)
        randomness = Randomness(seed, index, Purpose.ARRIVALS)
        arrivals = CappedArrivals(
            _arrivals_of(scenario, stage, trace, randomness), scenario.limits.max_rate_per_s
        )
        count = arrivals.count()
        yield StageSchedule(
            stage=index,
            name=stage.name,
            duration_s=stage.duration_s,
            labels=tuple(scenario.traffic.mix),
            first=first,
            count=count,
            arrivals=arrivals,
            weights=scenario.weights_of(stage),
            mix_randomness=Randomness(seed, index, Purpose.MIX),
            trace=trace if trace is not None and trace.operations else None,
        )
        first += count


def recovery_schedule(scenario: Scenario, after_stage: int) -> StageSchedule:
    """The light load that shows when an overloaded environment is itself again: the whole mix.

    Raises:
        ValueError: the scenario has no recovery phases.
    """
    rate_per_s, duration_s = scenario.recovery_rate_per_s, scenario.recovery.longest_s
    if rate_per_s is None:
        raise ValueError("this scenario has no recovery phases")
    seed = scenario.traffic.seed
    arrivals = PacedArrivals(
        "constant" if scenario.traffic.arrivals == "constant" else "poisson",
        Ramp(rate_per_s, rate_per_s, duration_s),
        duration_s,
        Randomness(seed, after_stage, Purpose.RECOVERY_ARRIVALS),
    )
    capped = CappedArrivals(arrivals, scenario.limits.max_rate_per_s)
    return StageSchedule(
        stage=-1 - after_stage,
        name=f"recovery after {scenario.stages[after_stage].name}",
        duration_s=duration_s,
        labels=tuple(scenario.traffic.mix),
        first=RECOVERY_ARRIVALS_FROM * (after_stage + 1),
        count=capped.count(),
        arrivals=capped,
        weights=scenario.traffic.weights,
        mix_randomness=Randomness(seed, after_stage, Purpose.RECOVERY_MIX),
    )


def _arrivals_of(
    scenario: Scenario, stage: Stage, trace: Trace | None, randomness: Randomness
) -> PacedArrivals | TimedArrivals:
    kind, duration_s = scenario.traffic.arrivals, stage.duration_s
    if kind == "closed" or stage.rate_per_s is None:
        raise ValueError("a closed workload has no schedule: its calls depend on the answers")
    if kind == "trace":
        if trace is None:
            raise ValueError(f"the trace of stage '{stage.name}' is missing")
        if trace.rate_per_s is None:
            return TimedArrivals(trace.time_s, duration_s)
        steps = Steps.held(trace.time_s, trace.rate_per_s, duration_s)
        return PacedArrivals("poisson", steps, duration_s, randomness)
    end_per_s = stage.ramp_to_rate_per_s
    ramp = Ramp(stage.rate_per_s, stage.rate_per_s if end_per_s is None else end_per_s, duration_s)
    return PacedArrivals(kind, ramp, duration_s, randomness)


@dataclass(frozen=True, slots=True)
class Cycle:
    """One thought and the call after it.

    Attributes:
        arrival: number of the call, unique over the run and all its users.
        label: the entry of the mix, as an index into its labels.
        think_s: to wait before the call.
    """

    arrival: int
    label: int
    think_s: float


def user_cycles(scenario: Scenario, stage: int, user: int) -> Iterator[Cycle]:
    """What one user of a stage does, without end; think times are exponential.

    The same seed, stage and user always give the same cycles, whatever the number of workers.

    Raises:
        ValueError: the workload is open.
    """
    traffic, plan = scenario.traffic, scenario.stages[stage]
    users = plan.users
    if users is None or traffic.think_time_s is None:
        raise ValueError("an open workload has no users: its calls do not wait for answers")
    generator = Randomness(traffic.seed, stage, Purpose.USERS).generator(user)
    draws = MixDraws(scenario.weights_of(plan), generator)
    arrival = stage * CALLS_PER_CLOSED_STAGE + user
    while True:
        thoughts_s = generator.exponential(traffic.think_time_s, size=CYCLES_AT_ONCE).tolist()
        labels = draws.take(CYCLES_AT_ONCE).tolist()
        for think_s, label in zip(thoughts_s, labels, strict=True):
            yield Cycle(arrival, label, think_s)
            arrival += users


def users_of(users: int, share: Share) -> range:
    """The numbers of one worker's users, out of `users`."""
    return range(share.worker, users, share.workers)
