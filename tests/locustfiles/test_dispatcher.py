"""The dispatcher on a real gevent hub: punctual, in order, never waiting for a sender."""

import time
from collections.abc import Callable, Iterator
from itertools import count

import gevent
import numpy as np
import pytest
from load_parts import OK, plan_by_hand, scenario_of, transport_by_hand

from mwaa_headroom.harness.traffic.arrivals import Purpose, Randomness, TimedArrivals
from mwaa_headroom.harness.traffic.schedule import Cycle, Share, StageSchedule
from mwaa_headroom.locustfiles import dispatcher as dispatcher_module
from mwaa_headroom.locustfiles.dispatcher import LET_OTHERS_RUN_EVERY, Dispatcher, PreciseTimer
from mwaa_headroom.locustfiles.plan import Phase
from mwaa_headroom.locustfiles.senders import SenderPool

GENEROUS_S = 5.0  # so late may a busy machine wake anybody
LABELS = ("health",)


class Notes:
    """A recorder that remembers what it is told."""

    def __init__(self):
        self.arrivals = []
        self.unsent = []  # after they had been taken
        self.times_s = {}  # of calls that have ended: due, begun and ended on the clock

    def arrived(self, job, taken):
        self.arrivals.append((job, taken, time.perf_counter()))

    def sending(self):
        pass

    def left_unsent(self, job, result):
        self.unsent.append((job.arrival, result.error_code))

    def ended(self, job, started_s, ended_s, result):
        self.times_s[job.arrival] = (job.intended_s, started_s, ended_s)

    @property
    def taken(self):
        return [taken for _, taken, _ in self.arrivals]

    @property
    def numbers(self):
        return [job.arrival for job, _, _ in self.arrivals]


@pytest.fixture
def pool():
    return SenderPool()


@pytest.fixture
def notes():
    return Notes()


@pytest.fixture
def dispatcher_of(pool, notes):
    """Makes the dispatcher of calls that take so long, by a recorder that may be another one."""
    made = []

    def make(takes_s=0.0, recorder=notes):
        transport = transport_by_hand(lambda _: gevent.sleep(takes_s) or OK, longest_call_s=60)
        plan = plan_by_hand(scenario_of({}, {}, {}, {}))
        made.append(Dispatcher(plan, transport, pool, recorder))
        return made[-1]

    yield make
    for one in made:
        one._timer.close()


def stage(offsets_s, *, first=0, duration_s=0.1):
    schedule = StageSchedule(
        stage=3,
        name="by hand",
        duration_s=duration_s,
        labels=LABELS,
        first=first,
        count=len(offsets_s),
        arrivals=TimedArrivals(np.array(offsets_s), duration_s),
        weights=(1.0,),
        mix_randomness=Randomness(1, 0, Purpose.MIX),
    )
    return Phase(3, "by hand", duration_s, LABELS, schedule)


def test_arrivals_come_in_order_and_never_early(notes, dispatcher_of, start_senders, pool):
    start_senders(pool, 4)
    offsets_s = [0.0, 0.01, 0.01, 0.05]
    start_s = time.perf_counter() + 0.02
    assert dispatcher_of().run(stage(offsets_s, first=40), start_s) is True
    assert time.perf_counter() >= start_s + 0.1, "a stage lasts to its end"
    gevent.sleep(0.01)
    assert list(notes.times_s) == [40, 41, 42, 43]
    for (arrived, taken, at_s), offset_s in zip(notes.arrivals, offsets_s, strict=True):
        assert taken
        assert (arrived.stage, arrived.label) == (3, "health")
        assert arrived.intended_s == start_s + offset_s
        assert at_s >= arrived.intended_s


def test_they_are_punctual(dispatcher_of):
    """A thousand a second, half of them within a millisecond, unless the machine is very busy."""
    median_late_s = []
    for _ in range(5):
        notes = Notes()
        dispatcher = dispatcher_of(recorder=notes)
        due = stage(np.arange(100) / 1000, duration_s=0.1)
        dispatcher.run(due, time.perf_counter() + 0.01)
        late_s = [at_s - arrived.intended_s for arrived, _, at_s in notes.arrivals]
        median_late_s.append(np.median(late_s))
    assert min(median_late_s) < 0.001


