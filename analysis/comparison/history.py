"""Many runs of one thing in the order of time, and which of them began something new.

The metrics are those of a comparison's gate; a stage counts when the SLO held in it in at least
half of the runs. Each metric's series is searched for change points by itself, at 5 % over the
number of metrics, so that a history without any change shows one in at most 5 % of cases. Runs
that are no measurement are left out by name; unlike runs are refused.

The interval of a change is that of a comparison of the runs before with those after it. Since the
same runs chose where to cut, the change is rather smaller than it says.

Change points are found by E-divisive means:

    Q(tau, k) = m n / (m + n)
                [ 2/(m n) sum |X - Y| - sum |X - X'| / C(m,2) - sum |Y - Y'| / C(n,2) ]

X the m values before tau, Y the n values from tau up to k, sums over pairs; X' another value of X.
The tau of the largest Q splits the series when fewer than `level` of the series that chance makes
of it have a Q as large; then both halves are looked at by themselves, until nothing splits:

    u_i = x_i - phi x_(i-1)      what is new in a run, x the values less their mean
    x*_i = u*_i + phi x*_(i-1)   u* the u in a random order

phi is 0 at first; then it is the correlation of neighbouring values within the k parts that were
found, corrected for the bias that their means and the choice of where to cut make,
(n phi + k + 1) / (n - 3 k - 2), and held to 0 to 0.9, and the series is searched again, until phi
grows no more. Where it is 0 these are random orders
of the values, and the test is exact without any assumption about the distribution. Orders come
from a fixed seed: the same series has the same change points.

A change is seen from 3 runs on either side. Below 15 runs nothing is said: compare two sets then.
Sources: Matteson and James, J. Am. Stat. Assoc. 109 (2014) 334; Daly et al., ICPE 2020 (its use for
performance tests); Besag and Clifford, Biometrika 78 (1991) 301 (stopping early); Marriott and
Pope, Biometrika 41 (1954) 390 (bias of phi). Assumes that the runs between two changes are alike
and depend on those before them by AR(1) at most; a slow drift becomes a stair.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mwaa_headroom.analysis.comparison.compare import ComparedRun, compared_run
from mwaa_headroom.analysis.comparison.metrics import Metric, gate_stages, run_metrics
from mwaa_headroom.analysis.comparison.rank_tests import shift
from mwaa_headroom.analysis.comparison.regression import TAIL
from mwaa_headroom.analysis.findings import Finding, note, refusal
from mwaa_headroom.analysis.identity import (
    COMPARISON,
    allowed,
    each_run,
    objection,
    unlike,
    unlike_runs,
)
from mwaa_headroom.analysis.results import Difference, RunAnalysis
from mwaa_headroom.analysis.statistics import Estimate, Floats

FALSE_ALARMS = 0.05
HELD_SHARE = 0.5
FEWEST_VALUES = 15
FEWEST_ON_A_SIDE = 3
ORDERS = 1999
_TOGETHER = 100_000  # distances looked at together: bounds the memory
_MOST_CORRELATED = 0.9
_EXIT_OK, _EXIT_INCONCLUSIVE = 0, 5


@dataclass(frozen=True, slots=True)
class Split:
    """The level is another from `index` on."""

    index: int
    p: float


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
    refusal: Finding | None = None


@dataclass(frozen=True, slots=True)
class History:
    """Many runs of one thing, and when it changed."""

    runs: tuple[ComparedRun, ...]
    metrics: tuple[MetricHistory, ...]
    exit_code: int  # 0 or 5
    refusals: tuple[Finding, ...] = ()
    differences: tuple[Difference, ...] = ()
    meant_to_differ: tuple[Difference, ...] = ()
    notes: tuple[Finding, ...] = ()


def trace_history(runs: Sequence[RunAnalysis]) -> History:
    """The change points of at least one run's metrics; runs in any order."""
    valid, left_out = measurements(runs)
    sides = each_run(valid)
    differences = unlike(sides, COMPARISON)
    refusals = list(unlike_runs(differences))
    if len(valid) < FEWEST_VALUES:
        refusals.append(refusal("history.few_runs", runs=len(valid), needed=FEWEST_VALUES))
    metrics = () if refusals else _histories(valid)
    if not refusals and all(metric.refusal for metric in metrics):
        refusals.append(refusal("history.no_metric", needed=FEWEST_VALUES))
    return History(
        runs=tuple(map(compared_run, valid)),
        metrics=metrics,
        exit_code=_EXIT_INCONCLUSIVE if refusals else _EXIT_OK,
        refusals=tuple(refusals),
        differences=differences,
        meant_to_differ=allowed(sides, COMPARISON),
        notes=left_out,
    )


