"""Arrival schedules obey the laws of the processes they claim to be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.traffic.arrivals import stage_arrivals

KINDS = ["poisson", "constant"]

rates = st.floats(0.1, 200)
durations = st.floats(0.5, 60)
seeds = st.integers(-(2**70), 2**70)


@given(st.sampled_from(KINDS), rates, st.none() | rates, durations, seeds, st.integers(0, 50))
def test_always_inside_the_stage_in_order_and_reproducible(kind, rate, to, duration, seed, index):
    def draw():
        return stage_arrivals(
            kind,
            rate,
            ramp_to_rate_per_s=to,
            duration_s=duration,
            seed=seed,
            stage_index=index,
        )

    offsets = draw()
    assert np.array_equal(offsets, draw())
    assert np.all(np.diff(offsets) >= 0)
    assert np.all(offsets >= 0)
    assert np.all(offsets < duration)


@given(rates, st.none() | rates, durations, seeds)
def test_constant_arrivals_are_as_many_as_the_rate_says(rate, to, duration, seed):
    offsets = stage_arrivals(
        "constant", rate, ramp_to_rate_per_s=to, duration_s=duration, seed=seed, stage_index=0
    )
    expected = (rate + (rate if to is None else to)) / 2 * duration
    assert abs(len(offsets) - expected) < 1


@given(rates, durations, seeds)
def test_constant_gaps_are_equal(rate, duration, seed):
    offsets = stage_arrivals("constant", rate, duration_s=duration, seed=seed, stage_index=0)
    assert np.allclose(np.diff(offsets), 1 / rate, rtol=1e-6)


@given(rates, rates, durations)
def test_constant_ramp_follows_the_integral_of_the_rate(start, end, duration):
    """The number of arrivals up to t is the area under the rate line, within one."""
    offsets = stage_arrivals(
        "constant", start, ramp_to_rate_per_s=end, duration_s=duration, seed=1, stage_index=0
    )
    for t in np.linspace(0, duration, 7):
        area = start * t + (end - start) * t**2 / (2 * duration)
        assert abs(np.searchsorted(offsets, t) - area) < 1 + 1e-6 * area


def test_a_whole_number_of_constant_arrivals_is_exact():
    counts = {
        len(stage_arrivals("constant", 10, duration_s=30, seed=seed, stage_index=0))
        for seed in range(50)
    }
    assert counts == {300}


def test_poisson_counts_have_mean_equal_to_variance():
    counts = [
        len(stage_arrivals("poisson", 20, duration_s=10, seed=seed, stage_index=0))
        for seed in range(2000)
    ]
    # Five standard errors of the mean and of the variance of 2000 Poisson(200) draws.
    assert np.mean(counts) == pytest.approx(200, abs=5 * np.sqrt(200 / 2000))
    assert np.var(counts, ddof=1) == pytest.approx(200, abs=5 * 200 * np.sqrt(2 / 1999))


def test_poisson_gaps_are_exponential_and_uncorrelated():
    offsets = stage_arrivals("poisson", 50, duration_s=400, seed=3, stage_index=2)
    gaps = np.diff(offsets)
    assert stats.kstest(gaps, "expon", args=(0, 1 / 50)).pvalue > 0.01
    correlation = np.corrcoef(gaps[:-1], gaps[1:])[0, 1]
    assert abs(correlation) < 5 / np.sqrt(len(gaps))


@pytest.mark.parametrize(("start", "end"), [(1.0, 99.0), (99.0, 1.0)], ids=["up", "down"])
def test_poisson_ramp_is_uniform_on_the_axis_of_expected_arrivals(start, end):
    """Time-rescaling: L(t) of the arrivals of an inhomogeneous Poisson process is uniform."""
    duration = 200.0
    offsets = stage_arrivals(
        "poisson", start, ramp_to_rate_per_s=end, duration_s=duration, seed=5, stage_index=0
    )
    expected = (start + end) / 2 * duration
    rescaled = start * offsets + (end - start) * offsets**2 / (2 * duration)
    assert len(offsets) == pytest.approx(expected, abs=5 * np.sqrt(expected))
    assert stats.kstest(rescaled / expected, "uniform").pvalue > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_and_stages_give_other_arrivals(kind):
    def draw(seed, stage_index):
        return stage_arrivals(kind, 20, duration_s=5, seed=seed, stage_index=stage_index)[0]

    firsts = {draw(seed, stage) for seed in range(5) for stage in range(5)}
    assert len(firsts) == 25
