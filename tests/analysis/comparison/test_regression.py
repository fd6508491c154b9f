"""The verdict on single metrics, Holm's correction, and what is refused."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwaa_headroom.analysis.comparison.metrics import Metric
from mwaa_headroom.analysis.comparison.regression import (
    TAIL,
    MetricSamples,
    compare_gate,
    compare_informational,
    holm,
    too_few_runs,
)
from mwaa_headroom.analysis.findings import warning
from mwaa_headroom.analysis.statistics import Estimate

LATENCY = Metric("p95 latency", "s")
GOODPUT = Metric("goodput", "1/s", higher_is_better=True)
ERRORS = Metric("errors", "fraction")
AROUND = np.array([0.97, 0.985, 0.995, 1.0, 1.01, 1.02, 1.03])  # 7 runs, spread of 2 %


def samples(
    metric: Metric, baseline: Sequence[float | None], contender: Sequence[float | None]
) -> MetricSamples:
    return MetricSamples(
        metric,
        *(
            tuple(Estimate(None if v is None else float(v)) for v in side)
            for side in (baseline, contender)
        ),
    )


@pytest.mark.parametrize(
    ("metric", "factor", "verdict", "why"),
    [
        (LATENCY, 1.20, "regression", "20 % slower"),
        (LATENCY, 1.00, "pass", "the same"),
        (LATENCY, 0.80, "pass", "faster is no regression"),
        (LATENCY, 1.05, "inconclusive", "just at the margin"),
        (GOODPUT, 0.80, "regression", "less goodput is worse"),
        (GOODPUT, 1.20, "pass", "more goodput is better"),
        (GOODPUT, 0.952, "inconclusive", "at the margin from above"),
    ],
)
def test_verdicts(metric: Metric, factor: float, verdict: str, why: str) -> None:
    (found,) = compare_gate([samples(metric, AROUND, factor * AROUND)], margin=0.05)

    assert found.verdict == verdict, why
    assert found.change.value == pytest.approx(factor)
    assert found.change.low is not None
    assert found.change.high is not None
    assert found.change.low <= factor <= found.change.high
    assert (found.p is not None and found.p <= TAIL) == (verdict == "regression")


@pytest.mark.parametrize(
    ("contender", "verdict", "why"),
    [
        ([0.0] * 6, "pass", "no errors on either side: a ratio would not exist"),
        ([0.002, 0.0, 0.001, 0.003, 0.0, 0.001], "pass", "well under half a point"),
        ([0.02, 0.03, 0.02, 0.025, 0.04, 0.02], "regression", "two points more"),
        ([0.0, 0.03, 0.0, 0.025, 0.04, 0.0], "inconclusive", "in half of the runs"),
    ],
)
def test_shares_are_compared_by_difference(contender: list[float], verdict: str, why: str) -> None:
    (found,) = compare_gate([samples(ERRORS, [0.0] * 6, contender)], margin=0.05)

    assert found.verdict == verdict, why


def test_one_bad_metric_among_many_needs_more_than_its_own_interval() -> None:
    """5 against 5 runs have a p of 1/252 at least: enough among 6 metrics, too much among 7."""
    slow = samples(LATENCY, AROUND[:5], 1.3 * AROUND[:5])
    same = samples(LATENCY, AROUND[:5], AROUND[:5])

    among_six = compare_gate([slow, *[same] * 5], margin=0.05)[0]
    among_seven = compare_gate([slow, *[same] * 6], margin=0.05)[0]

    assert among_six.verdict == "regression"
    assert among_seven.verdict == "inconclusive"
    assert among_seven.reason == warning("comparison.not_after_correction")


@pytest.mark.parametrize(
    ("runs", "metrics", "needed"),
    [
        ((3, 3), 1, 4),
        ((4, 4), 1, None),
        ((4, 4), 5, 5),
        ((5, 5), 6, None),
        ((5, 5), 7, 6),
        ((2, 6), 1, 4),
    ],
)
def test_too_few_runs_are_refused_with_the_number_needed(
    runs: tuple[int, int], metrics: int, needed: int | None
) -> None:
    found = too_few_runs(*runs, metrics)

    assert (found.values["needed"] if found else None) == needed


def test_holm_by_hand() -> None:
    """Smallest first: 4 x .005, 3 x .01, 2 x .03, 1 x .04 raised to the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_never_helps(p_values: list[float]) -> None:
    adjusted = holm(p_values)

    for p, own in zip(p_values, adjusted, strict=True):
        assert p <= own <= 1
        assert own <= min(1.0, len(p_values) * p) or own == pytest.approx(
            max(a for q, a in zip(p_values, adjusted, strict=True) if q < p)
        )
    by_p = [own for _, own in sorted(zip(p_values, adjusted, strict=True))]
    assert by_p == sorted(by_p)


def test_a_metric_that_runs_do_not_know_cannot_pass() -> None:
    (found,) = compare_gate([samples(LATENCY, AROUND, [*AROUND[:6], None])], margin=0.05)

    assert found.verdict == "inconclusive"
    assert found.reason == warning(
        "comparison.not_measured", side="contender", lacking=1, runs=7, why=None
    )


def test_a_metric_known_in_three_runs_is_refused() -> None:
    (found,) = compare_gate([samples(LATENCY, [*AROUND[:3], None], AROUND[:4])], margin=0.05)

    assert (found.verdict, found.change.value) == ("inconclusive", None)
    assert found.reason is not None
    assert (found.reason.code, found.reason.values["side"]) == (
        "comparison.not_measured",
        "baseline",
    )


@pytest.mark.parametrize(
    ("side", "factor", "why"),
    [
        ("contender", 1.0, "with calls cut at a limit, the contender may be slower than it looks"),
        ("baseline", 1.3, "and the baseline too, so that the contender may be no slower"),
    ],
)
def test_lower_bounds_decide_nothing_in_their_favour(side: str, factor: float, why: str) -> None:
    plain = samples(LATENCY, AROUND, factor * AROUND)
    cut = [
        Estimate(e.value, warnings=(warning("percentile.lower_bound", percent=95, cut_calls=30),))
        for e in getattr(plain, side)
    ]
    bounded = MetricSamples(
        LATENCY,
        tuple(cut) if side == "baseline" else plain.baseline,
        tuple(cut) if side == "contender" else plain.contender,
    )

    assert compare_gate([plain], margin=0.05)[0].verdict in ("pass", "regression")
    assert compare_gate([bounded], margin=0.05)[0].verdict == "inconclusive", why


def test_informational_metrics_say_worse_better_or_nothing() -> None:
    found = compare_informational(
        [
            samples(LATENCY, AROUND, 1.3 * AROUND),
            samples(GOODPUT, AROUND, 1.3 * AROUND),
            samples(ERRORS, [0.0] * 7, [0.0] * 7),
            samples(LATENCY, AROUND[:2], AROUND[:2]),
        ]
    )

    assert [each.verdict for each in found] == ["worse", "better", "~", "~"]


def test_sides_show_medians_with_intervals_from_six_runs_on() -> None:
    """benchstat: a 95 % interval of a median needs 6 values."""
    (found,) = compare_gate([samples(LATENCY, AROUND[:5], AROUND[:6])], margin=0.05)

    assert found.baseline.value == pytest.approx(0.995)
    assert found.baseline.low is None
    assert (found.contender.low, found.contender.high) == (0.97, 1.02)