def test_a_share_is_sent_as_the_whole_has_it(dispatcher_of, start_senders, pool):
    start_senders(pool, 4)
    offsets_s = [0.0, 0.01, 0.02, 0.03, 0.04]
    for worker, arrivals in enumerate([[0, 3], [1, 4], [2]]):
        notes = Notes()
        dispatcher, start_s = dispatcher_of(recorder=notes), time.perf_counter()
        dispatcher.run(stage(offsets_s), start_s, Share(worker, 3))
        assert notes.numbers == arrivals
        for arrived, _, _ in notes.arrivals:
            assert arrived.intended_s == start_s + offsets_s[arrived.arrival]


def test_slow_answers_delay_no_arrival(notes, dispatcher_of, start_senders, pool):
    """The workload is open: 20 arrivals, 3 senders that never come back in time."""
    start_senders(pool, 3)
    dispatcher, began_s = dispatcher_of(takes_s=5), time.perf_counter()
    dispatcher.run(stage(np.linspace(0, 0.09, 20)), began_s)
    assert time.perf_counter() - began_s < 4, "it did not wait for the answers"
    assert notes.taken == [True] * 3 + [False] * 17
    assert pool.in_flight == 3


def test_a_sender_that_has_its_answer_is_there_for_the_next_arrival(
    notes, dispatcher_of, start_senders, pool
):
    start_senders(pool, 1)
    dispatcher = dispatcher_of(takes_s=0.2)
    dispatcher.run(stage([0.0, 0.002, 0.6], duration_s=0.61), time.perf_counter())
    assert notes.taken == [True, False, True]


def test_a_dispatcher_far_behind_lets_others_run(notes, dispatcher_of, start_senders, pool):
    """All is due already: senders must still get on, or most arrivals would stay unsent."""
    start_senders(pool, LET_OTHERS_RUN_EVERY)
    arrivals = 20 * LET_OTHERS_RUN_EVERY
    late = stage(np.linspace(0, 0.09, arrivals))
    transport = transport_by_hand(lambda _: OK)
    dispatcher = Dispatcher(plan_by_hand(scenario_of({}, {}, {}, {})), transport, pool, notes)
    began_s = time.perf_counter()
    assert dispatcher.run(late, began_s - 0.2) is True
    assert time.perf_counter() - began_s < 10, "nothing was waited for"
    assert notes.taken == [True] * arrivals
    gevent.sleep(0.01)
    assert list(notes.times_s) == list(range(arrivals))
    dispatcher.close()


@pytest.fixture
def after_standing_still(notes, start_senders, pool):
    """What became of 30 calls/s, evenly spaced, when the process stood still from 0.2 s to 2 s."""

    def send(cap_per_s):
        start_senders(pool, 90)
        scenario = scenario_of(
            *[{"rate_per_s": 30}] * 4, traffic={"arrivals": "constant"}, max_rate_per_s=cap_per_s
        )
        transport = transport_by_hand(lambda _: OK)
        dispatcher = Dispatcher(plan_by_hand(scenario), transport, pool, notes)
        gevent.spawn_later(0.2, time.sleep, 1.8)
        began_s = time.perf_counter() + 0.01
        assert dispatcher.run(stage(np.arange(75) / 30, duration_s=2.5), began_s) is True
        gevent.sleep(1.1)
        dispatcher.close()
        assert notes.taken == [True] * 75, "no sender was missing"
        return {arrival: began_s for arrival, (_, began_s, _) in notes.times_s.items()}

    return send


@pytest.mark.parametrize("cap_per_s", [30, 1000])
def test_what_was_due_while_the_process_stood_still_is_not_made_up_for(
    notes, after_standing_still, cap_per_s
):
    """Nothing later than a second is sent, and the cap holds in every second."""
    sent_s = after_standing_still(cap_per_s)
    unsent = [arrival for arrival, code in notes.unsent if code == "StartedTooLate"]
    assert sorted([*unsent, *sent_s]) == list(range(75))
    assert len(unsent) >= 15, "those due in the first 0.8 s of standing still, or more"
    for due_s, began_s, _ in notes.times_s.values():
        assert began_s - due_s <= 1.0
    in_order_s = sorted(sent_s.values())
    most = cap_per_s + 1
    for first_s, beyond_s in zip(in_order_s, in_order_s[most:], strict=False):
        assert beyond_s - first_s >= 1.0


