"""The Universal Scalability Law: published fits, and laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.calls import Floats
from analysis.errors import AnalysisError
from analysis.models.usl import Usl, UslFit, fit_usl

RAYTRACER = (
    np.array([1, 4, 8, 12, 16, 20, 24, 28, 32, 48, 64.0]),
    np.array([20, 78, 130, 170, 190, 200, 210, 230, 260, 280, 310.0]),
)
SPECSDM91 = (
    np.array([1, 18, 36, 72, 108, 144, 216.0]),
    np.array([64.9, 995.9, 1652.4, 1853.2, 1828.9, 1775.0, 1702.2]),
)
# fmt: off
CISCO = (np.arange(1, 33.0), np.array([
    955.16, 1878.91, 2688.01, 3548.68, 4315.54, 5130.43, 5931.37, 6531.08,
    7219.8, 7867.61, 8278.71, 8646.7, 9047.84, 9426.55, 9645.37, 9897.24,
    10097.6, 10240.5, 10532.39, 10798.52, 11151.43, 11518.63, 11806.0, 12089.37,
    12075.41, 12177.29, 12211.41, 12158.93, 12155.27, 12118.04, 12140.4, 12074.39,
]))
# fmt: on

curves = st.builds(
    Usl,
    rate_of_one_per_s=st.floats(0.1, 1000),
    contention=st.floats(0.001, 0.9),
    coherency=st.floats(1e-6, 0.05),
)


def parameters(fit: UslFit) -> tuple[float, float, float]:
    return fit.curve.rate_of_one_per_s, fit.curve.contention, fit.curve.coherency


def test_raytracer() -> None:
    """Gunther, Guerrilla Capacity Planning, 2007; data of R's usl, data/raytracer.rda."""
    fit = fit_usl(*RAYTRACER)

    assert parameters(fit) == pytest.approx((21.848843, 0.0577708, 0.0), rel=1e-4)
    assert fit.residual_se_per_s == pytest.approx(9.3357, rel=1e-4)
    assert fit.curve.ceiling_per_s == pytest.approx(378.199, rel=1e-4)
    assert fit.curve.knee_concurrency == pytest.approx(17.3098, rel=1e-4)
    assert fit.curve.rate_per_s(17.3098) == pytest.approx(194.724, rel=1e-4)
    assert fit.curve.rate_per_s(128) == pytest.approx(335.455, rel=1e-4)
    assert fit.predict_per_s(96) == pytest.approx(323.276, rel=1e-4)
    assert fit.curve.peak_concurrency is None
    assert fit.curve.peak_rate_per_s is None


def test_first_six_points_of_raytracer() -> None:
    """R's usl 2.x, tests/confint.Rout.save: coefficients."""
    fit = fit_usl(RAYTRACER[0][:6], RAYTRACER[1][:6])

    assert parameters(fit) == pytest.approx((20.85605, 0.02444, 0.00163), rel=2e-3)


def test_intervals_are_not_those_of_the_r_package() -> None:
    """R's usl takes qt(0.95, n - 1) where qt(0.975, n - 3) belongs: (.00754, .04135) there."""
    fit = fit_usl(RAYTRACER[0][:6], RAYTRACER[1][:6])
    contention = fit.estimates[1]
    assert fit.standard_errors is not None
    assert contention.high is not None

    half = stats.t.ppf(0.975, 3) * fit.standard_errors[1]
    assert fit.curve.contention - half == pytest.approx(-0.00226, abs=2e-5)
    assert contention.high == pytest.approx(0.05115, rel=1e-3)
    assert contention.low == 0.0  # a negative contention is none
    wrong_half = stats.t.ppf(0.95, 5) * fit.standard_errors[1]
    assert fit.curve.contention + wrong_half == pytest.approx(0.04135, rel=1e-3)


def test_specsdm91() -> None:
    """R's usl, tests/summary.Rout.save: coefficients, errors, limits and predictions."""
    fit = fit_usl(*SPECSDM91)

    assert parameters(fit) == pytest.approx((90.00, 2.773e-2, 1.044e-4), rel=4e-4)
    assert fit.standard_errors == pytest.approx((14.21, 9.122e-3, 1.988e-5), rel=1e-3)
    assert fit.residual_se_per_s == pytest.approx(82.85, rel=1e-4)
    assert fit.curve.ceiling_per_s == pytest.approx(3245.589, rel=1e-4)
    assert fit.curve.knee_concurrency == pytest.approx(36.06401, rel=1e-4)
    assert fit.curve.peak_concurrency == pytest.approx(96.51956, rel=1e-4)
    assert fit.curve.peak_rate_per_s == pytest.approx(1884, rel=3e-4)
    assert fit.curve.rate_per_s(36.06401) == pytest.approx(1542, rel=4e-4)
    predicted = [fit.predict_per_s(n) for n in SPECSDM91[0]]
    assert predicted == pytest.approx([90, 1078, 1541, 1850, 1879, 1822, 1646], rel=5e-4)
    other = Usl(fit.curve.rate_of_one_per_s, fit.curve.contention, 5e-5)
    assert other.peak_concurrency == pytest.approx(139.447, rel=1e-4)


