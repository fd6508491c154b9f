"""Locust's connection between a master and its workers, within one process.

Messages are packed as Locust packs them, queued, and handled by a greenlet of the receiver's. A
test may have them lost or doubled on the way.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gevent
from gevent.queue import SimpleQueue
from locust.rpc.protocol import Message


class Runner:
    """As much of a Locust runner as `locustfiles.channel` needs."""

    def __init__(self, deliver: Callable[[Message], None], node_id: str | None = None) -> None:
        self.clients = SimpleNamespace(all=[])
        self._deliver = deliver
        self._node_id = node_id
        self._listeners: dict[str, tuple[Callable[..., None], bool]] = {}
        self._inbox: SimpleQueue[bytes] = SimpleQueue()
        self.receiver = gevent.spawn(self._receive)

    def send_message(self, kind: str, data: Any = None, client_id: str | None = None) -> None:
        self._deliver(Message(kind, data, self._node_id or client_id))

    def register_message(
        self, kind: str, listener: Callable[..., None], concurrent: bool = False
    ) -> None:
        assert kind not in self._listeners, "Locust takes one listener for each kind of message"
        self._listeners[kind] = (listener, concurrent)

    def take(self, packed: bytes) -> None:
        self._inbox.put(packed)

    def _receive(self) -> None:
        while True:
            message = Message.unserialize(self._inbox.get())
            listener, concurrent = self._listeners[message.type]
            if concurrent:
                gevent.spawn(listener, environment=None, msg=message)
            else:
                listener(environment=None, msg=message)


class Wire:
    """One master and its workers.

    Attributes:
        copies: how many of a message arrive; may be set by a test.
    """

    def __init__(self) -> None:
        self.copies: Callable[[Message], int] = lambda _: 1
        self.master = Runner(self._to_worker)
        self._workers: dict[str, Runner] = {}

    def connect(self, node_id: str) -> Runner:
        worker = Runner(self._to_master, node_id)
        self._workers[node_id] = worker
        self.master.clients.all.append(SimpleNamespace(id=node_id, state="ready"))
        return worker

    def quit(self, node_id: str) -> None:
        """A worker says so to its master before it is gone."""
        if self.copies(Message("quit", None, node_id)):
            self.forget(node_id)

    def forget(self, node_id: str) -> None:
        """The master knows that a worker is gone; calling it twice is fine."""
        kept = [client for client in self.master.clients.all if client.id != node_id]
        self.master.clients.all = kept

    def cut(self) -> None:
        """Nobody hears anything any more."""
        gevent.killall([self.master.receiver, *(w.receiver for w in self._workers.values())])

    def _to_master(self, message: Message) -> None:
        for _ in range(self.copies(message)):
            self.master.take(message.serialize())

    def _to_worker(self, message: Message) -> None:
        for _ in range(self.copies(message)):
            self._workers[message.node_id].take(message.serialize())
