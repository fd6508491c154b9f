"""Stages that tell another story at another time, by stages made by hand."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from mwaa_headroom.analysis.capacity.crossing import capacity_of
from mwaa_headroom.analysis.capacity.evidence import BLOCKS, Ratio, StageEvidence
from mwaa_headroom.analysis.capacity.over_time import change, collapse, too_short, trials_of
from mwaa_headroom.analysis.findings import warning
from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.analysis.statistics import Floats

P95 = parse_slo("p95(latency) < 1s")
LENGTH_S = 240.0


def one_after_another(
    *stages: tuple[float, str, float | Floats], pause_s: float = 0.0, noise: float = 0.1
) -> list[StageEvidence]:
    """Stages of (calls/s, verdict, mean latency or that of each block), with independent blocks."""
    random = np.random.default_rng(3)
    return [
        StageEvidence(
            rate_per_s=rate,
            measured_s=LENGTH_S,
            webservers=2,
            verdict=verdict,
            reason=None,
            as_planned=True,
            broken=frozenset({P95.text} if verdict == "fail" else ()),
            arrivals=int(LENGTH_S * rate),
            loss_ratio=0.0,
            started_at_s=index * (LENGTH_S + pause_s),
            ended_at_s=index * (LENGTH_S + pause_s) + LENGTH_S,
            latency_s=np.asarray(latency_s) * np.exp(noise * random.standard_normal(BLOCKS)),
            tail=(40.0, 160),
            ratios={P95.text: share_of(0.3 if verdict == "fail" else 0.01, LENGTH_S * rate)},
        )
        for index, (rate, verdict, latency_s) in enumerate(stages)
    ]


def share_of(share: float, calls: float) -> Ratio:
    whole = np.full(BLOCKS, calls / BLOCKS)
    return Ratio(share * whole, whole)


def codes(stages: Sequence[StageEvidence]) -> list[str]:
    return [each.code for each in capacity_of([P95], stages).warnings]


UP_AND_DOWN = ((20.0, "pass", 0.2), (25.0, "pass", 0.3), (30.0, "fail", 0.9))


def test_what_held_before_an_overload_and_stays_broken_after_it_may_collapse() -> None:
    stages = one_after_another(*UP_AND_DOWN[:2], (30.0, "fail", 40.0), (25.0, "fail", 60.0),
                               (20.0, "fail", 60.0), noise=0.0)  # fmt: skip

    found = collapse(stages)

    assert found is not None
    assert (found.code, found.severity) == ("capacity.may_collapse", "refusal")
    assert found.values == pytest.approx({"rate_per_s": 25.0, "before_s": 0.3, "after_s": 60.0})
    assert capacity_of([P95], stages).value is None


def test_a_stage_that_works_off_an_overload_is_no_trial_and_no_collapse() -> None:
    """Of 48 s of waiting, 12 s are worked off in each minute."""
    draining = np.linspace(48.0, 0.3, BLOCKS)
    stages = one_after_another(*UP_AND_DOWN[:2], (30.0, "fail", 24.0), (25.0, "fail", draining),
                               (20.0, "pass", 0.2), noise=0.0)  # fmt: skip

    assert collapse(stages) is None
    assert trials_of(stages) == [*stages[:3], stages[4]]
    assert capacity_of([P95], stages) == capacity_of([P95], [*stages[:3], stages[4]])


def test_after_a_pause_the_webservers_are_fresh() -> None:
    stages = one_after_another(*UP_AND_DOWN, (25.0, "fail", 60.0), pause_s=60.0)

    assert collapse(stages) is None
    assert change(stages) is not None


def test_an_overload_that_leaves_no_trace_says_nothing() -> None:
    stages = one_after_another(*UP_AND_DOWN, *UP_AND_DOWN[1::-1])

    assert collapse(stages) is None
    assert codes(stages) == []


def test_one_rate_that_took_longer_at_another_time_is_told() -> None:
    stages = one_after_another(*UP_AND_DOWN, (25.0, "pass", 0.36), (20.0, "pass", 0.24), noise=0.0)
    noisy = one_after_another(*UP_AND_DOWN, (25.0, "pass", 0.36), (20.0, "pass", 0.24))

    found = change(stages)

    assert found is not None
    assert found.severity == "warning"
    assert found.values["rate_per_s"] in (20.0, 25.0)
    assert found.values["most_s"] == pytest.approx(1.2 * found.values["least_s"])
    assert codes(noisy) == ["capacity.changed"]


def test_equal_times_that_scatter_are_no_change() -> None:
    """At 5 %: of 100 equal repeats a few are called different."""
    random = np.random.default_rng(1)
    told = 0
    for _ in range(100):
        stages = one_after_another(*UP_AND_DOWN, *UP_AND_DOWN[1::-1])
        for stage in stages:
            stage.latency_s[:] = stage.latency_s.mean() * np.exp(
                0.2 * random.standard_normal(BLOCKS)
            )
        told += change(stages) is not None
    assert told <= 12


def waves(blocks: float) -> Floats:
    """Latencies that remember for so many blocks."""
    random, keep, value = np.random.default_rng(2), np.exp(-1 / blocks), 0.0
    found = []
    for noise in random.standard_normal(BLOCKS):
        value = keep * value + np.sqrt(1 - keep**2) * noise
        found.append(0.3 * np.exp(0.3 * value))
    return np.array(found)


def test_latencies_that_come_in_waves_need_longer_stages() -> None:
    stages = one_after_another((25.0, "pass", waves(10.0)), (30.0, "fail", 0.9), noise=0.0)
    short = [each for each in too_short(stages, 26.0) if each.code == "capacity.short_stages"]
    quick = one_after_another((25.0, "pass", waves(0.3)), (30.0, "fail", 0.9), noise=0.0)

    assert len(short) == 1
    assert short[0].values["measured_s"] == LENGTH_S
    assert short[0].values["needed_s"] > LENGTH_S
    assert list(too_short(quick, 26.0)) == []


def test_calls_without_a_variance_are_told() -> None:
    """100 slowest calls, with a tail like t^-1.5."""
    stages = one_after_another(*UP_AND_DOWN)
    heavy = [replace(stage, tail=(100.0, 150)) for stage in stages]

    assert list(too_short(stages, 26.0)) == []
    assert list(too_short(heavy, 26.0)) == [warning("capacity.heavy_tail", exponent=1.5)]


def test_stages_of_one_rate_that_differ_make_it_less_sure() -> None:
    def width(first: float, second: float) -> float:
        stages = one_after_another((20.0, "pass", 0.2), (25.0, "pass", 0.3), (30.0, "fail", 0.9),
                                   (25.0, "pass", 0.3))  # fmt: skip
        for place, share in ((1, first), (3, second)):
            stages[place].ratios[P95.text] = share_of(share, 6000)
        found = capacity_of([P95], stages)
        assert found.high is not None
        assert found.low is not None
        return found.high - found.low

    assert width(0.01, 0.04) > 1.3 * width(0.025, 0.025)
