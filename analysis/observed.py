"""What CloudWatch tells of an environment's webservers over days, without a run: today's traffic.

Of every metric period, c webservers with a mean CPU of u per cent keep

    busy = c u / 100

webservers fully busy. A count n keeps their CPU at or below U (`mwaa.CPU_ABOVE_PERCENT`, above
which webservers are added) in a window if

    n >= g busy / (U / 100)

with the growth factor g. Windows have five minutes, or one period where that is longer: autoscaling
takes minutes, so a shorter peak is over before it helps. This is about CPU only: the metrics say
nothing of latency, and where webservers were saturated the traffic wanted more than they show.

SampleCount counts a webserver once a minute, so in longer periods counts and connections are means.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from mwaa_headroom.analysis.findings import Finding, note, refusal, warning
from mwaa_headroom.analysis.metric_periods import WebserverPeriod
from mwaa_headroom.analysis.metric_plausibility import samples_per_webserver
from mwaa_headroom.analysis.mwaa import AWS_PERIOD_S, CONNECTIONS_ABOVE, CPU_ABOVE_PERCENT
from mwaa_headroom.analysis.planning.classes import CLASS_NAMES, classes_from
from mwaa_headroom.analysis.statistics import Floats, value_at_rank

HOUR_S: Final = 3600.0
WINDOW_S: Final = 300.0
BUSIEST_HOURS: Final = 5
NEARLY_ALL: Final = 0.95  # of the periods
SATURATED_PERCENT: Final = 95.0
OFTEN: Final = 0.01  # of the time
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Watched:
    """The environment as it is today; None: not known."""

    name: str
    environment_class: str | None = None
    webserver_cpu: float | None = None
    min_webservers: int | None = None
    max_webservers: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class CallsOverTime:
    """Calls of a log or a dashboard beside the metrics, evenly spread between its moments.

    Attributes:
        at_s: (moments,), epoch seconds, ascending.
        total: (moments,), calls until then.
    """

    at_s: Floats
    total: Floats

    def per_s(self, start_s: Floats, period_s: float) -> Floats:
        """Calls per second of each period; NaN where the file knows nothing of it."""
        first, last = (
            np.interp(at_s, self.at_s, self.total, left=np.nan, right=np.nan)
            for at_s in (start_s, start_s + period_s)
        )
        return (last - first) / period_s


@dataclass(frozen=True, slots=True)
class Spread:
    """How a metric was distributed over the periods."""

    mean: float
    p95: float
    p99: float
    highest: float
    highest_at_s: float


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour that has metrics."""

    start_s: float
    busy_webservers: float  # fully busy ones, mean
    webservers: float
    cpu_percent: float
    cpu_highest_percent: float  # of the webservers' mean in one period
    connections_highest: float | None
    calls_per_s: float | None = None  # mean


@dataclass(frozen=True, slots=True)
class CountStep:
    """Webservers were added or removed."""

    at_s: float
    from_count: int
    to_count: int


@dataclass(frozen=True, slots=True)
class CountNeeded:
    """How many webservers of a class keep their CPU low enough, by what was seen and the growth.

    Both are at least MinWebservers' own minimum, and may be above what the class allows.
    """

    environment_class: str
    webserver_cpu: float | None
    in_busiest_window: int
    in_99_percent: int
    most_webservers: int | None


