"""Reads traces from CSV files as people have them: logs, exports of dashboards, tables of rates.

One column holds times. A file with a column of rates beside it, or with only a column of numbers at
even distances, is a table; in any other file every row is one call:

    time_s                    calls, when they were due, in seconds on any clock
    time_s,rate_per_s         calls per second from that time until the next one
    timestamp,path,status     a log: one call in each row
    Time,calls                a dashboard: calls in each step if all are whole, else per second

Times are numbers (seconds; milli-, micro- or nanoseconds since 1970 are told by their size) or
dates, with or without a zone. Rows are sorted; those that cannot be used are left out and counted.
A column `operation` names the entry of the mix that is called. Whatever was done to a file besides
reading plain columns is said in `Trace.how_read`.
"""

import csv
import io
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from mwaa_headroom.harness.errors import ScenarioError
from mwaa_headroom.harness.files import read_text
from mwaa_headroom.harness.numbers import NUMBER
from mwaa_headroom.harness.traffic.arrivals import Floats
from mwaa_headroom.harness.traffic.traces import (
    CLOCK_GRAIN_S,
    FINEST_RESOLUTION_S,
    RESOLUTIONS_S,
    Trace,
)

TIME_COLUMN: Final = "time_s"
RATE_COLUMN: Final = "rate_per_s"
OPERATION_COLUMN: Final = "operation"
_TIME_NAMES: Final = (  # of several, the first one here
    *(TIME_COLUMN, "timestamp", "@timestamp", "time", "_time", "datetime", "date"),
    *("eventtime", "event_time", "ts", "start_time", "starttime"),
)
_PER_S: Final = re.compile(r"rate|rps|qps|tps|.*(/|per[ _]?)(s|sec|second)")
_PER_MINUTE: Final = re.compile(r"rpm|.*(/|per[ _]?)(m|min|minute)")
_OF_ONE_CALL: Final = re.compile(
    r"metric|status|code|byte|size|latency|duration|elapsed|millis|attempt|port|id\b|(_|\b)ms\b"
)
_UNITS: Final = ((1e17, 1e9, "nano"), (1e14, 1e6, "micro"), (1e11, 1e3, "milli"))
_SINCE_1970_S: Final = 1e9  # a clock that shows more counts from 1970
_MOST: Final = 0.8  # of the rows of a table
_LOOKED_AT: Final = 20  # rows, to tell which column holds dates
_WITH_UNIT: Final = re.compile(rf"{NUMBER}\s?[^\s0-9]\S*")
# Not finite, or with its digits in groups.
_NO_PLAIN_NUMBER: Final = re.compile(
    r"[-+]?(nan|inf|infinity|[0-9]+([,_' \u00a0\u202f][0-9]+)+(\.[0-9]+)?)", re.IGNORECASE
)
_SLASHES: Final = re.compile(r"([0-9]{4})/([0-9]{2})/([0-9]{2})\b")
_UTC: Final = re.compile(r" ?(UTC|GMT)$", re.IGNORECASE)
_DECIMAL_COMMA: Final = re.compile(r"([-+]?[0-9]*),([0-9]+)")

Row = tuple[int, list[str]]  # its line, and a cell for each column


@dataclass(slots=True)
class _File:
    """A trace file on the way to a trace."""

    origin: str
    header: list[str]
    rows: list[Row]
    notes: list[str] = field(default_factory=list)
    left_out: dict[str, list[int]] = field(default_factory=dict)  # lines, by reason

    def error(self, problem: str, line: int = 1) -> ScenarioError:
        return ScenarioError(f"{self.origin} line {line}: {problem}.")

    def column(self, name: str) -> int | None:
        names = [each.lower() for each in self.header]
        return names.index(name.lower()) if name.lower() in names else None


def read_trace(path: Path, column: str | None = None) -> Trace:
    """Read and check a trace file.

    Args:
        path: of the file.
        column: the name of its column of times; None: it is found.

    Raises:
        ScenarioError: one sentence with the file and the line.
    """
    return parse_trace(read_text(path, "trace file", ScenarioError), str(path), column)


