"""The requests of a simulated run as a whole table, as every part of the analysis may read it."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mwaa_headroom.analysis.schema import REQUESTS_SCHEMA


def whole_requests(
    stage: NDArray[np.int32],
    operation: pa.DictionaryArray,
    intended_start_s: NDArray[np.float64],
    service_time_s: NDArray[np.float64],
    outcome: pa.DictionaryArray,
) -> pa.Table:
    """Calls sent on time, at the first attempt; whatever else a row has is null or zero."""
    count = len(intended_start_s)
    columns: dict[str, Any] = {
        "stage": stage,
        "operation": operation,
        "intended_start_s": intended_start_s,
        "lag_s": np.zeros(count),
        "service_time_s": service_time_s,
        "outcome": outcome,
        "attempts": np.ones(count, dtype=np.int32),
    }
    columns |= {
        field.name: pa.nulls(count, field.type)
        if field.nullable
        else pa.array(np.zeros(count, dtype=np.int64), field.type)
        for field in REQUESTS_SCHEMA
        if field.name not in columns
    }
    return pa.table({name: columns[name] for name in REQUESTS_SCHEMA.names})
