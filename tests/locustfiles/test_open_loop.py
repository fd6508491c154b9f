"""The dispatcher on a real gevent hub: punctual, in order, never waiting for a sender."""

import time

import gevent
import numpy as np
import pytest

from mwaa_headroom.harness.traffic.arrivals import Purpose, Randomness, TimedArrivals
from mwaa_headroom.harness.traffic.schedule import WHOLE, Share, StageSchedule
from mwaa_headroom.locustfiles.dispatcher import LET_OTHERS_RUN_EVERY, OpenLoop
from mwaa_headroom.locustfiles.senders import SenderPool


def stage(offsets_s, *, first=0, duration_s=0.1):
    return StageSchedule(
        stage=3,
        name="by hand",
        duration_s=duration_s,
        labels=("health",),
        first=first,
        count=len(offsets_s),
        arrivals=TimedArrivals(np.array(offsets_s), duration_s),
        weights=(1.0,),
        mix_randomness=Randomness(1, 0, Purpose.MIX),
    )


class Notes:
    """Remembers what the dispatcher tells, and handles jobs as it is told to."""

    def __init__(self, handle=lambda _: None):
        self.arrivals = []
        self.handled = []
        self._handle = handle

    def arrived(self, job, *, taken):
        self.arrivals.append((job, taken, time.perf_counter()))

    def carry_out(self, job):
        self._handle(job)
        self.handled.append(job.arrival)


@pytest.fixture
def pool():
    return SenderPool()


@pytest.fixture
def loop_of(pool):
    loops = []

    def make(notes, **options):
        loops.append(OpenLoop(pool, notes, **options))
        return loops[-1]

    yield make
    for loop in loops:
        loop.close()


def test_arrivals_come_in_order_and_never_early(pool, loop_of, start_senders):
    notes = Notes()
    start_senders(pool, 4)
    offsets_s = [0.0, 0.01, 0.01, 0.05]
    start_s = time.perf_counter() + 0.02
    assert loop_of(notes).send(stage(offsets_s, first=40), WHOLE, start_s) is True
    assert time.perf_counter() >= start_s + 0.1, "a stage lasts to its end"
    assert notes.handled == [40, 41, 42, 43]
    for (arrived, taken, at_s), offset_s in zip(notes.arrivals, offsets_s, strict=True):
        assert taken
        assert (arrived.stage, arrived.label) == (3, "health")
        assert arrived.intended_s == start_s + offset_s
        assert at_s >= arrived.intended_s


def test_they_are_punctual(loop_of):
    """A thousand a second, half of them within a millisecond, unless the machine is very busy."""
    median_late_s = []
    for _ in range(5):
        notes = Notes()
        due = stage(np.arange(100) / 1000, duration_s=0.1)
        loop_of(notes).send(due, WHOLE, time.perf_counter() + 0.01)
        late_s = [at_s - arrived.intended_s for arrived, _, at_s in notes.arrivals]
        median_late_s.append(np.median(late_s))
    assert min(median_late_s) < 0.001


def test_a_share_is_sent_as_the_whole_has_it(pool, loop_of, start_senders):
    start_senders(pool, 4)
    offsets_s = [0.0, 0.01, 0.02, 0.03, 0.04]
    for worker, arrivals in enumerate([[0, 3], [1, 4], [2]]):
        notes, start_s = Notes(), time.perf_counter()
        loop_of(notes).send(stage(offsets_s), Share(worker, 3), start_s)
        assert [arrived.arrival for arrived, _, _ in notes.arrivals] == arrivals
        for arrived, _, _ in notes.arrivals:
            assert arrived.intended_s == start_s + offsets_s[arrived.arrival]


def test_slow_answers_delay_no_arrival(pool, loop_of, start_senders):
    """The workload is open: 20 arrivals, 3 senders that never come back in time."""
    notes = Notes(lambda _: gevent.sleep(5))
    start_senders(pool, 3)
    began_s = time.perf_counter()
    loop_of(notes).send(stage(np.linspace(0, 0.09, 20)), WHOLE, began_s)
    assert time.perf_counter() - began_s < 4, "it did not wait for the answers"
    assert [taken for _, taken, _ in notes.arrivals] == [True] * 3 + [False] * 17
    assert pool.in_flight == 3


def test_a_sender_that_has_its_answer_is_there_for_the_next_arrival(pool, loop_of, start_senders):
    notes = Notes(lambda _: gevent.sleep(0.01))
    start_senders(pool, 1)
    loop_of(notes).send(stage([0.0, 0.002, 0.5], duration_s=0.51), WHOLE, time.perf_counter())
    assert [taken for _, taken, _ in notes.arrivals] == [True, False, True]


def test_a_dispatcher_far_behind_lets_others_run(pool, loop_of, start_senders):
    """All is due already: senders must still get on, or most arrivals would stay unsent."""
    notes = Notes()
    start_senders(pool, LET_OTHERS_RUN_EVERY)
    count = 20 * LET_OTHERS_RUN_EVERY
    late = stage(np.linspace(0, 0.9, count), duration_s=1.0)
    began_s = time.perf_counter()
    assert loop_of(notes).send(late, WHOLE, began_s - 50) is True
    assert time.perf_counter() - began_s < 10, "nothing was waited for"
    assert [taken for _, taken, _ in notes.arrivals] == [True] * count
    gevent.sleep(0.01)
    assert notes.handled == list(range(count))


def test_cut_short_hands_out_nothing_more(pool, loop_of, start_senders):
    notes = Notes(lambda _: gevent.sleep(0.1))
    start_senders(pool, 1)
    loop = loop_of(notes)
    gevent.spawn_later(0.02, loop.cut_short)
    began_s = time.perf_counter()
    assert loop.send(stage([0.0, 50.0], duration_s=60), WHOLE, began_s) is False
    assert time.perf_counter() - began_s < 20
    assert len(notes.arrivals) == 1
    gevent.sleep(0.15)
    assert notes.handled == [0], "the call in flight came to its end"


def test_cut_short_between_the_last_arrival_and_the_end(loop_of):
    loop = loop_of(Notes())
    gevent.spawn_later(0.02, loop.cut_short)
    assert loop.send(stage([], duration_s=60), WHOLE, time.perf_counter()) is False


def test_what_was_cut_short_is_forgotten_with_the_next_stage(loop_of):
    notes = Notes()
    loop = loop_of(notes)
    loop.cut_short()
    assert loop.send(stage([0.0], duration_s=0.01), WHOLE, time.perf_counter()) is True
    assert len(notes.arrivals) == 1
