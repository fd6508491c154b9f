"""The loop that measures every period, publishes it, and lets the scaling rule decide.

Periods start at whole multiples of their length on the wall clock, as CloudWatch has them.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from mwaa_headroom.analysis.policy.scaling_rule import Observation, ScalingRule
from mwaa_headroom.harness.epoch_clock import EpochClock
from mwaa_headroom.harness.local.metrics import (
    DatabaseSampler,
    MetricsPublisher,
    Sample,
    WebserverSampler,
)
from mwaa_headroom.harness.local.webservers import Emit, WebserverPool


def period_end_s(now_s: float, period_s: int) -> float:
    """The end of the period that `now_s` lies in."""
    return (now_s // period_s + 1) * period_s


@dataclass(kw_only=True)
class Autoscaler:
    """One environment's control loop; cancel `run` to end it."""

    pool: WebserverPool
    webserver_sampler: WebserverSampler
    database_sampler: DatabaseSampler
    publisher: MetricsPublisher
    rule: ScalingRule
    period_s: int
    emit: Emit
    clock: EpochClock = field(default_factory=EpochClock)
    latest: tuple[Sample, ...] = ()  # of the last whole period

    async def run(self) -> None:
        """Work through the periods, from the first whole one on."""
        await self._end_of_period_s()
        self.webserver_sampler.read(self.pool.members())  # what is left of a period is not counted
        async with asyncio.TaskGroup() as puts:
            puts.create_task(asyncio.to_thread(self.database_sampler.read))
            while True:
                end_s = await self._end_of_period_s()
                start_s = end_s - self.period_s
                try:
                    samples = self.webserver_sampler.read(self.pool.members())
                except OSError as exc:  # too many open files: the next period says the rest
                    reason = f"the webservers could not be looked at ({exc.strerror})"
                    self.emit("metrics_gap", from_s=start_s, to_s=end_s, reason=reason)
                    continue
                self.latest = tuple(samples)
                puts.create_task(self._publish(start_s, samples))
                self._scale(end_s, samples)

    async def _publish(self, start_s: float, samples: Sequence[Sample]) -> None:
        # Looking at all processes of a database takes long enough to be felt by calls.
        try:
            database = await asyncio.to_thread(self.database_sampler.read)
        except OSError:
            database = None
        await self.publisher.publish(start_s, samples, database)

    def _scale(self, now_s: float, samples: Sequence[Sample]) -> None:
        taking_calls = [sample for sample in samples if sample.takes_calls]
        decision = self.rule.observe(
            Observation(
                time_s=now_s - self.clock.stepped_s,  # its pauses are not to change with a step
                cpu_percent=tuple(sample.cpu_percent for sample in taking_calls),
                connections=tuple(sample.connections for sample in taking_calls),
                ready_count=self.pool.count("ready"),
                starting_count=self.pool.count("starting"),
            )
        )
        if decision is not None:
            self.emit("scaling_decision", **asdict(decision))
            self.pool.scale_to(decision.to_count)

    async def _end_of_period_s(self) -> float:
        """Wait for the end of the period that runs; when that is by the wall clock as it was."""
        clock = self.clock
        end_s = period_end_s(clock.now_s() + clock.stepped_s, self.period_s)
        # By a clock that nobody sets; the event loop's timers may be a moment early by it.
        while (left_s := end_s - clock.now_s() - clock.stepped_s) > 0:
            await asyncio.sleep(left_s)
        if step_s := clock.take_step_s():
            self.emit("clock_stepped", step_s=step_s)
        return end_s
