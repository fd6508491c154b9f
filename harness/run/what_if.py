"""From run directories and a load to the answer of `headroom what-if`, and to its files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.policy.results import WhatIf
from analysis.policy.what_if import MOST_CALLS_PER_S, AskedLoad, answer_what_if
from analysis.sizing.loads import DAY_S, load_of_arrivals, load_of_rates
from harness.errors import UsageError
from harness.run.directories import analysed_runs
from harness.run.writing import writing_into
from harness.traffic.traces import Trace, read_trace

Floats = NDArray[np.float64]

LONGEST_LOAD_S = 7 * DAY_S


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
    if min_webservers and max_webservers and min_webservers > max_webservers:
        raise UsageError(f"--min {min_webservers} is above --max {max_webservers}.")
    if scale is not None and not 0 < scale <= MOST_CALLS_PER_S:
        raise UsageError(f"--scale {scale:g} is no factor from above 0 to {MOST_CALLS_PER_S:g}.")
    if (trace, burst, scale, min_webservers, max_webservers) == (None,) * 5:
        return None
    rates, name = None, "the recorded load"
    if trace is not None:
        rates, name = trace_rates_per_second(read_trace(trace), trace.name), trace.name
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
        if trace.rate_per_s is None:
            load = load_of_arrivals(trace.time_s, name)
        else:
            load = load_of_rates(trace.time_s, trace.rate_per_s, name)
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


def what_if(directories: Sequence[Path], asked: AskedLoad | None) -> WhatIf:
    """Analyse runs and answer.

    Raises:
        RecordError: there is no run, or one that cannot be read.
    """
    return answer_what_if(analysed_runs(directories), asked)


def write_what_if(result: WhatIf, directory: Path) -> Path:
    """Write page, JSON, summary and pictures; returns the page.

    Raises:
        RecordError: the directory cannot be written.
    """
    from analysis.report.planning.what_if import what_if_answer
    from analysis.report.planning.write import write_answer
    from analysis.report.plots.what_if import what_if_figures

    with writing_into(directory):
        return write_answer(what_if_answer(result), result, what_if_figures(result), directory)
