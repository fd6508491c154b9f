"""Messages between a master and its workers, over Locust's own connection.

    master -> worker
        plan    {"test", "number", "plan", "statistics"}
        ping    {"test", "sent_s"}, every second, and more often at first
        order   {"test", "order", "do": "send", "stage", "share", "start_s", "ahead_s"}
                {"test", "order", "do": "drain" | "close"}
                {"test", "do": "end_phase" | "stop"}, at once, whatever goes on
    worker -> master
        ready   {"test", "cpus", "longest_drain_s", "error"}
        pong    {"test", "sent_s", "now_s"}
        report  {"test", "sequence", "rows", "tally", "in_flight", "cpu_fraction", "load",
                 "order", "completed", "took_s", "leaving"}

`test` tells the tests of one Locust session apart; `start_s` is in epoch seconds of the master's
clock, which the worker's own is `ahead_s` ahead of; `rows` is an Arrow IPC stream.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
from locust.exception import RPCError

from mwaa_headroom.analysis.schema import REQUESTS_SCHEMA

PLAN, PING, ORDER = "headroom_plan", "headroom_ping", "headroom_order"
READY, PONG, REPORT = "headroom_ready", "headroom_pong", "headroom_report"

Handler = Callable[[str, Mapping[str, Any]], None]

logger = logging.getLogger(__name__)


class Channel:
    """One end of the connection, for as long as its Locust session lives.

    Args:
        runner: Locust's runner, of a master or a worker.
    """

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self._handlers: dict[str, tuple[int | None, Handler]] = {}
        # Locust takes one listener per kind, keeps it for ever, and warns of kinds without one.
        for kind in (PLAN, PING, ORDER, READY, PONG, REPORT):
            # A plan takes long to prepare, and meanwhile other messages must be heard.
            runner.register_message(kind, self._on_message, concurrent=kind == PLAN)

    def connected_workers(self) -> list[str]:
        """Ids of the workers that are connected now; of a master only."""
        return [client.id for client in self._runner.clients.all if client.state != "missing"]

    def send(self, kind: str, data: Mapping[str, Any], worker_id: str | None = None) -> bool:
        """Send to one worker, or from a worker to its master; False if that is impossible now."""
        try:
            self._runner.send_message(kind, dict(data), worker_id)
        except RPCError as exc:
            logger.warning("A message (%s) could not be sent: %s", kind, exc)
            return False
        return True

    def listen(self, kind: str, handle: Handler, *, test: int | None = None) -> None:
        """Have `handle(sender's id, data)` called from now on, and nothing else for this kind.

        Messages of another `test` are dropped, unless it is None, and so is what nobody listens to:
        it is for a test that is over or that this process has refused.
        """
        self._handlers[kind] = (test, handle)

    def _on_message(self, msg: Any, **_: Any) -> None:
        if msg.type in self._handlers:
            test, handle = self._handlers[msg.type]
            if test is None or msg.data["test"] == test:
                handle(msg.node_id, msg.data)


def rows_to_message(batch: pa.RecordBatch | None) -> bytes | None:
    """Rows with REQUESTS_SCHEMA as one message."""
    if batch is None:
        return None
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def rows_from_message(message: bytes | None) -> list[pa.RecordBatch]:
    """The rows of `rows_to_message`.

    Raises:
        ValueError: they have other columns, so they come from another version.
    """
    if message is None:
        return []
    with pa.ipc.open_stream(pa.py_buffer(message)) as reader:
        if reader.schema != REQUESTS_SCHEMA:
            raise ValueError("a worker sent rows of another version")
        return list(reader)
