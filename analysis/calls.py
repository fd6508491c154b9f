"""The requests of a record as columns of numbers, with the words of the domain as masks."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mwaa_headroom.analysis.outcomes import LAYER_OF_OUTCOME, OUTCOMES_BEFORE_WEBSERVER
from mwaa_headroom.analysis.record import encoded, whole
from mwaa_headroom.analysis.slo import Slo
from mwaa_headroom.analysis.statistics import Floats

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """One word for each row: `words[codes[row]]`. A word may have several codes, or no row."""

    codes: NDArray[np.integer[Any]]
    words: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, chosen: Mask | NDArray[np.int64]) -> "Labels":
        """Those for which a mask is true, or those at the given positions."""
        return Labels(self.codes[chosen], self.words)

    def are(self, *words: str) -> Mask:
        """Which rows have one of these words."""
        found = np.zeros(len(self.codes), dtype=np.bool_)
        for code, word in enumerate(self.words):
            if word in words:
                found |= self.codes == code
        return found

    def counts(self) -> dict[str, int]:
        """How many rows have each word, in alphabetical order; only words that have any."""
        found = dict.fromkeys(sorted(self.words), 0)
        for code, word in enumerate(self.words):
            found[word] += int(np.count_nonzero(self.codes == code))
        return {word: count for word, count in found.items() if count}

    def restricted_to(self, known: Collection[str], otherwise: str) -> "Labels":
        """The same with every word that is not known replaced."""
        words = tuple(word if word in known else otherwise for word in self.words)
        return Labels(self.codes, words)


def labels_of(column: pa.ChunkedArray) -> Labels:
    """The words of a column of strings without nulls, dictionary-encoded or not.

    The codes are the column's own memory where it is one piece of small codes.
    """
    words = encoded(column)
    return Labels(words.indices.to_numpy(), tuple(words.dictionary.to_pylist()))


Number = TypeVar("Number", np.int32, np.float64)

CENSORED_OUTCOMES = ("service_timeout", "client_timeout")

# Below this a percentile says nothing about what a single call may take.
LOWEST_PERCENTILE_OF_A_LIMIT = 90.0


@dataclass(frozen=True, slots=True, eq=False)
class Calls:
    """Arrivals, one element each; times in epoch seconds, NaN where a call was not sent.

    A call takes 30 bytes, so that ten million of them fit into any machine. Masks are cheap, copies
    are not: choose times by a mask of all calls rather than by `where` and then a mask.
    """

    stage: NDArray[np.int32]
    operation: Labels  # labels of the mix
    outcome: Labels  # keys of LAYER_OF_OUTCOME
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
        return self if operation is None else self.where(self.operation.are(operation))

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
        took_time = np.isfinite(self.service_time_s) & np.isfinite(self.lag_s)
        return took_time & ~self.outcome.are("unsent")

    @property
    def ok(self) -> Mask:
        """Calls that ended as they should."""
        return self.sent & self.outcome.are("ok")

    @property
    def censored(self) -> Mask:
        """Calls cut at a time limit: they would have taken at least as long as they did."""
        return self.sent & self.outcome.are(*CENSORED_OUTCOMES)

    @property
    def timed(self) -> Mask:
        """Calls whose time says something about the environment: ok, or cut at a time limit."""
        return self.sent & self.outcome.are("ok", *CENSORED_OUTCOMES)

    @property
    def reached_webserver(self) -> Mask:
        """Calls that cost a webserver work."""
        return self.sent & ~self.outcome.are(*OUTCOMES_BEFORE_WEBSERVER)

    def times_s(self, metric: str, chosen: Mask) -> Floats:
        """The latencies ("latency") or service times ("service_time") of the calls chosen."""
        times_s = self.service_time_s[chosen]
        if metric == "latency":
            times_s += self.lag_s[chosen]
        return times_s


def calls_of(requests: pa.Table) -> Calls:
    """The calls of a record's requests table (columns as in `REQUESTS_SCHEMA`).

    What the table has in one piece and without nulls is not copied.
    """
    outcome = labels_of(requests.column("outcome"))
    return Calls(
        stage=_numbers(requests, "stage", np.int32),
        operation=labels_of(requests.column("operation")),
        # An outcome of a later version is still a failure; it counts as the service's.
        outcome=outcome.restricted_to(LAYER_OF_OUTCOME, otherwise="service_error"),
        intended_start_s=_numbers(requests, "intended_start_s", np.float64),
        lag_s=_numbers(requests, "lag_s", np.float64),
        service_time_s=_numbers(requests, "service_time_s", np.float64),
    )


def good_calls(calls: Calls, slos: Iterable[Slo]) -> Mask:
    """Calls that ended ok and within the tightest latency threshold that applies to them.

    Only lines about p90 and above or the maximum are limits for a single call; a median or a mean
    is met by a mix of fast and slow ones.
    """
    good, latency_s = calls.ok, calls.latency_s
    for slo in slos:
        if is_latency_limit(slo):
            within = latency_s <= slo.threshold
            if slo.selector_value is not None:
                within |= ~calls.operation.are(slo.selector_value)
            good &= within
    return good


def is_latency_limit(slo: Slo) -> bool:
    """Whether a line limits what a single call may take."""
    return (
        slo.metric == "latency"
        and slo.comparison in ("<", "<=")
        and (slo.function == "max" or (slo.percentile or 0.0) >= LOWEST_PERCENTILE_OF_A_LIMIT)
    )


def _numbers(table: pa.Table, column: str, kind: type[Number]) -> NDArray[Number]:
    """A column; NaN for nulls."""
    values = whole(table.column(column)).to_numpy(zero_copy_only=False)
    return np.asarray(values, dtype=kind)
