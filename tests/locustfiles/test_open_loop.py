"""Pool and dispatcher on a real gevent hub: punctual, in order, never waiting for a sender."""

import time

import gevent
import numpy as np
import pytest

from harness.traffic.schedule import StageSchedule
from locustfiles.open_loop import OpenLoop
from locustfiles.pool import Job, SenderPool


def stage(offsets_s: list[float], *, index: int = 0, first: int = 0, duration_s: float = 0.1):
    count = len(offsets_s)
    return StageSchedule(
        stage=index,
        name=f"stage {index}",
        duration_s=duration_s,
        arrival=np.arange(first, first + count),
        offset_s=np.array(offsets_s),
        label=np.zeros(count, dtype=np.int64),
        labels=("health",),
    )


class Notes:
    """Remembers what the dispatcher tells."""

    def __init__(self) -> None:
        self.told: list[tuple] = []
        self.arrivals: list[tuple[Job, bool, float]] = []

    def stage_started(self, schedule, at_s):
        self.told.append(("started", schedule.stage, at_s))

    def arrived(self, job, *, taken):
        self.arrivals.append((job, taken, time.perf_counter()))

    def stage_ended(self, schedule, at_s):
        self.told.append(("ended", schedule.stage, at_s))

    def drained(self, schedule, *, in_flight_left, took_s):
        self.told.append(("drained", schedule.stage, in_flight_left, took_s))


@pytest.fixture
def start_senders():
    senders = []

    def start(pool: SenderPool, count: int, handle) -> None:
        def serve():
            while True:
                pool.serve_one(handle)

        senders.extend(gevent.spawn(serve) for _ in range(count))
        gevent.sleep(0)  # they are idle now

    yield start
    gevent.killall(senders)


def job(arrival: int = 0) -> Job:
    return Job(arrival, 0, "health", 0.0)


def test_a_pool_takes_as_many_jobs_as_it_has_idle_senders(start_senders):
    pool, done = SenderPool(), []
    assert not pool.offer(job()), "nobody is there"
    start_senders(pool, 2, lambda j: (gevent.sleep(0.02), done.append(j.arrival)))
    # Without a switch in between: a sender that is being woken up must not count as idle.
    assert [pool.offer(job(n)) for n in range(3)] == [True, True, False]
    assert pool.in_flight == 2
    gevent.sleep(0.1)
    assert sorted(done) == [0, 1]
    assert (pool.in_flight, pool.idle) == (0, 2)


def test_a_killed_sender_is_no_longer_idle():
    pool = SenderPool()
    sender = gevent.spawn(pool.serve_one, lambda _: None)
    gevent.sleep(0)
    assert pool.idle == 1
    sender.kill()
    assert pool.idle == 0
    assert not pool.offer(job())


def test_a_handler_that_breaks_frees_its_place():
    pool = SenderPool()

    def serve():
        with pytest.raises(ZeroDivisionError):
            pool.serve_one(lambda _: 1 / 0)

    sender = gevent.spawn(serve)
    gevent.sleep(0)
    pool.offer(job())
    sender.join()
    assert pool.in_flight == 0


def test_arrivals_come_in_order_never_early_and_stages_follow_each_other(start_senders):
    pool, notes, handled = SenderPool(), Notes(), []
    start_senders(pool, 4, lambda j: handled.append(j.arrival))
    offsets = [0.0, 0.01, 0.01, 0.05]
    stages = [stage(offsets), stage(offsets, index=1, first=4)]
    assert OpenLoop(pool, notes, drain_s=1).run(stages) is True
    assert handled == list(range(8))
    starts = {told[1]: told[2] for told in notes.told if told[0] == "started"}
    for arrived, taken, at_s in notes.arrivals:
        intended = starts[arrived.stage] + offsets[arrived.arrival % 4]
        assert taken
        assert arrived.intended_s == pytest.approx(intended)
        assert at_s >= arrived.intended_s
    assert [told[:2] for told in notes.told] == [
        ("started", 0),
        ("ended", 0),
        ("drained", 0),
        ("started", 1),
        ("ended", 1),
        ("drained", 1),
    ]
    ends = {told[1]: told[2] for told in notes.told if told[0] == "ended"}
    assert ends[0] == pytest.approx(starts[0] + 0.1)
    assert starts[1] >= ends[0]


def test_slow_answers_delay_no_arrival(start_senders):
    """The workload is open: 20 arrivals, 3 senders that never come back in time."""
    pool, notes = SenderPool(), Notes()
    start_senders(pool, 3, lambda _: gevent.sleep(0.5))
    began = time.perf_counter()
    OpenLoop(pool, notes, drain_s=0.02).run([stage(np.linspace(0, 0.09, 20).tolist())])
    assert time.perf_counter() - began < 0.4, "it did not wait for the answers"
    assert [taken for _, taken, _ in notes.arrivals] == [True] * 3 + [False] * 17
    name, _, left, took_s = notes.told[-1]
    assert (name, left) == ("drained", 3)
    assert took_s >= 0.02


def test_draining_ends_with_the_last_call(start_senders):
    pool, notes = SenderPool(), Notes()
    start_senders(pool, 1, lambda _: gevent.sleep(0.2))
    OpenLoop(pool, notes, drain_s=30).run([stage([0.0], duration_s=0.01)])
    _, _, left, took_s = notes.told[-1]
    assert left == 0
    assert 0.1 < took_s < 10


def test_stopping_hands_out_nothing_more_but_drains(start_senders):
    pool, notes, handled = SenderPool(), Notes(), []
    start_senders(pool, 1, lambda j: (gevent.sleep(0.1), handled.append(j.arrival)))
    loop = OpenLoop(pool, notes, drain_s=30)
    gevent.spawn_later(0.05, loop.stop)
    assert loop.run([stage([0.0, 50.0], duration_s=60), stage([0.0], index=1)]) is False
    assert handled == [0], "the call in flight came to its end"
    assert len(notes.arrivals) == 1
    assert [told[:2] for told in notes.told] == [("started", 0), ("drained", 0)]


def test_stopped_before_it_began():
    notes = Notes()
    loop = OpenLoop(SenderPool(), notes, drain_s=1)
    loop.stop()
    assert loop.run([stage([0.0])]) is False
    assert notes.told == []
