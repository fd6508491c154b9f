"""One of several load processes: sends its shares and ships its rows to the master."""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import astuple
from typing import Any

import gevent
from botocore.credentials import Credentials
from gevent.event import Event
from gevent.queue import SimpleQueue

from mwaa_headroom.harness.epoch_clock import EpochClock
from mwaa_headroom.harness.errors import HeadroomError
from mwaa_headroom.harness.traffic.schedule import Share
from mwaa_headroom.harness.transport.opening import OpenTransport
from mwaa_headroom.locustfiles.channel import (
    ORDER,
    PING,
    PLAN,
    PONG,
    READY,
    REPORT,
    Channel,
    rows_to_message,
)
from mwaa_headroom.locustfiles.dispatcher import Dispatcher
from mwaa_headroom.locustfiles.plan import Phase, Plan, plan_of_message, transport_of
from mwaa_headroom.locustfiles.recorder import (
    LOAD_EVENT_EVERY_S,
    MANY_ROWS,
    CallRecorder,
    LoadMeter,
    ReportToLocust,
)
from mwaa_headroom.locustfiles.senders import SenderPool

TICK_S = 0.2
REPORT_EVERY_S = 1.0
MASTER_SILENCE_S = 5.0  # load must not go on when nobody records it

logger = logging.getLogger(__name__)


class Worker:
    """Takes part in every test that its master starts.

    Args:
        channel: to the master.
        pool: the senders of this process.
        allowed_arn: the environment on AWS that may be loaded; "": none.
        keys: that were handed to this process; None: it finds its own.
        report: feeds Locust's statistics, where the master says that somebody looks at them.
        give_up: ends this process in order, with a plan that was refused (True) or a master that is
            gone (False).

    Attributes:
        test: this worker's part of the last one; None: there was none yet.
    """

    def __init__(
        self,
        channel: Channel,
        pool: SenderPool,
        *,
        allowed_arn: str,
        keys: Credentials | None,
        report: ReportToLocust,
        give_up: Callable[[bool], None],
    ) -> None:
        self.test: WorkerTest | None = None
        self._channel = channel
        self._pool = pool
        self._allowed_arn = allowed_arn
        self._keys = keys
        self._report = report
        self._give_up = give_up
        channel.listen(PLAN, self._on_plan)

    def finish(self) -> None:
        """Drain and report what is left, if a test goes on."""
        if self.test is not None:
            self.test.finish()

    def _on_plan(self, _: str, data: Mapping[str, Any]) -> None:
        ready = {"test": data["test"], "cpus": os.cpu_count() or 1}
        try:
            plan = plan_of_message(data["plan"], allowed_arn=self._allowed_arn)
            transport = transport_of(plan, self._keys)
        except Exception as exc:  # whatever it is: the master must not wait for this worker
            if not isinstance(exc, HeadroomError):
                logger.exception("The plan could not be prepared")
            logger.critical("%s", exc)
            self._channel.send(READY, {**ready, "longest_drain_s": 0.0, "error": str(exc)})
            self._give_up(True)
            return
        self.test = WorkerTest(
            data["test"],
            data["number"],
            plan,
            transport,
            self._channel,
            self._pool,
            report=self._report if data["statistics"] else None,
            give_up=lambda: self._give_up(False),
        )
        longest_drain_s = self.test.longest_drain_s
        self._channel.send(READY, {**ready, "longest_drain_s": longest_drain_s, "error": ""})


