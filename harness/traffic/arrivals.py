"""When calls are due: intended starts within one stage, for an open workload.

Calls are spaced on the axis of expected arrivals, y, and mapped back to time by inverting the
cumulative rate y = L(t). Over a stage of D seconds a `Ramp` goes from rate r0 to rate r1:

    L(t) = r0 t + (r1 - r0) t^2 / (2 D),     t = 2 y / (r0 + sqrt(r0^2 + 2 (r1 - r0) y / D)),

and `Steps` hold the rate r_k from t_k to t_(k+1), so that L is piecewise linear through
(t_k, sum over j < k of r_j (t_(j+1) - t_j)) and its inverse is an interpolation.

`poisson` uses unit-exponential gaps in y, which gives a Poisson process with rate L'(t)
(time-rescaling: Cinlar 1975, ch. 4.7). `constant` uses unit gaps behind one random phase, so that
the number of arrivals is L(D) on average and exactly L(D) where that is whole.

`CappedArrivals` are such arrivals, later where a second would have more than are allowed.

Arrivals come in blocks, so that memory does not grow with the length of a stage. Blocks are drawn
one after another from one stream of random numbers, whoever sends which of their calls.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np
import numpy.typing as npt

Spacing = Literal["poisson", "constant"]
Floats = npt.NDArray[np.float64]

BLOCK = 65_536  # arrivals at most
_ROUNDING_S = 1e-6


class Purpose(IntEnum):
    """What random numbers are for: each purpose has a stream of its own within a stage."""

    ARRIVALS = 1
    MIX = 2
    USERS = 3
    RECOVERY_ARRIVALS = 4
    RECOVERY_MIX = 5
    TRACE_COPIES = 6


@dataclass(frozen=True, slots=True)
class Randomness:
    """Reproducible random numbers for one purpose within one stage.

    Attributes:
        seed: of the run.
        stage: index in the scenario.
        purpose: numbers of different purposes are independent.
    """

    seed: int
    stage: int
    purpose: Purpose

    def generator(self, *which: int) -> np.random.Generator:
        """At its beginning; `which` tells apart those who share the purpose, such as users."""
        return np.random.default_rng([self.seed % 2**64, self.stage, int(self.purpose), *which])


@dataclass(frozen=True, slots=True)
class Ramp:
    """A rate that goes straight from one value to another, or stays."""

    start_per_s: float
    end_per_s: float
    duration_s: float

    @property
    def expected(self) -> float:
        """Expected arrivals in the whole stage, L(D)."""
        return (self.start_per_s + self.end_per_s) / 2 * self.duration_s

    def time_of(self, expected_before: Floats) -> Floats:
        """When so many arrivals are expected to have come, in seconds from the stage's start."""
        slope = (self.end_per_s - self.start_per_s) / self.duration_s
        # Rounding may make the root a little negative at the very end of a ramp towards zero.
        root = np.sqrt(np.maximum(self.start_per_s**2 + 2 * slope * expected_before, 0.0))
        offset_s: Floats = 2 * expected_before / (self.start_per_s + root)
        return offset_s


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """A rate that is held and changes at once, as the corners of L.

    Attributes:
        time_s: of each corner, ascending from 0 to the stage's end.
        expected_before: L there.
    """

    time_s: Floats
    expected_before: Floats

    @classmethod
    def held(cls, time_s: Floats, rate_per_s: Floats, duration_s: float) -> "Steps":
        """Each rate holds from its time, the first of which is 0, to the next or the end."""
        inside = time_s < duration_s
        edges = np.append(time_s[inside], duration_s)
        areas = rate_per_s[inside] * np.diff(edges)
        return cls(edges, np.concatenate([[0.0], np.cumsum(areas)]))

    @property
    def expected(self) -> float:
        """Expected arrivals in the whole stage, L(D)."""
        return float(self.expected_before[-1])

    def time_of(self, expected_before: Floats) -> Floats:
        """As for `Ramp`; where the rate is zero nothing is due."""
        return np.interp(expected_before, self.expected_before, self.time_s)


