"""Load tests and capacity planning for Amazon MWAA, called through InvokeRestApi.

    import mwaa_headroom as headroom

    run = headroom.load("runs/latest")
    run.requests                # an Arrow table, one row per arrival; run.metrics: every sample
    run.stages, run.demand      # what was measured, with intervals
    headroom.size(run, 25).chosen

Where runs are wanted, give `Run`s or directories: of a run, or of a folder that holds some; one or
several. Answers are frozen dataclasses: rates in calls per second, times in seconds, shares as
fractions of 1. What an answer lacks is a finding or a refusal in it, never an exception.

Importing this package imports nothing else before it is needed.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mwaa_headroom.analysis.comparison.compare import Comparison
    from mwaa_headroom.analysis.planning.capacity_curve import CapacityCurve
    from mwaa_headroom.analysis.planning.size import SizingAnswer
    from mwaa_headroom.analysis.results import RunAnalysis
    from mwaa_headroom.analysis.run import Run
    from mwaa_headroom.harness.errors import HeadroomError

    Runs = Run | str | Path | Iterable[Run | str | Path]

__all__ = ["HeadroomError", "Run", "analyse", "capacity", "compare", "load", "size"]


def load(directory: str | Path) -> "Run":
    """Read a run, with all columns of its requests.

    Args:
        directory: of the run, or a folder with only one run in it.

    Raises:
        HeadroomError: there is no run, there are several, or it cannot be read.
    """
    from mwaa_headroom.analysis.schema import REQUESTS_SCHEMA
    from mwaa_headroom.harness.errors import RecordError

    found = _directories([directory])
    if len(found) > 1:
        raise RecordError(f"'{directory}' holds {len(found)} runs: name one of them.")
    return _read(found[0], REQUESTS_SCHEMA.names)


def analyse(run: "Run | str | Path") -> "RunAnalysis":
    """Everything `headroom report` says of a run, as values.

    Raises:
        HeadroomError: the run cannot be read.
    """
    from mwaa_headroom.analysis.run import Run

    return (run if isinstance(run, Run) else load(run)).analysis


def capacity(runs: "Runs") -> "CapacityCurve":
    """What each number of webservers can take: `headroom capacity`.

    Args:
        runs: of one mix; their stages are pooled by the webserver count.

    Returns:
        Per count the rate in calls per second at which the SLO breaks, with a 95 % interval, what
        stops it, and the trial that would tell most; or why nothing can be said.

    Raises:
        HeadroomError: a run cannot be read.
    """
    from mwaa_headroom.analysis.planning.capacity_curve import capacity_curve, trial_run

    return capacity_curve([trial_run(run) for run in _runs(runs)])


def size(
    runs: "Runs",
    load: float | tuple[float, float] | str | Path,
    *,
    region: str | None = None,
    prices_file: str | Path | None = None,
    burst_from_per_s: float | None = None,
    environment_class: str | None = None,
) -> "SizingAnswer":
    """MinWebservers, MaxWebservers and class for a load: `headroom size`.

    Args:
        runs: of one mix on webservers of one size.
        load: calls per second, a range of them, or a trace file.
        region: whose prices; None: that of runs on AWS, or the first in the table.
        prices_file: in the form of `harness/aws/prices.toml`, which is taken otherwise.
        burst_from_per_s: rate before a burst to the highest rate; None: the lowest of the load.
        environment_class: the smallest to consider, such as "mw1.small"; None: that of the runs.

    Returns:
        Options with the probability that each meets the SLO and its price in a month; the
        recommended one; or why there is none.

    Raises:
        HeadroomError: a run, the prices or the trace cannot be read, or the load is none.
    """
    from mwaa_headroom.analysis.planning.size import answer_size
    from mwaa_headroom.harness.aws.prices import SHIPPED_FILE, load_prices
    from mwaa_headroom.harness.run.asked_loads import read_load

    ends = load if isinstance(load, tuple) else (load,)
    wanted = read_load("-".join(map(str, ends)))
    return answer_size(
        _analyses(runs),
        wanted,
        load_prices(Path(prices_file) if prices_file else SHIPPED_FILE),
        region=region,
        burst_from_per_s=burst_from_per_s,
        environment_class=environment_class,
    )


def compare(baseline: "Runs", contender: "Runs", *, margin: float = 0.05) -> "Comparison":
    """Whether the contender is worse than the baseline: `headroom compare`.

    Args:
        baseline: five runs or more of what is known.
        contender: as many of what is new, made in turns with the baseline's.
        margin: fraction by which a metric of the gate may get worse.

    Returns:
        Per metric the ratio contender / baseline with its interval, and a verdict: regression,
        pass or inconclusive; or why the runs cannot be compared.

    Raises:
        HeadroomError: a run cannot be read.
    """
    from mwaa_headroom.analysis.comparison.compare import compare_runs

    return compare_runs(_analyses(baseline), _analyses(contender), margin=margin)


def _analyses(given: "Runs") -> "list[RunAnalysis]":
    return [run.analysis for run in _runs(given)]


def _runs(given: "Runs") -> "list[Run]":
    from mwaa_headroom.analysis.run import ANALYSED_COLUMNS, Run

    several = [given] if isinstance(given, Run | str | Path) else list(given)
    directories = [each for each in several if not isinstance(each, Run)]
    return [
        *(each for each in several if isinstance(each, Run)),
        *(_read(each, ANALYSED_COLUMNS) for each in _directories(directories)),
    ]


def _directories(given: "Sequence[str | Path]") -> list[Path]:
    from mwaa_headroom.harness.run.answers import run_directories

    return run_directories([Path(each) for each in given])


def _read(directory: Path, columns: "Sequence[str]") -> "Run":
    from mwaa_headroom.analysis.errors import RecordFormatError
    from mwaa_headroom.analysis.run import Run
    from mwaa_headroom.harness.errors import RecordError

    try:
        return Run.read(directory, columns)
    except RecordFormatError as exc:
        raise RecordError(str(exc)) from exc


def __getattr__(name: str) -> Any:
    """The classes that users name, imported when they do."""
    if name == "Run":
        from mwaa_headroom.analysis.run import Run

        return Run
    if name == "HeadroomError":
        from mwaa_headroom.harness.errors import HeadroomError

        return HeadroomError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
