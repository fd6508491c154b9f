"""A stage as a trial of its webserver count."""

import itertools

import pytest

from mwaa_headroom.analysis.findings import Finding, warning
from mwaa_headroom.analysis.results import SteadyState
from mwaa_headroom.analysis.stages import judge_trial
from mwaa_headroom.analysis.statistics import Estimate


def settled(verdict: str, reason: Finding | None = None) -> SteadyState:
    return SteadyState(verdict, 20.0, Estimate(0.0), reason)


RISING = settled("rising", warning("steady.rising", fraction_per_min=0.4))


@pytest.mark.parametrize(
    ("complete", "generator_ok", "met_slo", "steady", "expected"),
    [
        pytest.param(True, True, True, settled("steady"), "pass", id="all is well"),
        pytest.param(True, True, True, None, "pass", id="nobody looked whether it settled"),
        pytest.param(True, True, True, settled("not_checked", "Short."), "pass", id="nor could"),
        pytest.param(True, True, True, RISING, "undecided", id="it would have got worse"),
        pytest.param(True, True, False, RISING, "fail", id="bad enough already"),
        pytest.param(False, True, True, None, "undecided", id="cut short: no pass"),
        pytest.param(False, True, False, None, "fail", id="cut short can fail"),
        pytest.param(True, True, None, None, "undecided", id="a line cannot be judged"),
        pytest.param(True, False, True, None, "undecided", id="the load was not as asked for"),
        pytest.param(True, False, False, None, "undecided", id="nor is it a fail then"),
    ],
)
def test_verdict_of_a_trial(
    complete: bool,
    generator_ok: bool,
    met_slo: bool | None,
    steady: SteadyState | None,
    expected: str,
) -> None:
    assert judge_trial(complete, generator_ok, met_slo, steady)[0] == expected


def test_the_reason_is_the_stages_own() -> None:
    assert judge_trial(True, True, True, RISING)[1] == RISING.reason


def test_only_what_is_undecided_has_a_reason() -> None:
    steadies = (None, settled("steady"), settled("unsteady"), RISING)
    for complete, ok, met, steady in itertools.product(
        (True, False), (True, False), (True, False, None), steadies
    ):
        verdict, reason = judge_trial(complete, ok, met, steady)
        assert bool(reason) == (verdict == "undecided")
