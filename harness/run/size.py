"""From run directories, a load and a table of prices to a size, and to its files."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from analysis.report.planning.size import PICTURE, size_sections
from analysis.report.planning.write import write_answer
from analysis.report.plots.drawing import style
from analysis.report.plots.sizing_answer import draw_sizing_answer
from analysis.sizing.answer import answer_size
from analysis.sizing.loads import (
    LoadWanted,
    calls_per_s,
    load_between,
    load_of_arrivals,
    load_of_rates,
)
from analysis.sizing.results import SizingAnswer
from harness.aws.prices import SHIPPED_FILE, load_prices, prices_of
from harness.errors import RecordError, UsageError
from harness.run.directories import analysed_runs
from harness.run.writing import writing_into
from harness.scenario.model import HIGHEST_RATE_PER_S
from harness.traffic.traces import read_trace

_RATE: Final = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RATES: Final = re.compile(rf"({_RATE})(?:\s*-\s*({_RATE}))?")


def read_load(text: str) -> LoadWanted:
    """A load as it is typed: `25`, `20-30`, or a trace file.

    Raises:
        UsageError: one sentence; it is no rate above 0, or the file is no trace.
    """
    rates = _RATES.fullmatch(text.strip())
    try:
        if rates is not None:
            return _load_of_numbers(float(rates[1]), float(rates[2] or rates[1]))
        path = Path(text)
        if not text.strip() or not path.is_file():
            raise UsageError(
                f"--load '{text}' is neither a rate such as 25, nor a range such as 20-30, nor a "
                "trace file that is there."
            )
        trace = read_trace(path)
        if trace.rate_per_s is None:
            return load_of_arrivals(trace.time_s, path.name)
        return load_of_rates(trace.time_s, trace.rate_per_s, path.name)
    except ValueError as exc:
        raise UsageError(f"--load '{text}': {exc}") from exc


def size_directories(
    directories: Sequence[Path],
    load: LoadWanted,
    *,
    burst_from_per_s: float | None,
    region: str | None,
    prices_file: Path | None,
    environment_class: str | None,
) -> SizingAnswer:
    """Analyse the runs and size an environment for the load.

    Args:
        directories: of runs, or directories of these.
        load: what is wanted.
        burst_from_per_s: the rate before a burst; None: the load's lowest.
        region: whose prices; None: that of runs on AWS, or the first table's.
        prices_file: None: the table that ships.
        environment_class: where to begin; None: the runs' own.

    Raises:
        HeadroomError: a run or the prices cannot be read, or the burst is none.
    """
    if burst_from_per_s is not None and burst_from_per_s >= load.high_per_s:
        raise UsageError(
            f"--burst-from {burst_from_per_s:g} is not below {calls_per_s(load.high_per_s)}, the "
            "highest rate of --load: give a lower rate, or leave it out."
        )
    tables = load_prices(prices_file or SHIPPED_FILE)
    for directory in directories:
        if not directory.is_dir():
            raise RecordError(f"There is no run directory '{directory}': give one that is there.")
    runs = analysed_runs(directories)
    own = next((_region_on_aws(run.identity.must_agree) for run in runs), None)
    prices, price_refusal = prices_of(tables, region or own)
    answer = answer_size(
        runs,
        load,
        prices,
        price_refusal=price_refusal,
        burst_from_per_s=burst_from_per_s,
        environment_class=environment_class,
    )
    if answer.prices is None or region or own:
        return answer
    return replace(answer, prices=replace(answer.prices, region_given=False))


def write_size(answer: SizingAnswer, directory: Path) -> Path:
    """Write the page, its JSON, the summary and the picture; returns the page.

    Raises:
        RecordError: the directory cannot be written.
    """
    with style():
        figure = draw_sizing_answer(answer)
    figures = {} if figure is None else {PICTURE: figure}
    with writing_into(directory):
        return write_answer(size_sections(answer), answer, figures, directory)


def _load_of_numbers(low_per_s: float, high_per_s: float) -> LoadWanted:
    if not (0 < low_per_s <= HIGHEST_RATE_PER_S and 0 < high_per_s <= HIGHEST_RATE_PER_S):
        raise ValueError(f"a rate must be above 0 and at most {HIGHEST_RATE_PER_S:g} calls/s.")
    return load_between(low_per_s, high_per_s)


def _region_on_aws(identity: dict[str, str]) -> str | None:
    return identity.get("region") if identity.get("environment kind") == "aws" else None
