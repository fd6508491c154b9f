"""Judges a stage while the load goes on: did it break the SLO, has it recovered, must it abort?

The judgement is the analysis's own, over the rows that have come in so far. Webserver metrics come
too late for it, so only the lines about calls are judged.
"""

import math
from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mwaa_headroom.analysis.calls import calls_of, good_calls, is_latency_limit
from mwaa_headroom.analysis.recovery import call_lines, held_from_s
from mwaa_headroom.analysis.schema import REQUESTS_SCHEMA
from mwaa_headroom.analysis.slo import Slo
from mwaa_headroom.analysis.slo_judgement import Window, judge

FEWEST_CALLS = 20  # fewer say nothing
KEPT_ROWS = 100_000  # bounds memory; of a longer stage its last calls are judged
# Of a recovery, which is judged every second: more would hold up the event loop.
KEPT_ROWS_OF_RECOVERY = 20_000


class ErrorRateRule:
    """Counts calls and errors per second over a sliding window.

    Args:
        limit: fraction of errors that is one too many.
        window_s: how far back calls count.
    """

    def __init__(self, *, limit: float, window_s: float) -> None:
        self._limit = limit
        self._window_s = window_s
        self._seconds: dict[int, tuple[int, int]] = {}  # calls and errors

    def add(self, second: int, *, calls: int, errors: int) -> None:
        """Count calls that ended within one second of the clock; seconds may come in any order."""
        before = self._seconds.get(second, (0, 0))
        self._seconds[second] = (before[0] + calls, before[1] + errors)

    def add_rows(self, batch: pa.RecordBatch) -> None:
        """Count the calls in rows with REQUESTS_SCHEMA; those that were sent in a stage."""
        times_s = [_floats(batch, name) for name in ("intended_start_s", "lag_s", "service_time_s")]
        ended_s = np.sum(times_s, axis=0)
        # The light load of a recovery is there to see errors, not to be stopped by them.
        counts = np.isfinite(ended_s) & (_floats(batch, "stage") >= 0)
        seconds = ended_s[counts].astype(np.int64)
        failed = np.asarray(batch.column("outcome").to_numpy(zero_copy_only=False) != "ok")[counts]
        for second in np.unique(seconds).tolist():
            here = seconds == second
            self.add(second, calls=int(here.sum()), errors=int(failed[here].sum()))

    def clear(self) -> None:
        """Forget all calls so far: another load begins."""
        self._seconds.clear()

    def reason_to_abort(self, now_s: float) -> str | None:
        """One sentence if the rule is broken, else None."""
        oldest = now_s - self._window_s - 1
        self._seconds = {second: n for second, n in self._seconds.items() if second > oldest}
        calls = sum(entry[0] for entry in self._seconds.values())
        errors = sum(entry[1] for entry in self._seconds.values())
        if calls < FEWEST_CALLS or errors < self._limit * calls:
            return None
        return (
            f"{errors} of {calls} calls in the last {self._window_s:g} s failed, "
            f"limits.abort_error_rate is {self._limit:g}."
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
        self._batches.append(own)
        self._kept += own.num_rows
        most = KEPT_ROWS if self._stage >= 0 else KEPT_ROWS_OF_RECOVERY
        while self._kept - self._batches[0].num_rows >= most:
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
