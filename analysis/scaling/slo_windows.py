"""Whether the SLO's lines about calls held, in windows of 5 s on end.

Judged are latency, service time, errors and goodput, by whatever function; lines about webservers
and the database are left out, and so is unsent, for which the generator is to blame. Such a window
is too short for a percentile one could quote; it is judged by however many calls it has, because
what is asked is when, not how much. Two windows of one kind in a row count as a fact.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from analysis.calls import Calls, good_calls
from analysis.judge import Window, judge, judge_times
from analysis.slo import Slo

WINDOW_S = 5.0
IN_A_ROW = 2
_TIMES = ("latency", "service_time")
_SHARES = ("errors", "goodput")
_WINDOWS_TOGETHER = 64


def restoration(
    slos: Sequence[Slo], calls: Calls, *, from_s: float, after_s: float, until_s: float
) -> tuple[bool | None, float | None]:
    """Whether the SLO was broken before a scale-out, and when it held again.

    Args:
        slos: all lines; those not about calls are left out.
        calls: of the whole run.
        from_s: the load step.
        after_s: when the new webserver came.
        until_s: when watching ended.

    Returns:
        Whether a window before `after_s` was bad (None: not judged), and the end of the first of
        two good windows in a row after it (None: never broken, or not while it was watched).
    """
    was_broken: bool | None = None
    in_a_row: list[float] = []
    for end_s, good in _windows(slos, calls, from_s, until_s):
        if end_s <= after_s:
            was_broken = bool(was_broken) or not good
        if end_s - WINDOW_S < after_s:
            continue
        if not was_broken:
            break
        in_a_row = [*in_a_row, end_s] if good else []
        if len(in_a_row) == IN_A_ROW:
            return was_broken, in_a_row[0]
    return was_broken, None


def broke(slos: Sequence[Slo], calls: Calls, *, from_s: float, until_s: float) -> bool | None:
    """Whether two windows in a row were bad between two times; None: there are fewer."""
    in_a_row, seen = 0, 0
    for _, good in _windows(slos, calls, from_s, until_s):
        seen += 1
        in_a_row = 0 if good else in_a_row + 1
        if in_a_row == IN_A_ROW:
            return True
    return False if seen >= IN_A_ROW else None


def _windows(
    slos: Sequence[Slo], calls: Calls, from_s: float, until_s: float
) -> Iterator[tuple[float, bool]]:
    """End and goodness of each whole window with calls between two times."""
    judged = [slo for slo in slos if slo.metric in _TIMES + _SHARES]
    whole = int((until_s - from_s) // WINDOW_S)
    if not judged or whole <= 0 or not len(calls):
        return
    number = ((calls.intended_start_s - from_s) // WINDOW_S).astype(np.int32)
    # A light load after an overload is no proof that more webservers restored the SLO.
    number[calls.stage < 0] = -1
    # Few windows are ever asked for, so calls are put in order for some of them at a time.
    for first in range(0, min(whole, int(number.max()) + 1), _WINDOWS_TOGETHER):
        beyond = min(first + _WINDOWS_TOGETHER, whole)
        together = np.flatnonzero((number >= first) & (number < beyond))
        order = together[np.argsort(number[together], kind="stable")]
        for chosen in np.split(order, np.flatnonzero(np.diff(number[order])) + 1):
            if len(chosen):
                window = calls.where(chosen)
                end_s = from_s + (int(number[chosen[0]]) + 1) * WINDOW_S
                yield end_s, _hold(judged, window)


def _hold(slos: Sequence[Slo], calls: Calls) -> bool:
    window = Window(calls, good=good_calls(calls, slos), periods=())
    return all(_holds(slo, window) for slo in slos)


def _holds(slo: Slo, window: Window) -> bool:
    if slo.metric in _SHARES:
        return judge(slo, window).met is not False
    calls = window.calls
    concerned = calls.of_operation(slo.selector_value)
    timed = concerned.timed
    if not timed.any():
        return not concerned.sent.any()
    times_s = concerned.times_s(slo.metric, timed)
    _, _, met = judge_times(slo, times_s, concerned.censored[timed])
    return met is True