@dataclass(frozen=True, slots=True)
class Observed:
    """The answer of `headroom observe`."""

    environment: Watched
    from_s: float
    to_s: float
    growth: float
    period_s: float | None = None
    known_fraction: float = 0.0  # of the periods
    webservers: Spread | None = None
    cpu_percent: Spread | None = None
    connections: Spread | None = None
    calls_per_s: Spread | None = None  # of a file beside the metrics
    above_cpu_fraction: float | None = None  # of the known time
    above_connections_fraction: float | None = None
    at_most_fraction: float | None = None  # with as many webservers as MaxWebservers allows
    busy_peak: float | None = None  # webservers fully busy in the busiest window
    busy_p99: float | None = None
    needed: tuple[CountNeeded, ...] = ()  # smallest class first
    busiest_hours: tuple[Hour, ...] = ()
    hours: tuple[Hour, ...] = ()
    changes: tuple[CountStep, ...] = ()
    findings: tuple[Finding, ...] = ()
    # Of every period: start, webservers, CPU in per cent, connections or NaN. Left out of JSON.
    series: tuple[tuple[float, ...], ...] = field(default=(), repr=False)

    @property
    def exit_code(self) -> int:
        """0, or 5 if nothing is known."""
        return 0 if self.busy_peak is not None else 5

    @property
    def enough(self) -> CountNeeded | None:
        """The smallest class that is enough in the busiest window; None: there is none."""
        fits = (n for n in self.needed if n.in_busiest_window <= (n.most_webservers or math.inf))
        return next(fits, None)


