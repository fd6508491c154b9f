"""The simulated environment on a virtual clock: gateway, webservers, metrics, autoscaler.

The clock stands at 0 when the run starts. Webservers do not touch each other, so each is brought
up to date only when somebody looks: at every arrival, and whenever a timer is due.

The balancer's choice and the life of a webserver are those of `harness.local`; a webserver that
drains takes as long as its calls do.
"""

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import count
from statistics import fmean

import pyarrow as pa

from mwaa_headroom.analysis.policy.scaling_rule import Observation, ScalingRule
from mwaa_headroom.analysis.record import encoded, whole
from mwaa_headroom.analysis.schema import METRICS_SCHEMA
from mwaa_headroom.harness.aws.collector import Metric
from mwaa_headroom.harness.aws.collector import Sample as Statistic
from mwaa_headroom.harness.local.autoscaler import period_end_s
from mwaa_headroom.harness.local.gateway.answers import ApiError
from mwaa_headroom.harness.local.gateway.operations import Throttle
from mwaa_headroom.harness.local.metrics import Sample, WebserverSampler, metric_data
from mwaa_headroom.harness.local.settings import SimulatedSettings
from mwaa_headroom.harness.local.webservers import Member
from mwaa_headroom.harness.record.stream import record_batch
from mwaa_headroom.harness.virtual.webserver import NEVER_S, Call, Endings, Tally, VirtualWebserver

READ_AFTER_S = 1.0  # publishing, and the collector's next look

_OF_VALUES: Mapping[str, Callable[[Sequence[float]], float]] = {
    "Average": fmean,
    "Maximum": max,
    "Minimum": min,
    "Sum": sum,
    "SampleCount": len,
}

Event = dict[str, object]
Measured = Callable[[float, list[Sample]], None]  # start of a period in epoch seconds, its samples


