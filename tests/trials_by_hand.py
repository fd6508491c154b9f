"""Runs whose stages are trials made by hand, for tests of the capacity over webserver counts."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from compared_runs import imagined_manifest, imagined_run

from mwaa_headroom.analysis.capacity.evidence import BLOCKS, Ratio, StageEvidence
from mwaa_headroom.analysis.findings import refusal
from mwaa_headroom.analysis.planning.capacity_curve import StageTrial, TrialRun
from mwaa_headroom.analysis.results import SloResult
from mwaa_headroom.analysis.setting import read_setting
from mwaa_headroom.analysis.slo import parse_slo

SLO = "p95(latency) < 1s"


def spread_out(share: float, calls: int = 8000) -> Ratio:
    """The same share of calls beyond the limit in every block."""
    whole = np.full(BLOCKS, calls / BLOCKS)
    return Ratio(share * whole, whole)


def trials(
    name: str,
    webservers: int,
    shares: dict[float, float | None],
    *,
    duration_s: float = 300.0,
    calls: int = 8000,
    status: str = "finished",
    airflow: str = "3.2.1",
    **manifest: Any,
) -> TrialRun:
    """A run at a fixed webserver count.

    Args:
        name: of the run.
        webservers: least and most.
        shares: by rate, the calls that took longer than the SLO allows; None: undecided.
        duration_s: of every stage.
        calls: of every stage.
        status: of the run.
        airflow: its version.
        manifest: further changes of it, "__" for a dot.
    """
    counts = {"MinWebservers": webservers, "MaxWebservers": webservers}
    changes = {f"environment__before__{key}": value for key, value in counts.items()}
    changes |= {f"environment__after__{key}": value for key, value in counts.items()}
    made = imagined_manifest(**{"scenario__slo": [SLO], **changes, **manifest})
    run = imagined_run(name, airflow=airflow, manifest=made, status=status)
    return TrialRun(
        run=run,
        setting=read_setting(made),
        trials=tuple(
            _trial(run.stages[0], name, index, webservers, rate, share, duration_s, calls)
            for index, (rate, share) in enumerate(shares.items())
        ),
    )


def changing(run: TrialRun, stages: Sequence[int]) -> TrialRun:
    """The same run, its webserver count not constant in some stages."""
    return replace(
        run,
        trials=tuple(
            replace(trial, evidence=replace(trial.evidence, webservers=None))
            if index in stages
            else trial
            for index, trial in enumerate(run.trials)
        ),
    )


def _trial(
    like: Any,
    run_id: str,
    index: int,
    webservers: int,
    rate: float,
    share: float | None,
    duration_s: float,
    calls: int,
) -> StageTrial:
    verdict = "undecided" if share is None else "fail" if share >= 0.05 else "pass"
    reason = refusal("trial.not_to_its_end") if share is None else None
    met = {"pass": True, "fail": False, "undecided": None}[verdict]
    line = SloResult(parse_slo(SLO), 1.2 if met is False else 0.5, met)
    stage = replace(
        like,
        index=index,
        name=f"stage {index + 1}",
        rate_per_s=rate,
        achieved_per_s=rate,
        webservers_min=webservers,
        webservers_max=webservers,
        webserver_cpu_percent=91.0 if met is False else 60.0,
        slo=(line,),
        met_slo=met,
        trial=verdict,
        trial_reason=reason,
    )
    evidence = StageEvidence(
        rate_per_s=rate,
        measured_s=duration_s,
        webservers=webservers,
        verdict=verdict,
        reason=reason,
        as_planned=True,
        broken=frozenset({SLO} if met is False else ()),
        arrivals=calls,
        loss_ratio=share or 0.0,
        started_at_s=index * 2 * duration_s,  # after a pause each
        ended_at_s=(index * 2 + 1) * duration_s,
        latency_s=np.full(BLOCKS, 0.3),
        tail=(0.0, 0),
        ratios={SLO: spread_out(share or 0.0, calls)},
    )
    return StageTrial(run_id, stage, evidence)