def parse_trace(text: str, origin: str, column: str | None = None) -> Trace:
    """Understand the text of a trace; see `read_trace`."""
    file = _parsed(text, origin)
    times = _time_column(file, column)
    seconds, began_at_s = _take_times(file, times)
    value = _value_column(file, times, seconds)
    if value is None:
        called, operations = _operations(file)
        trace = Trace(
            "arrivals",
            seconds,
            operations=operations,
            called=called,
            resolution_s=_resolution_s(seconds),
            began_at_s=began_at_s,
        )
    else:
        trace = _rates(file, value, seconds, began_at_s)
    return replace(trace, how_read=_how_read(file, times, value, trace))


def _parsed(text: str, origin: str) -> _File:
    if text.lstrip()[:1] in ("{", "["):
        raise ScenarioError(
            f"{origin} is JSON, but a trace is a CSV file with a column of times: export it as CSV."
        )
    if text[:4].lower() == "sep=":  # a hint to spreadsheets
        text = text.partition("\n")[2]
    first = text.lstrip("\n").partition("\n")[0]
    delimiter = max(",;\t|", key=lambda each: len(next(csv.reader([first], delimiter=each), [])))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as exc:
        raise ScenarioError(f"{origin} line {reader.line_num} is not valid CSV: {exc}.") from exc
    file = _File(origin, [name.strip() for name in rows[0][1]] if rows else [], [])
    if not file.header or any(map(_is_time, file.header)):
        raise file.error(
            f"a trace begins with the names of its columns, such as '{TIME_COLUMN}' or "
            f"'{TIME_COLUMN},{RATE_COLUMN}'"
        )
    for line, row in rows[1:]:
        cells = [cell.strip() for cell in row]
        if any(cells[len(file.header) :]):
            raise file.error(f"expected values: {len(file.header)}, got: {len(cells)}", line)
        if delimiter != ",":
            cells = [_DECIMAL_COMMA.sub(r"\1.\2", cell) for cell in cells]
        cells += [""] * (len(file.header) - len(cells))
        file.rows.append((line, cells[: len(file.header)]))
    metric = file.column("metric_name")
    if metric is not None:  # k6 writes several rows for each call
        file.rows = [(line, row) for line, row in file.rows if row[metric] == "http_reqs"]
        file.notes.append("only rows of 'http_reqs'")
    if not file.rows:
        raise ScenarioError(f"{origin} has no lines after its header.")
    return file


def _time_column(file: _File, wanted: str | None) -> int:
    for name in _TIME_NAMES if wanted is None else (wanted,):
        index = file.column(name)
        if index is not None:
            return index
    if wanted is not None:
        raise file.error(f"there is no column '{wanted}', only {_quoted(file.header)}")
    for index in range(len(file.header)):
        cells = [row[index] for _, row in file.rows[:_LOOKED_AT]]
        if 2 * sum(_is_time(cell) and not _is_number(cell) for cell in cells) > len(cells):
            return index
    raise file.error(
        f"a trace has a column of times: call it '{TIME_COLUMN}', or say which of "
        f"{_quoted(file.header)} it is with traffic.trace_column or --column"
    )


def _take_times(file: _File, times: int) -> tuple[Floats, float | None]:
    """Of the rows that have one, sorted by it: seconds from the first on, and when that was."""
    name, rows = file.header[times], file.rows
    file.rows = [(line, row) for line, row in rows if _is_time(row[times])]
    _leave_out(file, rows, f"{name} is no number and no date")
    texts = [row[times] for _, row in file.rows]
    if all(map(_is_number, texts)):
        seconds, first_s = _of_numbers(file, times)
    else:
        dates = [None if _is_number(text) else _date(text) for text in texts]
        zoned = [date is not None and date.tzinfo is not None for date in dates]
        odd = next((i for i, date in enumerate(dates) if date is None), None)
        if odd is None and len(set(zoned)) > 1:
            odd = zoned.index(not zoned[0])
        if odd is not None:
            raise file.error(
                f"{name} is '{texts[odd]}', which is written unlike the others, such as "
                f"'{texts[0 if odd else -1]}'",
                file.rows[odd][0],
            )
        zones = sorted({str(date.tzname()) for date in dates if date is not None})
        file.notes.append(
            f"dates in {' and '.join(zones)}" if zoned[0] else "dates without a zone, taken for UTC"
        )
        seconds = np.array([_timestamp(date) for date in dates if date is not None])
        first_s = float(seconds.min())
        seconds -= first_s
    order = np.argsort(seconds, kind="stable")
    if (np.diff(seconds) < 0).any():
        file.notes.append("sorted")
        file.rows = [file.rows[place] for place in order]
    return seconds[order], first_s if first_s >= _SINCE_1970_S else None


