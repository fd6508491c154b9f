"""What each stage says about every line of the SLO, counted in blocks of time.

A line is about a ratio of two sums over the calls or the metric periods of a stage:

    p95(latency) < T         calls beyond T (or cut at a time limit) / timed calls     limit 5 %
    rate(errors) < x         failed calls / calls sent                                  limit x
    rate(goodput) >= x       arrivals that were not good / arrivals                     limit 1 - x
    mean(latency) < T        sum of the times / timed calls                             limit T
    mean(webserver.cpu) < u  sum over the metric periods / metric periods               limit u

The sums are kept for each of 40 equal parts of the stage (blocks), or for each metric period: from
how these differ the uncertainty of the ratio is told. A maximum, a minimum,
a limit of no error at all and lines about memory, connections and webserver counts have no such
curve.

Beside the lines, a stage keeps the mean latency of each block, by which stages of one rate can be
compared, and how its tail falls off:

    ln excess = sum of ln(t_i / t_k) over the k slowest calls, k = 1 % of them    (Hill 1975)

t_k the fastest of these; k / ln excess is the exponent of a tail like a power.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mwaa_headroom.analysis.calls import Mask
from mwaa_headroom.analysis.findings import Finding, refusal
from mwaa_headroom.analysis.metric_periods import DatabasePeriod, WebserverPeriod
from mwaa_headroom.analysis.results import StageStats
from mwaa_headroom.analysis.setting import Setting
from mwaa_headroom.analysis.slo import Slo
from mwaa_headroom.analysis.slo_judgement import Window, concerned_by, errors_of
from mwaa_headroom.analysis.statistics import Floats

BLOCKS = 40
_TIMES = ("latency", "service_time")
_CPU = ("webserver.cpu", "database.cpu")
_TAIL = 0.01  # of the calls

Places = NDArray[np.int64]
Scale = Literal["logit", "log", "linear"]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the SLO as a limit of a ratio, and the scale on which that is nearly straight."""

    slo: Slo
    scale: Scale
    limit: float


@dataclass(frozen=True, slots=True, eq=False)
class Ratio:
    """Two sums over each block of a stage, in the order of time."""

    part: Floats
    whole: Floats

    @property
    def value(self) -> float:
        """The ratio over the whole stage."""
        return float(self.part.sum() / self.whole.sum())


@dataclass(frozen=True, slots=True, eq=False)
class StageEvidence:
    """A stage as a trial of its webserver count."""

    rate_per_s: float
    measured_s: float
    webservers: int | None  # None: not known, or it changed
    verdict: str  # pass | fail | undecided
    reason: Finding | None  # why undecided
    as_planned: bool  # its rate of the mix was sent, to its end: undecided, it still was a try
    broken: frozenset[str]  # the lines that were broken, as written
    arrivals: int
    loss_ratio: float  # arrivals that were not good / arrivals
    started_at_s: float
    ended_at_s: float
    latency_s: Floats  # mean of each block that has calls with a time, in the order of time
    tail: tuple[float, int]  # ln excess of the slowest calls, and how many these are
    ratios: dict[str, Ratio]  # by the line as written; a line that cannot be told is left out


def line_of(slo: Slo) -> Line | None:
    """The line as a limit of a ratio; None: it has no curve over the rate."""
    below, threshold = slo.comparison in ("<", "<="), slo.threshold
    if slo.metric in _TIMES and below and slo.percentile is not None:
        return Line(slo, "logit", 1 - slo.percentile / 100)
    if slo.metric == "errors" and below and 0 < threshold < 1:
        return Line(slo, "logit", threshold)
    if slo.metric == "goodput" and not below and 0 < threshold < 1:
        return Line(slo, "logit", 1 - threshold)
    if slo.function == "mean" and below and threshold > 0:
        if slo.metric in _TIMES:
            return Line(slo, "log", threshold)
        if slo.metric in _CPU:
            return Line(slo, "linear", threshold)
    return None


