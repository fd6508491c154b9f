"""Numbers as people read them."""

import pytest

from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.results import SloResult
from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.analysis.statistics import Estimate


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.00421, "4.21 ms"),
        (0.612, "612 ms"),
        (0.9996, "1.00 s"),
        (12.44, "12.4 s"),
        (0.0, "0 ms"),
        (None, "-"),
        (float("nan"), "-"),
        (float("inf"), "-"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("fraction", "text", "why"),
    [
        (0.0, "0 %", "nothing is nothing"),
        (0.0043, "0.43 %", "two digits below ten"),
        (0.0987, "9.9 %", "no exponent"),
        (0.123, "12 %", "whole numbers above ten"),
        (0.9996, "99.9 %", "nearly all is not all"),
        (1.0, "100 %", "all is all"),
        (1.56, "156 %", "CPU may pass 100 % where nothing limits it"),
        (None, "-", "unknown"),
    ],
)
def test_shares(fraction: float | None, text: str, why: str) -> None:
    assert words.share(fraction) == text, why


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(0.612, 0.58, 0.65), "612 ms (580-650)"),
        (Estimate(0.95, 0.9, 1.2), "950 ms (900-1200)"),
        (Estimate(0.1, 0.0912, 0.11), "100 ms (91-110)"),
        (Estimate(0.0, 0.0, 0.0021), "0 ms (0.00-2.10)"),
        (Estimate(0.612, None, 0.65), "612 ms (at most 650)"),
        (Estimate(0.612, 0.58, float("inf")), "612 ms (at least 580)"),
        (Estimate(0.612), "612 ms"),
        (Estimate(None, 0.58, 0.65), "-"),
        (None, "-"),
    ],
)
def test_intervals_have_the_unit_of_their_value(estimate: Estimate | None, text: str) -> None:
    assert words.duration_estimate(estimate) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 s"), (0.4, "0.4 s"), (17.2, "17 s"), (125.0, "2 min 5 s"), (180.0, "3 min")],
)
def test_delays(seconds: float, text: str) -> None:
    assert words.delay(seconds) == text


def test_clock_counts_hours_only_when_there_are_some() -> None:
    assert [words.clock(s) for s in (0, 42, 3725, None)] == ["00:00", "00:42", "1:02:05", "-"]


def test_neighbouring_numbers_are_joined() -> None:
    assert words.listed([5, 1, 2, 3, 3]) == "1-3, 5"


@pytest.mark.parametrize(
    ("line", "observed", "text"),
    [
        ("p95(latency) < 800ms", 0.6124, "612 ms"),
        ("p95(latency) < 800ms", 10.001, "10 s"),
        ("rate(errors) < 1%", 0.004, "0.4 %"),
        ("max(webserver.connections) < 15", 7.5, "7.5"),
        ("rate(errors) < 1%", None, "not known"),
    ],
)
def test_what_a_line_observed(line: str, observed: float | None, text: str) -> None:
    assert words.observed_text(parse_slo(line), observed) == text
    result = SloResult(parse_slo(line), observed, met=None, is_lower_bound=True)
    assert words.observed_words(result) == f"at least {text}"
