"""The answer to `headroom what-if`: the rule fitted to recorded runs, checked, and put to a load.

Runs must be alike (`analysis.identity`). The cost of a call is that of the run whose service
demand is known best; limits of the count and the metric period are those of the first run that the
rule is fitted to.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mwaa_headroom.analysis.findings import Finding, note, refusal, warning
from mwaa_headroom.analysis.identity import SCALING_RULE, each_run, unlike, unlike_runs
from mwaa_headroom.analysis.mwaa import MOST_WEBSERVERS
from mwaa_headroom.analysis.policy.fit import PolicyFit, fit_policy, unfitted
from mwaa_headroom.analysis.policy.recorded import (
    RecordedScaling,
    recorded_rates,
    recorded_scaling,
)
from mwaa_headroom.analysis.policy.replay import (
    Explained,
    FittedRule,
    Replay,
    replay_load,
    replay_rule,
)
from mwaa_headroom.analysis.policy.scaling_rule import MOST_SIMULATED
from mwaa_headroom.analysis.policy.simulated_load import (
    LEAST_FACTOR,
    LoadToSimulate,
    SimulatedLoad,
    factors,
    simulate_load,
    step_unseen,
    widened,
)
from mwaa_headroom.analysis.policy.workload import Workload, workload_of
from mwaa_headroom.analysis.results import RunAnalysis
from mwaa_headroom.analysis.statistics import Estimate, Floats

MOST_CALLS_PER_S = 5000.0


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The answer to `headroom what-if`."""

    runs: tuple[str, ...]
    fit: PolicyFit
    replays: tuple[Replay, ...]
    load: SimulatedLoad | None  # None: none was asked about, or refused
    refusals: tuple[Finding, ...] = ()
    notes: tuple[Finding, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 answered, 5 something that was asked could not be."""
        return 5 if self.refusals else 0


@dataclass(frozen=True, slots=True, eq=False)
class AskedLoad:
    """A load to simulate."""

    name: str
    rate_per_s: Floats | None  # of each second; None: what the first run recorded
    scale: float = 1.0
    min_webservers: int | None = None  # None: as of the first run that scales
    max_webservers: int | None = None


@dataclass(frozen=True, slots=True)
class _Run:
    analysis: RunAnalysis
    scaling: RecordedScaling


@dataclass(frozen=True, slots=True, eq=False)
class _Rates:
    per_s: Floats  # of each second
    recorded_by: str = ""  # a run; "": none
    phase_s: float = 0.0  # when the first whole metric period begins


def answer_what_if(runs: Sequence[RunAnalysis], asked: AskedLoad | None) -> WhatIf:
    """Fit and replay recorded runs; simulate a load if one is asked about.

    Args:
        runs: alike; else the answer is refused with their differences.
        asked: the load; None: only fit and replay.
    """
    names = tuple(run.run_id for run in runs)
    prepared = [(run, recorded_scaling(run)) for run in runs]
    usable = [_Run(run, found) for run, found in prepared if isinstance(found, RecordedScaling)]
    differences = unlike(each_run(run.analysis for run in usable), SCALING_RULE)
    if differences:
        why = refusal("policy.unlike_runs")
        return WhatIf(names, unfitted(why), (), None, (why, *unlike_runs(differences)))
    fit = fit_policy(
        [run.scaling for run in usable],
        [found for _, found in prepared if isinstance(found, Finding)],
    )
    if fit.rule is None:
        return WhatIf(names, fit, (), None, (fit.refusal,) if fit.refusal else ())
    replays = tuple(
        replay
        for run in usable
        if run.scaling.run_id in fit.runs_used
        for replay in (replay_rule(run.scaling, fit.rule), _replay_of_load(run, fit.rule))
    )
    if asked is None:
        return WhatIf(names, fit, replays, None)
    explained = Explained.by(replays)
    if explained.too_few:
        why = refusal(
            "policy.rule_not_followed",
            explained=explained.matched,
            changes=explained.recorded,
            extra=explained.extra,
        )
        return WhatIf(names, fit, replays, None, (why,))
    rates = (
        _recorded_rates(*prepared[0])
        if asked.rate_per_s is None
        else _Rates(np.asarray(asked.rate_per_s))
    )
    load = rates if isinstance(rates, Finding) else _simulated(usable, asked, rates, fit, fit.rule)
    if isinstance(load, Finding):
        return WhatIf(names, fit, replays, None, (load,))
    failed, slow = factors(replays)
    used = [run.scaling for run in usable if run.scaling.run_id in fit.runs_used]
    unseen = step_unseen(load, used, fit.rule)
    notes = (*([unseen] if unseen else []), *_notes(load, asked, failed, slow))
    return WhatIf(names, fit, replays, widened(load, failed, slow), notes=notes)


def _replay_of_load(run: _Run, rule: FittedRule) -> Replay:
    workload = _closed(run.analysis) or _spoilt(run.analysis) or workload_of(run.analysis)
    if isinstance(workload, Finding):
        return Replay("load", run.scaling.run_id, run.scaling.period_s, (), refusal=workload)
    return replay_load(run.scaling, run.analysis, workload, rule)


def _closed(run: RunAnalysis) -> Finding | None:
    """Why a recorded load is no load to simulate; None: it is one."""
    if any(stage.users is not None for stage in run.stages):
        return refusal("policy.closed_load", run_id=run.run_id)
    return None


def _spoilt(run: RunAnalysis) -> Finding | None:
    """Why the calls of a run cannot be held against simulated ones; None: they can."""
    return next((stage.spoilt_by for stage in run.stages if stage.spoilt_by), None)


def _recorded_rates(run: RunAnalysis, scaling: RecordedScaling | Finding) -> _Rates | Finding:
    """Of the first run, even if it has none: that of another would answer what nobody asked."""
    if isinstance(scaling, Finding):
        return refusal("policy.first_run_unusable", why=scaling)
    per_s = recorded_rates(scaling, run, scaling.started_s)
    return _closed(run) or _Rates(per_s, run.run_id, -scaling.started_s % scaling.period_s)


def _simulated(
    runs: Sequence[_Run], asked: AskedLoad, rates: _Rates, fit: PolicyFit, rule: FittedRule
) -> SimulatedLoad | Finding:
    workloads = [(run.analysis, workload_of(run.analysis)) for run in runs]
    known = [(run, found) for run, found in workloads if isinstance(found, Workload)]
    refused = [found for _, found in workloads if isinstance(found, Finding)]
    if not known:
        return refused[0]
    run, workload = min(known, key=lambda each: _uncertainty(_demand(each[0])))
    per_s = rates.per_s * asked.scale
    peak_per_s = float(per_s.max(initial=0.0))
    if peak_per_s > MOST_CALLS_PER_S:
        return refusal("policy.load_too_high", peak_per_s=peak_per_s, most_per_s=MOST_CALLS_PER_S)
    limits = next(each.scaling for each in runs if each.scaling.run_id in fit.runs_used)
    least = asked.min_webservers or min(
        limits.min_webservers, asked.max_webservers or MOST_SIMULATED
    )
    load = LoadToSimulate(
        name=asked.name,
        rate_per_s=per_s,
        min_webservers=least,
        max_webservers=asked.max_webservers or max(limits.max_webservers, least),
        period_s=limits.period_s,
        utilisation_target=run.sizing.utilisation_target if run.sizing else 0.7,
        load_of=rates.recorded_by,
        calls_of=run.run_id,
        phase_s=rates.phase_s,
    )
    ends_s = [end for end in (_demand(run).low, _demand(run).high) if end]
    return simulate_load(load, workload, ends_s, rule, fit.others)


def _demand(run: RunAnalysis) -> Estimate:
    return run.demand.mix_s if run.demand else Estimate(None)


def _uncertainty(demand: Estimate) -> float:
    """Width of the interval, relative to the value."""
    if not demand.value or demand.low is None or demand.high is None:
        return float("inf")
    return (demand.high - demand.low) / demand.value


def _notes(load: SimulatedLoad, asked: AskedLoad, failed: float, slow: float) -> Iterator[Finding]:
    yield note("policy.expected_numbers")
    yield note("policy.widened", failed=failed, slow=slow, least=LEAST_FACTOR)
    if load.max_webservers > MOST_WEBSERVERS:
        yield warning(
            "policy.more_than_allowed", allowed=MOST_WEBSERVERS, simulated=load.max_webservers
        )
    if asked.scale != 1.0 or asked.rate_per_s is not None:
        yield note("policy.not_simulated")