def stage_evidence(setting: Setting, stage: StageStats, window: Window) -> StageEvidence:
    """What a stage says.

    Args:
        setting: that of its run.
        stage: judged, its trial included.
        window: its measured part.
    """
    block = _blocks(stage, window)
    ratios = {}
    for slo in setting.slos:
        ratio = _ratio(slo, window, block)
        if ratio is not None and ratio.whole.sum() > 0:
            ratios[slo.text] = ratio
    constant = stage.webservers_min == stage.webservers_max
    objection = _no_trial(setting, stage)
    good = int(np.count_nonzero(window.good))
    return StageEvidence(
        rate_per_s=stage.rate_per_s,
        measured_s=stage.ended_at_s - stage.measured_from_s,
        webservers=stage.webservers_min if constant else None,
        verdict="undecided" if objection else stage.trial,
        reason=objection or stage.trial_reason,
        as_planned=not objection and stage.complete and stage.speaks,
        broken=frozenset(line.slo.text for line in stage.slo if line.met is False),
        arrivals=stage.arrivals,
        loss_ratio=1 - good / stage.arrivals if stage.arrivals else 1.0,
        started_at_s=stage.started_at_s,
        ended_at_s=stage.ended_at_s,
        latency_s=_mean_latencies_s(window, block),
        tail=_tail(window),
        ratios=ratios,
    )


def _no_trial(setting: Setting, stage: StageStats) -> Finding | None:
    """Why a stage says nothing about one rate of the mix; None: it does."""
    plan = next(plan for plan in setting.stages if plan.index == stage.index)
    if plan.varies:
        return refusal("trial.rate_not_held")
    if plan.operation is not None and len(setting.mix) > 1:
        return refusal("trial.one_operation", operation=plan.operation)
    return None


def _blocks(stage: StageStats, window: Window) -> Places:
    """The block each call of the window belongs to, by its intended start."""
    length_s = max(stage.ended_at_s - stage.measured_from_s, 1e-9) / BLOCKS
    place = (window.calls.intended_start_s - stage.measured_from_s) / length_s
    return np.clip(place.astype(np.int64), 0, BLOCKS - 1)


def _mean_latencies_s(window: Window, block: Places) -> Floats:
    timed = window.calls.timed
    count = np.bincount(block[timed], minlength=BLOCKS)
    sums = np.bincount(block[timed], window.calls.times_s("latency", timed), minlength=BLOCKS)
    return np.asarray(sums[count > 0] / count[count > 0])


def _tail(window: Window) -> tuple[float, int]:
    times_s = window.calls.times_s("latency", window.calls.timed)
    fastest = len(times_s) - int(_TAIL * len(times_s))
    if fastest >= len(times_s):
        return 0.0, 0
    slowest = np.partition(times_s, fastest)[fastest:]
    least_s = max(float(slowest[0]), 1e-9)
    return float(np.log(np.maximum(slowest, least_s) / least_s).sum()), len(slowest)


def _ratio(slo: Slo, window: Window, block: Places) -> Ratio | None:
    if line_of(slo) is None:
        return None
    if slo.metric in _CPU:
        return _of_periods(window.database if slo.metric == "database.cpu" else window.periods)
    calls, concerned = window.calls, concerned_by(slo, window.calls)
    match slo.metric:
        case "errors":
            whole = calls.sent & concerned
            part = errors_of(slo, calls, whole).astype(np.float64)
        case "goodput":
            whole, part = concerned, (concerned & ~window.good).astype(np.float64)
        case _:
            whole, part = _times(slo, window, concerned)
    return Ratio(
        part=np.bincount(block[whole], weights=part[whole], minlength=BLOCKS).astype(np.float64),
        whole=np.bincount(block[whole], minlength=BLOCKS).astype(np.float64),
    )


def _times(slo: Slo, window: Window, concerned: Mask) -> tuple[Mask, Floats]:
    """Calls timed, and the time of each or whether it is beyond the threshold."""
    calls = window.calls
    timed = calls.timed & concerned
    if not timed.any():  # calls that all failed are as bad as calls that take for ever
        sent = calls.sent & concerned
        return sent, np.full(len(calls), 1.0 if slo.percentile is not None else np.inf)
    times_s = np.zeros(len(calls))
    times_s[timed] = calls.times_s(slo.metric, timed)
    if slo.percentile is None:
        return timed, times_s
    within = times_s <= slo.threshold if slo.comparison == "<=" else times_s < slo.threshold
    return timed, (~within | calls.censored).astype(np.float64)


def _of_periods(periods: Sequence[WebserverPeriod | DatabasePeriod]) -> Ratio | None:
    known = [period.cpu_percent / 100 for period in periods if period.cpu_percent is not None]
    return Ratio(np.array(known), np.ones(len(known))) if known else None
