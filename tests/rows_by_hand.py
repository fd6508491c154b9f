"""Rows of a requests table, written by hand."""

from collections.abc import Callable, Sequence

import pyarrow as pa

from mwaa_headroom.analysis.schema import REQUESTS_SCHEMA


def rows_by_hand(
    arrivals: Sequence[int],
    *,
    stage: int = 0,
    starts_s: Callable[[int], float] = float,
    outcome: str = "ok",
    operation: str = "health",
    service_time_s: float = 0.1,
    error_code: str | None = None,
) -> pa.RecordBatch:
    """Rows of one stage, all alike; an arrival is due at `starts_s` of its number."""
    was_sent = outcome != "unsent"
    columns = {
        "arrival": list(arrivals),
        "stage": [stage] * len(arrivals),
        "operation": [operation] * len(arrivals),
        "intended_start_s": [starts_s(arrival) for arrival in arrivals],
        "lag_s": [0.0 if was_sent else None] * len(arrivals),
        "service_time_s": [service_time_s if was_sent else None] * len(arrivals),
        "outcome": [outcome] * len(arrivals),
        "error_code": [error_code] * len(arrivals),
        "attempts": [int(was_sent)] * len(arrivals),
        "worker": [0] * len(arrivals),
    }
    nothing = [None] * len(arrivals)
    return pa.RecordBatch.from_pydict(
        {name: columns.get(name, nothing) for name in REQUESTS_SCHEMA.names},
        schema=REQUESTS_SCHEMA,
    )
