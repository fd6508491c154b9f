"""The latency on a webserver count, from stages whose latency follows a known curve."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from sizing_by_hand import recorded

from mwaa_headroom.analysis.planning.expected_latency import expected_latency
from mwaa_headroom.analysis.results import RunAnalysis, StageStats
from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.analysis.statistics import Estimate

DEMAND_S, WEBSERVER_CPU = 0.04, 0.5  # 12.5 calls/s use up a webserver
ALONE_S, WAITING_S = 0.1, 0.2


def known_s(rate_of_one_per_s: float) -> float:
    busy = rate_of_one_per_s * DEMAND_S / WEBSERVER_CPU
    return ALONE_S + WAITING_S * busy / (1 - busy)


def run_of(rates_of_one_per_s: Sequence[float], limit: str = "1s") -> RunAnalysis:
    """Two webservers in every stage."""
    run = recorded(1)
    assert run.demand is not None
    stages = [
        replace(
            run.stages[0],
            index=index,
            achieved_per_s=2 * rate,
            webservers_min=2,
            webservers_max=2,
            latency_s={"p95": Estimate(known_s(rate), 0.95 * known_s(rate), 1.05 * known_s(rate))},
        )
        for index, rate in enumerate(rates_of_one_per_s)
    ]
    demand = replace(
        run.demand,
        mix_s=Estimate(DEMAND_S),
        background_cpu_per_webserver=Estimate(0.0),
    )
    return replace(
        run,
        slos=(parse_slo(f"p95(latency) < {limit}"), parse_slo("rate(errors) < 1%")),
        stages=tuple(stages),
        demand=demand,
    )


def with_stage(run: RunAnalysis, **changes: object) -> RunAnalysis:
    """The same with the last stage changed to one that took a minute."""
    slow: StageStats = replace(
        run.stages[-1],
        latency_s={"p95": Estimate(60.0, 59.0, 61.0)},
        **changes,  # type: ignore[arg-type]
    )
    return replace(run, stages=(*run.stages[:-1], slow))


@pytest.mark.parametrize("webservers", [3, 4, 10])
def test_latency_follows_the_curve_of_the_stages(webservers: int) -> None:
    (found,) = expected_latency([run_of([1, 3, 5, 7])], 26.0, webservers)
    assert found.code == "size.slo_with_cpu"
    expected = found.values["found"]
    assert expected.value == pytest.approx(known_s(26 / webservers))
    assert 0.85 * expected.value < expected.low < expected.value < expected.high
    assert found.values["webservers"] == webservers


def test_a_limit_within_the_interval_may_be_broken() -> None:
    at_s = known_s(8)
    for limit_s, code in ((1.02 * at_s, "slo_before_cpu"), (1.4 * at_s, "slo_with_cpu")):
        run = run_of([1, 3, 5, 7], f"{1000 * limit_s:.0f}ms")
        assert [each.code for each in expected_latency([run], 24.0, 3)] == [f"size.{code}"]


def test_stages_of_several_runs_count_together() -> None:
    assert expected_latency([run_of([2, 4])], 12.0, 2) == ()
    (found,) = expected_latency([run_of([2, 4]), run_of([3, 6])], 12.0, 2)
    assert found.values["found"].value == pytest.approx(known_s(6))


@pytest.mark.parametrize(
    "changes",
    [
        {"complete": False},
        {"rate_is_mean": True},
        {"webservers_max": 3},
        {"generator_ok": False},
        {"operations": ()},
        {"achieved_per_s": 24.0},
    ],
    ids=["cut short", "a ramp", "another count", "late", "one operation", "overloaded"],
)
def test_stages_that_say_nothing_of_a_steady_mix_are_left_out(changes: dict[str, object]) -> None:
    (found,) = expected_latency([with_stage(run_of([1, 3, 5, 7, 7]), **changes)], 24.0, 4)
    assert found.values["found"].value == pytest.approx(known_s(6))


def test_beyond_what_a_webserver_can_do_nothing_is_expected() -> None:
    assert expected_latency([run_of([1, 3, 5, 7])], 24.0, 2) == ()
