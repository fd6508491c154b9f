"""Judges a stage while the load goes on: did it break the SLO, has it recovered, must it abort?

The judgement is the analysis's own, over the rows that have come in so far. Webserver metrics come
too late for it, so only the lines about calls are judged.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mwaa_headroom.analysis.caller_failures import CALLERS
from mwaa_headroom.analysis.calls import calls_of, good_calls, is_latency_limit
from mwaa_headroom.analysis.mwaa import INVOKE_TIMEOUT_S
from mwaa_headroom.analysis.recovery import call_lines, held_from_s
from mwaa_headroom.analysis.schema import REQUESTS_SCHEMA
from mwaa_headroom.analysis.slo import Slo, parse_slo
from mwaa_headroom.analysis.slo_judgement import Window, judge
from mwaa_headroom.harness.record.stream import append_batch
from mwaa_headroom.harness.scenario.model import Scenario

FEWEST_CALLS = 20  # fewer say nothing
FEWEST_IN_A_ROW = 5  # when there is nothing else
LOOK_BACK_S = 20.0
CALLERS_WINDOW_S = 3.0
# Of a longer phase its last calls are judged. It bounds memory and, in a recovery, which is judged
# every second, what holds up the event loop.
KEPT_ROWS = 20_000


@dataclass(slots=True)
class _Counts:
    """Calls that ended, those that failed, and those that failed by the caller's own doing."""

    calls: int = 0
    errors: int = 0
    callers: int = 0

    def add(self, other: "_Counts") -> None:
        self.calls += other.calls
        self.errors += other.errors
        self.callers += other.callers


class AbortRule:
    """When a stage must be broken off: too many errors, only the caller's own, or no answer at all.

    Args:
        limit: fraction of errors that is one too many.
        window_s: how far back calls count, and farther (to `LOOK_BACK_S`) for as many as say
            something; for so long no call may end while some are in flight.
        longest_good_s: a latency that the SLO allows: no shorter silence counts.
    """

    def __init__(self, *, limit: float, window_s: float, longest_good_s: float = 0.0) -> None:
        self._limit = limit
        self._window_s = window_s
        self._longest_silence_s = max(window_s, longest_good_s)
        self._seconds: dict[int, _Counts] = {}
        self._few_waited_s = math.inf  # the last moment at which few calls were in flight
        self._any_ended = False
        self._callers_code = ""

    def add(self, second: int, *, calls: int, errors: int, callers: int = 0) -> None:
        """Count calls that ended within one second of the clock; seconds may come in any order."""
        if calls:
            self._any_ended = True
            counts = self._seconds.setdefault(second, _Counts())
            counts.add(_Counts(calls, errors, callers))

    def add_rows(self, batch: pa.RecordBatch) -> None:
        """Count the calls in rows with REQUESTS_SCHEMA; those that were sent in a stage."""
        times_s = [_floats(batch, name) for name in ("intended_start_s", "lag_s", "service_time_s")]
        ended_s = np.sum(times_s, axis=0)
        # The light load of a recovery is there to see errors, not to be stopped by them.
        counts = np.isfinite(ended_s) & (_floats(batch, "stage") >= 0)
        seconds = ended_s[counts].astype(np.int64)
        outcomes = np.asarray(batch.column("outcome").to_numpy(zero_copy_only=False))[counts]
        failed, callers = outcomes != "ok", np.isin(outcomes, CALLERS)
        if callers.any():
            codes = np.asarray(batch.column("error_code").to_numpy(zero_copy_only=False))[counts]
            self._callers_code = str(codes[callers][-1])
        for second in np.unique(seconds).tolist():
            here = seconds == second
            self.add(
                second,
                calls=int(here.sum()),
                errors=int(failed[here].sum()),
                callers=int(callers[here].sum()),
            )

    def begin(self, now_s: float) -> None:
        """Forget all calls so far: another load begins."""
        self._seconds.clear()
        self._few_waited_s = now_s
        self._any_ended = False

    def reason_to_abort(self, now_s: float, *, in_flight: int = 0) -> str | None:
        """One sentence if the rule is broken, else None.

        Args:
            now_s: on the clock of the seconds.
            in_flight: calls that have not ended.
        """
        oldest = now_s - max(self._window_s, LOOK_BACK_S, self._longest_silence_s) - 2
        self._seconds = {second: n for second, n in self._seconds.items() if second > oldest}
        return (
            self._only_callers(now_s)
            or self._too_many_errors(now_s)
            or self._mute(now_s, in_flight)
        )

    def _too_many_errors(self, now_s: float) -> str | None:
        found, back_s = self._last(now_s, self._window_s, FEWEST_CALLS)
        if found.calls < FEWEST_CALLS or found.errors < self._limit * found.calls:
            return None
        return (
            f"{found.errors} of {found.calls} calls in the last {back_s:g} s failed, "
            f"limits.abort_error_rate is {self._limit:g}."
        )

    def _only_callers(self, now_s: float) -> str | None:
        found, back_s = self._last(now_s, CALLERS_WINDOW_S, FEWEST_IN_A_ROW)
        if found.calls < FEWEST_IN_A_ROW or found.callers < found.calls:
            return None
        return (
            f"All {found.calls} calls in the last {back_s:g} s failed by the caller's own doing "
            f"({self._callers_code}): they say nothing about the environment."
        )

    def _mute(self, now_s: float, in_flight: int) -> str | None:
        if in_flight < FEWEST_IN_A_ROW:
            self._few_waited_s = now_s
        limit_s = self._longest_silence_s
        # Servers that were idle may be slow at first, but not slower than the service allows.
        limit_s = limit_s if self._any_ended else max(limit_s, INVOKE_TIMEOUT_S)
        # Whole seconds: a call may have ended at the end of its own.
        last_s = max((second + 1 for second in self._seconds), default=self._few_waited_s)
        silent_s = now_s - max(last_s, self._few_waited_s)
        if silent_s < limit_s:
            return None
        return f"{in_flight} calls are in flight, and none has ended for {silent_s:.0f} s."

    def _last(self, now_s: float, window_s: float, fewest: int) -> tuple[_Counts, float]:
        """The calls of a window or, if they are too few, of the seconds before; how far back."""
        found, back_s = _Counts(), window_s
        if max(self._seconds, default=-math.inf) <= now_s - window_s - 1:
            return found, back_s
        for second in sorted(self._seconds, reverse=True):
            is_within = second > now_s - window_s - 1
            if not is_within and (found.calls >= fewest or second <= now_s - LOOK_BACK_S - 1):
                break
            found.add(self._seconds[second])
            back_s = max(back_s, math.ceil(now_s - second))
        return found, back_s