def test_single_points_of_specsdm91_have_much_leverage() -> None:
    """Without N = 18 lambda is 131 instead of 90, without N = 216 the peak 82 instead of 97."""
    fit = fit_usl(*SPECSDM91)
    least, most = fit.leave_one_out[0]
    without_last = fit_usl(SPECSDM91[0][:-1], SPECSDM91[1][:-1])

    assert least < fit.curve.rate_of_one_per_s < most
    assert most == pytest.approx(130.6, rel=1e-3)
    assert without_last.curve.peak_concurrency == pytest.approx(82, abs=0.5)


def test_cisco() -> None:
    """Schwartz, Practical Scalability; usl4j's ModelTest at its tolerance of 0.02 %."""
    fit = fit_usl(*CISCO)

    assert parameters(fit) == pytest.approx((995.6486, 0.02671591, 7.690945e-4), rel=2e-4)
    assert fit.curve.peak_concurrency == pytest.approx(35.574, rel=2e-4)
    assert fit.curve.rate_per_s(35) == pytest.approx(12341.745, rel=2e-4)
    latencies_s = [n / fit.curve.rate_per_s(n) for n in (1, 20, 35)]
    assert latencies_s == pytest.approx([0.00100437, 0.00180772, 0.00283590], rel=2e-4)


def test_exact_synthetic_points() -> None:
    """R's usl, tests/usl-nls.R: 0.02, 0.02, 1.00."""
    concurrency = np.array([1, 2, 4, 6, 8, 10.0])
    fit = fit_usl(concurrency, np.array([1, 1.8868, 3.0769, 3.5294, 3.5398, 3.3557]))

    assert parameters(fit) == pytest.approx((1.00, 0.02, 0.02), rel=1e-3)


@settings(max_examples=30, deadline=None)
@given(curves)
def test_finds_what_made_exact_points(truth: Usl) -> None:
    peak = truth.peak_concurrency or 0.0
    concurrency = np.linspace(1, 2 * max(peak, 4.0), 9)
    fit = fit_usl(concurrency, np.array([truth.rate_per_s(n) for n in concurrency]))

    assert parameters(fit) == pytest.approx(
        (truth.rate_of_one_per_s, truth.contention, truth.coherency), rel=1e-3, abs=1e-7
    )
    for (least, most), value in zip(fit.leave_one_out, parameters(fit), strict=True):
        assert least == pytest.approx(value, rel=1e-2, abs=1e-6)
        assert most == pytest.approx(value, rel=1e-2, abs=1e-6)


@given(curves)
def test_no_rate_is_above_the_peak(curve: Usl) -> None:
    peak, most = curve.peak_concurrency, curve.peak_rate_per_s
    assert peak is not None
    assert most is not None

    assert curve.rate_per_s(0.9 * peak) < most
    assert curve.rate_per_s(1.1 * peak) < most


def test_without_contention_there_is_neither_ceiling_nor_knee() -> None:
    curve = Usl(10.0, 0.0, 0.0)

    assert curve.ceiling_per_s is None
    assert curve.knee_concurrency is None
    assert curve.rate_per_s(7) == 70


@pytest.mark.parametrize(("points", "told"), [(5, "there are 5"), (1, "there is 1")])
def test_refuses_few_points(points: int, told: str) -> None:
    with pytest.raises(AnalysisError, match=f"at least 6 stages at different loads, {told}"):
        fit_usl(SPECSDM91[0][:points], SPECSDM91[1][:points])


def test_predicts_nothing_far_beyond_the_points() -> None:
    fit = fit_usl(*SPECSDM91)

    assert fit.believed_to_concurrency == 324
    assert fit.predict_per_s(324) is not None
    assert fit.predict_per_s(325) is None


def test_interval_of_an_estimate_on_its_bound_begins_there() -> None:
    coherency = fit_usl(*RAYTRACER).estimates[2]

    assert coherency.value == coherency.low == 0
    assert coherency.high is not None
    assert 1e-5 < coherency.high < 1e-3


def coverage_of(truth: Usl, concurrency: Floats) -> list[float]:
    """How often the intervals of noisy points hold the truth, by parameter."""
    random = np.random.default_rng(7)
    rates = np.array([truth.rate_per_s(n) for n in concurrency])
    held = np.zeros(3)
    for _ in range(60):
        fit = fit_usl(concurrency, rates * random.normal(1, 0.02, len(rates)))
        for index, value in enumerate((truth.rate_of_one_per_s, truth.contention, truth.coherency)):
            estimate = fit.estimates[index]
            held[index] += (estimate.low or 0.0) <= value <= (estimate.high or 0.0)
    return [float(share) for share in held / 60]


@pytest.mark.slow
@pytest.mark.parametrize("coherency", [0.0, 0.002])
def test_intervals_hold_the_truth(coherency: float) -> None:
    """60 fits of 10 points: fewer than 51 would be a wonder at 95 %."""
    held = coverage_of(Usl(20.0, 0.1, coherency), np.array([1, 2, 4, 6, 8, 12, 16, 24, 32, 40.0]))

    assert min(held) >= 0.85
