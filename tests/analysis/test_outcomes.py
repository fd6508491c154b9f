import pytest
from calls_by_hand import calls_by_hand
from hypothesis import given
from hypothesis import strategies as st

from mwaa_headroom.analysis.calls import good_calls
from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.analysis.stages import error_rate, error_rate_by_layer, outcome_counts, share


@pytest.mark.parametrize(
    ("part", "whole", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (0, 300, 0.0, 0.0126),
        (5, 1000, 0.0021, 0.0117),
    ],
)
def test_wilson_interval(part: int, whole: int, low: float, high: float) -> None:
    """The first four: Newcombe, Stat. Med. 17 (1998) 857, table I, method 3."""
    estimate = share(part, whole)
    assert estimate.low == pytest.approx(low, abs=6e-5)
    assert estimate.high == pytest.approx(high, abs=6e-5)


@given(st.integers(0, 2000), st.integers(1, 2000))
def test_interval_holds_the_share_and_mirrors_its_complement(part: int, whole: int) -> None:
    part = min(part, whole)
    estimate, complement = share(part, whole), share(whole - part, whole)
    assert estimate.low is not None
    assert estimate.value is not None
    assert estimate.high is not None
    assert complement.high is not None
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert estimate.low == pytest.approx(1 - complement.high, abs=1e-12)


def test_no_calls_have_no_share() -> None:
    assert share(0, 0).value is None


def test_errors_are_shares_of_calls_sent_and_unsent_ones_of_arrivals() -> None:
    calls = calls_by_hand(
        outcomes=["ok"] * 4 + ["throttled"] * 2 + ["airflow_server_error"] + ["unsent"]
    )
    assert error_rate(calls).value == pytest.approx(3 / 7)
    rates = {layer: rate.value for layer, rate in error_rate_by_layer(calls).items()}
    assert rates == {"service": 2 / 7, "airflow": 1 / 7, "generator": 1 / 8}
    assert list(outcome_counts(calls)) == ["ok", "throttled", "airflow_server_error", "unsent"]


def test_an_outcome_of_a_later_version_counts_as_an_error_of_the_service() -> None:
    calls = calls_by_hand(outcomes=["ok", "melted"])
    assert outcome_counts(calls) == {"ok": 1, "service_error": 1}


@pytest.mark.parametrize(
    ("slos", "good"),
    [
        ([], [True, True, True, False]),
        (["p95(latency) < 800ms"], [True, True, False, False]),
        (["p95(latency) < 800ms", "p99(latency) < 300ms"], [True, False, False, False]),
        (["p95(latency{operation=b}) < 300ms"], [True, False, True, False]),
        # a median or a mean is no limit for a single call
        (["p50(latency) < 1ms", "mean(latency) < 1ms"], [True, True, True, False]),
    ],
)
def test_good_calls_are_ok_and_within_the_tightest_threshold(
    slos: list[str], good: list[bool]
) -> None:
    calls = calls_by_hand(
        outcomes=["ok", "ok", "ok", "airflow_server_error"],
        operations=["a", "b", "a", "a"],
        service_times_s=[0.2, 0.5, 1.0, 0.1],
    )
    assert good_calls(calls, [parse_slo(text) for text in slos]).tolist() == good
