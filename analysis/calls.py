"""The requests of a record as columns of numbers, with the few words of the domain as masks."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analysis.records.schema import LAYER_OF_OUTCOME, OUTCOMES_BEFORE_WEBSERVER
from analysis.slo import Slo

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

CENSORED_OUTCOMES = ("service_timeout", "client_timeout")

# Below this a percentile says nothing about what a single call may take.
LOWEST_PERCENTILE_OF_A_LIMIT = 90.0


@dataclass(frozen=True, slots=True, eq=False)
class Calls:
    """Arrivals, one element each; times in epoch seconds, NaN where a call was not sent."""

    stage: NDArray[np.int64]
    operation: NDArray[Any]  # labels of the mix
    outcome: NDArray[Any]  # keys of LAYER_OF_OUTCOME
    intended_start_s: Floats
    lag_s: Floats
    service_time_s: Floats

    def __len__(self) -> int:
        return len(self.stage)

    def where(self, chosen: Mask | NDArray[np.int64]) -> "Calls":
        """The calls for which a mask is true, or those at the given positions."""
        return Calls(
            stage=self.stage[chosen],
            operation=self.operation[chosen],
            outcome=self.outcome[chosen],
            intended_start_s=self.intended_start_s[chosen],
            lag_s=self.lag_s[chosen],
            service_time_s=self.service_time_s[chosen],
        )

    def of_operation(self, operation: str | None) -> "Calls":
        """The calls of one operation; None: all."""
        return self if operation is None else self.where(self.operation == operation)

    @property
    def latency_s(self) -> Floats:
        """From the intended start to the end: what a caller feels."""
        return self.lag_s + self.service_time_s

    @property
    def start_s(self) -> Floats:
        """When each call was really sent."""
        return self.intended_start_s + self.lag_s

    @property
    def end_s(self) -> Floats:
        """When each call ended."""
        return self.start_s + self.service_time_s

    @property
    def sent(self) -> Mask:
        """Calls that left the generator."""
        took_time = np.isfinite(self.service_time_s + self.lag_s)
        return np.asarray((self.outcome != "unsent") & took_time)

    @property
    def ok(self) -> Mask:
        """Calls that ended as they should."""
        return np.asarray(self.sent & (self.outcome == "ok"))

    @property
    def censored(self) -> Mask:
        """Calls cut at a time limit: they would have taken at least as long as they did."""
        return self.sent & np.isin(self.outcome, CENSORED_OUTCOMES)

    @property
    def timed(self) -> Mask:
        """Calls whose time says something about the environment: ok, or cut at a time limit."""
        return self.ok | self.censored

    @property
    def reached_webserver(self) -> Mask:
        """Calls that cost a webserver work."""
        return self.sent & ~np.isin(self.outcome, sorted(OUTCOMES_BEFORE_WEBSERVER))


def calls_of(requests: pa.Table) -> Calls:
    """The calls of a record's requests table (columns as in `REQUESTS_SCHEMA`)."""
    return Calls(
        stage=_numbers(requests, "stage").astype(np.int64),
        operation=_words(requests, "operation"),
        outcome=_known_outcomes(_words(requests, "outcome")),
        intended_start_s=_numbers(requests, "intended_start_s"),
        lag_s=_numbers(requests, "lag_s"),
        service_time_s=_numbers(requests, "service_time_s"),
    )


def good_calls(calls: Calls, slos: Iterable[Slo]) -> Mask:
    """Calls that ended ok and within the tightest latency threshold that applies to them.

    Only lines about p90 and above or the maximum are limits for a single call; a median or a mean
    is met by a mix of fast and slow ones.
    """
    limit_s = np.full(len(calls), np.inf)
    for slo in slos:
        if is_latency_limit(slo):
            concerned = (
                calls.operation == slo.selector_value
                if slo.selector_key
                else np.full(len(calls), fill_value=True)
            )
            limit_s[concerned] = np.minimum(limit_s[concerned], slo.threshold)
    return calls.ok & (calls.latency_s <= limit_s)


def is_latency_limit(slo: Slo) -> bool:
    """Whether a line limits what a single call may take."""
    return (
        slo.metric == "latency"
        and slo.comparison in ("<", "<=")
        and (slo.function == "max" or (slo.percentile or 0.0) >= LOWEST_PERCENTILE_OF_A_LIMIT)
    )


def _numbers(table: pa.Table, column: str) -> Floats:
    values = table.column(column).cast(pa.float64()).to_numpy(zero_copy_only=False)
    return np.asarray(values, dtype=np.float64)


def _words(table: pa.Table, column: str) -> NDArray[Any]:
    # Fixed-width strings compare fast; object arrays of millions of rows would not.
    encoded = table.column(column).combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    labels = np.array(encoded.dictionary.to_pylist() or [""], dtype=str)
    return np.asarray(labels[encoded.indices.to_numpy(zero_copy_only=False)])


def _known_outcomes(outcome: NDArray[Any]) -> NDArray[Any]:
    # An outcome of a later version is still a failure; it counts as the service's.
    known = np.isin(outcome, sorted(LAYER_OF_OUTCOME))
    return np.asarray(np.where(known, outcome, "service_error"))
