"""The answer to `headroom what-if`: the rule fitted to recorded runs, checked, and put to a load.

The cost of a call is that of the run whose service demand is known best, with its mix.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.estimate import Estimate
from analysis.policy.costs import workload_of
from analysis.policy.fit import fit_policy
from analysis.policy.load_answer import LoadToSimulate, simulate_load
from analysis.policy.recorded import RecordedScaling, recorded_scaling
from analysis.policy.replay import recorded_rates, replay_load, replay_rule
from analysis.policy.results import FittedRule, PolicyFit, Replay, SimulatedLoad, WhatIf
from analysis.policy.workload import Workload
from analysis.results import RunAnalysis

Floats = NDArray[np.float64]

MOST_WEBSERVERS = 500
SERVICE_LIMIT = 5  # webservers that Amazon MWAA allows


@dataclass(frozen=True, slots=True, eq=False)
class AskedLoad:
    """A load to simulate; None: what the first run recorded."""

    name: str
    rate_per_s: Floats | None  # of each second
    scale: float = 1.0
    min_webservers: int | None = None
    max_webservers: int | None = None


@dataclass(frozen=True, slots=True)
class _Run:
    analysis: RunAnalysis
    scaling: RecordedScaling


def answer_what_if(runs: Sequence[RunAnalysis], asked: AskedLoad | None) -> WhatIf:
    """Fit and replay recorded runs; simulate a load if one is asked about."""
    prepared = [(run, recorded_scaling(run)) for run in runs]
    usable = [_Run(run, found) for run, found in prepared if isinstance(found, RecordedScaling)]
    fit = fit_policy(
        [run.scaling for run in usable], [found for _, found in prepared if isinstance(found, str)]
    )
    names = tuple(run.run_id for run in runs)
    if fit.rule is None:
        return WhatIf(names, fit, (), None, refusals=(fit.refusal,))
    replays = tuple(
        replay
        for run in usable
        if run.scaling.run_id in fit.runs_used
        for replay in (replay_rule(run.scaling, fit.rule), _replay_of_load(run, fit.rule))
    )
    if asked is None:
        return WhatIf(names, fit, replays, None)
    load, refusal = _simulated(usable, asked, fit, fit.rule)
    return WhatIf(
        runs=names,
        fit=fit,
        replays=replays,
        load=load,
        refusals=(refusal,) if refusal else (),
        notes=_notes(load, asked),
    )


def _replay_of_load(run: _Run, rule: FittedRule) -> Replay:
    workload = workload_of(run.analysis)
    refusal = _closed(run) or (workload if isinstance(workload, str) else "")
    if refusal or isinstance(workload, str):
        return Replay("load", run.scaling.run_id, run.scaling.period_s, (), refusal=refusal)
    return replay_load(run.scaling, run.analysis, workload, rule)


def _closed(run: _Run) -> str:
    """Why a recorded load is no load to simulate; "": it is one."""
    if any(stage.users is not None for stage in run.analysis.stages):
        return (
            f"The load of {run.scaling.run_id} came from users who wait for answers, so it would "
            "have been another with other webservers; only open loads can be simulated."
        )
    return ""


def _simulated(
    runs: Sequence[_Run], asked: AskedLoad, fit: PolicyFit, rule: FittedRule
) -> tuple[SimulatedLoad | None, str]:
    known = [
        (run, workload)
        for run in runs
        if isinstance(workload := workload_of(run.analysis), Workload)
    ]
    if not known:
        return None, str(workload_of(runs[0].analysis))
    if asked.rate_per_s is None and (refusal := _closed(runs[0])):
        return None, refusal
    run, workload = min(known, key=lambda each: _uncertainty(_demand(each[0])))
    rates = (
        recorded_rates(runs[0].scaling, runs[0].analysis)
        if asked.rate_per_s is None
        else asked.rate_per_s
    )
    least = asked.min_webservers or min(
        run.scaling.min_webservers, asked.max_webservers or MOST_WEBSERVERS
    )
    most = asked.max_webservers or max(run.scaling.max_webservers, least)
    sizing = run.analysis.sizing
    load = LoadToSimulate(
        name=asked.name,
        rate_per_s=rates * asked.scale,
        min_webservers=least,
        max_webservers=most,
        period_s=run.scaling.period_s,
        utilisation_target=sizing.utilisation_target if sizing else 0.7,
    )
    demand = _demand(run)
    ends_s = [end for end in (demand.low, demand.high) if end]
    return simulate_load(load, workload, ends_s, rule, fit.others), ""


def _demand(run: _Run) -> Estimate:
    demand = run.analysis.demand
    return demand.mix_s if demand else Estimate(None)


def _uncertainty(demand: Estimate) -> float:
    """Width of the interval, relative to the value."""
    if not demand.value or demand.low is None or demand.high is None:
        return float("inf")
    return (demand.high - demand.low) / demand.value


def _notes(load: SimulatedLoad | None, asked: AskedLoad) -> tuple[str, ...]:
    if load is None:
        return ()
    notes = [
        "Simulated calls are expected numbers of the recorded mix: chance is not in them, nor a "
        "backlog that stays on the webservers that have it, so a real overload lasts longer."
    ]
    if load.max_webservers > SERVICE_LIMIT:
        notes.append(
            f"Amazon MWAA allows {SERVICE_LIMIT} webservers; up to {load.max_webservers} were "
            "simulated."
        )
    if asked.scale != 1.0 or asked.rate_per_s is not None:
        notes.append(
            "The throttle of the service and the metadata database are not simulated: the load "
            "may break on them first."
        )
    return tuple(notes)