def _of_numbers(file: _File, times: int) -> tuple[Floats, float]:
    """Seconds from the first on, and the first."""
    values = np.array([float(row[times]) for _, row in file.rows])
    for (line, row), value in zip(file.rows, values, strict=True):
        if not 0 <= value < np.inf:
            raise file.error(
                f"{file.header[times]} must be a number from 0 on, got '{row[times]}'", line
            )
    for least, per_s, unit in _UNITS:
        if values.min() >= least:
            file.notes.append(f"{unit}seconds since 1970")
            first = float(values.min())
            return (values - first) / per_s, first / per_s  # the difference is exact
    return values - values.min(), float(values.min())


@dataclass(frozen=True, slots=True)
class _Value:
    """A column of numbers, and what 1 is in calls per second; None: that depends on them."""

    index: int
    per_s: float | None


def _value_column(file: _File, times: int, seconds: Floats) -> _Value | None:
    others = [i for i in range(len(file.header)) if i != times]
    named = [
        _Value(index, per_s)
        for index in others
        for pattern, per_s in ((_PER_S, 1.0), (_PER_MINUTE, 1 / 60))
        if pattern.fullmatch(file.header[index].lower())
    ]
    exact = [value for value in named if file.header[value.index].lower() == RATE_COLUMN]
    if exact or len(named) == 1:
        return (exact or named)[0]
    is_log = any(_OF_ONE_CALL.search(file.header[index].lower()) for index in others)
    if not named and not is_log and _is_even(file, seconds):
        named = [_Value(index, None) for index in others if _holds_numbers(file, index)]
        told = {each.index for each in named} | {file.column(OPERATION_COLUMN)}
        # What is the same in every row, such as the series' name, makes no log of it.
        if any(len({row[i] for _, row in file.rows}) > 1 for i in others if i not in told):
            named = []
    if len(named) > 1:
        raise file.error(
            f"each of {_quoted(file.header[value.index] for value in named)} could be the rate: "
            f"call the one in calls per second '{RATE_COLUMN}'"
        )
    return named[0] if named else None


def _is_even(file: _File, seconds: Floats) -> bool:
    """Whether rows come in equal steps of a second or more, as dashboards write them.

    A few may be missing, or come twice, when a clock without a zone was put back.
    """
    operation = file.column(OPERATION_COLUMN)
    moments = np.unique(seconds)
    if len(moments) < 2 or (operation is None and len(moments) < _MOST * len(seconds)):
        return False
    steps_s = np.diff(moments)
    step_s = np.median(steps_s)
    return bool(step_s > 1 - CLOCK_GRAIN_S and np.mean(np.abs(steps_s - step_s) < 1e-3) >= _MOST)


def _holds_numbers(file: _File, column: int) -> bool:
    """Whether most cells are numbers, be it with a unit behind them."""
    filled = [row[column] for _, row in file.rows if row[column]]
    numbers = sum(_begins_with_number(cell) for cell in filled)
    return 2 * numbers > len(filled)


def _begins_with_number(text: str) -> bool:
    return _is_number(text) or (_WITH_UNIT.fullmatch(text) is not None and not _is_time(text))


def _rates(file: _File, value: _Value, seconds: Floats, began_at_s: float | None) -> Trace:
    name, rows = file.header[value.index], file.rows
    for line, row in rows:
        if _NO_PLAIN_NUMBER.fullmatch(row[value.index]):
            raise file.error(f"{name} must be a plain number, got '{row[value.index]}'", line)
    per_s = _unit(file, value, seconds)
    has_number = np.array([_is_number(row[value.index]) for _, row in rows])
    file.rows = [each for each, is_kept in zip(rows, has_number, strict=True) if is_kept]
    _leave_out(file, rows, f"{name} is no number")
    seconds = seconds[has_number]
    rates = np.array([float(row[value.index]) for _, row in file.rows]) * per_s
    for (line, row), rate in zip(file.rows, rates, strict=True):
        if not rate < np.inf or rate < 0:
            raise file.error(f"{name} must be a number from 0 on, got '{row[value.index]}'", line)
    moments, which = np.unique(seconds, return_inverse=True)
    called, operations = _operations(file)
    of = np.zeros(len(rates), dtype=np.int64) if called is None else called
    table = np.full((len(moments), max(len(operations), 1)), np.nan)
    for (line, _), moment, operation, rate in zip(file.rows, which, of, rates, strict=True):
        if not np.isnan(table[moment, operation]):
            raise file.error(f"there is a rate for {moments[moment]:.15g} s already", line)
        table[moment, operation] = rate
    table = _held(table)
    total = table.sum(axis=1)
    return Trace(
        "rates",
        moments - moments[0],
        total,
        operations=operations,
        shares_per_s=table,
        began_at_s=None if began_at_s is None else began_at_s + float(moments[0]),
    )


