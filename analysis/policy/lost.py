"""How far to trust simulated numbers of lost calls: the ratio seen where runs were replayed.

    f = max over runs of max((r + c) / (s + c), (s + c) / (r + c)), at least 2, at most 10

r recorded, s simulated calls, c = 20 so that a handful of calls makes no ratio. Ranges of failed
and slow calls reach from a fth of their least to f times their most, in two digits. At least 2:
runs that differ only by chance differ as much near saturation.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import ceil, floor, log10
from typing import Final

from analysis.policy.results import Figure, LostCalls, Replay, SimulatedLoad

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