def test_users_who_stood_still_do_not_all_call_at_once(notes, dispatcher_of, think_s, pool):
    """Users of a closed workload too: 20 of them, and a cap of 5."""
    think_s.update(dict.fromkeys(range(20), 0.01))
    scenario = scenario_of(
        *[{"users": 20}] * 4,
        traffic={"arrivals": "closed", "think_time_s": 5.0},
        max_rate_per_s=5,
    )
    transport = transport_by_hand(lambda _: OK)
    dispatcher = Dispatcher(plan_by_hand(scenario), transport, pool, notes)
    assert dispatcher.run(users(20, duration_s=0.5), time.perf_counter()) is True
    dispatcher.stop()
    gevent.sleep(1.2)
    began_s = sorted(began_s for _, began_s, _ in notes.times_s.values())
    at_most = 6  # the cap and one
    assert len(began_s) > at_most
    assert all(late - early >= 1.0 for early, late in zip(began_s, began_s[at_most:], strict=False))
    dispatcher.close()


@pytest.mark.parametrize("offsets_s", [[0.0, 50.0], [0.0]])
def test_a_stop_hands_out_nothing_more_now_and_later(
    offsets_s, notes, dispatcher_of, start_senders, pool
):
    """Whether arrivals are left, or only the end of the stage is waited for."""
    start_senders(pool, 1)
    dispatcher = dispatcher_of(takes_s=0.1)
    gevent.spawn_later(0.02, dispatcher.stop)
    began_s = time.perf_counter()
    assert dispatcher.run(stage(offsets_s, duration_s=60), began_s) is False
    assert time.perf_counter() - began_s < 20
    assert len(notes.arrivals) == 1
    gevent.sleep(0.15)
    assert list(notes.times_s) == [0], "the call in flight came to its end"
    assert dispatcher.run(stage([0.0]), time.perf_counter()) is False
    assert len(notes.arrivals) == 1


def test_a_phase_that_is_ended_early_counts_as_over_and_the_next_one_is_sent(notes, dispatcher_of):
    dispatcher = dispatcher_of()
    gevent.spawn_later(0.02, dispatcher.end_phase)
    began_s = time.perf_counter()
    assert dispatcher.run(stage([0.0, 50.0], duration_s=60), began_s) is True
    assert time.perf_counter() - began_s < 20
    assert dispatcher.run(stage([0.0], first=7, duration_s=0.01), time.perf_counter()) is True
    assert notes.numbers == [0, 7]


@pytest.fixture
def think_s(monkeypatch):
    """How long each user thinks before each call; may be filled by a test."""
    of_user = {}

    def cycles(scenario, stage, user):
        return (Cycle(user + 10 * n, 0, of_user[user]) for n in count())

    monkeypatch.setattr(dispatcher_module, "user_cycles", cycles)
    return of_user


def users(number, *, duration_s):
    return Phase(1, "users", duration_s, LABELS, schedule=None, users=number)


def test_a_user_thinks_calls_waits_for_the_answer_and_thinks_again(notes, dispatcher_of, think_s):
    think_s[0] = 0.02
    dispatcher, start_s = dispatcher_of(takes_s=0.03), time.perf_counter() + 0.01
    assert dispatcher.run(users(1, duration_s=0.4), start_s) is True
    gevent.sleep(0.05)
    times_s = [notes.times_s[number] for number in sorted(notes.times_s)]
    assert 2 <= len(times_s) <= 8, "not more than one call every 50 ms"
    ready_s = start_s
    for due_s, began_s, ended_s in times_s:
        assert due_s == pytest.approx(ready_s + 0.02, abs=0.02), "from its last answer on"
        assert due_s >= ready_s + 0.02 - 1e-9
        assert began_s >= due_s, "never before it has thought"
        ready_s = ended_s
    assert notes.numbers == [10 * n for n in range(len(times_s))]
    assert {(job.stage, job.label) for job, _, _ in notes.arrivals} == {(1, "health")}
    assert all(notes.taken), "a user is its own sender"


