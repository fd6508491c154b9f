"""Capacity over webserver counts, from the stages of many runs, and how it grows.

    capacity(n) = the rate at which the SLO breaks with n webservers      (`capacity/crossing.py`)
    next trial  = the search decision at each count                       (`planning/next_trial.py`)

A stage whose webserver count stayed the same is a trial at that count, whichever run it is of. The
runs must be alike in everything but the webserver limits, the stages, the question and what sent
the load. Per count nothing more is tried once the search has come within 5 %, or the interval of
the capacity is at most 10 % of it wide.

Source: Henning and Hasselbring, Empir. Softw. Eng. 27 (2022) 143 (capacity as a function of the
resources, each load and resource an experiment of its own).

How capacity grows with webservers: the gain of each, and one number for what they share.

    gain            d = (c_b - c_a) / (n_b - n_a)
    its interval    d - sqrt((c_b - l_b)^2 + (u_a - c_a)^2) / (n_b - n_a) and likewise upwards
    Amdahl          c(n) = c_1 S(n),   S(n) = n / (1 + sigma (n - 1))

c, l, u capacity and its interval's ends at n webservers. c_1 and sigma are the least squares fit on
the logarithm, weighted by the intervals; the interval of sigma comes from 1000 draws (fixed seed)
of all capacities, log-normal with those intervals. Amdahl's sigma is a share, 0 to 1; a negative
one is let in, down to -1 / (2 (n - 1)) for the most webservers n, and means that capacity grows
faster than their number: a call more often finds an idle webserver the more there are.

Sources: Zou and Donner, Stat. Med. 27 (2008) 1693 (interval of a difference); Amdahl, AFIPS 1967.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from mwaa_headroom.analysis.capacity.crossing import (
    capacity_of,
    next_rate_above,
    next_rate_below,
)
from mwaa_headroom.analysis.capacity.evidence import StageEvidence
from mwaa_headroom.analysis.capacity.highest_stage import find_capacity
from mwaa_headroom.analysis.capacity.over_time import trials_of
from mwaa_headroom.analysis.findings import Finding, note, refusal
from mwaa_headroom.analysis.generator.health import rows_miscounted
from mwaa_headroom.analysis.identity import (
    CAPACITY,
    allowed,
    each_run,
    unlike,
    unlike_runs,
    unusable,
)
from mwaa_headroom.analysis.planning.next_trial import (
    MOST_REPEATS,
    Goal,
    Step,
    Trial,
    conditional_throughput,
    next_step,
)
from mwaa_headroom.analysis.results import Difference, RunAnalysis, StageStats
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.analysis.setting import Setting
from mwaa_headroom.analysis.slo import Slo
from mwaa_headroom.analysis.statistics import Z95, Estimate, Floats

SEARCH_WIDTH = 0.05
NARROW_ENOUGH = 0.1  # of the capacity
FULL_LENGTH = 0.5  # of the longest trial of the count: shorter ones only show what is too high
FEWEST_COUNTS = 3
_DRAWS = 1000
_GRID = 1001


@dataclass(frozen=True, slots=True)
class CountTrial:
    """One stage as a trial of its webserver count."""

    run_id: str
    stage_index: int
    stage: str  # its name
    rate_per_s: float
    duration_s: float  # without the warm-up
    verdict: str  # pass | fail | undecided
    reason: Finding | None  # why undecided, or what broke


@dataclass(frozen=True, slots=True)
class NextTrial:
    """The measurement that would tell the most."""

    webservers: int
    rate_per_s: float
    duration_s: float
    repeats: bool  # whether the rate was tried before


@dataclass(frozen=True, slots=True)
class CountCapacity:
    """One webserver count: how much it takes, what stops it, and what to try next."""

    webservers: int
    capacity_per_s: Estimate
    highest_pass_per_s: float | None  # below every rate that failed
    lowest_fail_per_s: float | None
    given_up_per_s: float | None  # below it, undecided in three trials: the search goes on below
    throughput_per_s: float | None  # what came through well at the highest pass
    bottleneck: str  # as of `CapacityResult`
    explanation: Finding
    gain_per_webserver_per_s: Estimate | None  # to the next count measured; None: there is none
    trials: tuple[CountTrial, ...]
    next_trial: NextTrial | None  # None: nothing more is needed


@dataclass(frozen=True, slots=True)
class AmdahlFit:
    """capacity(n) = rate_of_one n / (1 + contention (n - 1))."""

    rate_of_one_per_s: float
    contention: Estimate  # 0: each webserver adds as much as the first; negative: more


@dataclass(frozen=True, slots=True)
class CapacityCurve:
    """The capacity over webserver counts, from many runs."""

    slo: tuple[Slo, ...]
    runs: tuple[str, ...]  # used
    counts: tuple[CountCapacity, ...]  # rising
    amdahl: AmdahlFit | None  # None: fewer than three counts have a capacity
    exit_code: int  # 0: a count has an interval; 5: none has
    refusals: tuple[Finding, ...] = ()
    notes: tuple[Finding, ...] = ()
    meant_to_differ: tuple[Difference, ...] = ()

    @property
    def known(self) -> tuple[CountCapacity, ...]:
        """The counts that have a capacity."""
        return tuple(each for each in self.counts if each.capacity_per_s.value is not None)


@dataclass(frozen=True, slots=True)
class StageTrial:
    """One stage with what it says about every line of the SLO."""

    run_id: str
    stage: StageStats
    evidence: StageEvidence


@dataclass(frozen=True, slots=True)
class TrialRun:
    """A run with its stages as trials."""

    run: RunAnalysis
    setting: Setting
    trials: tuple[StageTrial, ...]


def trial_run(run: Run) -> TrialRun:
    """The stages of a run as trials.

    Raises:
        RecordFormatError: the manifest has no usable scenario.
    """
    trials = (
        StageTrial(run.run_id, stage, evidence)
        for stage, evidence in zip(run.stages, run.evidence, strict=True)
    )
    return TrialRun(run.analysis, run.setting, tuple(trials))


def capacity_curve(given: Sequence[TrialRun]) -> CapacityCurve:
    """Pool the trials of like runs by their webserver count.

    A run that cannot be used is left out and named; unlike runs are refused.
    """
    left_out = [why for run in given if (why := _objection(run))]
    runs = [run for run in given if not _objection(run)]
    sides = each_run(run.run for run in runs)
    by_count: dict[int, list[StageTrial]] = {}
    changing: list[StageTrial] = []
    for trial in (trial for run in runs for trial in run.trials):
        count = trial.evidence.webservers
        (by_count.setdefault(count, []) if count else changing).append(trial)
    refusals = [*([] if runs else left_out), *unlike_runs(unlike(sides, CAPACITY))]
    if not given:
        refusals = [refusal("planning.no_run")]
    elif not refusals and not by_count:
        refusals = [refusal("capacity_curve.no_constant_count")]
    if refusals:
        by_count = {}
    counts = _with_gains([_of_count(runs[0], n, by_count[n]) for n in sorted(by_count)])
    known = any(each.capacity_per_s.value is not None for each in counts)
    return CapacityCurve(
        slo=runs[0].setting.slos if counts else (),
        runs=tuple(run.run.run_id for run in runs),
        counts=tuple(counts),
        amdahl=fit_amdahl({each.webservers: each.capacity_per_s for each in counts}),
        exit_code=0 if known else 5,
        refusals=tuple(refusals),
        notes=() if refusals else (*_spoilt(runs), *_notes(left_out, changing, counts)),
        meant_to_differ=allowed(sides, CAPACITY),
    )


def _objection(run: TrialRun) -> Finding | None:
    """Why a run says nothing about a capacity; None: it does."""
    if found := unusable(run.run, ended=("finished", "interrupted")):
        return found
    miscounted = rows_miscounted(run.run.generator, run.run.status)
    if not run.setting.is_closed and not miscounted:
        return None
    why = find_capacity(run.setting, (), miscounted=miscounted).explanation
    return refusal("capacity_curve.unusable_run", run_id=run.run.run_id, reason=why)


def _of_count(run: TrialRun, webservers: int, trials: Sequence[StageTrial]) -> CountCapacity:
    slos = run.setting.slos
    estimate = capacity_of(slos, [trial.evidence for trial in trials])
    told = trials_of([trial.evidence for trial in trials])
    found = find_capacity(run.setting, [t.stage for t in trials if t.evidence in told])
    goal, step, tried = _searched(trials)
    throughput = None
    if step.lower_per_s is not None:
        at_lower = [trial for trial in tried if trial.rate_per_s == step.lower_per_s]
        throughput = conditional_throughput(goal, step.lower_per_s, at_lower)
    return CountCapacity(
        webservers=webservers,
        capacity_per_s=estimate,
        highest_pass_per_s=step.lower_per_s,
        lowest_fail_per_s=step.failed_per_s,
        given_up_per_s=None if step.upper_per_s == step.failed_per_s else step.upper_per_s,
        throughput_per_s=throughput,
        bottleneck=found.bottleneck,
        explanation=found.explanation,
        gain_per_webserver_per_s=None,
        trials=tuple(_shown(trial) for trial in trials),
        next_trial=_next_trial(webservers, estimate, step, goal),
    )


def _searched(trials: Sequence[StageTrial]) -> tuple[Goal, Step, list[Trial]]:
    """The decision by all trials but those that say nothing of their rate, however often repeated.

    The range is open at both ends, for the search to go beyond all rates that were tried.
    """
    longest_s = max(trial.evidence.measured_s for trial in trials)
    goal = Goal(FULL_LENGTH * longest_s, FULL_LENGTH * longest_s)
    verdicts = {"pass": True, "fail": False}
    tried = [
        Trial(each.rate_per_s, each.measured_s, verdicts.get(each.verdict), each.loss_ratio)
        for each in (trial.evidence for trial in trials)
        if each.as_planned or each.verdict != "undecided"
    ]
    rates = [trial.rate_per_s for trial in tried] or [t.evidence.rate_per_s for t in trials]
    step = next_step(
        goal,
        tried,
        low_per_s=next_rate_below(min(rates)),
        high_per_s=next_rate_above(max(rates)),
        width=SEARCH_WIDTH,
    )
    return goal, step, tried


def _next_trial(webservers: int, estimate: Estimate, step: Step, goal: Goal) -> NextTrial | None:
    if step.next_per_s is None or _is_narrow(estimate):
        return None
    longest_s = goal.final_duration_s / FULL_LENGTH
    step_s = 60 if longest_s > 60 else 10  # nobody types 130 s
    return NextTrial(
        webservers=webservers,
        rate_per_s=float(f"{step.next_per_s:.3g}"),
        duration_s=float(step_s * math.ceil(longest_s / step_s)),
        repeats=step.repeats,
    )


def _is_narrow(estimate: Estimate) -> bool:
    low, high = estimate.low, estimate.high
    if not estimate.value or low is None or high is None:
        return False
    return high - low <= NARROW_ENOUGH * estimate.value


def _shown(trial: StageTrial) -> CountTrial:
    evidence, stage = trial.evidence, trial.stage
    reason = evidence.reason
    if evidence.verdict == "fail":
        broken = tuple(line for line in stage.slo if line.met is False)
        reason = note("capacity.broken_lines", lines=broken)
    elif not stage.speaks:
        reason = stage.generator_reason or stage.spoilt_by
    return CountTrial(
        run_id=trial.run_id,
        stage_index=stage.index,
        stage=stage.name,
        rate_per_s=evidence.rate_per_s,
        duration_s=evidence.measured_s,
        verdict=evidence.verdict,
        reason=reason,
    )


def _with_gains(counts: Sequence[CountCapacity]) -> list[CountCapacity]:
    gains: Mapping[int, Estimate | None] = {
        fewer.webservers: gain(
            fewer.webservers, fewer.capacity_per_s, more.webservers, more.capacity_per_s
        )
        for fewer, more in pairwise(counts)
    }
    return [replace(each, gain_per_webserver_per_s=gains.get(each.webservers)) for each in counts]


def _spoilt(runs: Sequence[TrialRun]) -> Iterator[Finding]:
    for run in runs:
        for trial in run.trials:
            if why := trial.stage.spoilt_by:
                yield note(
                    "capacity_curve.stage_left_out",
                    run_id=trial.run_id,
                    stage=trial.stage.label,
                    reason=why,
                )


def _notes(
    left_out: Sequence[Finding], changing: Sequence[StageTrial], counts: Sequence[CountCapacity]
) -> Iterator[Finding]:
    yield from (note("capacity_curve.left_out", reason=why) for why in left_out)
    if changing:
        stages = tuple((each.stage.label, each.run_id) for each in changing)
        yield note("capacity_curve.count_changed", stages=stages)
    for each in counts:
        for reason in each.capacity_per_s.warnings:
            yield note("capacity_curve.of_count", webservers=each.webservers, reason=reason)
        if each.given_up_per_s is not None:
            yield note(
                "capacity_curve.given_up",
                webservers=each.webservers,
                rate_per_s=each.given_up_per_s,
                trials=MOST_REPEATS,
            )


def gain(fewer: int, of_fewer: Estimate, more: int, of_more: Estimate) -> Estimate | None:
    """Capacity that each webserver adds between two counts; None when one has no capacity."""
    if of_fewer.value is None or of_more.value is None:
        return None
    added = of_more.value - of_fewer.value
    low = _end(of_more.value, of_more.low, of_fewer.value, of_fewer.high)
    high = _end(of_more.value, of_more.high, of_fewer.value, of_fewer.low)
    steps = more - fewer
    return Estimate(
        value=added / steps,
        low=None if low is None else (added - low) / steps,
        high=None if high is None else (added + high) / steps,
        n=of_fewer.n + of_more.n,
    )


def fit_amdahl(capacities: Mapping[int, Estimate]) -> AmdahlFit | None:
    """The contention between webservers; None when fewer than three counts have an interval.

    Args:
        capacities: by webserver count.
    """
    known = {
        count: each
        for count, each in sorted(capacities.items())
        if each.value is not None and each.low and each.high is not None
    }
    if len(known) < FEWEST_COUNTS:
        return None
    counts = np.array(list(known), dtype=np.float64)
    logs = np.log([each.value or 0.0 for each in known.values()])
    errors = np.array(
        [math.log((each.high or 0.0) / (each.low or 1.0)) / (2 * Z95) for each in known.values()]
    )
    errors = np.maximum(errors, 1e-6)
    draws = logs + errors * np.random.default_rng(0).standard_normal((_DRAWS, len(logs)))
    scales, contentions = _fit(counts, np.vstack([logs, draws]), errors)
    sigma = float(contentions[0])
    low, high = np.percentile(contentions[1:], [2.5, 97.5])
    contention = Estimate(
        value=sigma, low=min(float(low), sigma), high=max(float(high), sigma), n=len(known)
    )
    return AmdahlFit(float(np.exp(scales[0])), contention)


def amdahl_capacity(fit: AmdahlFit, webservers: Floats) -> Floats:
    """c(n) by the fit."""
    return fit.rate_of_one_per_s * _growth(webservers, fit.contention.value or 0.0)


def _end(more: float, end: float | None, fewer: float, other: float | None) -> float | None:
    return None if end is None or other is None else math.hypot(end - more, other - fewer)


def _growth(webservers: Floats | float, sigma: Floats | float) -> Floats:
    return np.asarray(webservers / (1 + sigma * (np.asarray(webservers) - 1)), dtype=np.float64)


def _fit(counts: Floats, logs: Floats, errors: Floats) -> tuple[Floats, Floats]:
    """Logarithm of c_1 and the best contention on a grid for every row of logarithms."""
    contentions = np.linspace(-0.5 / (counts[-1] - 1), 1.0, _GRID)
    growth = np.log(_growth(counts[:, None], contentions))  # (counts, contentions)
    weights = 1 / errors**2
    weights /= weights.sum()
    # For a given contention the best ln c_1 is the mean of what is left; what is left beside it:
    level, mean = weights @ growth, logs @ weights
    varied = growth - level
    misfit = weights @ varied**2 - 2 * ((logs - mean[:, None]) * weights) @ varied
    best = misfit.argmin(axis=1)
    return mean - level[best], contentions[best]