def measurements(runs: Sequence[RunAnalysis]) -> tuple[list[RunAnalysis], tuple[Finding, ...]]:
    """The runs that measured something, in the order of time, and why the others are left out."""
    objections = {run.run_id: objection(run) for run in runs}
    valid = (run for run in runs if not objections[run.run_id])
    left_out = (note("history.left_out", why=why) for why in objections.values() if why)
    return sorted(valid, key=lambda run: run.started_at_s), tuple(left_out)


def _histories(runs: Sequence[RunAnalysis]) -> tuple[MetricHistory, ...]:
    gated = gate_stages(runs, share=HELD_SHARE)
    series: dict[Metric, list[tuple[ComparedRun, float]]] = {}
    for run in runs:
        for metric, estimate in run_metrics(run, gated).gate.items():
            own = series.setdefault(metric, [])
            if estimate.value is not None and metric.has_ratio(estimate.value):
                own.append((compared_run(run), estimate.value))
    level = FALSE_ALARMS / max(len(series), 1)
    return tuple(_history(metric, points, level) for metric, points in series.items())


def _history(
    metric: Metric, points: Sequence[tuple[ComparedRun, float]], level: float
) -> MetricHistory:
    runs = tuple(run for run, _ in points)
    values = tuple(value for _, value in points)
    found = change_points(metric.scaled(np.array(values)).tolist(), level)
    return MetricHistory(
        metric=metric,
        runs=runs,
        values=values,
        change_points=tuple(_change_points(metric, runs, np.array(values), found)),
        refusal=None
        if len(values) >= FEWEST_VALUES
        else refusal("history.few_values", values=len(values), needed=FEWEST_VALUES),
    )


def _change_points(
    metric: Metric, runs: Sequence[ComparedRun], values: Floats, splits: Sequence[Split]
) -> Iterator[ChangePoint]:
    ends = [0, *(split.index for split in splits), len(values)]
    for place, split in enumerate(splits, start=1):
        before, after = values[ends[place - 1] : split.index], values[split.index : ends[place + 1]]
        found = shift(metric.scaled(before), metric.scaled(after), TAIL)
        yield ChangePoint(
            index=split.index,
            first_run=runs[split.index],
            run_before=runs[split.index - 1],
            p=split.p,
            before=float(np.median(before)),
            after=float(np.median(after)),
            change=metric.change(found, len(before) + len(after)),
            is_worse=found.value > 0,
        )


def change_points(values: Sequence[float], level: float) -> tuple[Split, ...]:
    """Where the level of `values`, in the order of time, changed; nothing below 15 of them.

    Args:
        values: finite, one a run; logarithms where ratios matter.
        level: 0..1, the share of series without any change in which one is found.
    """
    if len(values) < FEWEST_VALUES:
        return ()
    series = np.asarray(values, dtype=np.float64)
    found, phi = _splits(series, 0.0, level), 0.0
    while found:
        between = _correlation(np.split(series, [split.index for split in found]))
        if between <= phi:
            break
        phi = between
        found = _splits(series, phi, level)
    return found


