"""Webserver metrics held against what is documented of them.

    webservers    between MinWebservers and MaxWebservers
    samples       one per webserver and minute, the period the service publishes at, or twelve per
                  period: containers that publish every 5 s have so many in a minute; then counts
                  and connections are divided
    CPU           at most 100 % of a webserver

A few periods that are off by themselves (at most 10 %) lose what is off. More make the metric
unusable: nothing is derived from it. Where MinWebservers = MaxWebservers their number stands where
SampleCount is missing or unusable.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from mwaa_headroom.analysis.findings import Finding, note, refusal, warning
from mwaa_headroom.analysis.metric_periods import WebserverPeriod

SAMPLES_IN_A_PERIOD: Final = 12
MINUTE_S: Final = 60.0
STRAY_SHARE: Final = 0.1  # of the periods
MOST_CPU_PERCENT: Final = 105.0  # readings of 100 % scatter a little
_NEARLY_WHOLE: Final = 0.1  # of a webserver: samples that came late


@dataclass(frozen=True, slots=True)
class PlausiblePeriods:
    """Periods without what cannot be; `findings` say what that was."""

    periods: tuple[WebserverPeriod, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def objection(self) -> Finding | None:
        """Why no service demand can be told from them; None: it can."""
        return next((each for each in self.findings if each.severity == "refusal"), None)


def plausible_periods(
    periods: Sequence[WebserverPeriod], fewest: int | None, most: int | None
) -> PlausiblePeriods:
    """Hold the periods of a run against its environment.

    Args:
        periods: as they were read.
        fewest: MinWebservers; None: not known, or it changed.
        most: MaxWebservers; likewise.
    """
    counted = _with_counts(periods, fewest or 1, most) if most else PlausiblePeriods(tuple(periods))
    found = _with_cpu(counted.periods)
    return PlausiblePeriods(found.periods, (*counted.findings, *found.findings))


def _with_counts(periods: Sequence[WebserverPeriod], fewest: int, most: int) -> PlausiblePeriods:
    pinned = most if fewest == most else None
    counts = [period.webservers for period in periods if period.webservers is not None]
    strays = sum(count > most for count in counts)
    about = {"highest": max(counts, default=0), "most": most}
    samples = samples_per_webserver(periods, fewest, most)
    if samples > 1:
        found = tuple(_counted(period, samples, most, pinned) for period in periods)
        divided = note("metrics.samples_divided", samples=samples, fewest=fewest, **about)
        return PlausiblePeriods(found, (divided,))
    if strays <= STRAY_SHARE * len(counts):
        found = tuple(_counted(period, 1, most, pinned) for period in periods)
        odd = warning("metrics.counts_above_most", periods=strays, pinned=pinned, **about)
        return PlausiblePeriods(found, (odd,) if strays else ())
    found = tuple(replace(each, webservers=pinned, connections=None) for each in periods)
    if pinned is not None:
        return PlausiblePeriods(found, (warning("metrics.pinned_count_used", **about),))
    return PlausiblePeriods(found, (refusal("metrics.counts_implausible", fewest=fewest, **about),))


def samples_per_webserver(periods: Sequence[WebserverPeriod], fewest: int, most: int) -> int:
    """Samples of one webserver in a period; 1 also where no number of them explains the counts."""
    counts = [period.webservers for period in periods if period.webservers is not None]
    if not counts:
        return 1
    minutes = round(periods[0].period_s / MINUTE_S)
    if minutes > 1 and _are_samples(counts, minutes, fewest, most):
        return minutes
    fitting = sum(count <= most for count in counts) >= (1 - STRAY_SHARE) * len(counts)
    is_twelve = not fitting and _are_samples(counts, SAMPLES_IN_A_PERIOD, fewest, most)
    return SAMPLES_IN_A_PERIOD if is_twelve else 1


def _are_samples(counts: Sequence[int], samples: int, fewest: int, most: int) -> bool:
    each = [count / samples for count in counts]
    whole = sum(
        abs(value - round(value)) <= _NEARLY_WHOLE and fewest <= round(value) <= most
        for value in each
    )
    return whole >= (1 - STRAY_SHARE) * len(each)


def _counted(
    period: WebserverPeriod, samples: int, most: int, pinned: int | None
) -> WebserverPeriod:
    if period.webservers is None:
        return replace(period, webservers=pinned)
    count = round(period.webservers / samples)
    if not 1 <= count <= most:
        return replace(period, webservers=pinned, connections=None)
    connections = None if period.connections is None else period.connections / samples
    return replace(period, webservers=count, connections=connections)


def _with_cpu(periods: Sequence[WebserverPeriod]) -> PlausiblePeriods:
    readings = [max(each.cpu_percent or 0.0, each.cpu_max_percent or 0.0) for each in periods]
    above = [reading > MOST_CPU_PERCENT for reading in readings]
    if not any(above):
        return PlausiblePeriods(tuple(periods))
    unusable = sum(above) > STRAY_SHARE * len(periods)
    found = tuple(
        replace(each, cpu_percent=None, cpu_max_percent=None, cpu_min_percent=None)
        if unusable or is_above
        else each
        for each, is_above in zip(periods, above, strict=True)
    )
    about = {"periods": sum(above), "highest": max(readings)}
    if unusable:
        return PlausiblePeriods(found, (refusal("metrics.cpu_implausible", **about),))
    return PlausiblePeriods(found, (warning("metrics.cpu_strays", **about),))
