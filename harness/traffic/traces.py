"""Traces: traffic that somebody measured, to be played again, faster or scaled if asked for.

A trace at k times the speed has its times divided by k, so that its rates are multiplied by k.

A scale of s multiplies rates. Of single calls it makes s of each on average, independently:
floor(s) copies, and one more with probability s - floor(s). The first copy stays where the call
was; the others are moved by a uniform time of up to one step of the trace's resolution, the finest
thing its times tell, so that copies do not come as bursts that were not there.
"""

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from mwaa_headroom.harness.traffic.arrivals import Floats, Randomness, Steps, TimedArrivals

PEAK_WINDOW_S: Final = 1.0
CLOCK_GRAIN_S: Final = 1e-6  # below what times since the epoch can tell apart, nearly
FINEST_RESOLUTION_S: Final = 1e-6
RESOLUTIONS_S: Final = (1.0, 0.1, 0.01, 0.001)


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """A checked trace.

    Attributes:
        kind: of its rows: calls, or rates.
        time_s: ascending from 0; strictly so for rates.
        rate_per_s: from each time to the next, not below 0; None for the kind "arrivals".
        operations: the entries of the mix that it names; none: it names none.
        called: of each call, which of `operations` it is; None for rates.
        shares_per_s: of each rate, how much of it is each of `operations`; None for calls.
        resolution_s: the times of calls are multiples of it.
        how_read: what was done to the file besides reading it; "": nothing.
        began_at_s: epoch seconds of its first row; None: its clock is another.
    """

    kind: Literal["arrivals", "rates"]
    time_s: Floats
    rate_per_s: Floats | None = None
    operations: tuple[str, ...] = ()
    called: npt.NDArray[np.int64] | None = None
    shares_per_s: Floats | None = None
    resolution_s: float = FINEST_RESOLUTION_S
    how_read: str = ""
    began_at_s: float | None = None


def replayed(trace: Trace, *, speed: float, scale: float, randomness: Randomness) -> Trace:
    """The trace played at another speed, with `scale` times its calls; see the module."""
    time_s = trace.time_s / speed
    if trace.rate_per_s is not None:
        shares = trace.shares_per_s
        return replace(
            trace,
            time_s=time_s,
            rate_per_s=trace.rate_per_s * speed * scale,
            shares_per_s=None if shares is None else shares * speed * scale,
        )
    resolution_s = trace.resolution_s / speed
    if scale == 1:
        return replace(trace, time_s=time_s, resolution_s=resolution_s)
    generator = randomness.generator()
    whole, rest = divmod(scale, 1)
    copies = int(whole) + (generator.random(len(time_s)) < rest)
    call = np.repeat(np.arange(len(time_s)), copies)
    is_copy = np.diff(call, prepend=-1) == 0
    moved_s = time_s[call] + is_copy * generator.random(len(call)) * resolution_s
    order = np.argsort(moved_s, kind="stable")
    called = None if trace.called is None else trace.called[call][order]
    return replace(trace, time_s=moved_s[order], called=called, resolution_s=resolution_s)


def trace_rates(trace: Trace, duration_s: float) -> tuple[float, float]:
    """Calls per second of the part that a stage plays.

    Returns:
        The mean over the stage, and the most within any one second.
    """
    if trace.rate_per_s is None:
        arrivals = TimedArrivals(trace.time_s, duration_s)
        played = trace.time_s[: arrivals.count()]
        until = np.searchsorted(played, played + (PEAK_WINDOW_S - CLOCK_GRAIN_S))
        mean_per_s = len(played) / duration_s
        most = float(np.max(until - np.arange(len(played))))
    else:
        steps = Steps.held(trace.time_s, trace.rate_per_s, duration_s)
        # The most within a window is found where the window begins or ends with a change.
        begins_s = np.concatenate([steps.time_s, steps.time_s - PEAK_WINDOW_S])
        calls_before, calls_until = (
            np.interp(time_s, steps.time_s, steps.expected_before)
            for time_s in (begins_s, begins_s + PEAK_WINDOW_S)
        )
        mean_per_s = steps.expected / duration_s
        most = float(np.max(calls_until - calls_before))
    return mean_per_s, max(mean_per_s, most / PEAK_WINDOW_S)  # a stage may be shorter than a window