def _splits(values: Floats, phi: float, level: float) -> tuple[Split, ...]:
    found: list[Split] = []
    segments = [(0, len(values))]
    while segments:
        begin, end = segments.pop()
        split = _best_split(values[begin:end], phi, level)
        if split is not None:
            at = begin + split.index
            found.append(Split(at, split.p))
            segments += [(begin, at), (at, end)]
    return tuple(sorted(found, key=lambda each: each.index))


def _correlation(parts: Sequence[Floats]) -> float:
    """The phi of the module's docstring."""
    count = sum(map(len, parts))
    left = [part - part.mean() for part in parts]
    squares = sum(float(part @ part) for part in left)
    if squares == 0:
        return 0.0
    phi = sum(float(part[1:] @ part[:-1]) for part in left) / squares
    corrected = (count * phi + len(parts) + 1) / max(count - 3 * len(parts) - 2, 1)
    return min(max(corrected, 0.0), _MOST_CORRELATED)


def _best_split(values: Floats, phi: float, level: float) -> Split | None:
    if len(values) < 2 * FEWEST_ON_A_SIDE:
        return None
    places, largest = _largest_q(values[None])
    if largest[0] <= 0:
        return None
    p = _share_as_large(values - values.mean(), float(largest[0]), phi, level)
    return Split(int(places[0]), p) if p <= level else None


def _share_as_large(values: Floats, q: float, phi: float, level: float) -> float:
    """The p value; stops as soon as it is sure to be above `level`."""
    random = np.random.default_rng(0)
    new = values.copy()
    new[1:] -= phi * values[:-1]
    new[0] *= np.sqrt(1 - phi**2)
    as_large = done = 0
    while done < ORDERS and as_large + 1 <= level * (ORDERS + 1):
        together = min(max(_TOGETHER // len(values) ** 2, 1), ORDERS - done)
        made = np.array([new[random.permutation(len(new))] for _ in range(together)])
        if phi:
            made[:, 0] /= np.sqrt(1 - phi**2)
            for place in range(1, made.shape[1]):
                made[:, place] += phi * made[:, place - 1]
        as_large += int((_largest_q(made)[1] >= q * (1 - 1e-12)).sum())
        done += together
    return (as_large + 1) / (ORDERS + 1)


def _largest_q(series: Floats) -> tuple[NDArray[np.int64], Floats]:
    """The tau of the largest Q over all tau and k, and that Q, of each row."""
    count, size = series.shape
    grid = _grid(size)
    # sums[:, i, j]: of the distances of the first i values to the first j
    sums = np.zeros((count, size + 1, size + 1))
    distances = np.abs(series[:, :, None] - series[:, None, :])
    sums[:, 1:, 1:] = distances.cumsum(axis=1).cumsum(axis=2)
    own, across, ends = (
        sums[:, i, j] for i, j in ((grid.tau, grid.tau), (grid.tau, grid.k), (grid.k, grid.k))
    )
    between = 2 * (across - own) * grid.per_pair
    within = own * grid.per_x + (ends - 2 * across + own) * grid.per_y
    q = grid.weight * (between - within)
    best = q.argmax(axis=1)
    return grid.tau[best], q[np.arange(count), best]


@dataclass(frozen=True, slots=True, eq=False)
class _Grid:
    """Every tau and k of a series of one length, with the factors that depend on them alone."""

    tau: NDArray[np.int64]
    k: NDArray[np.int64]
    per_pair: Floats
    per_x: Floats
    per_y: Floats
    weight: Floats


@lru_cache(maxsize=64)
def _grid(size: int) -> _Grid:
    tau, k = np.array(
        [
            (tau, k)
            for tau in range(FEWEST_ON_A_SIDE, size - FEWEST_ON_A_SIDE + 1)
            for k in range(tau + FEWEST_ON_A_SIDE, size + 1)
        ]
    ).T
    m, n = tau, k - tau
    return _Grid(tau, k, 1 / (m * n), 1 / (m * (m - 1)), 1 / (n * (n - 1)), m * n / (m + n))