@dataclass(frozen=True, slots=True)
class PacedArrivals:
    """Arrivals at a pace.

    Attributes:
        spacing: how gaps are distributed.
        pace: the rate.
        duration_s: length of the stage.
        randomness: the same gives the same arrivals.
    """

    spacing: Spacing
    pace: Ramp | Steps
    duration_s: float
    randomness: Randomness

    def count(self) -> int:
        """How many there are."""
        return sum(len(points) for points in self._points())

    def blocks(self) -> Iterator[Floats]:
        """Offsets from the stage's start in seconds, ascending, all in [0, duration_s)."""
        latest_s = math.nextafter(self.duration_s, 0.0)
        last_s = 0.0
        for points in self._points():
            offset_s = np.clip(self.pace.time_of(points), last_s, latest_s)
            # Rounding must not put one arrival before another.
            np.maximum.accumulate(offset_s, out=offset_s)
            last_s = float(offset_s[-1])
            yield offset_s

    def _points(self) -> Iterator[Floats]:
        expected, generator = self.pace.expected, self.randomness.generator()
        spaced = _unit_poisson(generator) if self.spacing == "poisson" else _unit_steps(generator)
        for points in spaced:
            if points[-1] >= expected:
                points = points[points < expected]
                if len(points):
                    yield points
                return
            yield points


@dataclass(frozen=True, slots=True, eq=False)
class TimedArrivals:
    """Arrivals at given times.

    Attributes:
        time_s: ascending, from the stage's start.
        duration_s: length of the stage; what is due later is left out.
    """

    time_s: Floats
    duration_s: float

    def count(self) -> int:
        """How many there are."""
        return int(np.searchsorted(self.time_s, self.duration_s))

    def blocks(self) -> Iterator[Floats]:
        """Offsets from the stage's start in seconds, ascending, all in [0, duration_s)."""
        count = self.count()
        for begin in range(0, count, BLOCK):
            yield self.time_s[begin : min(begin + BLOCK, count)]


@dataclass(frozen=True, slots=True)
class CappedArrivals:
    """Arrivals of which no second has more than the cap: later by as little as that takes.

    With at most m in any window of m / cap seconds, m = ceil(cap), arrival j is due at

        t'_j = max(t_j, t'_(j-m) + m / cap),

    so chance is taken off the busiest seconds and nothing is lost, save what would be due after the
    end of the stage.

    Attributes:
        arrivals: as they would come without a cap.
        cap_per_s: the most of a second.
    """

    arrivals: PacedArrivals | TimedArrivals
    cap_per_s: float

    def count(self) -> int:
        """How many there are."""
        return sum(len(block) for block in self.blocks())

    def blocks(self) -> Iterator[Floats]:
        """Offsets from the stage's start in seconds, ascending, all in [0, duration_s)."""
        most = math.ceil(self.cap_per_s)
        window_s, duration_s = most / self.cap_per_s, self.arrivals.duration_s
        last_s = np.full(most, -math.inf)
        for wanted_s in self.arrivals.blocks():
            offset_s = np.concatenate([last_s, wanted_s])
            if np.any(_too_early(offset_s[most:], offset_s[:-most] + window_s)):
                for begin in range(most, len(offset_s), most):
                    due_s = offset_s[begin : begin + most]
                    earliest_s = offset_s[begin - most : begin - most + len(due_s)] + window_s
                    due_s[:] = np.where(_too_early(due_s, earliest_s), earliest_s, due_s)
            last_s = offset_s[-most:]
            block_s = offset_s[most:]
            block_s = block_s[block_s < duration_s]
            if len(block_s):
                yield block_s


def _too_early(offset_s: Floats, earliest_s: Floats) -> npt.NDArray[np.bool_]:
    """By more than rounding: arrivals spaced evenly at the cap stay where they are."""
    early: npt.NDArray[np.bool_] = offset_s < earliest_s - _ROUNDING_S
    return early


def _unit_poisson(generator: np.random.Generator) -> Iterator[Floats]:
    """Points of a Poisson process of rate one, without end."""
    last = 0.0
    while True:
        points = last + np.cumsum(generator.exponential(size=BLOCK))
        last = float(points[-1])
        yield points


def _unit_steps(generator: np.random.Generator) -> Iterator[Floats]:
    """Points one apart, the first in [0, 1), without end."""
    points: Floats = generator.random() + np.arange(BLOCK, dtype=np.float64)
    while True:
        yield points
        points = points + float(BLOCK)  # another array: somebody may still hold the last one