class VirtualEnvironment:
    """Up and ready one metric period before the run starts.

    Attributes:
        now_s: the virtual clock.
        next_timer_s: when something is due that is no call's doing.
        tally: of all calls.
        events: the environment's own, in no strict order.
    """

    def __init__(
        self,
        settings: SimulatedSettings,
        *,
        started_at_s: float,
        endings: Endings,
        measured: Measured,
    ) -> None:
        self._period_s = settings.metrics.period_s
        self.now_s = -float(self._period_s)
        self.next_timer_s = self.now_s
        self.tally = Tally()
        self.events: list[Event] = []
        self._settings = settings
        self._started_at_s = started_at_s
        self._endings = endings
        self._measured = measured
        self._throttle = Throttle(settings.gateway.throttle, clock=lambda: self.now_s)
        self._sampler = WebserverSampler(
            settings.metrics,
            webserver_cpu=settings.cores,
            min_webservers=settings.min_webservers,
            mean_in_flight=self._mean_in_flight,
            clock=lambda: self.now_s,
        )
        self._rule = ScalingRule(
            settings.autoscaler,
            min_webservers=settings.min_webservers,
            max_webservers=settings.max_webservers,
        )
        self._webservers: tuple[VirtualWebserver, ...] = ()  # all there are, oldest first
        self._ready: tuple[VirtualWebserver, ...] = ()
        self._born = 0
        self._turn = 0
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_numbers = count()
        self._period_end_s = period_end_s(started_at_s + self.now_s, self._period_s)
        self._bring_up()

    def at(self, time_s: float, act: Callable[[], None]) -> None:
        """Let something happen when the clock stands there; of equal times in the order given."""
        heapq.heappush(self._timers, (time_s, next(self._timer_numbers), act))
        self.next_timer_s = self._timers[0][0]

    def run_until(self, until_s: float) -> None:
        """Let everything happen that happens up to then."""
        while self.next_timer_s <= until_s:
            at_s, _, act = heapq.heappop(self._timers)
            self.next_timer_s = self._timers[0][0] if self._timers else NEVER_S
            self.settle(at_s)
            act()
        self.settle(until_s)

    def run_until_idle(self) -> None:
        """Let time pass until no call is in flight."""
        while self.tally.in_flight:
            next_s = min(webserver.next_s for webserver in self._webservers)
            self.run_until(min(next_s, self.next_timer_s))

    def settle(self, now_s: float) -> None:
        """Move the clock, not beyond the next timer, and bring all webservers up to date."""
        self.now_s = now_s
        for webserver in self._webservers:
            if webserver.next_s <= now_s:
                webserver.settle(now_s)
                if webserver.member.state == "draining" and not webserver.in_flight:
                    self._stop(webserver, webserver.idle_since_s)

    def admit(self) -> bool:
        """Whether the throttle lets a call pass now."""
        try:
            self._throttle.admit()
        except ApiError:
            return False
        return True

    def take(self, call: Call, operation: str) -> None:
        """Send a call to the ready webserver with the fewest calls in flight; ties take turns."""
        ready = self._ready
        chosen = ready[0]
        for one in ready:
            if one.in_flight < chosen.in_flight or (
                one.in_flight == chosen.in_flight and one.last_turn < chosen.last_turn
            ):
                chosen = one
        self._turn += 1
        chosen.last_turn = self._turn
        chosen.take(call, operation)

    def _bring_up(self) -> None:
        webservers = [self._new_webserver() for _ in range(self._settings.min_webservers)]
        began_s = self.now_s - max(webserver.start_delay_s for webserver in webservers)
        for webserver in webservers:
            self._emit("webserver_starting", at_s=began_s, webserver=webserver.name)
            self._make_ready(webserver, at_s=began_s + webserver.start_delay_s)
        self._at_end_of_period(self._begin_to_measure)

    def _at_end_of_period(self, act: Callable[[], None]) -> None:
        self.at(self._period_end_s - self._started_at_s, act)

    def _begin_to_measure(self) -> None:
        """What is left of the period in which the environment came up is measured by nobody."""
        self._sampler.read(self._members())
        self._period_end_s += self._period_s
        self._at_end_of_period(self._measure)

    def _measure(self) -> None:
        samples = self._sampler.read(self._members())
        self._measured(self._period_end_s - self._period_s, samples)
        self._scale(samples)
        self._period_end_s += self._period_s
        self._at_end_of_period(self._measure)

    def _members(self) -> list[Member]:
        for webserver in self._webservers:
            webserver.advance(self.now_s)
        return [webserver.member for webserver in self._webservers]

    def _scale(self, samples: list[Sample]) -> None:
        taking_calls = [sample for sample in samples if sample.takes_calls]
        states = [webserver.member.state for webserver in self._webservers]
        decision = self._rule.observe(
            Observation(
                time_s=self._period_end_s,
                cpu_percent=tuple(sample.cpu_percent for sample in taking_calls),
                connections=tuple(sample.connections for sample in taking_calls),
                ready_count=states.count("ready"),
                starting_count=states.count("starting"),
            )
        )
        if decision is not None:
            self._emit("scaling_decision", **asdict(decision))
            self._scale_to(decision.to_count)

    def _scale_to(self, wanted: int) -> None:
        active = [one for one in self._webservers if one.member.state != "draining"]
        for _ in range(wanted - len(active)):
            webserver = self._new_webserver()
            self._emit("webserver_starting", webserver=webserver.name)
            self.at(self.now_s + webserver.start_delay_s, partial(self._make_ready, webserver))
        for webserver in active[wanted:]:  # the youngest; the rule lets none go that still starts
            webserver.member.state = "draining"
            self._ready = tuple(one for one in self._ready if one is not webserver)
            self._emit("webserver_draining", webserver=webserver.name)
            if not webserver.in_flight:
                self._stop(webserver, self.now_s)

    def _new_webserver(self) -> VirtualWebserver:
        self._born += 1
        webserver = VirtualWebserver(
            f"webserver-{self._born}", self._settings, self._endings, self.tally, self.now_s
        )
        self._webservers = (*self._webservers, webserver)
        return webserver

    def _make_ready(self, webserver: VirtualWebserver, *, at_s: float | None = None) -> None:
        webserver.advance(self.now_s)
        webserver.member.usage_when_ready = webserver.usage()
        webserver.member.state = "ready"
        webserver.take_mean_in_flight(self.now_s)  # which counts from here on
        self._ready = (*self._ready, webserver)
        self._emit("webserver_ready", at_s=at_s, webserver=webserver.name)

    def _stop(self, webserver: VirtualWebserver, at_s: float) -> None:
        self._webservers = tuple(one for one in self._webservers if one is not webserver)
        self._emit("webserver_stopped", at_s=at_s, webserver=webserver.name)

    def _mean_in_flight(self, name: str) -> float:
        """Of a webserver behind the balancer; one that still starts has no calls."""
        found = next(one for one in self._webservers if one.name == name)
        return found.take_mean_in_flight(self.now_s)

    def _emit(self, kind: str, *, at_s: float | None = None, **keys: object) -> None:
        time_s = self._started_at_s + (self.now_s if at_s is None else at_s)
        self.events.append({"time_s": time_s, "kind": kind, "source": "environment", **keys})


class VirtualMetrics:
    """Statistics over the webservers, period by period."""

    def __init__(self, settings: SimulatedSettings) -> None:
        self._settings = settings
        self._rows: list[tuple[float, tuple[object, ...]]] = []  # with the start of the period

    def add(self, period_start_s: float, samples: Sequence[Sample]) -> None:
        """Take in one period; epoch seconds."""
        settings = self._settings.metrics
        data = metric_data(
            samples,
            environment=self._settings.name,
            settings=settings,
            period_start_s=period_start_s,
        )
        values: dict[Metric, list[float]] = {}
        for datum in data:
            dimensions = tuple((one["Name"], one["Value"]) for one in datum["Dimensions"])
            values.setdefault(Metric(datum["MetricName"], dimensions), []).append(datum["Value"])
        read_at_s = period_start_s + settings.period_s + READ_AFTER_S
        for metric, of_webservers in values.items():
            for name in metric.statistics:
                value = float(_OF_VALUES[name](of_webservers))
                read = Statistic(metric, name, float(settings.period_s), period_start_s, value)
                self._rows.append((period_start_s, read.row(read_at_s)))

    def table(self, until_s: float) -> pa.Table:
        """The periods that began before then, as the reader of records hands them out."""
        rows = [row for start_s, row in self._rows if start_s < until_s]
        batches = [record_batch(rows, METRICS_SCHEMA)] if rows else []
        table = pa.Table.from_batches(batches, METRICS_SCHEMA)
        columns = [
            encoded(column) if pa.types.is_string(column.type) else whole(column)
            for column in table.columns
        ]
        return pa.Table.from_arrays(columns, names=table.column_names)
