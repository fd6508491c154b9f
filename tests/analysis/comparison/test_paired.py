"""Pairs of runs looked at after every one: levels, verdicts, and how often they are wrong."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from mwaa_headroom.analysis.comparison.metrics import Metric
from mwaa_headroom.analysis.comparison.paired import (
    Looks,
    PairedSamples,
    compare_pairs,
    describe_pairs,
)
from mwaa_headroom.analysis.comparison.regression import TAIL
from mwaa_headroom.analysis.statistics import Estimate

DEMAND = Metric("service demand", "s")
GOODPUT = Metric("goodput", "1/s", higher_is_better=True)
ERRORS = Metric("errors", "fraction")
AROUND = (0.985, 0.995, 1.0, 1.005, 1.01, 1.005)


def paired(
    metric: Metric,
    baseline: tuple[float | None, ...],
    contender: tuple[float | None, ...],
    host: float = 1.0,
) -> PairedSamples:
    sides = [tuple(map(Estimate, side)) for side in (baseline, contender)]
    return PairedSamples(metric, sides[0], sides[1], (host,) * len(baseline))


def times(factor: float, values: tuple[float, ...] = AROUND) -> tuple[float, ...]:
    return tuple(factor * value for value in values[::-1])


def test_a_single_look_uses_the_usual_level() -> None:
    assert Looks(6, 6).level() == pytest.approx(TAIL, rel=0.03)


@given(first=st.integers(2, 6), more=st.integers(1, 6))
def test_the_level_lies_between_a_single_look_and_bonferroni(first: int, more: int) -> None:
    level = Looks(first, first + more).level()

    assert TAIL / (more + 1) < level < TAIL
    assert Looks(first, first + more).chance(level) == pytest.approx(TAIL, rel=0.02)


def test_chance_is_called_a_regression_in_one_of_forty_experiments() -> None:
    """By scipy's test on other random numbers, with a look after each of 4 to 8 pairs."""
    looks, experiments = Looks(4, 8), 4000
    values = np.random.default_rng(99).standard_normal((experiments, 8))
    crossed, naive = np.zeros(experiments, bool), np.zeros(experiments, bool)
    for pairs in range(4, 9):
        p = ttest_1samp(values[:, :pairs], 0, axis=1, alternative="greater").pvalue
        crossed |= p <= looks.level()
        naive |= p <= TAIL

    assert crossed.mean() == pytest.approx(TAIL, abs=0.008)
    assert naive.mean() > 1.8 * TAIL  # what the lower level is there for


@pytest.mark.parametrize(
    ("metric", "factor", "verdict"),
    [
        (DEMAND, 1.25, "regression"),
        (DEMAND, 1.0, "pass"),
        (DEMAND, 0.8, "pass"),
        (DEMAND, 1.1, "inconclusive"),
        (GOODPUT, 0.8, "regression"),
        (GOODPUT, 1.2, "pass"),
    ],
)
def test_verdicts(metric: Metric, factor: float, verdict: str) -> None:
    (found,) = compare_pairs([paired(metric, AROUND, times(factor))], Looks(4, 6), margin=0.1)

    assert found.verdict == verdict
    assert found.change.value == pytest.approx(factor)
    assert found.change.low is not None
    assert found.change.high is not None
    assert found.change.low < factor < found.change.high
    assert found.p is not None
    assert (found.p <= TAIL) == (verdict == "regression")


def test_a_pair_takes_out_what_both_of_its_runs_have_in_common() -> None:
    """The day gets slower by a factor of 4, which two sets of runs could not see through."""
    drifting = tuple(float(2 ** (place / 3)) for place in range(6))
    pairs = paired(
        DEMAND, drifting, tuple(1.3 * v * w for v, w in zip(drifting, AROUND, strict=True))
    )

    (found,) = compare_pairs([pairs], Looks(4, 6), margin=0.1)

    assert found.verdict == "regression"


def test_the_host_is_taken_off_times_and_nothing_else() -> None:
    slower = [paired(metric, AROUND, times(1.3), host=1.3) for metric in (DEMAND, GOODPUT)]

    demand, goodput = compare_pairs(slower, Looks(4, 6), margin=0.1)

    assert demand.change.value == pytest.approx(1.0)
    assert goodput.change.value == pytest.approx(1.3)
    assert demand.contender.value == pytest.approx(1.3 * np.median(AROUND), rel=0.01)  # as it was


def test_too_few_pairs_and_missing_values_are_no_verdict() -> None:
    few = paired(DEMAND, AROUND[:1], AROUND[:1])
    holes = paired(DEMAND, (*AROUND[:5], None), times(1.0))

    found = compare_pairs([few, holes], Looks(4, 6), margin=0.1)

    assert [each.verdict for each in found] == ["inconclusive", "inconclusive"]
    codes = [each.reason.code if each.reason else "" for each in found]
    assert codes == ["comparison.few_pairs", "comparison.not_measured"]


def test_no_errors_on_either_side_pass() -> None:
    none = (0.0,) * 6

    (found,) = compare_pairs([paired(ERRORS, none, none)], Looks(4, 6), margin=0.1)

    assert (found.verdict, found.change.low, found.change.high) == ("pass", 0.0, 0.0)


def test_what_could_be_found_shrinks_with_pairs_and_is_what_is_needed() -> None:
    few, more = (
        compare_pairs([paired(DEMAND, AROUND[:n], times(1.0, AROUND[:n]))], Looks(4, 6), margin=0.1)
        for n in (4, 6)
    )

    assert few[0].detectable is not None
    assert more[0].detectable is not None
    assert 1.1 < more[0].detectable < few[0].detectable
    assert more[0].runs_needed == 4


def test_beside_the_gate_any_change_counts_in_either_direction() -> None:
    found = describe_pairs(
        [paired(DEMAND, AROUND, times(f)) for f in (1.06, 0.94, 1.0)], Looks(4, 6)
    )

    assert [each.verdict for each in found] == ["worse", "better", "~"]
    assert all(math.isfinite(each.p_adjusted or math.nan) for each in found)
