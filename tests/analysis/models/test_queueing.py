"""Queues with known answers: published examples, and laws."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.models.queueing import (
    MultiServerQueue,
    allen_cunneen_wait_s,
    closed_bounds,
    erlang_b,
    erlang_c,
)

stable = st.tuples(st.integers(1, 40), st.floats(0.01, 0.97), st.floats(0.001, 10)).map(
    lambda found: MultiServerQueue(found[0] * found[1] / found[2], found[2], found[0])
)


@pytest.mark.parametrize(
    ("servers", "offered", "waiting"),
    [
        (10, 6, 0.101299),
        (3, 2, 4 / 9),
        (2, 1, 1 / 3),
        (5, 4, 0.554113),
        (1, 0.8, 0.8),
    ],
)
def test_erlang_c(servers: int, offered: float, waiting: float) -> None:
    """Textbook values: C(10, 6) "about 0.10", C(3, 2) = 4/9, C(2, 1) = 1/3."""
    assert erlang_c(offered, servers) == pytest.approx(waiting, abs=1e-6)


def test_fewest_servers_for_no_wait_in_nine_of_ten() -> None:
    """Load 2.5: six servers; five leave 0.8696 without a wait."""
    assert 1 - erlang_c(2.5, 5) == pytest.approx(0.8696, abs=1e-4)
    assert 1 - erlang_c(2.5, 6) > 0.9


@given(st.floats(0.01, 50), st.integers(1, 60))
def test_erlang_b_is_the_sum_it_stands_for(offered: float, servers: int) -> None:
    term, terms = 1.0, [1.0]
    for number in range(1, servers + 1):
        term *= offered / number
        terms.append(term)

    assert erlang_b(offered, servers) == pytest.approx(terms[-1] / sum(terms), rel=1e-9)


def test_two_servers_nearly_busy() -> None:
    """ETH Zurich lecture slides, by Octave's queueing package (qsmmm.m): lambda 9, mu 5, c 2."""
    queue = MultiServerQueue(9.0, 0.2, 2)

    assert queue.utilisation == pytest.approx(0.9)
    assert queue.waiting_probability == pytest.approx(0.852632, abs=1e-6)
    assert queue.arrivals_per_s * queue.mean_wait_s == pytest.approx(7.6737, rel=1e-3)
    assert queue.mean_response_s == pytest.approx(1.05263, rel=1e-3)


def test_four_servers_half_busy() -> None:
    """The same with c 4."""
    queue = MultiServerQueue(9.0, 0.2, 4)

    assert queue.arrivals_per_s * queue.mean_wait_s == pytest.approx(0.1052, rel=1e-3)
    assert queue.mean_response_s == pytest.approx(0.21168, rel=1e-3)


@pytest.mark.parametrize(
    ("visits", "service_s", "utilisation", "response_s"),
    [(16, 0.01, 0.48, 0.01923), (7, 0.02, 0.42, 0.03448), (8, 0.03, 0.72, 0.10714)],
)
def test_single_servers_of_an_open_network(
    visits: int, service_s: float, utilisation: float, response_s: float
) -> None:
    """Jain, The Art of Computer Systems Performance Analysis, example 34.1: 3 jobs/s."""
    queue = MultiServerQueue(3.0 * visits, service_s, 1)

    assert queue.utilisation == pytest.approx(utilisation, rel=1e-3)
    assert queue.mean_response_s == pytest.approx(response_s, rel=1e-3)


def test_responses_of_an_open_network_together() -> None:
    """Jain, example 34.1: 1.4062 s a job, 4.2186 jobs."""
    centres = ((16, 0.01), (7, 0.02), (8, 0.03))
    whole_s = sum(v * MultiServerQueue(3.0 * v, s, 1).mean_response_s for v, s in centres)

    assert whole_s == pytest.approx(1.4062, rel=1e-3)
    assert 3 * whole_s == pytest.approx(4.2186, rel=1e-3)


def test_calls_of_one_length_wait_half_as_long() -> None:
    """M/D/1 at 80 %: 2.0 service times, by Pollaczek and Khinchine; exact there."""
    queue = MultiServerQueue(0.8, 1.0, 1)

    assert allen_cunneen_wait_s(queue, ca2=1.0, cs2=0.0) == pytest.approx(2.0, rel=1e-9)
    assert allen_cunneen_wait_s(queue, ca2=1.0, cs2=1.0) == pytest.approx(queue.mean_wait_s)


def test_asymptotic_bounds_of_twenty_users() -> None:
    """Octave's queueing package, qncsaba.m: demands 9.2 and 8 s, think time 120 s."""
    found = closed_bounds(users=20, demand_s=17.2, largest_demand_s=9.2, think_s=120.0)

    assert found.rate_high_per_s == pytest.approx(0.1087, rel=1e-3)
    assert found.response_low_s == pytest.approx(64.0, rel=1e-3)
    assert found.rate_low_per_s == pytest.approx(20 / (20 * 17.2 + 120), rel=1e-9)
    assert found.response_high_s == pytest.approx(344.0, rel=1e-9)


@given(st.integers(1, 500), st.floats(0.01, 10), st.floats(0.05, 1), st.floats(0.0, 100))
def test_bounds_keep_their_order_and_obey_the_response_law(
    users: int, demand_s: float, part: float, think_s: float
) -> None:
    found = closed_bounds(
        users=users, demand_s=demand_s, largest_demand_s=part * demand_s, think_s=think_s
    )

    assert found.rate_low_per_s <= found.rate_high_per_s * (1 + 1e-12)
    assert found.response_low_s <= found.response_high_s * (1 + 1e-12)
    assert users / found.rate_high_per_s - think_s == pytest.approx(
        found.response_low_s, rel=1e-6, abs=1e-6
    )


@given(stable)
def test_one_queue_is_never_worse_than_one_for_each_server(queue: MultiServerQueue) -> None:
    apart = MultiServerQueue(queue.arrivals_per_s / queue.servers, queue.service_s, 1)

    assert queue.mean_response_s <= apart.mean_response_s * (1 + 1e-9)
    assert queue.mean_response_s >= queue.service_s
