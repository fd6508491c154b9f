"""Messages between a master and its workers, packed and unpacked as Locust does it."""

import gevent
import pyarrow as pa
import pytest
from locust.rpc.protocol import Message
from rows_by_hand import rows_by_hand
from wire import Wire

from mwaa_headroom.analysis.schema import REQUESTS_SCHEMA
from mwaa_headroom.locustfiles.channel import (
    PING,
    PLAN,
    PONG,
    Channel,
    rows_from_message,
    rows_to_message,
)


def sent(rows):
    message = Message("headroom_report", {"rows": rows}, "worker-1").serialize()
    return Message.unserialize(message).data["rows"]


def test_only_the_last_test_hears_of_a_kind():
    """Locust keeps one listener for ever, but the web UI can start one test after the other."""
    wire, first, second, any_test = Wire(), [], [], []
    worker, master = Channel(wire.connect("worker-0")), Channel(wire.master)
    master.listen(PONG, lambda _, data: first.append(data["test"]), test=1)
    master.listen(PLAN, lambda name, data: any_test.append((name, data["test"])))
    worker.send(PONG, {"test": 1})
    gevent.sleep(0.01)
    master.listen(PONG, lambda _, data: second.append(data["test"]), test=2)
    for kind in (PONG, PLAN):
        for test in (1, 2, 3):
            worker.send(kind, {"test": test})
    gevent.sleep(0.01)
    assert (first, second) == ([1], [2])
    assert any_test == [("worker-0", 1), ("worker-0", 2), ("worker-0", 3)]
    wire.cut()


def test_what_nobody_listens_to_is_dropped():
    """As an order to a worker that has refused the plan; what comes later is heard."""
    wire, heard = Wire(), []
    worker, master = Channel(wire.connect("worker-0")), Channel(wire.master)
    master.send(PING, {"test": 1, "sent_s": 2.5}, "worker-0")
    gevent.sleep(0.01)
    worker.listen(PING, lambda _, data: heard.append(data["sent_s"]))
    master.send(PING, {"test": 1, "sent_s": 3.5}, "worker-0")
    gevent.sleep(0.01)
    assert heard == [3.5]
    wire.cut()


def test_a_message_reaches_the_worker_it_is_for():
    wire, heard = Wire(), []
    for name in ("worker-0", "worker-1"):
        channel = Channel(wire.connect(name))
        channel.listen(PING, lambda _, data, name=name: heard.append((name, data["sent_s"])))
    master = Channel(wire.master)
    assert master.connected_workers() == ["worker-0", "worker-1"]
    assert master.send(PING, {"test": 1, "sent_s": 2.5}, "worker-1")
    gevent.sleep(0.01)
    assert heard == [("worker-1", 2.5)]
    wire.cut()


def test_rows_arrive_as_they_were_sent():
    batch = rows_by_hand([3, 1], stage=-1, outcome="unsent")
    (arrived,) = rows_from_message(sent(rows_to_message(batch)))
    assert arrived.equals(batch)
    assert rows_from_message(sent(rows_to_message(None))) == []


def test_rows_of_another_version_are_refused():
    other = rows_by_hand([1]).rename_columns([f"{name}_2" for name in REQUESTS_SCHEMA.names])
    with pytest.raises(ValueError, match="another version"):
        rows_from_message(rows_to_message(other))


def test_what_is_no_rows_is_no_crash_of_the_interpreter():
    with pytest.raises(pa.ArrowInvalid):
        rows_from_message(b"not arrow")
