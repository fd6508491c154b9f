"""A closed workload: users who think, call, wait for the answer, and think again.

Its rate follows the answers: a slow environment is called less often. That is how people and
workers of a queue behave, but it hides overload, so no capacity can be read off it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from harness.scenario.checks import CALLS_PER_CLOSED_STAGE
from harness.scenario.model import Scenario
from harness.traffic.arrivals import Purpose, Randomness
from harness.traffic.mix import MixDraws
from harness.traffic.schedule import Share

CYCLES_AT_ONCE = 64  # drawing them one by one would cost more than the rest of a user


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
