"""When the load generator itself may have bent what a stage shows: the limits, and why these.

    lag at p99        max(100 ms, 10 % of the tightest latency threshold): a latency that is off by
                      less decides no line one would have chosen
    unsent arrivals   0.1 %: the load was not the one that was asked for
    lost arrivals     0.1 %, unsent because their load process was lost
    lost users        none: the users of a closed workload are gone with their load process, and
                      nobody can say how often they would have called
    CPU               80 % of one core, the busiest load process's mean over the stage: latencies
                      that a generator reads near its own maximum are its own
    stalls            1 % of the stage, the worst load process's, where one of them is longer than
                      the limit of lag: a process that stands still for a share s of the time bends
                      percentiles above 1 - s, so p99 from 1 % on

A stage past a limit is neither a pass nor a fail of the environment, with two exceptions, both
fails, because what the generator did wrong could only have made the result look better or not have
made it this bad:

    - arrivals that were not sent because all senders were busy would have been load on top, so a
      line about sent calls that broke has broken;
    - a latency line that is broken even with twice the lag's p99, and twice the longest stall where
      stalls are past their limit, taken off every call (once for the lateness itself, once for the
      burst that late calls come in) is not broken by them.

Neither exception covers CPU, for what a busy process adds to a latency is not measured; nor lost
arrivals and users, for the calls that were in flight with their process are missing, the slow ones
first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.generator.load import GeneratorUse
from analysis.judge import Window, judge
from analysis.results import SloResult
from analysis.slo import Slo

LAG_LIMIT_S = 0.1
LAG_LIMIT_OF_SLO = 0.1
UNSENT_LIMIT = 0.001
CPU_LIMIT = 0.8
STALLED_LIMIT = 0.01
STALLED_BEYOND_EXCUSE = 0.1

LESS_LOAD_EACH = "use more load processes (--processes N) or a lower rate"


@dataclass(frozen=True, slots=True)
class GeneratorFigures:
    """What a stage's limits are held against."""

    arrivals: int
    unsent: int
    lost: int  # of the unsent: with their load process
    lag_p99_s: float | None
    use: GeneratorUse
    lost_with_users: tuple[int, ...] = ()  # load processes, of a closed workload


def generator_reason(
    figures: GeneratorFigures, window: Window, slos: Sequence[Slo], judged: Sequence[SloResult]
) -> str:
    """One sentence: which limit a stage is past and what to change; "": nothing to object to.

    The first of several is told: a busy process stalls, and one that stalls is late.

    Args:
        figures: of the stage.
        window: its calls, as they were judged.
        slos: the lines of the SLO.
        judged: their results, in the same order.
    """
    stalled = _stalled(figures.use, slos)
    certain = _lost_users(figures) or _lost(figures) or _busy(figures.use)
    if not certain and (figures.use.stalled_fraction or 0.0) >= STALLED_BEYOND_EXCUSE:
        certain = stalled
    if certain:
        return certain
    late = stalled or _late(figures.lag_p99_s, slos)
    if late and not _slow_without_us(figures, window, slos):
        return late
    return "" if _broken_by_sent_calls(slos, judged) else _unsent(figures)


def own_trouble(use: GeneratorUse, lag_p99_s: float | None, slos: Sequence[Slo]) -> str:
    """One sentence: the first limit of CPU, stalls and lag that was passed; "": none."""
    return _busy(use) or _stalled(use, slos) or _late(lag_p99_s, slos)


def tightest_latency_s(slos: Sequence[Slo]) -> float | None:
    """The smallest threshold of all lines about latency."""
    return min((slo.threshold for slo in slos if slo.metric == "latency"), default=None)


def _lag_limit_s(slos: Sequence[Slo]) -> float:
    return max(LAG_LIMIT_S, LAG_LIMIT_OF_SLO * (tightest_latency_s(slos) or 0.0))