def observe(
    periods: Sequence[WebserverPeriod],
    environment: Watched,
    *,
    from_s: float,
    to_s: float,
    growth: float = 1.0,
    calls: CallsOverTime | None = None,
) -> Observed:
    """Tell what was going on.

    Args:
        periods: of one length, as `webserver_periods` reads them: with counts of samples.
        environment: as it is today.
        from_s: epoch seconds.
        to_s: likewise.
        growth: times today's traffic to size for.
        calls: beside the metrics; None: not known.
    """
    known = [p for p in periods if p.webservers and p.cpu_percent is not None]
    if not known:
        nothing = refusal("observed.no_metrics", name=environment.name)
        return Observed(environment, from_s, to_s, growth, findings=(nothing,))
    period_s = known[0].period_s
    minutes = round(period_s / AWS_PERIOD_S)
    most = environment.max_webservers
    samples = samples_per_webserver(known, environment.min_webservers or 1, most) if most else 1
    samples = max(samples, minutes, 1)
    start_s = np.array([period.start_s for period in known])
    counts = np.array([(period.webservers or 0) / samples for period in known])
    cpu = np.array([period.cpu_percent or 0.0 for period in known])
    tcp = np.array([math.nan if p.connections is None else p.connections / samples for p in known])
    busy = counts * cpu / 100
    windows = _means(busy, start_s // max(WINDOW_S, period_s))
    has_tcp = np.isfinite(tcp)
    called = calls.per_s(start_s, period_s) if calls else np.full(len(known), np.nan)
    has_calls = np.isfinite(called)
    hours = tuple(_hours(start_s, counts, cpu, tcp, called))
    answer = Observed(
        environment,
        from_s,
        to_s,
        growth,
        period_s=period_s,
        known_fraction=min(len(known) * period_s / max(to_s - from_s, period_s), 1.0),
        webservers=_spread(counts, start_s),
        cpu_percent=_spread(cpu, start_s),
        connections=_spread(tcp[has_tcp], start_s[has_tcp]) if has_tcp.any() else None,
        calls_per_s=_spread(called[has_calls], start_s[has_calls]) if has_calls.any() else None,
        above_cpu_fraction=float(np.mean(cpu > CPU_ABOVE_PERCENT)),
        above_connections_fraction=(
            float(np.mean(tcp[has_tcp] > CONNECTIONS_ABOVE)) if has_tcp.any() else None
        ),
        at_most_fraction=float(np.mean(np.round(counts) >= most)) if most else None,
        busy_peak=float(windows.max()),
        busy_p99=value_at_rank(windows, 99.0),
        busiest_hours=tuple(sorted(hours, key=lambda h: -h.busy_webservers)[:BUSIEST_HOURS]),
        hours=hours,
        changes=tuple(_changes(start_s, counts)),
        series=tuple(zip(*(each.tolist() for each in (start_s, counts, cpu, tcp)), strict=True)),
    )
    answer = replace(answer, needed=tuple(_needed(answer)))
    missed = 1.0 - float(np.mean(has_calls)) if calls else 0.0
    return replace(answer, findings=tuple(_findings(answer, cpu, tcp, missed)))


def _means(values: Floats, groups: Floats) -> Floats:
    """The mean of each group of neighbours."""
    starts = np.flatnonzero(np.diff(groups, prepend=np.nan) != 0)
    lengths = np.diff(np.append(starts, len(values)))
    means: Floats = np.add.reduceat(values, starts) / lengths
    return means


def _spread(values: Floats, start_s: Floats) -> Spread:
    return Spread(
        mean=float(values.mean()),
        p95=value_at_rank(values, 95.0),
        p99=value_at_rank(values, 99.0),
        highest=float(values.max()),
        highest_at_s=float(start_s[np.argmax(values)]),
    )


def _hours(
    start_s: Floats, counts: Floats, cpu: Floats, tcp: Floats, called: Floats
) -> Iterator[Hour]:
    hour = start_s // HOUR_S
    for one in np.unique(hour):
        own = hour == one
        busy = float(np.mean(counts[own] * cpu[own] / 100))
        connections = tcp[own][np.isfinite(tcp[own])]
        calls_per_s = called[own][np.isfinite(called[own])]
        webservers = float(counts[own].mean())
        yield Hour(
            start_s=float(one * HOUR_S),
            busy_webservers=busy,
            webservers=webservers,
            cpu_percent=100 * busy / webservers,
            cpu_highest_percent=float(cpu[own].max()),
            connections_highest=float(connections.max()) if len(connections) else None,
            calls_per_s=float(calls_per_s.mean()) if len(calls_per_s) else None,
        )


def _changes(start_s: Floats, counts: Floats) -> Iterator[CountStep]:
    whole = np.round(counts).astype(int)
    for place in np.flatnonzero(np.diff(whole)) + 1:
        yield CountStep(float(start_s[place]), int(whole[place - 1]), int(whole[place]))


def _needed(answer: Observed) -> Iterator[CountNeeded]:
    """For the environment's class and for every larger one with more CPU for a webserver."""
    own = answer.environment
    peak, usual = answer.busy_peak or 0.0, answer.busy_p99 or 0.0
    if own.environment_class not in CLASS_NAMES:
        name, grown = own.environment_class or "", answer.growth
        yield CountNeeded(
            name, own.webserver_cpu, _count(peak * grown), _count(usual * grown), None
        )
        return
    cpu = 0.0
    classes = classes_from(own.environment_class)
    for one in classes:
        if one.webserver_cpu > cpu:
            cpu = one.webserver_cpu
            scale = answer.growth * classes[0].webserver_cpu / cpu
            fewest, most = one.fewest_webservers, one.most_webservers
            at_peak, mostly = (max(_count(busy * scale), fewest) for busy in (peak, usual))
            yield CountNeeded(one.name, cpu, at_peak, mostly, most)


def _count(busy: float) -> int:
    return max(math.ceil(busy / (CPU_ABOVE_PERCENT / 100) - _ROUNDING), 1)


def _findings(answer: Observed, cpu: Floats, tcp: Floats, missed: float) -> Iterator[Finding]:
    if answer.known_fraction < NEARLY_ALL:
        yield warning("observed.incomplete", known_fraction=answer.known_fraction)
    if missed > 1 - NEARLY_ALL:
        yield warning("observed.calls_missing", fraction=missed)
    if answer.period_s is not None and answer.period_s > WINDOW_S:
        yield warning("observed.coarse", period_s=answer.period_s)
    if (saturated := float(np.mean(cpu >= SATURATED_PERCENT))) > 0:
        yield warning("observed.saturated", fraction=saturated)
    by_connections = float(np.mean((tcp > CONNECTIONS_ABOVE) & (cpu <= CPU_ABOVE_PERCENT)))
    if by_connections > OFTEN:
        yield warning("observed.by_connections", fraction=by_connections)
    if answer.enough is None:
        yield warning("observed.too_much", growth=answer.growth)
    if answer.environment.max_webservers is None:
        yield note("observed.environment_unknown", name=answer.environment.name)
    yield note("observed.cpu_only", cpu_percent=CPU_ABOVE_PERCENT)
    yield note("observed.limits_of_today")
