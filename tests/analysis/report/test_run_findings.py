"""What a careful reader of one run is told beside its numbers."""

import re
from dataclasses import replace
from typing import Any

from hand_built import hand_built, lower_bound, said, stage
from rendered import every_finding, summary

from mwaa_headroom.analysis.findings import warning
from mwaa_headroom.analysis.report.run_findings import findings
from mwaa_headroom.analysis.results import (
    RunAnalysis,
    SteadyState,
)
from mwaa_headroom.analysis.statistics import Estimate


def with_stage(analysis: RunAnalysis, **changes: Any) -> RunAnalysis:
    """The same run, with its first stage changed."""
    first, *others = analysis.stages
    return replace(analysis, stages=(replace(first, **changes), *others))


def test_calls_that_were_cut_take_one_note_and_a_shown_value_takes_none() -> None:
    latency_s = {
        "p50": Estimate(4.2, 4.0, 4.4, 300),
        "p95": Estimate(10.0, 10.0, 10.0, 300, warnings=(lower_bound(95.0, 268),)),
        "p99": Estimate(
            10.0,
            n=300,
            warnings=(
                lower_bound(99.0, 268),
                warning("percentile.no_interval", percent=99.0, needed=368, calls=300),
            ),
        ),
    }
    slow = replace(
        stage(1, p95_s=1.0, met=False), latency_s=latency_s, service_time_s=latency_s, censored=268
    )
    analysis = replace(hand_built(), stages=(slow,), warnings=(), notes=())
    assert findings(analysis) == (
        (),
        ("Stage 2 burst: 268 calls were cut at a time limit, so p95 and p99 are lower bounds.",),
    )


def test_one_call_is_not_told_as_many() -> None:
    text = "\n".join(every_finding(with_stage(hand_built(), censored=1, unsent=1)))
    assert "1 call was cut at a time limit" in text
    assert re.search(r"1 of \d+ arrivals was not sent\.", text)


def test_a_stage_that_never_settled_is_a_note() -> None:
    unsteady = SteadyState("unsteady", None, Estimate(None), said("Its latency went up and down."))
    noted = every_finding(with_stage(hand_built(), steady=unsteady))
    assert "Stage 1 calm: its latency went up and down." in noted


def test_a_capacity_that_was_refused_is_a_note() -> None:
    analysis = hand_built()
    assert analysis.capacity
    refused = Estimate(None, warnings=(said("Two stages on either side of it are needed."),))
    text = summary(replace(analysis, capacity=replace(analysis.capacity, rate_per_s=refused)))
    assert "Capacity: Two stages on either side of it are needed." in text
    assert "\nCapacity" not in text
