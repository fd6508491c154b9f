"""The calls of a run cut into short windows, for the timeline."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from analysis.records.schema import LAYER_OF_OUTCOME, LAYERS

Array = npt.NDArray[Any]

_WIDTHS_S: Final = (1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
_MOST_WINDOWS: Final = 120
_FEWEST_WINDOWS: Final = 20
LEAST_FOR_P95: Final = 20  # fewer calls have no 95th percentile apart from their maximum


@dataclass(frozen=True, slots=True)
class Calls:
    """One entry per arrival, seconds since the start of the run; latency is NaN when unsent."""

    intended_s: Array
    latency_s: Array
    sent: Array
    outcome: Array

    @property
    def ok(self) -> Array:
        """Which calls ended well."""
        return np.equal(self.outcome, "ok")


@dataclass(frozen=True, slots=True)
class Windows:
    """Per window: rates per second and latency percentiles (NaN where calls are too few)."""

    width_s: float
    edges_s: Array
    offered_per_s: Array
    achieved_per_s: Array
    errors_per_s: dict[str, Array]  # by layer, only layers with errors
    p50_s: Array
    p95_s: Array

    @property
    def centres_s(self) -> Array:
        """The middle of every window."""
        return (self.edges_s[:-1] + self.edges_s[1:]) / 2


def calls_of(requests: pa.Table, started_at_s: float) -> Calls:
    """The columns of the record's requests table that the timeline needs."""
    column = {
        name: requests.column(name).to_numpy(zero_copy_only=False)
        for name in ("intended_start_s", "lag_s", "service_time_s", "outcome")
    }
    latency_s = (column["lag_s"] + column["service_time_s"]).astype(float)
    return Calls(
        intended_s=column["intended_start_s"].astype(float) - started_at_s,
        latency_s=latency_s,
        sent=np.isfinite(latency_s),
        outcome=column["outcome"].astype(str),
    )


def cut(calls: Calls, length_s: float, *, slowest_per_s: float) -> Windows:
    """Cut a run of `length_s` seconds into windows of one width.

    The width is the least that keeps windows below 120 and still has a 95th percentile in the
    stage with the lowest rate, `slowest_per_s`.
    """
    width_s = _width(length_s, slowest_per_s)
    edges = np.arange(0.0, max(length_s, width_s) + width_s * 0.5, width_s)
    place = np.digitize(calls.intended_s, edges) - 1

    def per_s(chosen: Array) -> Array:
        inside = place[chosen & (place >= 0) & (place < len(edges) - 1)]
        return np.bincount(inside, minlength=len(edges) - 1) / width_s

    layer = np.array([LAYER_OF_OUTCOME.get(o) or "" for o in calls.outcome], dtype=str)
    errors = {name: per_s(layer == name) for name in LAYERS if (layer == name).any()}
    return Windows(
        width_s=width_s,
        edges_s=edges,
        offered_per_s=per_s(np.ones(len(place), dtype=bool)),
        achieved_per_s=per_s(calls.sent),
        errors_per_s=errors,
        p50_s=_percentile(calls, place, len(edges) - 1, 0.50, 5),
        p95_s=_percentile(calls, place, len(edges) - 1, 0.95, LEAST_FOR_P95),
    )


def _width(length_s: float, slowest_per_s: float) -> float:
    wanted = max(length_s / _MOST_WINDOWS, LEAST_FOR_P95 * 1.2 / max(slowest_per_s, 1e-9))
    most = max(length_s / _FEWEST_WINDOWS, 1.0)
    allowed = [width for width in _WIDTHS_S if width <= most]
    return next((width for width in allowed if width >= wanted), allowed[-1])


def _percentile(calls: Calls, place: Array, windows: int, fraction: float, least: int) -> Array:
    """Nearest rank, ceil(p n), of all calls sent; NaN below `least` calls."""
    result = np.full(windows, np.nan)
    for index in range(windows):
        values = np.sort(calls.latency_s[(place == index) & calls.sent])
        if len(values) >= least:
            result[index] = values[int(np.ceil(fraction * len(values))) - 1]
    return result