def _lost_users(figures: GeneratorFigures) -> str:
    gone = figures.lost_with_users
    if not gone:
        return ""
    numbers = ", ".join(map(str, gone))
    which = f"Load process {numbers} was" if len(gone) == 1 else f"Load processes {numbers} were"
    whose = "its" if len(gone) == 1 else "their"
    return (
        f"{which} lost with all {whose} users and calls in flight; repeat the run, and find out "
        f"in {whose} log why."
    )


def _lost(figures: GeneratorFigures) -> str:
    if not figures.arrivals or figures.lost / figures.arrivals <= UNSENT_LIMIT:
        return ""
    return (
        f"{figures.lost} of {figures.arrivals} arrivals "
        f"({100 * figures.lost / figures.arrivals:.2g} %) were lost with their load process, more "
        f"than {100 * UNSENT_LIMIT:g} %; repeat the run, and find out in that process's log why it "
        "ended."
    )


def _busy(use: GeneratorUse) -> str:
    cpu = use.cpu_fraction
    if cpu is None or cpu <= CPU_LIMIT:
        return ""
    return (
        f"A load process used {100 * cpu:.0f} % of one core, more than {100 * CPU_LIMIT:.0f} %, "
        f"and latencies read that near its maximum are its own; {LESS_LOAD_EACH}."
    )


def _stalled(use: GeneratorUse, slos: Sequence[Slo]) -> str:
    share, longest_s = use.stalled_fraction, use.longest_stall_s
    if share is None or share <= STALLED_LIMIT:
        return ""
    if longest_s is not None and longest_s <= _lag_limit_s(slos):
        return ""
    longest = f", {longest_s * 1000:.0f} ms at the longest" if longest_s else ""
    return (
        f"A load process stood still for {100 * share:.2g} % of the time{longest}, more than "
        f"{100 * STALLED_LIMIT:g} %, which bends every percentile above p{100 * (1 - share):.3g}; "
        f"{LESS_LOAD_EACH}, on a machine with nothing else to do."
    )


def _late(lag_p99_s: float | None, slos: Sequence[Slo]) -> str:
    limit_s = _lag_limit_s(slos)
    if lag_p99_s is None or lag_p99_s <= limit_s:
        return ""
    return (
        f"Calls were sent up to {lag_p99_s * 1000:.0f} ms late (p99), more than "
        f"{limit_s * 1000:.0f} ms; {LESS_LOAD_EACH}."
    )


def _unsent(figures: GeneratorFigures) -> str:
    if not figures.arrivals or figures.unsent / figures.arrivals <= UNSENT_LIMIT:
        return ""
    return (
        f"{figures.unsent} of {figures.arrivals} arrivals "
        f"({100 * figures.unsent / figures.arrivals:.2g} %) were never sent, more than "
        f"{100 * UNSENT_LIMIT:g} %, because all senders were busy; raise limits.max_in_flight."
    )


def _slow_without_us(figures: GeneratorFigures, window: Window, slos: Sequence[Slo]) -> bool:
    """Whether a latency line is broken even with all that late sending can have added taken off."""
    late_s = figures.lag_p99_s or 0.0
    if _stalled(figures.use, slos):
        if figures.use.longest_stall_s is None:
            return False
        late_s = max(late_s, figures.use.longest_stall_s)
    taken_off_s = np.where(window.calls.sent, -2 * late_s, np.nan)
    without_us = replace(window, calls=replace(window.calls, lag_s=taken_off_s))
    upper_limits = (
        slo for slo in slos if slo.metric == "latency" and slo.comparison in ("<", "<=")
    )
    return any(judge(slo, without_us).met is False for slo in upper_limits)


def _broken_by_sent_calls(slos: Sequence[Slo], judged: Sequence[SloResult]) -> bool:
    """Whether a line is broken that unsent arrivals do not enter."""
    return any(
        result.met is False and slo.metric not in ("unsent", "goodput")
        for slo, result in zip(slos, judged, strict=True)
    )
