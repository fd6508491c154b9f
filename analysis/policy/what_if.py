"""The answer to `headroom what-if`: the rule fitted to recorded runs, checked, and put to a load.

Runs must be alike (`analysis.policy.alike`). The cost of a call is that of the run whose service
demand is known best; limits of the count and the metric period are those of the first run that the
rule is fitted to.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.comparison.likeness import IdentifiedRun
from analysis.estimate import Estimate
from analysis.policy.alike import unlike
from analysis.policy.costs import workload_of
from analysis.policy.fit import fit_policy, unfitted
from analysis.policy.load_answer import LoadToSimulate, simulate_load
from analysis.policy.lost import LEAST_FACTOR, factors, widened
from analysis.policy.parameters import MOST_SIMULATED
from analysis.policy.recorded import RecordedScaling, recorded_scaling
from analysis.policy.replay import recorded_rates, replay_load, replay_rule
from analysis.policy.results import FittedRule, PolicyFit, Replay, SimulatedLoad, WhatIf
from analysis.policy.workload import Workload
from analysis.results import RunAnalysis

Floats = NDArray[np.float64]

SERVICE_LIMIT = 5  # webservers that Amazon MWAA allows
MOST_CALLS_PER_S = 5000.0


@dataclass(frozen=True, slots=True, eq=False)
class AskedLoad:
    """A load to simulate; None: what the first run recorded."""

    name: str
    rate_per_s: Floats | None  # of each second
    scale: float = 1.0
    min_webservers: int | None = None
    max_webservers: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _RecordedLoad:
    run_id: str
    rate_per_s: Floats
    phase_s: float  # when the first whole metric period begins


@dataclass(frozen=True, slots=True)
class _Run:
    analysis: RunAnalysis
    scaling: RecordedScaling


def answer_what_if(runs: Sequence[IdentifiedRun], asked: AskedLoad | None) -> WhatIf:
    """Fit and replay recorded runs; simulate a load if one is asked about.

    Args:
        runs: alike; else the answer is refused with their differences.
        asked: the load; None: only fit and replay.
    """
    names = tuple(run.analysis.run_id for run in runs)
    prepared = [(run, recorded_scaling(run.analysis)) for run in runs]
    differences = unlike([run for run, found in prepared if isinstance(found, RecordedScaling)])
    if differences:
        refusal = "Runs that are not alike do not tell of one scaling rule: give those that are."
        return WhatIf(names, unfitted(refusal), (), None, refusals=(refusal, *differences))
    usable = [
        _Run(run.analysis, found) for run, found in prepared if isinstance(found, RecordedScaling)
    ]
    fit = fit_policy(
        [run.scaling for run in usable], [found for _, found in prepared if isinstance(found, str)]
    )
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
    load, refusal = None, ""
    recorded = _recorded_load(*prepared[0]) if asked.rate_per_s is None else None
    if isinstance(recorded, str):
        refusal = recorded
    else:
        load, refusal = _simulated(usable, asked, recorded, fit, fit.rule)
    failed, slow = factors(replays)
    return WhatIf(
        runs=names,
        fit=fit,
        replays=replays,
        load=load and widened(load, failed, slow),
        refusals=(refusal,) if refusal else (),
        notes=_notes(load, asked, failed, slow),
    )


def _replay_of_load(run: _Run, rule: FittedRule) -> Replay:
    workload = workload_of(run.analysis)
    refusal = _closed(run.analysis) or (workload if isinstance(workload, str) else "")
    if refusal or isinstance(workload, str):
        return Replay("load", run.scaling.run_id, run.scaling.period_s, (), refusal=refusal)
    return replay_load(run.scaling, run.analysis, workload, rule)


def _closed(run: RunAnalysis) -> str:
    """Why a recorded load is no load to simulate; "": it is one."""
    if any(stage.users is not None for stage in run.stages):
        return (
            f"The load of {run.run_id} came from users who wait for answers, so it would have been "
            "another with other webservers; only open loads can be simulated."
        )
    return ""


def _recorded_load(run: IdentifiedRun, scaling: RecordedScaling | str) -> _RecordedLoad | str:
    """Of the first run, even if it has none: that of another would answer what nobody asked."""
    if isinstance(scaling, str):
        return f"The load to simulate is that of the first run, but {scaling} Name another first."
    analysis = run.analysis
    rates = recorded_rates(scaling, analysis, scaling.started_s)
    phase_s = -scaling.started_s % scaling.period_s
    return _closed(analysis) or _RecordedLoad(analysis.run_id, rates, phase_s)


def _simulated(
    runs: Sequence[_Run],
    asked: AskedLoad,
    recorded: _RecordedLoad | None,
    fit: PolicyFit,
    rule: FittedRule,
) -> tuple[SimulatedLoad | None, str]:
    known = [
        (run, workload)
        for run in runs
        if isinstance(workload := workload_of(run.analysis), Workload)
    ]
    if not known:
        return None, str(workload_of(runs[0].analysis))
    run, workload = min(known, key=lambda each: _uncertainty(_demand(each[0])))
    rates = np.asarray(recorded.rate_per_s if recorded else asked.rate_per_s) * asked.scale
    if rates.max(initial=0.0) > MOST_CALLS_PER_S:
        return None, (
            f"The load would be {rates.max():g} calls/s at its peak; at most {MOST_CALLS_PER_S:g} "
            "can be simulated: give a smaller --scale."
        )
    limits = next(each.scaling for each in runs if each.scaling.run_id in fit.runs_used)
    least = asked.min_webservers or min(
        limits.min_webservers, asked.max_webservers or MOST_SIMULATED
    )
    sizing = run.analysis.sizing
    load = LoadToSimulate(
        name=asked.name,
        rate_per_s=rates,
        min_webservers=least,
        max_webservers=asked.max_webservers or max(limits.max_webservers, least),
        period_s=limits.period_s,
        utilisation_target=sizing.utilisation_target if sizing else 0.7,
        load_of=recorded.run_id if recorded else "",
        calls_of=run.analysis.run_id,
        phase_s=recorded.phase_s if recorded else 0.0,
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


def _notes(
    load: SimulatedLoad | None, asked: AskedLoad, failed: float, slow: float
) -> tuple[str, ...]:
    if load is None:
        return ()
    notes = [
        "Simulated calls are expected numbers of the recorded mix: chance is not in them, nor a "
        "backlog that stays on the webservers that have it.",
        f"The ranges of lost calls are widened by a factor of {failed:.1f} (failed) and {slow:.1f} "
        f"(slow): as far as replays were off, but at least {LEAST_FACTOR:g}.",
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
