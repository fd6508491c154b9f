"""Whether the host had other things to do, or became slow, while a stage ran.

A host is this machine: it sends the load, and a local environment runs on it. Every few seconds the
record says what others took of its CPUs and how long a fixed piece of work took (`host_load`). Over
a stage, with o the part of a report's time that lies inside:

    taken   = sum(o (others + stolen + throttled)) / sum(o) / CPUs
    speed   = r / (sum(o reference) / sum(o)),  r = the reference's 10th percentile over the run

others: CPU of processes that are not headroom's, which count only where the host is more than half
busy (CROWDED): on idle CPUs they are in nobody's way, and of four or more CPUs half busy one finds
a free one at once in 5 of 6 cases (Erlang's C); stolen: by the hypervisor for other machines;
throttled: withheld by a limit from outside, as a container's; reference: CPU time of the fixed
work, which neighbours on the same hardware, a lower clock or crowded caches lengthen without
showing up elsewhere.

Below SLOW a warning says so. A host is disturbed past TAKEN_LIMIT or below SLOWEST. A stage of a
local environment is undecided then: its webservers had other CPUs than they seemed to have. Any
other environment runs elsewhere,
or is simulated: there the host can only have made the load generator late, which has limits of its
own (`generator/limits.py`), so it is told and takes nothing from the answer.

The speed is no correction. Dividing demands by it was tried: the intervals then hold the truth in
88-91 % of the runs where only the host's speed changes, and are worth nothing beside other work.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from mwaa_headroom.analysis.findings import Finding, note, refusal, warning
from mwaa_headroom.analysis.generator.limits import number_in
from mwaa_headroom.analysis.results import StageLabel
from mwaa_headroom.analysis.statistics import Floats

TAKEN_LIMIT: Final = 0.1  # of all CPUs: ten times the error of the subtraction
SLOWEST: Final = 0.6  # of the run's fastest
# Real Airflow feels neighbours on the same hardware more than this work does: its calls cost 1.5
# times as much where stages ran at 0.6 to 0.82. Undisturbed ones ran at 0.84 to 1.
SLOW: Final = 0.83
CROWDED: Final = 0.5  # of all CPUs, ours included
_TAKEN: Final = ("others_cpus", "stolen_cpus", "throttled_cpus")
_FASTEST_PERCENT: Final = 10.0  # one report may be of a lucky moment
_FEWEST_FOR_SPEED: Final = 5  # reports in the run


@dataclass(frozen=True, slots=True)
class HostReport:
    """One report; NaN: the system does not tell."""

    from_s: float
    to_s: float
    cpus: float
    ours_cpus: float
    others_cpus: float
    stolen_cpus: float
    throttled_cpus: float
    reference_s: float

    @property
    def taken_fraction(self) -> float:
        """What others took of all CPUs."""
        known = np.array([getattr(self, name) for name in _TAKEN])
        return float(np.clip(np.nansum(known) / self.cpus, 0.0, 1.0))

    def inside_s(self, from_s: float, to_s: float) -> float:
        """How much of its time lies between two others."""
        return max(min(self.to_s, to_s) - max(self.from_s, from_s), 0.0)


def host_reports(events: Iterable[dict[str, Any]]) -> tuple[HostReport, ...]:
    """All reports of a run."""
    return tuple(_report(event) for event in events if event["kind"] == "host_load")


def speeds(reports: Sequence[HostReport]) -> Floats:
    """The speed in each report, at most 1; NaN where it is not known."""
    took_s = np.array([report.reference_s for report in reports])
    if np.count_nonzero(np.isfinite(took_s)) < _FEWEST_FOR_SPEED:
        return np.full(len(reports), np.nan)
    fastest_s = float(np.nanpercentile(took_s, _FASTEST_PERCENT))
    return np.asarray(np.minimum(fastest_s / took_s, 1.0))


def disturbance(reports: Sequence[HostReport], from_s: float, to_s: float) -> Finding | None:
    """How the host was disturbed between two times; None: it was not, as far as is known."""
    weights_s = np.array([report.inside_s(from_s, to_s) for report in reports])
    if not weights_s.any():
        return None
    taken = {
        name: max(_mean([getattr(r, name) for r in reports], weights_s), 0.0) for name in _TAKEN
    }
    speed = _speed(reports, weights_s)
    cpus = reports[-1].cpus
    ours_cpus = _mean([report.ours_cpus for report in reports], weights_s, otherwise=cpus)
    if ours_cpus + sum(taken.values()) <= CROWDED * cpus:
        taken["others_cpus"] = 0.0
    if sum(taken.values()) <= TAKEN_LIMIT * cpus and speed >= SLOWEST:
        return None
    return refusal("host.disturbed", **taken, cpus=cpus, speed=speed if speed < SLOWEST else None)


def slowed(
    reports: Sequence[HostReport], stages: Mapping[StageLabel, tuple[float, float]]
) -> tuple[Finding, ...]:
    """One warning for all stages in which the host was slow, though not too slow to judge them.

    Args:
        reports: of the run.
        stages: by label, from when to when each was measured, in epoch seconds.
    """
    found = {}
    for (index, _), (from_s, to_s) in stages.items():
        weights_s = np.array([report.inside_s(from_s, to_s) for report in reports])
        if weights_s.any() and SLOWEST <= (speed := _speed(reports, weights_s)) < SLOW:
            found[index + 1] = speed
    if not found:
        return ()
    return (warning("run.host_slow", stages=tuple(found), speed=min(found.values())),)


def _speed(reports: Sequence[HostReport], weights_s: Floats) -> float:
    return 1 / _mean(1 / speeds(reports), weights_s, otherwise=1.0)


def beside_stages(
    found: Mapping[StageLabel, Finding | None], *, is_local: bool
) -> tuple[Finding, ...]:
    """One finding for all stages beside which the host was disturbed, with the worst."""
    disturbed = {label: how for label, how in found.items() if how is not None}
    if not disturbed:
        return ()
    worst = max(disturbed, key=lambda label: _severity(disturbed[label].values))
    numbers = tuple(index + 1 for index, _ in disturbed)
    about = {"stages": numbers, "worst": worst, "how": disturbed[worst]}
    if is_local:
        return (warning("run.host_disturbed", **about),)
    return (note("run.host_disturbed", **about),)


def _severity(values: Mapping[str, Any]) -> float:
    taken = sum(values[name] for name in _TAKEN) / values["cpus"]
    return float(taken + 1 - (values["speed"] or 1.0))


def _mean(values: Sequence[float] | Floats, weights_s: Floats, otherwise: float = 0.0) -> float:
    """Of those that are known; `otherwise` if none is."""
    known = np.asarray(values, dtype=np.float64)
    counts = np.isfinite(known) & (weights_s > 0)
    return (
        float(np.average(known[counts], weights=weights_s[counts])) if counts.any() else otherwise
    )


def _report(event: dict[str, Any]) -> HostReport:
    def told(key: str) -> float:
        value = number_in(event, key)
        return math.nan if value is None else value

    to_s, over_s = float(event["time_s"]), number_in(event, "over_s") or 0.0
    return HostReport(
        from_s=to_s - over_s,
        to_s=to_s,
        cpus=max(number_in(event, "cpus") or 1.0, 1.0),
        ours_cpus=told("ours_cpus"),
        others_cpus=told("others_cpus"),
        stolen_cpus=told("stolen_cpus"),
        throttled_cpus=told("throttled_cpus"),
        reference_s=told("reference_cpu_s") or math.nan,
    )
