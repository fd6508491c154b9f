"""The answer to `headroom what-if`: the rule fitted to recorded runs, checked, and put to a load.

Runs must be alike (`analysis.identity`). The cost of a call is that of the run whose service
demand is known best; limits of the count and the metric period are those of the first run that the
rule is fitted to.

How far to trust simulated numbers of lost calls: the ratio seen where runs were replayed.

    f = max over runs of max((r + c) / (s + c), (s + c) / (r + c)), at least 2, at most 10

r recorded, s simulated calls, c = 20 so that a handful of calls makes no ratio. Ranges of failed
and slow calls reach from a fth of their least to f times their most, in two digits. At least 2:
runs that differ only by chance differ as much near saturation.

What a recorded run says about the cost of its calls, for the simulator.

    L = R - s - W       time in a call that costs no CPU, of the stage with the least CPU
    k = C / (X R)       connections a call in flight counts for, median over stages

R measured mean service time (the median where calls were cut), s and W as in
`analysis.policy.simulate`, C connections and X rate of the stage. The demand is that of the mix.

What would come of a load, with the range of everything that is not known better.

The load is simulated once with what is known best, and again with each end of what is not: every
rule at an end of those that explain the recorded runs as well (`analysis.policy.fit`), the
least and longest start time, both ends of the demand's interval, and where else within a metric
period the load may begin. A figure's range is the least and the most of all these simulations. It
holds what is not known of the rule and of the calls, one at a time; for chance and what the fluid
leaves out, the ranges of lost calls are widened afterwards (`analysis.policy.what_if`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, inf, isfinite, log10
from statistics import fmean, median
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mwaa_headroom.analysis.identity import SCALING_RULE, each_run, in_words, unlike
from mwaa_headroom.analysis.mwaa import MOST_WEBSERVERS
from mwaa_headroom.analysis.policy.fit import fit_policy, unfitted
from mwaa_headroom.analysis.policy.replay import (
    RecordedScaling,
    recorded_rates,
    recorded_scaling,
    replay_load,
    replay_rule,
)
from mwaa_headroom.analysis.policy.results import (
    Figure,
    FittedRule,
    LoadPoint,
    LostCalls,
    Overload,
    PolicyFit,
    Replay,
    SimulatedLoad,
    WhatIf,
)
from mwaa_headroom.analysis.policy.rule import MOST_SIMULATED
from mwaa_headroom.analysis.policy.simulate import Simulated, Workload, simulate
from mwaa_headroom.analysis.report.sentences import told
from mwaa_headroom.analysis.results import RunAnalysis, StageStats
from mwaa_headroom.analysis.statistics import Estimate, Floats

WAIT_S = 1.0  # of work before a call: less is the unevenness of arrivals
_APART_S = 60


def overloads_of(
    simulated: Simulated, rate_per_s: Floats, workload: Workload
) -> tuple[Overload, ...]:
    """The times in which calls waited for more than a second of work before them."""
    capacity_s = simulated.webservers * workload.cpu_for_calls
    late = np.flatnonzero(simulated.backlog_s > WAIT_S * capacity_s)
    if not len(late):
        return ()
    borders = np.flatnonzero(np.diff(late) >= _APART_S) + 1
    slow = rate_per_s * simulated.slow_share
    found = []
    for seconds in np.split(late, borders):
        # Calls began to pile up before the first of them waited for a second.
        first = _last_without(simulated.backlog_s, int(seconds[0]))
        last = int(seconds[-1]) + 1
        found.append(
            Overload(
                from_s=float(first),
                to_s=float(last),
                caught_up=last < len(rate_per_s),
                slow_calls=float(slow[first:last].sum()),
                failed_calls=float(simulated.failed_per_s[first:last].sum()),
            )
        )
    return tuple(found)


def provisioning(
    simulated: Simulated,
    rate_per_s: Floats,
    workload: Workload,
    *,
    period_s: float,
    min_webservers: int,
    utilisation_target: float,
) -> tuple[float | None, float | None]:
    """Shares of the time with fewer and with more webservers than a period's mean rate needs.

    Needed are those that keep the mean CPU at the target, ceil(X D / (u V - U0)), and at least
    the minimum.
    None when the background work alone is past the target.
    """
    each = utilisation_target * workload.webserver_cpu - workload.background_cpu
    period = round(period_s)
    whole = len(rate_per_s) // period * period
    if each <= 0 or not whole:
        return None, None
    mean_rate = rate_per_s[:whole].reshape(-1, period).mean(axis=1)
    had = simulated.webservers[:whole].reshape(-1, period).mean(axis=1)
    needed = np.ceil(mean_rate * workload.demand_s / each - 1e-9).clip(min=min_webservers)
    return float((had < needed).mean()), float((had > needed).mean())


def longest_s(overloads: tuple[Overload, ...]) -> float | None:
    """Length of the longest overload; None: none; infinite: it did not end with the load."""
    if not overloads:
        return None
    longest = max(overloads, key=lambda each: each.to_s - each.from_s)
    return longest.to_s - longest.from_s if longest.caught_up else inf


def _last_without(backlog_s: Floats, second: int) -> int:
    before = np.flatnonzero(backlog_s[:second] <= 0.0)
    return int(before[-1]) + 1 if len(before) else 0


LEAST_FACTOR: Final = 2.0
MOST_FACTOR: Final = 10.0
_HANDFUL: Final = 20.0


def factors(replays: Sequence[Replay]) -> tuple[float, float]:
    """By which to widen ranges of failed calls, and of slow ones."""
    return _factor(each.failed for each in replays), _factor(each.slow for each in replays)


def widened(load: SimulatedLoad, failed: float, slow: float) -> SimulatedLoad:
    """The load with ranges as wide as these factors say."""
    return replace(
        load,
        failed_calls=_widened(load.failed_calls, failed, load.calls),
        failed_share=_widened(load.failed_share, failed, 1.0),
        slow_calls=_widened(load.slow_calls, slow, load.calls),
        slow_share=_widened(load.slow_share, slow, 1.0),
    )


def _factor(seen: Iterable[LostCalls | None]) -> float:
    ratios = [
        (each.simulated + _HANDFUL) / (each.recorded + _HANDFUL)
        for each in seen
        if each is not None
    ]
    largest = max((max(ratio, 1.0 / ratio) for ratio in ratios), default=LEAST_FACTOR)
    return min(MOST_FACTOR, max(LEAST_FACTOR, largest))


def _widened(figure: Figure, factor: float, most: float) -> Figure:
    if figure.low is None or figure.high is None:
        return figure
    return replace(
        figure,
        low=_two_digits(figure.low / factor, up=False),
        high=min(most, _two_digits(figure.high * factor, up=True)),
    )


def _two_digits(value: float, *, up: bool) -> float:
    if value <= 0:
        return 0.0
    unit = 10.0 ** (floor(log10(value)) - 1)
    return (ceil if up else floor)(value / unit) * unit


_FEWEST_IN_FLIGHT = 0.2  # below, connections say little


def workload_of(run: RunAnalysis) -> Workload | str:
    """The run's calls, or one sentence that says what is missing.

    The demand is that of the mix as it was sent.
    """
    webserver_cpu = run.sizing.webserver_cpu if run.sizing else None
    if webserver_cpu is None:
        return (
            f"{run.run_id} does not say how many CPUs a webserver has, so its load cannot be "
            "simulated."
        )
    demand_s = run.demand.mix_s.value if run.demand else None
    if run.demand is None or not demand_s:
        reason = (
            " ".join(map(told, run.demand.mix_s.warnings)) if run.demand else "No call reached one."
        )
        return f"{run.run_id} gives no service demand, so its load cannot be simulated: {reason}"
    background = run.demand.background_cpu_per_webserver.value or 0.0
    if background >= webserver_cpu:
        return (
            f"{run.run_id} shows webservers that are busy without calls, so no load can be "
            "simulated; record a run in which they are not."
        )
    without = Workload(
        demand_s=demand_s,
        background_cpu=background,
        webserver_cpu=webserver_cpu,
        latency_s=0.0,
        slow_after_s=_latency_limit_s(run),
    )
    return replace(
        without,
        latency_s=_free_time_s(run.stages, without),
        connections_per_call=_connections_per_call(run),
    )


def with_demand(workload: Workload, demand_s: float | None) -> Workload:
    """The same calls with another demand; unchanged when there is none."""
    return replace(workload, demand_s=demand_s) if demand_s else workload


def _latency_limit_s(run: RunAnalysis) -> float | None:
    """The tightest limit that the SLO sets to the latency of all calls."""
    return min(
        (s.threshold for s in run.slos if s.metric == "latency" and s.selector_key is None),
        default=None,
    )


def _free_time_s(stages: Sequence[StageStats], workload: Workload) -> float:
    told = [
        (stage.webserver_cpu_percent, stage, time_s)
        for stage in stages
        if stage.webserver_cpu_percent is not None
        and stage.webservers_max
        and (time_s := _service_time_s(stage)) is not None
    ]
    if not told:
        return 0.0
    _, stage, time_s = min(told, key=lambda each: each[0])
    per_webserver = stage.achieved_per_s / (stage.webservers_max or 1)
    share, delay_s = workload.delay(per_webserver / workload.rate_per_webserver_per_s)
    return max(0.0, time_s - workload.alone_s - share * delay_s)


def _connections_per_call(run: RunAnalysis) -> float:
    ratios = []
    for stage in run.stages:
        time_s = _service_time_s(stage)
        seen = [
            point.connections
            for point in run.periods
            if point.connections is not None
            and point.start_s >= stage.measured_from_s
            and point.start_s + point.period_s <= stage.ended_at_s
        ]
        in_flight = stage.achieved_per_s * (time_s or 0.0)
        if seen and in_flight > _FEWEST_IN_FLIGHT:
            ratios.append(fmean(seen) / in_flight)
    return median(ratios) if ratios else 1.0


def _service_time_s(stage: StageStats) -> float | None:
    if stage.service_time_mean_s is not None:
        return stage.service_time_mean_s
    middle = stage.service_time_s.get("p50")
    return middle.value if middle else None


_POINTS = 600


@dataclass(frozen=True, slots=True, eq=False)
class LoadToSimulate:
    """A load, and the environment it meets."""

    name: str
    rate_per_s: Floats  # of each second
    min_webservers: int
    max_webservers: int
    period_s: float
    utilisation_target: float
    load_of: str  # run that recorded it; "": none did
    calls_of: str  # run whose mix and demand the calls have
    phase_s: float = 0.0  # when the first whole metric period begins


@dataclass(frozen=True, slots=True, eq=False)
class _Outcome:
    simulated: Simulated
    overloads: tuple[Overload, ...]
    under: float | None
    over: float | None


def simulate_load(
    load: LoadToSimulate,
    workload: Workload,
    demand_ends_s: Sequence[float],
    rule: FittedRule,
    others: Sequence[FittedRule],
) -> SimulatedLoad:
    """Simulate a load.

    Args:
        load: what comes, and to how many webservers.
        workload: what a call costs, as far as it is known best.
        demand_ends_s: the ends of the demand's interval; empty: it has none.
        rule: the one known best.
        others: those that explain the recorded runs as well.
    """
    best = _outcome(load, workload, rule, load.phase_s)
    every = [
        best,
        *(_outcome(load, workload, other, load.phase_s) for other in others),
        *(
            _outcome(load, with_demand(workload, end_s), rule, load.phase_s)
            for end_s in demand_ends_s
        ),
        *(_outcome(load, workload, rule, phase_s) for phase_s in _phases_s(load)),
    ]

    def figure(of: Callable[[_Outcome], float | None]) -> Figure:
        return _figure([of(each) for each in every])

    rates, simulated = load.rate_per_s, best.simulated
    calls = simulated.calls
    return SimulatedLoad(
        name=load.name,
        duration_s=float(len(rates)),
        mean_rate_per_s=float(rates.mean()),
        peak_rate_per_s=float(rates.max()),
        min_webservers=load.min_webservers,
        max_webservers=load.max_webservers,
        period_s=load.period_s,
        calls=calls,
        slow_after_s=workload.slow_after_s,
        slow_calls=figure(lambda each: each.simulated.slow_calls),
        failed_calls=figure(lambda each: each.simulated.failed_calls),
        slow_share=figure(lambda each: each.simulated.slow_calls / calls if calls else None),
        failed_share=figure(lambda each: each.simulated.failed_calls / calls if calls else None),
        webserver_hours=figure(lambda each: each.simulated.webserver_hours),
        most_webservers=figure(lambda each: float(each.simulated.webservers.max())),
        overload_s=figure(lambda each: sum(spell.to_s - spell.from_s for spell in each.overloads)),
        caught_up_after_s=figure(lambda each: longest_s(each.overloads)),
        under_provisioned_time=figure(lambda each: each.under),
        over_provisioned_time=figure(lambda each: each.over),
        overloads=best.overloads,
        changes=simulated.events,
        points=_points(load, [each.simulated for each in every]),
        simulations=len(every),
        load_of=load.load_of,
        calls_of=load.calls_of,
        demand_s=workload.demand_s,
    )


def _phases_s(load: LoadToSimulate) -> list[int]:
    """Where else a load may begin within a metric period."""
    period = round(load.period_s)
    found = {round(load.phase_s + period * quarter / 4) % period for quarter in (1, 2, 3)}
    return sorted(found - {round(load.phase_s) % period})


def _outcome(
    load: LoadToSimulate, workload: Workload, rule: FittedRule, phase_s: float
) -> _Outcome:
    simulated = simulate(
        load.rate_per_s,
        workload,
        rule.policy,
        period_s=load.period_s,
        start_s=rule.start_s,
        min_webservers=load.min_webservers,
        max_webservers=load.max_webservers,
        phase_s=phase_s,
    )
    under, over = provisioning(
        simulated,
        load.rate_per_s,
        workload,
        period_s=load.period_s,
        min_webservers=load.min_webservers,
        utilisation_target=load.utilisation_target,
    )
    overloads = overloads_of(simulated, load.rate_per_s, workload)
    return _Outcome(simulated, overloads, under, over)


def _figure(values: Sequence[float | None]) -> Figure:
    """The first value, and the range of all; an end that is infinite is not told."""
    known = [value for value in values if value is not None]
    first = values[0]
    return Figure(
        value=first if first is not None and isfinite(first) else None,
        low=_finite(min(known, default=inf)),
        high=_finite(max(known, default=inf)),
    )


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def _points(load: LoadToSimulate, every: Sequence[Simulated]) -> tuple[LoadPoint, ...]:
    """The course of the first simulation, within the least and the most of all."""
    rates, simulated = load.rate_per_s, every[0]
    length = -(-len(rates) // _POINTS)
    starts = np.arange(0, len(rates), length)
    lengths = np.diff(np.append(starts, len(rates)))
    offered = np.add.reduceat(rates, starts)
    counts = np.array([each.webservers[starts + lengths // 2] for each in every])
    failed = np.array([_shares(each.failed_per_s, offered, starts) for each in every])
    slow = np.array([_shares(each.slow_share * rates, offered, starts) for each in every])
    lost = np.minimum(1.0, failed + slow)
    columns = zip(
        (starts + lengths / 2).tolist(),
        (offered / lengths).tolist(),
        counts[0].tolist(),
        counts.min(axis=0).tolist(),
        counts.max(axis=0).tolist(),
        (np.add.reduceat(simulated.cpu_percent, starts) / lengths).tolist(),
        (np.add.reduceat(simulated.connections / simulated.webservers, starts) / lengths).tolist(),
        slow[0].tolist(),
        failed[0].tolist(),
        lost.min(axis=0).tolist(),
        lost.max(axis=0).tolist(),
        strict=True,
    )
    return tuple(LoadPoint(*values) for values in columns)


def _shares(calls: Floats, offered: Floats, starts: NDArray[np.int64]) -> Floats:
    of_points = np.add.reduceat(calls, starts)
    shares = np.divide(of_points, offered, out=np.zeros_like(offered), where=offered > 0)
    return np.asarray(np.minimum(1.0, shares))


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
        refusal = "Runs that are not alike do not tell of one scaling rule: give those that are."
        unalike = map(in_words, differences)
        return WhatIf(names, unfitted(refusal), (), None, refusals=(refusal, *unalike))
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


def _recorded_load(run: RunAnalysis, scaling: RecordedScaling | str) -> _RecordedLoad | str:
    """Of the first run, even if it has none: that of another would answer what nobody asked."""
    if isinstance(scaling, str):
        return f"The load to simulate is that of the first run, but {scaling} Name another first."
    rates = recorded_rates(scaling, run, scaling.started_s)
    phase_s = -scaling.started_s % scaling.period_s
    return _closed(run) or _RecordedLoad(run.run_id, rates, phase_s)


def _simulated(
    runs: Sequence[_Run],
    asked: AskedLoad,
    recorded: _RecordedLoad | None,
    fit: PolicyFit,
    rule: FittedRule,
) -> tuple[SimulatedLoad | None, str]:
    known = [
        (run.analysis, workload)
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
    sizing = run.sizing
    load = LoadToSimulate(
        name=asked.name,
        rate_per_s=rates,
        min_webservers=least,
        max_webservers=asked.max_webservers or max(limits.max_webservers, least),
        period_s=limits.period_s,
        utilisation_target=sizing.utilisation_target if sizing else 0.7,
        load_of=recorded.run_id if recorded else "",
        calls_of=run.run_id,
        phase_s=recorded.phase_s if recorded else 0.0,
    )
    demand = _demand(run)
    ends_s = [end for end in (demand.low, demand.high) if end]
    return simulate_load(load, workload, ends_s, rule, fit.others), ""


def _demand(run: RunAnalysis) -> Estimate:
    demand = run.demand
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
    if load.max_webservers > MOST_WEBSERVERS:
        notes.append(
            f"Amazon MWAA allows {MOST_WEBSERVERS} webservers; up to {load.max_webservers} were "
            "simulated."
        )
    if asked.scale != 1.0 or asked.rate_per_s is not None:
        notes.append(
            "The throttle of the service and the metadata database are not simulated: the load "
            "may break on them first."
        )
    return tuple(notes)
