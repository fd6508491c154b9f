"""What a scale-out cost callers: errors and slow calls from the load step until the SLO held again.

    excess errors = errors - e calls,    excess slow calls = slow - l calls

over the calls sent that should have started from the load step t0 until t5, when the SLO held
again. When it was never broken, until the new webserver came; when it did not hold again, until the
load fell (`load_steps.watched_until_s`). e and l are the shares of errors and of slow calls before
the load step: in measured parts of stages with no more load than the stage before the step, outside
the transients before; within a ramp or a trace, in its own measured part before the step. They are
0 where there is no such time, so that then everything counts as excess.

Slow is a call that ended ok, but past the tightest latency limit of the SLO (`calls.good_calls`).
Several scale-outs after one load step share its cost; the first of them has it.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from analysis.calls import Calls
from analysis.labels import Mask
from analysis.results import ScalingEvent, TransientCost
from analysis.scaling.load_steps import load_of, watched_until_s
from analysis.stages import StageTimes


def with_costs(
    events: Sequence[ScalingEvent], stages: Sequence[StageTimes], calls: Calls, good: Mask
) -> tuple[ScalingEvent, ...]:
    """The same events, scale-outs with what they cost.

    Args:
        events: of one run, in the order of time.
        stages: of the run, in the order of time.
        calls: of the whole run.
        good: which of them ended ok within the SLO's limits of a call.
    """
    if not any(_rises(event) for event in events):
        return tuple(events)
    tally = _Tally(calls, good)
    costs: dict[float, TransientCost] = {}
    found = []
    for event in events:
        step_s = event.load_step_s
        if not _rises(event) or step_s is None or step_s in costs:
            found.append(event)
            continue
        costs[step_s] = _cost(event, step_s, stages, tally, list(costs.values()))
        found.append(replace(event, cost=costs[step_s]))
    return tuple(found)


class _Tally:
    """Counts calls sent, errors and slow calls between two times."""

    def __init__(self, calls: Calls, good: Mask) -> None:
        self.calls = calls
        self._sent = calls.sent & (calls.stage >= 0)
        self._failed = self._sent & ~calls.outcome.are("ok")
        self._slow = self._sent & ~self._failed & ~good

    def between(self, from_s: float, to_s: float) -> tuple[int, int, int]:
        starts_s = self.calls.intended_start_s
        inside = (starts_s >= from_s) & (starts_s < to_s)
        sent, failed, slow = (
            int(np.count_nonzero(inside & kind)) for kind in (self._sent, self._failed, self._slow)
        )
        return sent, failed, slow


def _rises(event: ScalingEvent) -> bool:
    return event.to_count > event.from_count


def _cost(
    event: ScalingEvent,
    from_s: float,
    stages: Sequence[StageTimes],
    tally: _Tally,
    before: Sequence[TransientCost],
) -> TransientCost:
    to_s, ended = _end(event, from_s, stages, tally.calls)
    calls, errors, slow = tally.between(from_s, to_s)
    usual_errors, usual_slow = _usual_shares(from_s, stages, tally, before)
    return TransientCost(
        from_s=from_s,
        to_s=to_s,
        calls=calls,
        errors=errors,
        excess_errors=errors - usual_errors * calls,
        slow_calls=slow,
        excess_slow_calls=slow - usual_slow * calls,
        ended=ended,
    )


def _end(
    event: ScalingEvent, from_s: float, stages: Sequence[StageTimes], calls: Calls
) -> tuple[float, bool]:
    if event.slo_restored_s is not None:
        return event.slo_restored_s, True
    came_s = event.takes_traffic_s or event.count_changed_s
    if event.slo_broke is False and came_s is not None:
        return came_s, True
    return watched_until_s(stages, calls, from_s), False


def _usual_shares(
    step_s: float,
    stages: Sequence[StageTimes],
    tally: _Tally,
    transients: Sequence[TransientCost],
) -> tuple[float, float]:
    """Shares of errors and slow calls before a load step."""
    begun = [stage for stage in stages if stage.started_at_s < step_s]
    if not begun:
        return 0.0, 0.0
    usual_load = load_of(begun[-1])
    calls = errors = slow = 0
    for stage in begun:
        if load_of(stage) > usual_load:
            continue
        parts = [(stage.measured_from_s, min(stage.ended_at_s, step_s))]
        for transient in transients:
            parts = [part for whole in parts for part in _without(whole, transient)]
        for from_s, to_s in parts:
            counted = tally.between(from_s, to_s)
            calls, errors, slow = calls + counted[0], errors + counted[1], slow + counted[2]
    return errors / max(calls, 1), slow / max(calls, 1)


def _without(part: tuple[float, float], transient: TransientCost) -> list[tuple[float, float]]:
    from_s, to_s = part
    left = [(from_s, min(to_s, transient.from_s)), (max(from_s, transient.to_s), to_s)]
    return [(start_s, end_s) for start_s, end_s in left if start_s < end_s]
