"""What the throttle admits, and rates that no number of webservers reaches."""

from pathlib import Path

import numpy as np
import pytest
from calls_by_hand import calls_by_hand
from stages_by_hand import stage_by_hand
from synthetic_records import write_synthetic_run

from mwaa_headroom.analysis.planning.loads import load_between
from mwaa_headroom.analysis.planning.size import answer_size
from mwaa_headroom.analysis.report.run_text import headline
from mwaa_headroom.analysis.report.sentences.run import verdict_sentence
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.analysis.slo_judgement import Window
from mwaa_headroom.analysis.statistics import Estimate
from mwaa_headroom.analysis.throttle import admitted_per_s


def through_a_bucket(
    offered_per_s: float, refill_per_s: float, burst: float, length_s: float, seed: int
) -> Estimate | None:
    """What is measured of a token bucket that is full at the start, by Poisson arrivals."""
    random = np.random.default_rng(seed)
    starts_s = np.cumsum(random.exponential(1 / offered_per_s, int(offered_per_s * length_s * 2)))
    starts_s = starts_s[starts_s < length_s]
    tokens, at_s, outcomes = burst, 0.0, []
    for start_s in starts_s:
        tokens, at_s = min(burst, tokens + (start_s - at_s) * refill_per_s), start_s
        outcomes.append("ok" if tokens >= 1 else "throttled")
        tokens -= tokens >= 1
    calls = calls_by_hand(outcomes=outcomes, starts_s=starts_s.tolist())
    stage = stage_by_hand(
        0, rate_per_s=offered_per_s, service_time_mean_s=0.1, measured_s=length_s - 100.0
    )
    return admitted_per_s([(stage, Window(calls, calls.ok, ()))])


def test_the_interval_covers_what_a_token_bucket_admits() -> None:
    """However full it was at first; at least 95 of 100."""
    covered = 0
    for seed in range(100):
        found = through_a_bucket(20.0, 10.0, 20.0, 160.0, seed)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 10.0 <= found.high
        assert found.high - found.low < 1.5
    assert covered >= 95


@pytest.mark.parametrize(
    ("offered_per_s", "length_s"),
    [(8.0, 160.0), (10.0, 160.0), (20.0, 5.0)],
    ids=["now and then", "at the limit", "too short"],
)
def test_a_throttle_that_was_not_always_at_work_is_not_measured(
    offered_per_s: float, length_s: float
) -> None:
    assert through_a_bucket(offered_per_s, 10.0, 20.0, length_s, 1) is None


def test_a_target_above_the_throttle_is_out_of_reach(tmp_path: Path) -> None:
    """The webservers would do; 10 calls/s are admitted, 45 wanted. Before: "need 5 webservers"."""
    directory = tmp_path / "run"
    write_synthetic_run(
        directory, rates_per_s=(6.0, 9.0, 20.0), throttle_per_s=10.0, target_rate_per_s=45.0
    )
    run = Run.read(directory)
    assert run.admitted_per_s is not None
    assert run.admitted_per_s.value == pytest.approx(10.0, abs=0.6)
    assert run.sizing.target is not None
    assert run.verdict.exit_code == 5
    assert run.verdict.reasons[0].code == "sizing.throttled"
    assert verdict_sentence(run.analysis).startswith("No webserver count reaches 45 calls/s")
    assert headline(run.analysis) == "Out of reach"
    answer = answer_size([run.analysis], load_between(45.0, 45.0), [])
    assert (answer.recommended, answer.exit_code) == (None, 5)
    assert answer.impossible is not None
    assert answer.impossible.code == "sizing.throttled"
    within = answer_size([run.analysis], load_between(8.0, 8.0), [])
    assert (within.impossible, within.exit_code) == (None, 0)


def test_more_webservers_than_the_service_allows_are_no_recommendation(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    write_synthetic_run(directory, rates_per_s=(8.0, 16.0, 36.0), target_rate_per_s=300.0)
    run = Run.read(directory)
    assert run.verdict.exit_code == 5
    assert run.verdict.reasons[0].code == "sizing.more_than_allowed"
