"""Locust's users are the senders of a pool: each makes one call at a time."""

from collections.abc import Callable
from typing import ClassVar, NamedTuple, NoReturn

from gevent.queue import SimpleQueue
from locust import User, task


class Job(NamedTuple):
    """One arrival on its way to a sender; `intended_s` is on the dispatcher's clock."""

    arrival: int
    stage: int
    label: str
    intended_s: float


class SenderPool:
    """Senders live in `serve`; `offer` never waits. Made for greenlets of one thread.

    It lives as long as the process: senders are there before it is known what they will send.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Job, Callable[[Job], None]]] = SimpleQueue()
        self._waiting = 0
        self.in_flight = 0

    @property
    def idle(self) -> int:
        """Senders that could take a job now; one that is being woken up does not count."""
        return self._waiting - int(self._jobs.qsize())

    def offer(self, job: Job, handle: Callable[[Job], None]) -> bool:
        """Let an idle sender handle `job`; False if there is none."""
        if self.idle <= 0:
            return False
        self.in_flight += 1
        self._jobs.put((job, handle))
        return True

    def run(self, job: Job, handle: Callable[[Job], None]) -> None:
        """Handle `job` right here, as a closed workload's user does, and return when it is done."""
        self.in_flight += 1
        try:
            handle(job)
        finally:
            self.in_flight -= 1

    def serve(self) -> NoReturn:
        """Wait for jobs and handle them: the whole life of a sender."""
        while True:
            self._waiting += 1
            try:
                job, handle = self._jobs.get()
            finally:
                self._waiting -= 1
            try:
                handle(job)
            finally:
                self.in_flight -= 1


class InvokeRestApiUser(User):
    """One sender. What it sends, and when, is the load test's business."""

    pool: ClassVar[SenderPool] = SenderPool()

    @task
    def serve(self) -> None:
        """Handle jobs until Locust ends this user."""
        self.pool.serve()