def test_users_do_not_wait_for_each_other(pool, notes, dispatcher_of, think_s):
    think_s.update(dict.fromkeys(range(6), 0.01))
    dispatcher, began_s = dispatcher_of(takes_s=5.0), time.perf_counter()
    dispatcher.run(users(6, duration_s=0.3), began_s)
    assert time.perf_counter() - began_s < 4, "the end does not wait for answers"
    assert sorted(notes.numbers) == list(range(6)), "one call each"
    assert pool.in_flight == 6


def test_no_call_begins_after_the_end(pool, notes, dispatcher_of, think_s):
    think_s.update(dict.fromkeys(range(5), 0.013))
    dispatcher, start_s = dispatcher_of(takes_s=0.005), time.perf_counter()
    assert dispatcher.run(users(5, duration_s=0.2), start_s) is True
    gevent.sleep(0.1)
    assert max(due_s for due_s, _, _ in notes.times_s.values()) < start_s + 0.2
    assert pool.in_flight == 0
    # Nobody lives on.
    seen = len(notes.times_s)
    gevent.sleep(0.05)
    assert len(notes.times_s) == seen


def test_a_stop_ends_thinking_but_no_call(pool, notes, dispatcher_of, think_s):
    think_s.update({0: 0.001, 1: 30.0})
    dispatcher = dispatcher_of(takes_s=0.1)
    gevent.spawn_later(0.05, dispatcher.stop)
    began_s = time.perf_counter()
    assert dispatcher.run(users(2, duration_s=60), began_s) is False
    assert time.perf_counter() - began_s < 20
    gevent.sleep(0.2)
    assert list(notes.times_s) == [0], "the call in flight came to its end, no other began"
    assert pool.in_flight == 0


def test_workers_share_the_users(dispatcher_of, think_s):
    think_s.update(dict.fromkeys(range(5), 0.02))
    for worker, own in enumerate([{0, 2, 4}, {1, 3}]):
        notes = Notes()
        dispatcher = dispatcher_of(recorder=notes)
        dispatcher.run(users(5, duration_s=0.3), time.perf_counter(), Share(worker, 2))
        assert {number % 10 for number in notes.numbers} == own


@pytest.fixture(params=["timerfd", "polling"])
def timer(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PreciseTimer]:
    if request.param == "polling":
        monkeypatch.setattr(dispatcher_module, "_timer_descriptor", lambda _: None)
    made = PreciseTimer()
    yield made
    made.close()


def took_s(sleep: Callable[[], None]) -> float:
    began_s = time.perf_counter()
    sleep()
    return time.perf_counter() - began_s


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 0.0004, 0.0123, 0.1])
def test_it_sleeps_for_as_long_as_asked(timer: PreciseTimer, seconds: float) -> None:
    for _ in range(5):
        time.sleep(0.002)  # what the loop last took for now is not now
        assert seconds - 1e-5 <= took_s(lambda: timer.sleep(seconds)) < seconds + GENEROUS_S


def test_others_run_meanwhile(timer: PreciseTimer) -> None:
    seen = []
    gevent.spawn(lambda: seen.append(1))
    timer.sleep(0.005)
    assert seen == [1]


def test_a_wake_ends_the_sleep(timer: PreciseTimer) -> None:
    gevent.spawn_later(0.01, timer.wake)
    assert took_s(lambda: timer.sleep(60.0)) < GENEROUS_S


def test_a_wake_before_the_sleep_is_forgotten(timer: PreciseTimer) -> None:
    timer.wake()
    gevent.sleep(0.005)
    assert took_s(lambda: timer.sleep(0.05)) >= 0.04999


def test_one_sleep_after_the_other(timer: PreciseTimer) -> None:
    def sleep_50_times() -> None:
        for _ in range(50):
            timer.sleep(0.001)

    assert took_s(sleep_50_times) >= 0.0499


def test_it_may_be_closed_twice_and_a_closed_one_can_be_woken() -> None:
    closed = PreciseTimer()
    closed.close()
    closed.close()
    closed.wake()
