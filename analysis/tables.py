"""A run as flat tables: every call, every metric period, every stage; one row each.

The first column, `run`, is the run's name, so that tables of several runs can be put together. What
is not known, NaN and infinities included, is null. The columns of requests are those of the record;
the others are the fields of `PeriodPoint` and the plain ones of `StageStats`, as `--json` names
them, and what these hold inside, flattened:

    latency_p95_s, latency_p95_low_s, latency_p95_high_s   and p50, p99: value and 95 % interval
    service_time_p95_s, ...                                the same
    error_fraction, error_fraction_low, ..._high           of the calls sent
    error_fraction_throttle, ...                           of each layer
    calls_ok, calls_throttled, ...                         how many calls ended so
    steady                                                 steady | rising | unsteady | not_checked
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from mwaa_headroom.analysis.outcomes import LAYER_OF_OUTCOME
from mwaa_headroom.analysis.record import request_pieces
from mwaa_headroom.analysis.results import PeriodPoint, StageStats
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.analysis.schema import REQUESTS_SCHEMA
from mwaa_headroom.analysis.slo import ERROR_LAYERS

_PLAIN: Final[dict[Any, pa.DataType]] = {
    bool: pa.bool_(),
    bool | None: pa.bool_(),
    int: pa.int64(),
    int | None: pa.int64(),
    float: pa.float64(),
    float | None: pa.float64(),
    str: pa.string(),
}
_PERCENTILES: Final = ("p50", "p95", "p99")
_ESTIMATES: Final = (
    *(f"{time}_{key}{{}}_s" for time in ("latency", "service_time") for key in _PERCENTILES),
    "error_fraction{}",
)
_ENDS: Final = {"": "value", "_low": "low", "_high": "high"}
_RUN: Final = pa.field("run", pa.string(), nullable=False)


def _plain_fields(of: type) -> list[pa.Field]:
    return [pa.field(one.name, _PLAIN[one.type]) for one in fields(of) if one.type in _PLAIN]


SCHEMAS: Final[Mapping[str, pa.Schema]] = {
    "requests": pa.schema([_RUN, *REQUESTS_SCHEMA]),
    "periods": pa.schema([_RUN, *_plain_fields(PeriodPoint)]),
    "stages": pa.schema(
        [
            _RUN,
            pa.field("stage", pa.int64()),  # as in requests
            *(field for field in _plain_fields(StageStats) if field.name != "index"),
            *(pa.field(column.format(end), pa.float64()) for column in _ESTIMATES for end in _ENDS),
            *(pa.field(f"error_fraction_{layer}", pa.float64()) for layer in ERROR_LAYERS),
            *(pa.field(f"calls_{outcome}", pa.int64()) for outcome in LAYER_OF_OUTCOME),
            pa.field("steady", pa.string()),
        ]
    ),
}


def request_tables(directory: Path, run_id: str) -> Iterator[pa.Table]:
    """Every call of a record, piece by piece: a long run has millions of them.

    Raises:
        RecordFormatError: the record cannot be read.
    """
    wanted = SCHEMAS["requests"]
    for piece in request_pieces(directory):
        names = pa.array([run_id] * piece.num_rows, pa.string())
        columns = [piece.column(field.name).cast(field.type) for field in REQUESTS_SCHEMA]
        yield _finite(pa.Table.from_arrays([names, *columns], schema=wanted))


def period_table(run: Run) -> pa.Table:
    """One row per metric period over all webservers, in the order of time."""
    return _table("periods", [_plain(point, run) for point in run.points])


def stage_table(run: Run) -> pa.Table:
    """One row per stage that began, in their order."""
    return _table("stages", [_plain(stage, run) | _flattened(stage) for stage in run.stages])


def _flattened(stage: StageStats) -> dict[str, object]:
    times = (stage.latency_s, stage.service_time_s)
    estimates = [*(time.get(key) for time in times for key in _PERCENTILES), stage.error_rate]
    layers = stage.error_rate_by_layer
    return {
        "stage": stage.index,
        **{
            column.format(end): getattr(estimate, attribute, None)
            for column, estimate in zip(_ESTIMATES, estimates, strict=True)
            for end, attribute in _ENDS.items()
        },
        **{f"error_fraction_{layer}": layers[layer].value for layer in layers},
        **{f"calls_{outcome}": stage.outcomes.get(outcome, 0) for outcome in LAYER_OF_OUTCOME},
        "steady": stage.steady.verdict if stage.steady else None,
    }


def _plain(one: PeriodPoint | StageStats, run: Run) -> dict[str, object]:
    return {"run": run.run_id} | {
        each.name: getattr(one, each.name) for each in fields(one) if each.type in _PLAIN
    }


def _table(name: str, rows: list[dict[str, object]]) -> pa.Table:
    return _finite(pa.Table.from_pylist(rows, schema=SCHEMAS[name]))


def _finite(table: pa.Table) -> pa.Table:
    """The same with null for numbers that are none."""
    for index, field in enumerate(table.schema):
        column = table.column(index)
        if pa.types.is_floating(field.type) and not pc.all(pc.is_finite(column)).as_py():
            known = pc.if_else(pc.is_finite(column), column, None)
            table = table.set_column(index, field, known)
    return table
