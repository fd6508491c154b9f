"""The pool of senders: as many jobs as idle senders, and none is waited for."""

import gevent
import pytest
from load_parts import job

from mwaa_headroom.locustfiles.senders import SenderPool


def test_a_pool_takes_as_many_jobs_as_it_has_idle_senders(start_senders):
    pool, done = SenderPool(), []

    def handle(taken):
        gevent.sleep(0.02)
        done.append(taken.arrival)

    assert not pool.offer(job(), handle), "nobody is there"
    start_senders(pool, 2)
    # Without a switch in between: a sender that is being woken up must not count as idle.
    assert [pool.offer(job(n), handle) for n in range(3)] == [True, True, False]
    assert (pool.in_flight, pool.idle) == (2, 0)
    gevent.sleep(0.1)
    assert sorted(done) == [0, 1]
    assert (pool.in_flight, pool.idle) == (0, 2)


def test_a_job_of_ones_own_needs_no_sender():
    pool, seen = SenderPool(), []
    pool.run(job(5), lambda taken: seen.append((taken.arrival, pool.in_flight)))
    assert seen == [(5, 1)]
    assert (pool.in_flight, pool.idle) == (0, 0)


def test_a_killed_sender_is_no_longer_idle():
    pool = SenderPool()
    sender = gevent.spawn(pool.serve)
    gevent.sleep(0)
    assert pool.idle == 1
    sender.kill()
    assert pool.idle == 0
    assert not pool.offer(job(), print)


def test_a_handler_that_breaks_frees_its_place():
    pool = SenderPool()

    def serve():
        with pytest.raises(ZeroDivisionError):
            pool.serve()

    sender = gevent.spawn(serve)
    gevent.sleep(0)
    pool.offer(job(), lambda _: 1 / 0)
    sender.join()
    assert pool.in_flight == 0
    with pytest.raises(ZeroDivisionError):
        pool.run(job(), lambda _: 1 / 0)
    assert pool.in_flight == 0
