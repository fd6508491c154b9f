"""The calls of a run cut into short windows, for the timeline."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analysis.calls import Calls, Floats, Mask
from analysis.latency import value_at_rank, values_for_percentile
from analysis.records.schema import LAYER_OF_OUTCOME, LAYERS

Array = NDArray[Any]

_WIDTHS_S: Final = (1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
_MOST_WINDOWS: Final = 120
_FEWEST_WINDOWS: Final = 8
_LEAST_FOR_P50: Final = 5


@dataclass(frozen=True, slots=True)
class Windows:
    """Per window: rates per second and latency percentiles (NaN where calls are too few)."""

    width_s: float
    edges_s: Array  # since the start of the run
    offered_per_s: Array
    achieved_per_s: Array
    errors_per_s: dict[str, Array]  # by layer, only layers with errors
    p50_s: Array
    p95_s: Array

    @property
    def centres_s(self) -> Array:
        """The middle of every window."""
        return (self.edges_s[:-1] + self.edges_s[1:]) / 2


def cut(calls: Calls, *, started_at_s: float, length_s: float, slowest_per_s: float) -> Windows:
    """Cut a run of `length_s` seconds into windows of one width.

    The width is the least that keeps windows below 120 and still has a 95th percentile in the
    stage with the lowest rate, `slowest_per_s`.
    """
    width_s = _width(length_s, slowest_per_s)
    since_start_s = calls.intended_start_s - started_at_s
    # After the last arrival there is no load to show, only waiting for answers.
    edges = _edges(min(length_s, since_start_s.max(initial=0.0)), width_s)
    number = len(edges) - 1
    place = np.searchsorted(edges[:-1], since_start_s, side="right").astype(np.int16) - 1

    def per_s(chosen: Mask) -> Array:
        return np.bincount(place[chosen & (place >= 0)], minlength=number) / np.diff(edges)

    latencies = _latencies(calls, place, number)
    by_layer = {layer: _of_layer(calls, layer) for layer in LAYERS}
    return Windows(
        width_s=width_s,
        edges_s=edges,
        offered_per_s=per_s(np.full(len(place), fill_value=True)),
        achieved_per_s=per_s(calls.sent),
        errors_per_s={layer: per_s(mask) for layer, mask in by_layer.items() if mask.any()},
        p50_s=_percentiles(latencies, 50.0, _LEAST_FOR_P50),
        p95_s=_percentiles(latencies, 95.0, values_for_percentile(95.0)),
    )


def _width(length_s: float, slowest_per_s: float) -> float:
    enough_calls_s = values_for_percentile(95.0) * 1.2 / max(slowest_per_s, 1e-9)
    wanted = max(length_s / _MOST_WINDOWS, enough_calls_s)
    most = max(length_s / _FEWEST_WINDOWS, 1.0)
    allowed = [width for width in _WIDTHS_S if width <= most]
    return next((width for width in allowed if width >= wanted), allowed[-1])


def _edges(length_s: float, width_s: float) -> Array:
    """Whole windows; a rest shorter than half a window belongs to the last one."""
    whole = np.arange(0.0, length_s, width_s)
    if len(whole) > 1 and length_s - whole[-1] < width_s / 2:
        whole = whole[:-1]
    return np.append(whole, max(length_s, width_s if len(whole) == 1 else 0.0))


def _of_layer(calls: Calls, layer: str) -> Mask:
    outcomes = [name for name, owner in LAYER_OF_OUTCOME.items() if owner == layer]
    return calls.outcome.are(*outcomes)


def _latencies(calls: Calls, place: Array, windows: int) -> list[Floats]:
    """The latencies of each window, of its timed calls."""
    timed = calls.timed & (place >= 0)
    own = place[timed]
    # One stable order for all windows: looking through all calls for each would take much longer.
    ordered_s = calls.times_s("latency", timed)[np.argsort(own, kind="stable")]
    ends = np.cumsum(np.bincount(own, minlength=windows))
    return np.split(ordered_s, ends)[:windows]


def _percentiles(latencies: Sequence[Floats], percent: float, least: int) -> Array:
    return np.array(
        [value_at_rank(values, percent) if len(values) >= least else np.nan for values in latencies]
    )
