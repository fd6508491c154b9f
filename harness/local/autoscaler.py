"""The loop that measures every period, publishes it, and lets the scaling rule decide.

Periods start at whole multiples of their length on the wall clock, as CloudWatch has them.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from mwaa_headroom.analysis.policy.scaling_rule import Observation, ScalingRule
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
    wall_clock: Callable[[], float] = time.time
    latest: tuple[Sample, ...] = ()  # of the last whole period

    async def run(self) -> None:
        """Work through the periods, from the first whole one on."""
        await self._sleep_until(period_end_s(self.wall_clock(), self.period_s))
        self.webserver_sampler.read(self.pool.members())  # what is left of a period is not counted
        async with asyncio.TaskGroup() as puts:
            puts.create_task(asyncio.to_thread(self.database_sampler.read))
            while True:
                end_s = period_end_s(self.wall_clock(), self.period_s)
                await self._sleep_until(end_s)
                samples = self.webserver_sampler.read(self.pool.members())
                self.latest = tuple(samples)
                puts.create_task(self._publish(end_s - self.period_s, samples))
                self._scale(end_s, samples)

    async def _publish(self, start_s: float, samples: Sequence[Sample]) -> None:
        # Looking at all processes of a database takes long enough to be felt by calls.
        database = await asyncio.to_thread(self.database_sampler.read)
        await self.publisher.publish(start_s, samples, database)

    def _scale(self, now_s: float, samples: Sequence[Sample]) -> None:
        taking_calls = [sample for sample in samples if sample.takes_calls]
        decision = self.rule.observe(
            Observation(
                time_s=now_s,
                cpu_percent=tuple(sample.cpu_percent for sample in taking_calls),
                connections=tuple(sample.connections for sample in taking_calls),
                ready_count=self.pool.count("ready"),
                starting_count=self.pool.count("starting"),
            )
        )
        if decision is not None:
            self.emit("scaling_decision", **asdict(decision))
            self.pool.scale_to(decision.to_count)

    async def _sleep_until(self, wall_s: float) -> None:
        # The event loop's timers may be a moment early by the wall clock.
        while (left_s := wall_s - self.wall_clock()) > 0:
            await asyncio.sleep(left_s)