def abort_rule_of(scenario: Scenario) -> AbortRule:
    """The rule of a scenario's limits."""
    slos = [parse_slo(line) for line in scenario.slo]
    return AbortRule(
        limit=scenario.limits.abort_error_rate,
        window_s=scenario.limits.abort_window_s,
        longest_good_s=max((one.threshold for one in slos if is_latency_limit(one)), default=0.0),
    )


class Overload:
    """Looks at one phase at a time.

    Args:
        slos: of the scenario.
        hold_s: how long the SLO must hold to hold again.
    """

    def __init__(self, slos: Sequence[Slo], *, hold_s: float) -> None:
        self._slos = call_lines(slos)
        self._hold_s = hold_s
        self._stage = 0
        self._from_s = 0.0
        self._batches: deque[pa.RecordBatch] = deque()
        self._kept = 0

    def look_at(self, stage: int, from_s: float) -> None:
        """From now on, at calls of this stage whose intended start is not before `from_s`."""
        self._stage = stage
        self._from_s = from_s
        self._batches.clear()
        self._kept = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Rows of any stage."""
        own = batch.filter(pc.equal(batch.column("stage"), self._stage))
        if not own.num_rows:
            return
        append_batch(self._batches, own)
        self._kept += own.num_rows
        while self._kept - self._batches[0].num_rows >= KEPT_ROWS:
            self._kept -= self._batches.popleft().num_rows

    def broke_slo(self, *, in_flight: int, rate_per_s: float) -> bool:
        """Whether the stage, at its end, has broken a line about calls.

        By Little's law as many calls are in flight as rate times mean latency. Many more than rate
        times threshold mean that calls take longer, even if none of them has been answered.

        Args:
            in_flight: calls that have not ended; 0 when all have.
            rate_per_s: at which calls came in last.
        """
        if not self._slos:
            return False
        limits_s = [
            slo.threshold
            for slo in self._slos
            if is_latency_limit(slo) and slo.selector_key is None  # calls in flight are of any kind
        ]
        if limits_s:
            usual = rate_per_s * min(limits_s)
            # Poisson arrivals make it vary by its root: three roots are chance once in a thousand.
            if in_flight > usual + 3 * math.sqrt(usual) + 1:
                return True
        calls = calls_of(self._table())
        calls = calls.where(calls.intended_start_s >= self._from_s)
        window = Window(calls, good_calls(calls, self._slos), ())
        return bool(len(calls)) and any(judge(slo, window).met is False for slo in self._slos)

    def has_recovered(self) -> bool:
        """Whether the SLO has held for `hold_s` over arrivals that have all had their answer."""
        table = self._table()
        if not self._slos or not table.num_rows:
            return False
        table = table.sort_by("arrival")
        # Arrivals of a phase are numbered without gaps: a gap is a call that has not ended.
        arrival = table.column("arrival").to_numpy()
        answered = int(np.argmax(np.append(np.diff(arrival) != 1, True))) + 1
        until_s = float(table.column("intended_start_s")[answered - 1].as_py())
        calls = calls_of(table.slice(0, answered))
        return held_from_s(calls, self._slos, self._hold_s, until_s) is not None

    def _table(self) -> pa.Table:
        return pa.Table.from_batches(list(self._batches), REQUESTS_SCHEMA)


def _floats(batch: pa.RecordBatch, name: str) -> npt.NDArray[np.float64]:
    return np.asarray(batch.column(name).to_numpy(zero_copy_only=False), dtype=np.float64)
