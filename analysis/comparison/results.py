"""What comparing runs says, as plain frozen values: the only thing its reports render.

Like `results`, whose `Estimate` is used here too: a value of None is refused, the reason is beside
it. Values are in base units: seconds, fraction, calls per second.
"""

from dataclasses import dataclass
from typing import Literal

from mwaa_headroom.analysis.results import Difference
from mwaa_headroom.analysis.statistics import Estimate

Unit = Literal["s", "fraction", "1/s"]
GateVerdict = Literal["regression", "pass", "inconclusive"]
ComparisonVerdict = Literal["regression", "pass", "inconclusive", "refused"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One number that every run has once."""

    name: str  # "p95 latency, stage 2, 10/s"
    unit: Unit
    higher_is_better: bool = False

    @property
    def is_share(self) -> bool:
        """Whether it may be 0, so that sides are compared by difference and not by ratio."""
        return self.unit == "fraction"


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """One run, and where it stands among the others."""

    run_id: str
    directory: str
    started_at_s: float
    airflow_version: str  # "": not known


@dataclass(frozen=True, slots=True)
class MetricComparison:
    """One metric of both sides.

    `change` is contender / baseline, or contender - baseline of a share. `p` is one-sided of the
    gate's metrics, of a change for the worse beyond the margin, and adjusted for their number
    (Holm); of the others two-sided, of any change, and adjusted by Benjamini and Hochberg.
    """

    metric: Metric
    baseline: Estimate  # median over runs
    contender: Estimate
    change: Estimate
    p: float | None
    p_adjusted: float | None
    verdict: str  # GateVerdict; informational: worse | better | ~
    reason: str = ""  # one sentence; "" when the numbers say it all
    detectable: float | None = None  # smallest true change found 4 times out of 5; as `change`
    runs_needed: int | None = None  # per side, to tell no change from one past the margin
    baseline_values: tuple[float, ...] = ()  # one a run
    contender_values: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sets of runs, held against each other."""

    baseline: tuple[ComparedRun, ...]
    contender: tuple[ComparedRun, ...]
    margin: float  # fraction by which a gate metric may get worse
    share_margin: float  # the same for shares, as a difference
    confidence: float
    verdict: ComparisonVerdict
    exit_code: int  # 0, 4 or 5
    sentence: str  # the last line of the summary
    refusals: tuple[str, ...] = ()  # why the runs cannot be compared, one sentence each
    differences: tuple[Difference, ...] = ()  # that forbid comparing
    meant_to_differ: tuple[Difference, ...] = ()
    gate: tuple[MetricComparison, ...] = ()
    informational: tuple[MetricComparison, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """Where the level of one metric changed: between two neighbouring runs."""

    index: int  # of the first run after the change, in `MetricHistory.runs`
    first_run: ComparedRun  # that began it
    run_before: ComparedRun
    p: float  # of the permutation test
    before: float  # median of the runs since the change before, or since the beginning
    after: float  # median of the runs until the next change, or until the end
    change: Estimate  # after / before, or their difference for a share
    is_worse: bool


@dataclass(frozen=True, slots=True)
class MetricHistory:
    """One metric over the runs that have it, in the order of time."""

    metric: Metric
    runs: tuple[ComparedRun, ...]
    values: tuple[float, ...]
    change_points: tuple[ChangePoint, ...]
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class History:
    """Many runs of one thing, and when it changed."""

    runs: tuple[ComparedRun, ...]
    metrics: tuple[MetricHistory, ...]
    exit_code: int  # 0 or 5
    sentence: str
    refusals: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    meant_to_differ: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()
