"""Arrivals obey the laws of the processes they claim to be, block by block."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mwaa_headroom.harness.traffic import arrivals
from mwaa_headroom.harness.traffic.arrivals import (
    BLOCK,
    CappedArrivals,
    PacedArrivals,
    Purpose,
    Ramp,
    Randomness,
    Steps,
    TimedArrivals,
)

KINDS = ["poisson", "constant"]

rates = st.floats(0.1, 200)
durations = st.floats(0.5, 60)
seeds = st.integers(-(2**70), 2**70)


def ramp(kind, rate, *, to=None, duration_s, seed=1, stage=0):
    pace = Ramp(rate, rate if to is None else to, duration_s)
    return PacedArrivals(kind, pace, duration_s, Randomness(seed, stage, Purpose.ARRIVALS))


def steps(changes, duration_s, *, kind="poisson", seed=1):
    times, levels = (np.array(column, dtype=float) for column in zip(*changes, strict=True))
    pace = Steps.held(times, levels, duration_s)
    return PacedArrivals(kind, pace, duration_s, Randomness(seed, 0, Purpose.ARRIVALS))


def offsets_of(source):
    return np.concatenate([np.empty(0), *source.blocks()])


@st.composite
def rate_changes(draw):
    """Lines of a trace of rates; some of them are zero, the first is not."""
    gaps = draw(st.lists(st.floats(0.05, 10), max_size=8))
    levels = draw(st.lists(st.just(0.0) | rates, min_size=len(gaps), max_size=len(gaps)).map(list))
    return list(zip([0.0, *np.cumsum(gaps)], [draw(rates), *levels], strict=True))


@given(st.sampled_from(KINDS), rates, st.none() | rates, durations, seeds, st.integers(0, 50))
def test_always_inside_the_stage_in_order_and_reproducible(kind, rate, to, duration, seed, index):
    source = ramp(kind, rate, to=to, duration_s=duration, seed=seed, stage=index)
    offsets = offsets_of(source)
    assert np.array_equal(offsets, offsets_of(source))
    assert source.count() == len(offsets)
    assert np.all(np.diff(offsets) >= 0)
    assert np.all(offsets >= 0)
    assert np.all(offsets < duration)


@given(rate_changes(), durations, seeds)
def test_arrivals_of_a_rate_that_changes_at_once_are_inside_the_stage_too(changes, duration, seed):
    source = steps(changes, duration, seed=seed)
    offsets = offsets_of(source)
    assert source.count() == len(offsets)
    assert np.all(np.diff(offsets) >= 0)
    assert np.all((offsets >= 0) & (offsets < duration))


@given(st.sampled_from(KINDS), rates, rates, durations, st.integers(1, 50))
def test_the_size_of_blocks_changes_nothing(kind, rate, to, duration, block):
    whole = offsets_of(ramp(kind, rate, to=to, duration_s=duration))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrivals, "BLOCK", block)
        source = ramp(kind, rate, to=to, duration_s=duration)
        blocks = list(source.blocks())
        assert source.count() == len(whole)
    assert all(1 <= len(part) <= block for part in blocks)
    assert np.allclose(np.concatenate([np.empty(0), *blocks]), whole, rtol=1e-9, atol=1e-12)


@given(rates, st.none() | rates, durations, seeds)
def test_constant_arrivals_are_as_many_as_the_rate_says(rate, to, duration, seed):
    count = ramp("constant", rate, to=to, duration_s=duration, seed=seed).count()
    expected = (rate + (rate if to is None else to)) / 2 * duration
    assert abs(count - expected) < 1


@given(rates, durations, seeds)
def test_constant_gaps_are_equal(rate, duration, seed):
    offsets = offsets_of(ramp("constant", rate, duration_s=duration, seed=seed))
    assert np.allclose(np.diff(offsets), 1 / rate, rtol=1e-6)


@given(rates, rates, durations)
def test_constant_ramp_follows_the_integral_of_the_rate(start, end, duration):
    """The number of arrivals up to t is the area under the rate line, within one."""
    offsets = offsets_of(ramp("constant", start, to=end, duration_s=duration))
    for t in np.linspace(0, duration, 7):
        area = start * t + (end - start) * t**2 / (2 * duration)
        assert abs(np.searchsorted(offsets, t) - area) < 1 + 1e-6 * area


@given(rate_changes(), durations)
def test_evenly_spaced_arrivals_follow_the_area_under_a_rate_that_changes_at_once(
    changes, duration
):
    offsets = offsets_of(steps(changes, duration, kind="constant"))
    fine = np.linspace(0, duration, 200_001)[:-1]
    times, levels = zip(*changes, strict=True)
    level = np.array(levels)[np.searchsorted(times, fine, side="right") - 1]
    for share in (0.25, 0.5, 1.0):
        area = level[: int(200_000 * share)].sum() * duration / 200_000
        came = np.searchsorted(offsets, duration * share)
        # Sampling the rate misses a change by one sample at most.
        assert abs(came - area) < 1 + 10 * 200 * duration / 200_000


@given(rates, durations, seeds, st.lists(st.floats(0.01, 60), max_size=5, unique=True))
def test_a_trace_of_one_rate_is_that_rate(rate, duration, seed, repeats):
    lines = [(0.0, rate), *((at, rate) for at in sorted(repeats))]
    held = offsets_of(steps(lines, duration, seed=seed))
    plain = offsets_of(ramp("poisson", rate, duration_s=duration, seed=seed))
    assert abs(len(held) - len(plain)) <= 1  # a call due at the very end may round either way
    common = min(len(held), len(plain))
    assert np.allclose(held[:common], plain[:common], rtol=1e-9, atol=1e-9)


def test_ramp_and_steps_worked_out_by_hand():
    """L(t) = t + t^2 / 10 from 1/s to 3/s in 10 s; and 2/s for 3 s, 0/s for 2 s, 4/s for 5 s."""
    rising = Ramp(1.0, 3.0, 10.0)
    assert rising.expected == 20
    assert rising.time_of(np.array([0.0, 1.1, 7.5, 20.0])) == pytest.approx([0, 1, 5, 10])

    stepped = Steps.held(np.array([0.0, 3.0, 5.0, 12.0]), np.array([2.0, 0.0, 4.0, 9.0]), 10.0)
    assert stepped.expected == 26
    assert stepped.time_of(np.array([0.0, 3.0, 6.5, 8.0, 26.0])) == pytest.approx(
        [0, 1.5, 5.125, 5.5, 10]
    )


@pytest.mark.parametrize(
    ("kind", "to", "count", "first", "last"),
    [
        ("poisson", None, 51, (0.3418993568904444, 0.36550142214493636), 4.9112308862874405),
        ("poisson", 30, 96, (0.32125801451271413, 0.3420955491898371), 4.993976555287733),
        ("constant", 30, 100, (0.06829470042598453, 0.16385766666242843), 4.98973548720088),
    ],
)
def test_a_seed_keeps_its_meaning(kind, to, count, first, last):
    """10 calls/s for 5 s, seed 1, as the first version of the harness drew them."""
    offsets = offsets_of(ramp(kind, 10, to=to, duration_s=5))
    assert len(offsets) == count
    assert [*offsets[:2], offsets[-1]] == pytest.approx([*first, last], rel=1e-12)


def test_a_whole_number_of_constant_arrivals_is_exact():
    counts = {ramp("constant", 10, duration_s=30, seed=seed).count() for seed in range(50)}
    assert counts == {300}


@pytest.mark.parametrize(
    "source_of",
    [
        lambda seed: ramp("poisson", 20, duration_s=10, seed=seed),
        lambda seed: steps([(0, 50), (2, 0), (5, 20), (20, 1)], 10, seed=seed),
    ],
    ids=["rate", "trace of rates"],
)
def test_poisson_counts_have_mean_equal_to_variance(source_of):
    counts = [source_of(seed).count() for seed in range(600)]
    # Five standard errors of the mean and of the variance of 600 Poisson(200) draws.
    assert np.mean(counts) == pytest.approx(200, abs=5 * np.sqrt(200 / 600))
    assert np.var(counts, ddof=1) == pytest.approx(200, abs=5 * 200 * np.sqrt(2 / 599))


def test_poisson_gaps_are_exponential_and_uncorrelated_over_blocks():
    offsets = offsets_of(ramp("poisson", 500, duration_s=400, seed=3, stage=2))
    assert len(offsets) > 3 * BLOCK
    gaps = np.diff(offsets)
    assert stats.kstest(gaps, "expon", args=(0, 1 / 500)).pvalue > 0.01
    correlation = np.corrcoef(gaps[:-1], gaps[1:])[0, 1]
    assert abs(correlation) < 5 / np.sqrt(len(gaps))


@pytest.mark.parametrize(("start", "end"), [(1.0, 99.0), (99.0, 1.0)], ids=["up", "down"])
def test_poisson_ramp_is_uniform_on_the_axis_of_expected_arrivals(start, end):
    """Time-rescaling: L(t) of the arrivals of an inhomogeneous Poisson process is uniform."""
    duration = 200.0
    offsets = offsets_of(ramp("poisson", start, to=end, duration_s=duration, seed=5))
    expected = (start + end) / 2 * duration
    rescaled = start * offsets + (end - start) * offsets**2 / (2 * duration)
    assert len(offsets) == pytest.approx(expected, abs=5 * np.sqrt(expected))
    assert stats.kstest(rescaled / expected, "uniform").pvalue > 0.01


def test_nothing_is_due_while_the_rate_is_zero():
    offsets = offsets_of(steps([(0, 40), (3, 0), (5, 40), (7, 0)], 60))
    assert len(offsets) > 100
    assert np.all((offsets < 3) | ((offsets >= 5) & (offsets < 7)))


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_stages_and_purposes_give_other_arrivals(kind):
    def draw(seed, stage, purpose):
        randomness = Randomness(seed, stage, purpose)
        return offsets_of(PacedArrivals(kind, Ramp(20, 20, 5), 5, randomness))[0]

    firsts = {draw(*key) for key in np.ndindex(4, 4, 3)}
    assert len(firsts) == 48


def test_given_times_are_played_exactly_until_the_stage_ends():
    times = np.sort(np.random.default_rng(1).uniform(0, 100, size=3 * BLOCK))
    source = TimedArrivals(times, 70.0)
    blocks = list(source.blocks())
    assert np.array_equal(np.concatenate(blocks), times[times < 70])
    assert source.count() == (times < 70).sum()
    assert max(map(len, blocks)) == BLOCK
    assert TimedArrivals(np.array([0.0, 1.0, 1.0]), 1.0).count() == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_stage_needs_no_more_memory_than_a_short_one(kind):
    """Two hours at 500 calls/s are 3.6 million arrivals, 29 MB of offsets at once."""
    source = ramp(kind, 500, duration_s=7200)
    tracemalloc.start()
    try:
        count = sum(len(block) for block in source.blocks())
        assert source.count() == count
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == pytest.approx(3.6e6, rel=0.01)
    assert peak_bytes < 8 * 8 * BLOCK


@given(
    rate=st.floats(0.2, 40),
    cap=st.floats(0.3, 40),
    duration=durations,
    seed=seeds,
    block=st.integers(1, 50),
)
def test_no_second_of_capped_arrivals_has_more_than_the_cap(rate, cap, duration, seed, block):
    """None is lost before the end, none is early, and those with room stay where they are."""
    wanted = ramp("poisson", rate, duration_s=duration, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrivals, "BLOCK", block)
        capped = CappedArrivals(wanted, cap)
        offset_s = np.concatenate([*capped.blocks(), np.empty(0)])
        wanted_s = np.concatenate([*wanted.blocks(), np.empty(0)])
        assert capped.count() == len(offset_s)
    assert np.all(np.diff(offset_s) >= 0.0)
    assert np.all((offset_s >= 0.0) & (offset_s < duration))
    within = np.searchsorted(offset_s, offset_s + 1 - 1e-5) - np.arange(len(offset_s))
    assert np.all(within <= np.ceil(cap))
    late_s = offset_s - wanted_s[: len(offset_s)]
    assert np.all(late_s >= 0.0)
    most = int(np.ceil(cap))
    for index in np.flatnonzero(late_s):
        assert offset_s[index] == pytest.approx(offset_s[index - most] + most / cap)
    if len(offset_s) < len(wanted_s):
        assert offset_s[-most] + most / cap > duration - 1e-5


@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param(ramp("constant", 10, duration_s=3600), id="evenly at the cap"),
        pytest.param(ramp("poisson", 2, duration_s=600), id="chance stays far below it"),
    ],
)
def test_arrivals_within_the_cap_stay_as_they_are(wanted):
    assert np.array_equal(
        np.concatenate([*CappedArrivals(wanted, 10.0).blocks()]),
        np.concatenate([*wanted.blocks()]),
    )


def test_random_arrivals_at_the_cap_keep_their_rate():
    """By the end of ten minutes about 2 % are still to come; seen: 1.0 %."""
    wanted = ramp("poisson", 10, duration_s=600)
    assert 0.97 < CappedArrivals(wanted, 10.0).count() / wanted.count() <= 1.0
