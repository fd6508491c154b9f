"""The workers of one test, as their master sees them: who is there, what they were told and did."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import gevent

from locustfiles.channel import ORDER, PING, PLAN, Channel
from locustfiles.clock_offset import ClockOffset
from locustfiles.epoch import EpochClock
from locustfiles.journal import Tally

SILENCE_S = 5.0  # of a worker, after which it counts as lost
POLL_S = 0.02

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Worker:
    """What is known of one worker."""

    number: int
    peer: str
    heard_s: float  # on the clock
    ready: bool = False
    error: str = ""
    cpus: int = 0
    longest_drain_s: float = 0.0
    tally: Tally = field(default_factory=Tally)
    rows: int = 0
    in_flight: int = 0
    cpu_fraction: float = 0.0
    sequence: int = 0
    order: int = 0  # the last one it has carried out
    completed: bool = True
    took_s: float = 0.0
    lost: str = ""
    offset: ClockOffset = field(default_factory=ClockOffset)


class Workforce:
    """Tells workers what to do and waits for them.

    Args:
        channel: to the workers.
        test: number of the test, in all messages.
        event: records an event.
        epoch: the master's time of day.
    """

    def __init__(
        self, channel: Channel, test: int, event: Callable[..., None], epoch: EpochClock
    ) -> None:
        self.workers: dict[str, Worker] = {}
        self._channel = channel
        self._test = test
        self._event = event
        self._epoch = epoch
        self._orders = count(1)

    def hire(self, plan: Mapping[str, Any]) -> None:
        """Send the plan to all workers that are connected."""
        for number, peer in enumerate(self._channel.peers()):
            worker = self.workers[peer] = Worker(number, peer, self._epoch.clock())
            self._send(worker, PLAN, {"number": number, **plan})

    def present(self) -> list[Worker]:
        """Those that are ready and have not been lost."""
        return [worker for worker in self.workers.values() if worker.ready and not worker.lost]

    def order(
        self,
        what: str,
        *,
        within_s: float,
        of_each: Callable[[Worker], Mapping[str, Any]] = lambda _: {},
    ) -> None:
        """Have an order carried out; who has not done so `within_s` is lost.

        Args:
            what: see `locustfiles.channel`.
            within_s: by when.
            of_each: what the order says to one worker.
        """
        order = next(self._orders)
        for worker in self.present():
            self._send(worker, ORDER, {"order": order, "do": what, **of_each(worker)})
        self.wait_for(lambda worker: worker.order >= order or not worker.ready, within_s)
        for worker in self.present():
            if worker.order < order:
                self.lose(worker, f"it did not carry out an order ({what}) in {within_s:.0f} s")

    def tell(self, what: str) -> None:
        """An order to all that is carried out at once, whatever goes on."""
        for worker in self.present():
            self._send(worker, ORDER, {"do": what})

    def ping(self) -> None:
        """Ask all for their time of day; also a sign that the master is alive."""
        for worker in self.present():
            self._send(worker, PING, {"sent_s": self._epoch.now_s()})

    def wait_for(
        self,
        has_done: Callable[[Worker], bool],
        within_s: float,
        *,
        unless: Callable[[], bool] = lambda: False,
    ) -> None:
        """Until all workers that are not lost have done it, or time is up, or `unless`."""
        began_s = self._epoch.clock()
        while not unless() and self._epoch.clock() - began_s <= within_s:
            if all(has_done(worker) for worker in self.workers.values() if not worker.lost):
                return
            gevent.sleep(POLL_S)
            self.notice_losses()

    def notice_losses(self) -> None:
        """Workers that are gone, or silent, are lost."""
        connected = set(self._channel.peers())
        for worker in self.workers.values():
            if worker.lost:
                continue
            if worker.peer not in connected:
                self.lose(worker, "it is no longer connected")
            # Until it is ready it may be busy with its plan for longer.
            elif worker.ready and self._epoch.clock() - worker.heard_s > SILENCE_S:
                self.lose(worker, f"nothing was heard of it for {SILENCE_S:g} s")

    def lose(self, worker: Worker, reason: str) -> None:
        """Count on a worker no longer."""
        worker.lost = reason
        logger.warning("Worker %d is lost: %s.", worker.number, reason)
        self._event("worker_lost", time_s=self._epoch.now_s(), worker=worker.number, reason=reason)

    def _send(self, worker: Worker, kind: str, message: Mapping[str, Any]) -> None:
        if not self._channel.send(kind, {"test": self._test, **message}, worker.peer):
            self.lose(worker, "a message could not be sent to it")
