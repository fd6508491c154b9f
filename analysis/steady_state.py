"""Whether a stage settled: what its start cut off, and whether its latency still rose after that.

    d* = argmin_d  sum_{i>d} (Z_i - Zbar_d)^2 / (n - d)^2         (MSER-m)

Z_i the n batch means of a series, Zbar_d the mean of those after the d-th. The last few d are left
out, because two neighbours that happen to be alike would win. d* beyond half: no steady state seen.

Two series: the mean latency of the calls that ended in each batch, and how many ended ok. A batch
takes 5 s, or longer where fewer than 5 calls end in it. Calls count by their end, not by their
start: those sent last in an overload are answered when the load is over, and so look fast.

Trend: least squares through 8 means of consecutive batches, long enough to be nearly independent
of each other, with Student's t for 6 degrees of freedom and 99 %. Rising: the interval excludes 0
and the growth over the part is more than 25 % of its mean. The part is what the scenario calls
measured, less what MSER cuts off if that was slower; a faster beginning is part of the rise.

Sources: White, Cobb, Spratt, WSC 2000 (MSER-5); Hoad, Robinson, Davies, J. Oper. Res. Soc. 61
(2010) 1411 (d* beyond half is refused); Law, Simulation Modeling and Analysis, 9.5.3 (batch means).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mwaa_headroom.analysis.calls import Calls
from mwaa_headroom.analysis.findings import Finding, refusal, warning
from mwaa_headroom.analysis.results import SteadyState
from mwaa_headroom.analysis.stages import StageTimes
from mwaa_headroom.analysis.statistics import Estimate, Floats, t_quantile

BATCH_S = 5.0
CALLS_PER_BATCH = 5
FEWEST_BATCHES = 10
TREND_POINTS = 8
CONFIDENCE = 0.99  # two-sided: one steady stage in 200 looks as if it rose
MATERIAL_GROWTH = 0.25  # of the mean, over the whole part
MATERIAL_CHANGE = 2.0  # times the lower level, where MSER sees two
MOST_CUT = 0.05  # of the calls timed: beyond, the time limit hides how latency went on
_END_ARTEFACT = 5  # batches


@dataclass(frozen=True, slots=True, eq=False)
class _Series:
    """Batches on end from the start of a stage."""

    batch_s: float
    latency_s: Floats  # mean of the calls that ended in the batch
    ok: Floats  # calls that ended ok in it
    warmup: int  # batches before the measured part
    cut_share: float  # of the calls timed


@dataclass(frozen=True, slots=True)
class _Trend:
    """Change of a batch mean per batch, and over the part as a fraction of its mean."""

    per_batch: Estimate
    growth: float

    @property
    def is_rising(self) -> bool:
        low = self.per_batch.low
        return low is not None and low > 0 and self.growth > MATERIAL_GROWTH


def mser_cut(values: Sequence[float] | Floats, batch: int = 5) -> int | None:
    """How many of the first values to leave out; None: no steady state within the first half.

    Args:
        values: finite, evenly spaced in time.
        batch: how many of them to average; a rest at the end that fills no batch is left out.
    """
    count = len(values) // batch
    if count == 0:
        return None
    means = np.asarray(values[: count * batch], dtype=np.float64).reshape(count, batch).mean(axis=1)
    cut = _most_even_from(means)
    return cut * batch if cut <= count // 2 else None


def steady_state(times: StageTimes, calls: Calls) -> SteadyState:
    """Judge one stage.

    Args:
        times: when it was.
        calls: all of its calls, those of the warm-up too.
    """
    if times.plan.varies:
        return _without_trend("not_checked", refusal("steady.load_varies"))
    timed = calls.timed
    batches = round(_batches(times, int(np.count_nonzero(timed))))
    warmup_s = times.measured_from_s - times.started_at_s
    length_s = times.ended_at_s - times.started_at_s
    warmup = round(batches * warmup_s / length_s) if batches else 0
    if batches - warmup < FEWEST_BATCHES:
        return _without_trend("not_checked", _too_short(times, int(np.count_nonzero(timed))))
    cut_share = _cut_share(times, calls)
    series = _series(times, calls, batches, warmup, cut_share)
    if series is not None:
        return _judged(series)
    if cut_share > MOST_CUT:
        return _without_trend("unsteady", warning("steady.mostly_cut", cut_fraction=cut_share))
    return _without_trend("not_checked", refusal("steady.none_ended"))


def _batches(times: StageTimes, timed: int) -> float:
    return min((times.ended_at_s - times.started_at_s) / BATCH_S, timed / CALLS_PER_BATCH)


def _without_trend(verdict: str, reason: Finding) -> SteadyState:
    return SteadyState(verdict, None, Estimate(None, warnings=(reason,)), reason)


def _too_short(times: StageTimes, timed: int) -> Finding:
    needed_s = FEWEST_BATCHES * BATCH_S
    if timed:
        length_s = times.ended_at_s - times.started_at_s
        needed_s = max(needed_s, FEWEST_BATCHES * CALLS_PER_BATCH * length_s / timed)
    return refusal("steady.too_short", needed_s=needed_s, measured_s=times.measured_s)


def _cut_share(times: StageTimes, calls: Calls) -> float:
    """Of the timed calls that ended in the measured part or later, when the stage was over."""
    measured = calls.timed & (calls.end_s >= times.measured_from_s)
    cut = int(np.count_nonzero(measured & calls.censored))
    return cut / max(int(np.count_nonzero(measured)), 1)


def _series(
    times: StageTimes, calls: Calls, batches: int, warmup: int, cut_share: float
) -> _Series | None:
    """The batches of a stage; None: no timed call ended in it."""
    batch_s = (times.ended_at_s - times.started_at_s) / batches
    place = np.floor((calls.end_s - times.started_at_s) / batch_s)
    ended = (place >= 0) & (place < batches)  # false where the end is not known
    timed = calls.timed & ended
    where = place[timed].astype(np.intp)
    numbers = np.bincount(where, minlength=batches)
    sums_s = np.bincount(where, weights=calls.times_s("latency", timed), minlength=batches)
    filled = np.flatnonzero(numbers)
    if not filled.size:
        return None
    latency_s = np.interp(np.arange(batches), filled, sums_s[filled] / numbers[filled])
    ok = np.bincount(place[calls.ok & ended].astype(np.intp), minlength=batches)
    return _Series(
        batch_s=batch_s,
        latency_s=latency_s,
        ok=ok.astype(np.float64),
        warmup=warmup,
        cut_share=cut_share,
    )


def _judged(series: _Series) -> SteadyState:
    cuts = [mser_cut(series.latency_s, batch=1), mser_cut(series.ok, batch=1)]
    part = series.latency_s[_trend_from(series) :]
    trend = _trend(part)
    per_min = _per_minute(trend.per_batch, float(part.mean()), series.batch_s)
    if trend.is_rising:
        reason = warning("steady.rising", fraction_per_min=per_min.value or 0.0)
        return SteadyState("rising", None, per_min, reason)
    why_not = _why_unsteady(series, cuts)
    if why_not is not None:
        return SteadyState("unsteady", None, per_min, why_not)
    settled_after_s = max(cut or 0 for cut in cuts) * series.batch_s
    return SteadyState("steady", settled_after_s, per_min)


def _why_unsteady(series: _Series, cuts: Sequence[int | None]) -> Finding | None:
    if series.cut_share > MOST_CUT:
        return warning("steady.mostly_cut", cut_fraction=series.cut_share)
    for values, what, cut in zip(
        (series.latency_s, series.ok), ("latency", "throughput"), cuts, strict=True
    ):
        if cut is not None:
            continue
        change_at = _most_even_from(values)
        before, after = float(values[:change_at].mean()), float(values[change_at:].mean())
        if max(before, after) > MATERIAL_CHANGE * min(before, after):
            after_s = change_at * series.batch_s
            return warning("steady.changed", what=what, rose=after > before, after_s=after_s)
    return None


def _trend_from(series: _Series) -> int:
    """The first batch of the part whose trend counts, never beyond half of the stage."""
    latency_s = series.latency_s
    cut = _most_even_from(latency_s, within=len(latency_s) // 2 + 1)
    if cut <= series.warmup:
        return series.warmup
    slower = latency_s[series.warmup : cut].mean() > latency_s[cut:].mean()
    return cut if slower else series.warmup


def _trend(part: Floats) -> _Trend:
    edges = np.linspace(0, len(part), min(TREND_POINTS, len(part)) + 1).round().astype(np.intp)
    means = np.add.reduceat(part, edges[:-1]) / np.diff(edges)
    middles = (edges[:-1] + edges[1:]) / 2
    slope, error = _line(middles, means)
    half = t_quantile(len(means) - 2, CONFIDENCE) * error
    mean = float(part.mean())
    return _Trend(
        per_batch=Estimate(slope, slope - half, slope + half, len(part), CONFIDENCE),
        growth=slope * len(part) / mean if mean > 0 else 0.0,
    )


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    """Slope of the least-squares line through three or more points; its standard error or nan."""
    x_variance, covariance, _, y_variance = np.cov(x, y, bias=True).flat
    if y_variance == 0:
        return 0.0, np.nan
    correlation = np.clip(covariance / np.sqrt(x_variance * y_variance), -1.0, 1.0)
    variance = (1 - correlation**2) * y_variance / x_variance / (len(x) - 2)
    return float(covariance / x_variance), float(np.sqrt(variance))


def _per_minute(per_batch: Estimate, mean_s: float, batch_s: float) -> Estimate:
    factor = 60.0 / batch_s / mean_s if mean_s > 0 else 0.0
    ends = (per_batch.value, per_batch.low, per_batch.high)
    value, low, high = (factor * end if end is not None else None for end in ends)
    return Estimate(value, low, high, per_batch.n, per_batch.confidence)


def _most_even_from(values: Floats, within: int | None = None) -> int:
    """The d* of the module's docstring, wherever it lies or among the first `within`."""
    left = np.arange(len(values), 0, -1, dtype=np.float64)
    centred = values - values.mean()  # sums of squares of large numbers lose their digits
    sums = np.cumsum(centred[::-1])[::-1]
    squares = np.cumsum((centred * centred)[::-1])[::-1]
    errors = (squares - sums * sums / left) / left**2
    considered = len(values) - max(1, min(_END_ARTEFACT, len(values) // 4))
    return int(np.argmin(errors[: max(considered, 1)][:within].clip(min=0.0)))
