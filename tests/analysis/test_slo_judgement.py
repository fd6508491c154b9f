"""Calls cut at a time limit: what can still be said of a line, and what cannot."""

from typing import Any

import numpy as np
import pytest
from calls_by_hand import calls_by_hand
from hypothesis import given
from hypothesis import strategies as st

from mwaa_headroom.analysis.calls import Calls
from mwaa_headroom.analysis.findings import refusal
from mwaa_headroom.analysis.results import SloResult
from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.analysis.slo_judgement import Window, judge


def judged(calls: Calls, line: str) -> SloResult:
    return judge(parse_slo(line), Window(calls, calls.ok, ()))


def test_the_median_of_a_published_sample_with_censored_values() -> None:
    """21 remission times in weeks, + censored; the Kaplan-Meier median is 23.

    Source: Freireich et al., Blood 21 (1963) 699, the 6-MP group: 6 6 6 6+ 7 9+ 10 10+ 11+ 13 16
    17+ 19+ 20+ 22 23 25+ 32+ 32+ 34+ 35+. The eleventh recorded time is 16, so the median is at
    least that; with the censored ones taken as endless there is no eleventh.
    """
    ended = [6, 6, 6, 7, 10, 13, 16, 22, 23]
    cut = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    calls = calls_by_hand(
        outcomes=["ok"] * len(ended) + ["service_timeout"] * len(cut),
        service_times_s=[float(t) for t in (*ended, *cut)],
    )
    broken = judged(calls, "p50(service_time) < 16s")
    assert (broken.observed, broken.is_lower_bound, broken.met) == (16.0, True, False)
    for threshold_s in (17, 23, 24, 1000):
        line = f"p50(service_time) < {threshold_s}s"
        unknown = judged(calls, line)
        assert unknown.met is None
        assert unknown.reason == refusal(
            "judge.cut_calls", slo=parse_slo(line), cut_calls=12, at_least=16.0
        )
    assert judged(calls, "p50(service_time) >= 16s").met is True


TEN_PERCENT_CUT = calls_by_hand(
    outcomes=["ok"] * 90 + ["service_timeout"] * 10, service_times_s=[0.1] * 90 + [10.0] * 10
)


@pytest.mark.parametrize(
    ("line", "met", "observed", "is_lower_bound"),
    [
        ("p90(latency) < 1s", True, 0.1, False),  # its rank is below all that were cut
        ("p95(latency) < 1s", False, 10.0, True),  # whatever they would have taken
        ("p95(latency) < 12s", None, 10.0, True),  # they might have taken 11 s or 13 s
        ("p95(latency) > 5s", True, 10.0, True),
        ("mean(latency) < 1s", False, 1.09, True),
        ("mean(latency) < 2s", None, 1.09, True),
        ("max(latency) < 9s", False, 10.0, True),
        ("max(latency) < 11s", None, 10.0, True),
    ],
)
def test_lines_over_a_sample_of_which_a_tenth_was_cut(
    line: str, met: bool | None, observed: float, is_lower_bound: bool
) -> None:
    result = judged(TEN_PERCENT_CUT, line)
    assert (result.met, result.is_lower_bound) == (met, is_lower_bound)
    assert result.observed == pytest.approx(observed)
    assert bool(result.reason) == (met is None)


times_s = st.lists(st.integers(1, 40).map(float), min_size=20, max_size=60)
functions = st.sampled_from(["p50", "p90", "p95", "mean", "max"])


@given(times_s, functions, st.sampled_from(["<", "<=", ">", ">="]), st.integers(1, 40), st.data())
def test_what_is_said_with_cut_calls_is_true_of_the_whole_ones(
    truth_s: list[float], function: str, comparison: str, threshold_s: int, data: Any
) -> None:
    """Whatever is cut, at whatever limit: met means met in truth, broken means broken."""
    limit_s = data.draw(st.integers(1, 40))
    cut = [time_s > limit_s for time_s in truth_s]
    line = f"{function}(service_time) {comparison} {threshold_s}s"
    whole = calls_by_hand(outcomes=["ok"] * len(truth_s), service_times_s=truth_s)
    seen = calls_by_hand(
        outcomes=["client_timeout" if was else "ok" for was in cut],
        service_times_s=np.minimum(truth_s, limit_s).tolist(),
    )
    met = judged(seen, line).met
    assert met is None or met == judged(whole, line).met
    if not any(cut):
        assert met is not None
