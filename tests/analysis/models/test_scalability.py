"""The law from the stages of one run: known truths, and what is refused."""

import numpy as np
import pytest
from stages_by_hand import stage_by_hand

from analysis.models.scalability import scalability
from analysis.models.usl import Usl
from analysis.results import Estimate, ScalabilityResult, StageStats

TRUTH = Usl(rate_of_one_per_s=20.0, contention=0.1, coherency=0.004)  # peak: N 15, 73 calls/s


def stages_of(truth: Usl, concurrencies: tuple[float, ...], **changes: object) -> list[StageStats]:
    return [
        stage_by_hand(
            index,
            rate_per_s=truth.rate_per_s(n),
            service_time_mean_s=n / truth.rate_per_s(n),
            measured_s=1e6,
            **changes,  # type: ignore[arg-type]
        )
        for index, n in enumerate(concurrencies)
    ]


def held(estimate: Estimate, truth: float) -> bool:
    return (estimate.low or 0.0) - 1e-3 <= truth <= (estimate.high or 0.0) + 1e-3


def found_in(stages: list[StageStats]) -> ScalabilityResult:
    result = scalability(stages)
    assert result is not None
    return result


def test_finds_the_curve_its_peak_and_how_far_it_is_believed() -> None:
    result = found_in(stages_of(TRUTH, (1, 2, 4, 8, 16, 24, 30)))

    assert result.webservers == 2
    assert result.refusal == ""
    assert result.rate_of_one_per_s.value == pytest.approx(20, rel=1e-3)
    assert result.contention.value == pytest.approx(0.1, rel=1e-3)
    assert result.coherency.value == pytest.approx(0.004, rel=1e-3)
    assert result.peak_concurrency == pytest.approx(15, rel=1e-3)
    assert result.peak_rate_per_s == pytest.approx(TRUTH.rate_per_s(15), rel=1e-3)
    assert result.believed_to_concurrency == pytest.approx(45, rel=1e-4)
    assert result.farthest_rate_per_s == pytest.approx(TRUTH.rate_per_s(45), rel=1e-3)
    assert result.ceiling_per_s == pytest.approx(200, rel=1e-3)
    assert result.knee_concurrency == pytest.approx(10, rel=1e-3)
    assert result.warnings == ()
    assert set(result.leave_one_out) == {"rate_of_one_per_s", "contention", "coherency"}
    assert [point.stage for point in result.points] == list(range(7))


def test_points_are_littles_law() -> None:
    point = found_in(stages_of(TRUTH, (1, 2, 4, 8, 16, 24))).points[3]

    assert point.concurrency == pytest.approx(8, rel=1e-5)
    assert point.ok_per_s == pytest.approx(TRUTH.rate_per_s(8), rel=1e-5)


def test_warns_when_no_stage_went_past_the_peak() -> None:
    result = found_in(stages_of(TRUTH, (1, 2, 3, 4, 5, 6)))

    assert result.peak_concurrency is None  # 15 is more than 1.5 times 6
    assert any(w.startswith("No stage went past the peak") for w in result.warnings)


def test_a_peak_little_beyond_the_stages_is_told_with_a_warning() -> None:
    result = found_in(stages_of(TRUTH, (1, 2, 4, 6, 9, 12)))

    assert result.peak_concurrency == pytest.approx(15, rel=1e-3)
    assert any("hardly known" in warning for warning in result.warnings)


def test_warns_of_calls_that_get_faster_under_load() -> None:
    stages = stages_of(TRUTH, (1, 2, 4, 8, 16, 24, 30))
    cold = stage_by_hand(7, rate_per_s=3.0, service_time_mean_s=0.2)

    result = found_in([*stages, cold])

    assert any(
        "no load explains" in warning and "stage 8" in warning for warning in result.warnings
    )


def test_refuses_five_stages() -> None:
    result = found_in(stages_of(TRUTH, (1, 2, 4, 8, 16), webservers=3))

    assert "at least 6 stages at different loads, there are 5 on 3 webservers" in result.refusal
    assert result.coherency.value is None
    assert result.coherency.warnings == (result.refusal,)
    assert len(result.points) == 5


def test_refuses_stages_of_nearly_one_load() -> None:
    result = found_in(stages_of(TRUTH, (4, 4.5, 5, 6, 7, 8)))

    assert "4 to 8 calls in service" in result.refusal
    assert "range of 4 to 1" in result.refusal


@pytest.mark.parametrize(
    "odd",
    [
        stage_by_hand(9, rate_per_s=50, service_time_mean_s=2.0, webservers=(2, 3)),
        stage_by_hand(9, rate_per_s=50, service_time_mean_s=2.0, webservers=None),
        stage_by_hand(9, rate_per_s=50, service_time_mean_s=2.0, generator_ok=False),
        stage_by_hand(9, rate_per_s=50, service_time_mean_s=2.0, steady="rising"),
        stage_by_hand(9, rate_per_s=50, service_time_mean_s=2.0, rate_is_mean=True),
        stage_by_hand(9, rate_per_s=50, service_time_mean_s=None),
        stage_by_hand(
            9,
            rate_per_s=90,
            service_time_mean_s=0.1,
            outcomes={"ok": 0.5, "throttled": 0.5},
        ),
        stage_by_hand(9, rate_per_s=50, service_time_mean_s=2.0, mix={"trigger_dag_run": 1.0}),
    ],
    ids=["scaled", "unknown count", "generator", "rising", "ramp", "cut", "throttled", "other mix"],
)
def test_leaves_out(odd: StageStats) -> None:
    stages = stages_of(TRUTH, (1, 2, 4, 8, 16, 24))

    assert found_in([*stages, odd]) == found_in(stages)


def test_takes_the_webserver_count_with_most_stages() -> None:
    two = stages_of(TRUTH, (1, 2, 4, 8, 16, 24), webservers=2)
    three = stages_of(TRUTH, (1, 2, 4, 8), webservers=3)

    assert found_in([*three, *two]).webservers == 2


def test_slow_calls_count_and_failed_ones_do_not() -> None:
    stage = stage_by_hand(
        0,
        rate_per_s=10.0,
        service_time_mean_s=0.5,
        outcomes={"ok": 0.97, "airflow_server_error": 0.03},
    )
    point = found_in([stage]).points[0]

    assert point.ok_per_s == pytest.approx(9.7)
    assert point.concurrency == pytest.approx(4.85)


def test_says_nothing_without_a_fixed_webserver_count() -> None:
    assert scalability([]) is None
    assert scalability(stages_of(TRUTH, (1, 2, 4, 8, 16, 24), webservers=(2, 4))) is None


def test_open_queue_is_a_curve_of_half_contention() -> None:
    """M/G/1-PS: N = rho / (1 - rho), X = rho / S, so X = N / (N + 1) / S: sigma 1/2, kappa 0."""
    random = np.random.default_rng(5)
    stages = []
    for index, rho in enumerate((0.2, 0.4, 0.6, 0.75, 0.85, 0.9, 0.95)):
        mean_s = 0.05 / (1 - rho) * random.normal(1, 0.01)
        stages.append(stage_by_hand(index, rate_per_s=rho / 0.05, service_time_mean_s=mean_s))

    result = found_in(stages)

    assert held(result.contention, 0.5)
    assert held(result.rate_of_one_per_s, 10.0)
    assert held(result.coherency, 0.0)