class WorkerTest:
    """This worker's part of one load test."""

    def __init__(
        self,
        test: int,
        worker: int,
        plan: Plan,
        transport: OpenTransport,
        channel: Channel,
        pool: SenderPool,
        *,
        report: ReportToLocust | None,
        give_up: Callable[[], None],
    ) -> None:
        self._test = test
        self._plan = plan
        self._phases = {phase.stage: phase for phase in plan.phases()}
        self._channel = channel
        self._epoch = EpochClock()
        self._recorder = CallRecorder(self._epoch, report, worker=worker)
        self._dispatcher = Dispatcher(plan, transport, pool, self._recorder)
        self._meter = LoadMeter()
        self._give_up = give_up
        self._orders: SimpleQueue[Mapping[str, Any]] = SimpleQueue()
        self._sequence = 0
        self._heard_s = self._reported_s = self._load_reported_s = self._epoch.clock()
        self._leaving = False
        self._ended = Event()
        channel.listen(PING, self._on_ping, test=test)
        channel.listen(ORDER, self._on_order, test=test)
        self._background = [
            gevent.spawn(self._meter.watch_stalls),
            gevent.spawn(self._keep_reporting),
        ]
        gevent.spawn(self._carry_out_orders)

    @property
    def longest_drain_s(self) -> float:
        """Calls in flight have ended by then."""
        return self._dispatcher.longest_drain_s

    def finish(self) -> None:
        """Send nothing more, wait for calls in flight and report that this was all."""
        if self._ended.is_set():
            return
        self._leaving = True
        self._dispatcher.stop()
        self._orders.put({"do": "leave"})
        self._ended.wait()

    def _on_ping(self, _: str, data: Mapping[str, Any]) -> None:
        """Answer at once: the way there and back is what counts."""
        self._heard_s = self._epoch.clock()
        if self._ended.is_set():  # if it broke, the master must notice
            return
        pong = {"test": self._test, "sent_s": data["sent_s"], "now_s": self._epoch.now_s()}
        self._channel.send(PONG, pong)

    def _on_order(self, _: str, data: Mapping[str, Any]) -> None:
        """Some orders are for now, the others for when those before are done."""
        self._heard_s = self._epoch.clock()
        match data["do"]:
            case "stop":
                self._dispatcher.stop()
            case "end_phase":
                self._dispatcher.end_phase()
            case _:
                self._orders.put(data)

    def _carry_out_orders(self) -> None:
        try:
            while not self._ended.is_set():
                order = self._orders.get()
                if self._leaving:
                    self._dispatcher.drain()
                    self._dispatcher.close()
                    self._send_report(leaving=True)
                    return
                self._carry_out(order)
        finally:
            self._ended.set()
            gevent.killall(self._background, block=False)

    def _carry_out(self, order: Mapping[str, Any]) -> None:
        completed, took_s = True, 0.0
        match order["do"]:
            case "send":
                completed = self._send_share(order)
                self._load_reported_s = 0.0  # what belongs to this phase is reported with its end
            case "drain":
                took_s = self._dispatcher.drain().took_s
            case "close":
                self._dispatcher.close()
        # An order that leaving cuts short must not look like one that somebody has stopped.
        if not self._leaving:
            self._send_report(order=order["order"], completed=completed, took_s=took_s)
        if order["do"] == "close":
            self._ended.set()

    def _send_share(self, order: Mapping[str, Any]) -> bool:
        self._recorder.set_clock_offset(order["ahead_s"])
        start_s = self._epoch.on_clock_s(order["start_s"] + order["ahead_s"])
        return self._dispatcher.run(self._phase(order["stage"]), start_s, Share(*order["share"]))

    def _phase(self, stage: int) -> Phase:
        return self._phases[stage] if stage >= 0 else self._plan.recovery_after(-1 - stage)

    def _keep_reporting(self) -> None:
        while True:
            gevent.sleep(TICK_S)
            now_s = self._epoch.clock()
            due = now_s - self._reported_s >= REPORT_EVERY_S
            if due or self._recorder.waiting_rows() >= MANY_ROWS:
                self._send_report()
            if now_s - self._heard_s > MASTER_SILENCE_S:
                logger.critical("The master is gone, so this worker stops.")
                gevent.spawn(self._leave)
                return

    def _leave(self) -> None:
        self.finish()
        self._give_up()

    def _send_report(
        self,
        *,
        order: int | None = None,
        completed: bool = True,
        took_s: float = 0.0,
        leaving: bool = False,
    ) -> None:
        now_s = self._epoch.clock()
        load = None
        if now_s - self._load_reported_s >= LOAD_EVENT_EVERY_S:
            self._load_reported_s = now_s
            load = self._meter.report()
        self._sequence += 1
        self._reported_s = now_s
        self._channel.send(
            REPORT,
            {
                "test": self._test,
                "sequence": self._sequence,
                "rows": rows_to_message(self._recorder.take()),
                "tally": list(astuple(self._recorder.tally)),
                "in_flight": self._dispatcher.in_flight,
                "cpu_fraction": self._meter.cpu_fraction(),
                "load": load,
                "order": order,
                "completed": completed,
                "took_s": took_s,
                "leaving": leaving,
            },
        )
