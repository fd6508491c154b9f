"""The latency to expect on a webserver count, by how it rose with the load in the stages of runs.

    p(x) = a + b r / (1 - r),    r = x D / (V - U0),    a, b >= 0

p a percentile, x calls/s of one webserver, r its utilisation by calls; D, U0, V as in `demand.py`.
Calls that queue for a processor, or share it, hinder each other in proportion to r / (1 - r); the
factor b grows with the spread of service times, with single-threaded workers and with load that is
spread unevenly, and all of these are in the measured percentiles that a and b are fitted to.

Weights are 1 / e^2, e the standard error of a stage's percentile relative to it, times p(x). The
interval is that of the curve, t with n - 2 degrees of freedom and errors multiplied by
sqrt(chi^2 / (n - 2)) where that is above 1 (Birge), with 5 % for the curve's own error, because
uneven balancing and dearer calls bend it. How often it holds is in `docs/validation.md`. It is for
arrivals like those of the runs: bursts it does not know.

Sources: Kleinrock, Queueing Systems I, 1975, 5.6 (the mean wait of M/G/1); R. Birge, Phys. Rev. 40
(1932) 207.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from mwaa_headroom.analysis.demand_fit import bounded_fit
from mwaa_headroom.analysis.findings import Finding, note, warning
from mwaa_headroom.analysis.results import RunAnalysis, StageStats
from mwaa_headroom.analysis.slo import Slo
from mwaa_headroom.analysis.statistics import Z95, Estimate, t_quantile

FEWEST_STAGES = 3
_BUSIEST = 0.9  # of the CPU that is left for calls: beyond, latency grows with time
_LEAST_ERROR = 0.02  # of a percentile, relative to it
_CURVE_ERROR = 0.05
_REFITS = 3


def expected_latency(
    runs: Sequence[RunAnalysis], rate_per_s: float, webservers: int
) -> tuple[Finding, ...]:
    """Each latency line of the SLO that has a percentile, at a rate on so many webservers.

    Args:
        runs: alike, with a demand and webservers of known size.
        rate_per_s: calls/s of the runs' mix.
        webservers: in service, of the size that the runs' have.
    """
    lines = [slo for slo in runs[0].slos if _is_about_all_calls(slo)]
    told = []
    for slo in lines:
        found = _percentile_at(runs, slo, rate_per_s / webservers)
        if found is None or found.value is None:
            continue
        values = {
            "slo": slo.text,
            "rate_per_s": rate_per_s,
            "webservers": webservers,
            "found": found,
        }
        if slo.is_met_by(found.high or found.value):
            told.append(note("size.slo_with_cpu", **values))
        else:
            told.append(warning("size.slo_before_cpu", **values))
    return tuple(told)


def _is_about_all_calls(slo: Slo) -> bool:
    of_time = slo.metric in ("latency", "service_time") and slo.selector_key is None
    return of_time and slo.function in ("p50", "p95", "p99")


def _percentile_at(
    runs: Sequence[RunAnalysis], slo: Slo, rate_of_one_per_s: float
) -> Estimate | None:
    """None: too few stages, or calls that leave the webserver no time to rest."""
    seen = np.array([row for run in runs for row in _rows(run, slo)])
    at = np.mean([_utilisation(run, rate_of_one_per_s) for run in runs])
    if len(seen) < FEWEST_STAGES or np.ptp(seen[:, 0]) == 0 or at >= _BUSIEST:
        return None
    columns = np.column_stack([np.ones(len(seen)), seen[:, 0] / (1 - seen[:, 0])])
    errors = seen[:, 2] * seen[:, 1]
    for _ in range(_REFITS):  # a stage that was quick by chance would else count more
        errors = seen[:, 2] * (
            columns @ bounded_fit(columns / errors[:, None], seen[:, 1] / errors)
        )
    weighted, wanted = columns / errors[:, None], seen[:, 1] / errors
    point = np.array([1.0, at / (1 - at)])
    value = float(point @ bounded_fit(weighted, wanted))
    freedom = len(seen) - 2
    free, *_ = np.linalg.lstsq(weighted, wanted, rcond=None)
    scatter = float(((wanted - weighted @ free) ** 2).sum()) / freedom
    variance = float(point @ np.linalg.inv(weighted.T @ weighted) @ point) * max(scatter, 1.0)
    reach = math.hypot(t_quantile(freedom) * math.sqrt(variance), Z95 * _CURVE_ERROR * value)
    return Estimate(value, max(value - reach, 0.0), value + reach, n=len(seen))


def _rows(run: RunAnalysis, slo: Slo) -> Iterator[tuple[float, float, float]]:
    """Utilisation by calls, percentile and its relative error of the stages that can be used."""
    most = max((len(stage.operations) for stage in run.stages), default=0)
    for stage in run.stages:
        times = stage.latency_s if slo.metric == "latency" else stage.service_time_s
        found = times.get(slo.function)
        if found is None or not found.value or found.low is None or found.high is None:
            continue
        at = _utilisation_of(run, stage)
        if at is not None and at < _BUSIEST and len(stage.operations) == most:
            error = (found.high - found.low) / (2 * Z95 * found.value)
            yield at, found.value, max(error, _LEAST_ERROR)


def _utilisation_of(run: RunAnalysis, stage: StageStats) -> float | None:
    usable = stage.complete and stage.speaks and not stage.rate_is_mean
    count = stage.webservers_min
    if not usable or not count or count != stage.webservers_max:
        return None
    return _utilisation(run, stage.achieved_per_s / count)


def _utilisation(run: RunAnalysis, rate_of_one_per_s: float) -> float:
    demand, sizing = run.demand, run.sizing
    if demand is None or sizing is None or sizing.webserver_cpu is None:
        raise ValueError(f"run {run.run_id} has no service demand")
    background = demand.background_cpu_per_webserver.value or 0.0
    left = max(sizing.webserver_cpu - background, 1e-9)
    return rate_of_one_per_s * (demand.mix_s.value or 0.0) / left
