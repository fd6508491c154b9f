"""The loads that somebody asks about, as they are typed: rates, ranges, traces and bursts."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from mwaa_headroom.analysis.planning.loads import (
    DAY_S,
    LoadWanted,
    load_between,
    load_of_arrivals,
    load_of_rates,
)
from mwaa_headroom.analysis.policy.what_if import MOST_CALLS_PER_S, AskedLoad
from mwaa_headroom.analysis.statistics import Floats
from mwaa_headroom.harness.errors import UsageError
from mwaa_headroom.harness.numbers import NUMBER
from mwaa_headroom.harness.scenario.model import HIGHEST_RATE_PER_S
from mwaa_headroom.harness.traffic.trace_files import read_trace
from mwaa_headroom.harness.traffic.traces import Trace

LONGEST_LOAD_S = 7 * DAY_S
_RATES: Final = re.compile(rf"({NUMBER})(?:\s*-\s*({NUMBER}))?")


def rates_of(text: str) -> tuple[float, float] | None:
    """The rates in `20-30`, or twice that of `25`; None: it is something else."""
    rates = _RATES.fullmatch(text.strip())
    return (float(rates[1]), float(rates[2] or rates[1])) if rates else None


def read_load(text: str, column: str | None = None) -> LoadWanted:
    """A load as it is typed: `25`, `20-30`, or a trace file.

    Args:
        text: what was typed.
        column: of the trace's times; None: it is found.

    Raises:
        UsageError: one sentence; it is no rate above 0, or the file is no trace.
    """
    rates = rates_of(text)
    if rates is not None and column is not None:
        raise UsageError("--column goes only with a trace file.")
    try:
        if rates is not None:
            return _load_of_numbers(*rates)
        path = Path(text)
        if not text.strip() or not path.is_file():
            raise UsageError(
                f"--load '{text}' is neither a rate such as 25, nor a range such as 20-30, nor a "
                "trace file that is there."
            )
        trace = read_trace(path, column)
        return _load_of_trace(trace, _name_of(path, trace))
    except ValueError as exc:
        raise UsageError(f"--load '{text}': {exc}") from exc


def _load_of_numbers(low_per_s: float, high_per_s: float) -> LoadWanted:
    if not (0 < low_per_s <= HIGHEST_RATE_PER_S and 0 < high_per_s <= HIGHEST_RATE_PER_S):
        raise ValueError(f"a rate must be above 0 and at most {HIGHEST_RATE_PER_S:g} calls/s.")
    return load_between(low_per_s, high_per_s)


def _name_of(path: Path, trace: Trace) -> str:
    return f"{path.name} ({trace.how_read})" if trace.how_read else path.name


def _load_of_trace(trace: Trace, name: str) -> LoadWanted:
    if trace.rate_per_s is None:
        return load_of_arrivals(trace.time_s, name)
    return load_of_rates(trace.time_s, trace.rate_per_s, name)


@dataclass(frozen=True, slots=True)
class Burst:
    """A load that jumps up and, later, down again; calls per second, and seconds."""

    low_per_s: float
    high_per_s: float
    at_s: float
    for_s: float

    @property
    def name(self) -> str:
        """As people call it."""
        return (
            f"a burst from {self.low_per_s:g} to {self.high_per_s:g} calls/s at {self.at_s:g} s "
            f"for {self.for_s:g} s"
        )

    def rates(self) -> Floats:
        """Calls per second of each second; as long after the burst as before it and in it."""
        before, during = round(self.at_s), round(self.for_s)
        rates = np.full(2 * (before + during), self.low_per_s, dtype=np.float64)
        rates[before : before + during] = self.high_per_s
        return rates


def asked_load(
    *,
    trace: Path | None,
    column: str | None,
    burst: Burst | None,
    scale: float | None,
    min_webservers: int | None,
    max_webservers: int | None,
) -> AskedLoad | None:
    """The load that the options ask about; None: about none.

    Raises:
        UsageError: they contradict each other, or the load is too long or too much.
        ScenarioError: the trace cannot be read.
    """
    if trace is not None and burst is not None:
        raise UsageError("--trace and --burst are two loads: give one of them.")
    if column is not None and trace is None:
        raise UsageError("--column goes only with --trace.")
    if min_webservers and max_webservers and min_webservers > max_webservers:
        raise UsageError(f"--min {min_webservers} is above --max {max_webservers}.")
    if scale is not None and not 0 < scale <= MOST_CALLS_PER_S:
        raise UsageError(f"--scale {scale:g} is no factor from above 0 to {MOST_CALLS_PER_S:g}.")
    if (trace, burst, scale, min_webservers, max_webservers) == (None,) * 5:
        return None
    rates, name = None, "the recorded load"
    if trace is not None:
        read = read_trace(trace, column)
        rates, name = trace_rates_per_second(read, trace.name), _name_of(trace, read)
    elif burst is not None:
        _check_length(2 * (burst.at_s + burst.for_s))
        rates, name = burst.rates(), burst.name
    if rates is not None:
        _check_peak(float(rates.max()) * (scale or 1.0))
    return AskedLoad(
        name=name if scale is None else f"{name} x {scale:g}",
        rate_per_s=rates,
        scale=1.0 if scale is None else scale,
        min_webservers=min_webservers,
        max_webservers=max_webservers,
    )


def trace_rates_per_second(trace: Trace, name: str) -> Floats:
    """Calls per second of each second of a trace.

    Raises:
        UsageError: it is too long, or without calls.
    """
    _check_length(float(trace.time_s[-1]))
    try:
        load = _load_of_trace(trace, name)
    except ValueError as exc:
        raise UsageError(str(exc)) from exc
    return np.asarray(load.trace_per_s, dtype=np.float64)


def _check_length(length_s: float) -> None:
    if not length_s <= LONGEST_LOAD_S:
        raise UsageError(
            f"The load is {length_s / DAY_S:.3g} days long, at most a week can be simulated: cut "
            "it."
        )


def _check_peak(rate_per_s: float) -> None:
    if not rate_per_s <= MOST_CALLS_PER_S:
        raise UsageError(
            f"The load is {rate_per_s:g} calls/s at its peak, at most {MOST_CALLS_PER_S:g} can be "
            "simulated: give a lower one."
        )