def _leave_out(file: _File, rows: list[Row], reason: str) -> None:
    """Count the rows that are not kept; when those are most, the file is another than we think."""
    kept = {line for line, _ in file.rows}
    lines = [line for line, _ in rows if line not in kept]
    if lines and len(lines) > len(kept):
        raise file.error(f"{reason}, here and in {len(lines)} of {len(rows)} rows", lines[0])
    if lines:
        file.left_out[reason] = lines


def _operations(file: _File) -> tuple[npt.NDArray[np.int64] | None, tuple[str, ...]]:
    """Which operation each row calls, and their names."""
    column = file.column(OPERATION_COLUMN)
    if column is None:
        return None, ()
    called = [row[column] for _, row in file.rows]
    if "" in called:
        raise file.error("no operation is named", file.rows[called.index("")][0])
    names, which = np.unique(called, return_inverse=True)
    return which.astype(np.int64), tuple(map(str, names))


def _held(table: Floats) -> Floats:
    """Each column with its gaps filled: a rate holds until its operation has another one."""
    own = np.where(np.isnan(table), -1, np.arange(len(table))[:, None])
    last = np.maximum.accumulate(own, axis=0)
    return np.where(last < 0, 0.0, np.take_along_axis(table, np.maximum(last, 0), axis=0))


def _unit(file: _File, value: _Value, seconds: Floats) -> float:
    """What 1 in a column is in calls per second."""
    name = file.header[value.index]
    if value.per_s is not None:
        if value.per_s != 1:
            file.notes.append(f"'{name}' in calls per minute")
        return value.per_s
    texts = [row[value.index] for _, row in file.rows if _is_number(row[value.index])]
    if any(float(text) % 1 for text in texts):
        file.notes.append(f"'{name}' taken for calls per second")
        return 1.0
    step_s = float(np.median(np.diff(np.unique(seconds))))
    file.notes.append(f"'{name}' taken for the calls in each {step_s:g} s")
    return 1 / step_s


def _how_read(file: _File, times: int, value: _Value | None, trace: Trace) -> str:
    used = {times, file.column(OPERATION_COLUMN)} | ({value.index} if value else set())
    unused = [name for index, name in enumerate(file.header) if index not in used]
    is_plain = file.header[times].lower() == TIME_COLUMN and not trace.operations
    if is_plain and not (file.notes or file.left_out or unused):
        return ""
    what = f"{len(file.rows)} {'calls' if value is None else 'rates'}"
    told = [f"{what} over {trace.time_s[-1]:g} s, times from '{file.header[times]}'", *file.notes]
    if trace.operations:
        told.append(f"operations {_quoted(trace.operations)}")
    if unused:
        told.append(f"not used: {_quoted(unused)}")
    told += [
        f"rows left out: {len(lines)}, because {reason} (line {lines[0]})"
        for reason, lines in file.left_out.items()
    ]
    return "; ".join(told)


def _resolution_s(seconds: Floats) -> float:
    """The coarsest of some steps of which all times are multiples."""
    for step_s in RESOLUTIONS_S:
        steps = seconds / step_s
        if np.allclose(steps, np.round(steps), rtol=0, atol=1e-3):
            return step_s
    return FINEST_RESOLUTION_S


def _is_number(text: str) -> bool:
    return re.fullmatch(NUMBER, text) is not None


def _is_time(text: str) -> bool:
    return _is_number(text) or _date(text) is not None


def _date(text: str) -> datetime | None:
    """A date as ISO 8601 has it or programs vary it, or as web servers log it."""
    iso = _UTC.sub("+00:00", _SLASHES.sub(r"\1-\2-\3", text))
    with suppress(ValueError):
        return datetime.fromisoformat(iso)
    with suppress(ValueError):
        return datetime.strptime(text.strip("[]"), "%d/%b/%Y:%H:%M:%S %z")
    return None


def _timestamp(date: datetime) -> float:
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
