"""The bounded pool of senders: a job is given to a sender that is idle right now, or to none."""

from collections.abc import Callable
from dataclasses import dataclass

from gevent.queue import SimpleQueue


@dataclass(frozen=True, slots=True)
class Job:
    """One arrival on its way to a sender; `intended_s` is on the dispatcher's clock."""

    arrival: int
    stage: int
    label: str
    intended_s: float


class SenderPool:
    """Senders wait in `serve_one`; `offer` never waits. Made for greenlets of one thread."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._waiting = 0
        self.in_flight = 0

    @property
    def idle(self) -> int:
        """Senders that could take a job now; one that is being woken up does not count."""
        return self._waiting - int(self._jobs.qsize())

    def offer(self, job: Job) -> bool:
        """Give `job` to an idle sender; False if there is none."""
        if self.idle <= 0:
            return False
        self.in_flight += 1
        self._jobs.put(job)
        return True

    def serve_one(self, handle: Callable[[Job], None]) -> None:
        """Wait for a job and handle it: the whole life of a sender is to call this again."""
        self._waiting += 1
        try:
            job = self._jobs.get()
        finally:
            self._waiting -= 1
        try:
            handle(job)
        finally:
            self.in_flight -= 1
