"""The metrics of a run, and which of them are in the gate."""

from dataclasses import replace

import pytest
from compared_runs import imagined_run, imagined_runs

from mwaa_headroom.analysis.comparison.metrics import (
    ERROR_RATE,
    MIX_DEMAND,
    gate_stages,
    run_metrics,
)


def test_gate_stages_by_share() -> None:
    runs = list(imagined_runs("old", 4))
    for index in (0, 1):
        first, second = runs[index].stages
        runs[index] = replace(runs[index], stages=(first, replace(second, met_slo=False)))

    assert gate_stages(runs) == (0,)
    assert gate_stages(runs, share=0.5) == (0, 1)
    assert gate_stages(runs, share=0.6) == (0,)


def test_the_error_rate_is_over_the_gate_stages() -> None:
    run = imagined_run("x")
    first, second = run.stages
    failing = replace(second, outcomes={**second.outcomes, "ok": second.outcomes["ok"] - 10})
    run = replace(run, stages=(first, failing))

    assert run_metrics(run, (0,)).gate[ERROR_RATE].value == 0
    both = run_metrics(run, (0, 1)).gate[ERROR_RATE].value
    assert both == pytest.approx(10 / (first.sent + second.sent))
    assert run_metrics(replace(run, demand=None), ()).gate == {}
    assert MIX_DEMAND in run_metrics(run, ()).gate
