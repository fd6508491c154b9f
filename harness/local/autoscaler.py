"""The loop that measures every period, publishes it, and lets the scaling rule decide.

Periods start at whole multiples of their length on the wall clock, as CloudWatch has them.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

from mwaa_headroom.analysis.policy.rule import Decision, Observation, ScalingRule
from mwaa_headroom.harness.local.metrics import DatabaseMeter, Meter, MetricsPublisher, Sample
from mwaa_headroom.harness.local.webservers import Emit, Fleet


def period_end_s(now_s: float, period_s: int) -> float:
    """The end of the period that `now_s` lies in."""
    return (now_s // period_s + 1) * period_s


class Control:
    """One environment's control loop; cancel `run` to end it."""

    def __init__(
        self,
        *,
        fleet: Fleet,
        meter: Meter,
        database_meter: DatabaseMeter,
        publisher: MetricsPublisher,
        rule: ScalingRule,
        period_s: int,
        emit: Emit,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._fleet = fleet
        self._meter = meter
        self._database_meter = database_meter
        self._publisher = publisher
        self._rule = rule
        self._period_s = period_s
        self._emit = emit
        self._wall_clock = wall_clock
        self.latest: tuple[Sample, ...] = ()  # of the last whole period

    async def run(self) -> None:
        """Work through the periods, from the first whole one on."""
        await self._sleep_until(period_end_s(self._wall_clock(), self._period_s))
        self._meter.read(self._fleet.members())  # the rest of a period: only where it began
        async with asyncio.TaskGroup() as puts:
            puts.create_task(asyncio.to_thread(self._database_meter.read))
            while True:
                end_s = period_end_s(self._wall_clock(), self._period_s)
                await self._sleep_until(end_s)
                samples = self._meter.read(self._fleet.members())
                self.latest = tuple(samples)
                puts.create_task(self._publish(end_s - self._period_s, samples))
                self._scale(end_s, samples)

    async def _publish(self, start_s: float, samples: Sequence[Sample]) -> None:
        # Looking at all processes of a database takes long enough to be felt by calls.
        database = await asyncio.to_thread(self._database_meter.read)
        await self._publisher.publish(start_s, samples, database)

    def _scale(self, now_s: float, samples: Sequence[Sample]) -> None:
        taking_calls = [sample for sample in samples if sample.takes_calls]
        decision = self._rule.observe(
            Observation(
                time_s=now_s,
                cpu_percent=tuple(sample.cpu_percent for sample in taking_calls),
                connections=tuple(sample.connections for sample in taking_calls),
                ready_count=self._fleet.count("ready"),
                starting_count=self._fleet.count("starting"),
            )
        )
        if decision is not None:
            self._carry_out(decision)

    def _carry_out(self, decision: Decision) -> None:
        self._emit(
            "scaling_decision",
            from_count=decision.from_count,
            to_count=decision.to_count,
            reason=decision.reason,
        )
        self._fleet.scale_to(decision.to_count)

    async def _sleep_until(self, wall_s: float) -> None:
        # The event loop's timers may be a moment early by the wall clock.
        while (left_s := wall_s - self._wall_clock()) > 0:
            await asyncio.sleep(left_s)
