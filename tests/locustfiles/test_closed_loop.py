"""Users with think time: each waits for its answer, and none calls after the end."""

import time
from itertools import count

import gevent
import pytest
from load_parts import scenario_of

from mwaa_headroom.harness.traffic.schedule import Cycle, Share, user_cycles, users_of
from mwaa_headroom.locustfiles.dispatcher import ClosedLoop
from mwaa_headroom.locustfiles.senders import SenderPool

LABELS = ("health", "dags")


class Calls:
    """Remembers calls: due, begun and ended on the clock."""

    def __init__(self, takes_s):
        self.takes_s = takes_s
        self.arrived_jobs = []
        self.times_s = {}

    def arrived(self, job, *, taken):
        assert taken, "a user is its own sender"
        self.arrived_jobs.append(job)

    def carry_out(self, job):
        began_s = time.perf_counter()
        gevent.sleep(self.takes_s)
        self.times_s[job.arrival] = (job.intended_s, began_s, time.perf_counter())


def user(number, users, think_s):
    return (Cycle(number + users * n, n % 2, think_s) for n in count())


@pytest.fixture
def pool():
    return SenderPool()


def work(pool, calls, users, *, duration_s, loop=None):
    start_s = time.perf_counter() + 0.01
    done = (loop or ClosedLoop(pool, calls)).work(
        1, users, LABELS, start_s=start_s, duration_s=duration_s
    )
    return start_s, done


def test_a_user_thinks_calls_waits_for_the_answer_and_thinks_again(pool):
    calls = Calls(takes_s=0.03)
    start_s, done = work(pool, calls, [user(0, 1, 0.02)], duration_s=0.4)
    assert done is True
    gevent.sleep(0.05)
    times_s = [calls.times_s[number] for number in sorted(calls.times_s)]
    assert 2 <= len(times_s) <= 8, "not more than one call every 50 ms"
    ready_s = start_s
    for due_s, began_s, ended_s in times_s:
        assert due_s == pytest.approx(ready_s + 0.02, abs=0.02), "from its last answer on"
        assert due_s >= ready_s + 0.02 - 1e-9
        assert began_s >= due_s, "never before it has thought"
        ready_s = ended_s
    assert [job.arrival for job in calls.arrived_jobs] == list(range(len(times_s)))
    assert [job.label for job in calls.arrived_jobs[:2]] == ["health", "dags"]
    assert {job.stage for job in calls.arrived_jobs} == {1}


def test_users_do_not_wait_for_each_other(pool):
    calls = Calls(takes_s=5.0)
    began_s = time.perf_counter()
    work(pool, calls, [user(n, 6, 0.01) for n in range(6)], duration_s=0.3)
    assert time.perf_counter() - began_s < 4, "the end does not wait for answers"
    assert sorted(job.arrival for job in calls.arrived_jobs) == list(range(6)), "one call each"
    assert pool.in_flight == 6


def test_no_call_begins_after_the_end(pool):
    calls = Calls(takes_s=0.005)
    start_s, done = work(pool, calls, [user(n, 5, 0.013) for n in range(5)], duration_s=0.2)
    assert done is True
    gevent.sleep(0.1)
    assert max(due_s for due_s, _, _ in calls.times_s.values()) < start_s + 0.2
    assert pool.in_flight == 0
    # Nobody lives on.
    seen = len(calls.times_s)
    gevent.sleep(0.05)
    assert len(calls.times_s) == seen


def test_cut_short_ends_thinking_but_no_call(pool):
    calls = Calls(takes_s=0.1)
    loop = ClosedLoop(pool, calls)
    users = [user(0, 2, 0.001), user(1, 2, 30.0)]
    gevent.spawn_later(0.05, loop.cut_short)
    began_s = time.perf_counter()
    _, done = work(pool, calls, users, duration_s=60, loop=loop)
    assert done is False
    assert time.perf_counter() - began_s < 20
    gevent.sleep(0.2)
    assert list(calls.times_s) == [0], "the call in flight came to its end, no other began"
    assert pool.in_flight == 0


def test_the_next_stage_is_not_cut_short(pool):
    calls = Calls(takes_s=0.0)
    loop = ClosedLoop(pool, calls)
    loop.cut_short()
    _, done = work(pool, calls, [user(0, 1, 0.01)], duration_s=0.2, loop=loop)
    assert done is True
    assert calls.times_s


def test_workers_share_the_users():
    scenario = scenario_of(
        {"users": 5}, traffic={"arrivals": "closed", "think_time_s": 0.02, "mix": {"health": 1}}
    )
    seen = []
    for worker in range(2):
        calls = Calls(takes_s=0.001)
        users = [user_cycles(scenario, 0, n) for n in users_of(5, Share(worker, 2))]
        work(SenderPool(), calls, users, duration_s=0.3)
        seen.append({job.arrival % 5 for job in calls.arrived_jobs})
    assert seen == [{0, 2, 4}, {1, 3}]
