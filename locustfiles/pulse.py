"""What happens once a second beside the load: flush, status, generator load, abort rule, parent."""

import time
from collections.abc import Callable

from harness.generator import GeneratorStatus
from harness.traffic.abort import ErrorRateRule
from locustfiles.journal import Journal
from locustfiles.output import Output
from locustfiles.pool import SenderPool

PERIOD_S = 1.0
LOAD_EVENT_EVERY = 5  # beats


class Pulse:
    """Call `beat` once a second; it measures what happened since the beat before."""

    def __init__(
        self,
        journal: Journal,
        output: Output,
        pool: SenderPool,
        rule: ErrorRateRule,
        *,
        clock: Callable[[], float] = time.perf_counter,
        cpu_clock: Callable[[], float] = time.process_time,
    ) -> None:
        self._journal = journal
        self._output = output
        self._pool = pool
        self._rule = rule
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._beats = 0
        self._status_mark = (clock(), cpu_clock(), 0)
        self._load_mark = (clock(), cpu_clock())

    def beat(self) -> None:
        """Report, and make sure that all rows so far are on their way to disk."""
        self._output.status(self._status())
        self._beats += 1
        if self._beats % LOAD_EVENT_EVERY == 0:
            self._report_load()

    def reason_to_abort(self) -> str | None:
        """One sentence if the abort rule is broken."""
        return self._rule.reason_to_abort(self._clock())

    def _status(self) -> GeneratorStatus:
        tally = self._journal.tally
        now_s, cpu_s = self._clock(), self._cpu_clock()
        then_s, then_cpu_s, then_sent = self._status_mark
        self._status_mark = (now_s, cpu_s, tally.sent)
        return GeneratorStatus(
            time_s=self._journal.epoch_s(now_s),
            stage=tally.stage,
            stage_name=tally.stage_name,
            elapsed_s=now_s - tally.stage_started_s,
            arrivals=tally.arrivals,
            sent=tally.sent,
            unsent=tally.unsent,
            ok=tally.ok,
            errors=tally.errors,
            in_flight=self._pool.in_flight,
            rate_per_s=(tally.sent - then_sent) / max(now_s - then_s, 1e-9),
            cpu_fraction=(cpu_s - then_cpu_s) / max(now_s - then_s, 1e-9),
        )

    def _report_load(self) -> None:
        now_s, cpu_s = self._clock(), self._cpu_clock()
        then_s, then_cpu_s = self._load_mark
        self._load_mark = (now_s, cpu_s)
        self._journal.event(
            "generator_load",
            cpu_fraction=(cpu_s - then_cpu_s) / max(now_s - then_s, 1e-9),
            in_flight=self._pool.in_flight,
        )
