"""What queueing theory expects of each stage, to be held against what was measured.

    U   = (X D + U0 m) / (m V)
    S   = k D / (V - U0),   k = V rounded, at least 1
    low = S + W_q of G/G/c over all c = m k CPUs, service times all alike (Allen and Cunneen)
    high = R of M/M/k on each webserver alone at the rate X / m
    bound of the rate = m (V - U0) / D

X calls that reached a webserver per second, D their service demand (CPU-s), m webservers with V
CPUs each, of which U0 are used without calls, S time a call takes alone. The low end is a perfect
balancer and equal calls, the high end one that sends each call anywhere by chance: with one CPU a
webserver the latter is S / (1 - rho), also the mean of processor sharing for any calls.

What a call takes beyond its CPU (network, database, waiting) is not known. The excess of the
calmest stage over the middle of its bracket, if it was at most half busy, is taken as a constant
and added to both ends; that stage then cannot be checked itself.

Checks only, never in place of a measurement: twice off is where a model and its assumptions are no
longer of use. Sources: see `models/queueing.py`; Lazowska et al., Quantitative System Performance,
1984, ch. 3 and 5 (utilisation law, bound).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.models.queueing import MultiServerQueue, allen_cunneen_wait_s
from analysis.records.schema import OUTCOMES_BEFORE_WEBSERVER
from analysis.results import DemandResult, Estimate, ModelCheck, StageStats
from analysis.setting import Setting

WITHIN = 2.0  # times off on either side still agrees
CALM = 0.5  # the most utilisation of a stage that tells what a call takes beyond its CPU


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A stage with what the models need to know of it."""

    stage: StageStats
    webservers: int
    calls_per_s: float  # that reached a webserver
    demand_s: float
    webserver_cpu: float
    background: float

    @property
    def utilisation(self) -> float:
        used = self.calls_per_s * self.demand_s + self.background * self.webservers
        return used / (self.webservers * self.webserver_cpu)

    @property
    def bound_per_s(self) -> float:
        return self.webservers * (self.webserver_cpu - self.background) / self.demand_s

    @property
    def is_stable(self) -> bool:
        return self.calls_per_s < self.bound_per_s

    def bracket_s(self, *, evenly: bool) -> tuple[float, float]:
        """Expected mean service time from CPU alone, low and high; of a stable stage.

        Args:
            evenly: arrivals keep equal distances instead of coming by chance.
        """
        cpus = max(1, round(self.webserver_cpu))
        alone_s = cpus * self.demand_s / (self.webserver_cpu - self.background)
        pooled = MultiServerQueue(self.calls_per_s, alone_s, self.webservers * cpus)
        single = MultiServerQueue(self.calls_per_s / self.webservers, alone_s, cpus)
        waits_s = allen_cunneen_wait_s(pooled, ca2=0.0 if evenly else 1.0, cs2=0.0)
        return alone_s + waits_s, single.mean_response_s


def model_checks(
    setting: Setting, stages: Sequence[StageStats], demand: DemandResult | None
) -> tuple[ModelCheck, ...]:
    """One check for each stage that had the same webservers all the time.

    Returns:
        Nothing when the service demand or the CPUs of a webserver are not known.
    """
    if demand is None or setting.webserver_cpu is None:
        return ()
    loaded = [
        found
        for stage in stages
        if (found := _loaded(stage, demand, setting.webserver_cpu)) is not None
    ]
    if setting.is_closed:
        return tuple(_closed(one) for one in loaded)
    evenly = setting.arrivals == "constant"
    calmest, beyond_cpu_s = _beyond_cpu(loaded, evenly=evenly)
    return tuple(
        _check(one, beyond_cpu_s, evenly=evenly, calibrates=one is calmest) for one in loaded
    )


def _loaded(stage: StageStats, demand: DemandResult, webserver_cpu: float) -> _Loaded | None:
    length_s = stage.ended_at_s - stage.measured_from_s
    demand_s = _demand_s(stage, demand)
    background = demand.background_cpu_per_webserver.value or 0.0
    if (
        not stage.webservers_min
        or stage.webservers_min != stage.webservers_max
        or not demand_s
        or length_s <= 0
        or background >= webserver_cpu
    ):
        return None
    refused = sum(stage.outcomes.get(outcome, 0) for outcome in OUTCOMES_BEFORE_WEBSERVER)
    working = sum(stage.outcomes.values()) - refused
    return _Loaded(
        stage=stage,
        webservers=stage.webservers_min,
        calls_per_s=working / length_s,
        demand_s=demand_s,
        webserver_cpu=webserver_cpu,
        background=background,
    )


def _demand_s(stage: StageStats, demand: DemandResult) -> float | None:
    """Of the stage's own mix where the demands of its operations are known."""
    known: Mapping[str, Estimate] = demand.per_operation_s
    arrivals = sum(own.arrivals for own in stage.operations)
    if not arrivals or not all(own.operation in known for own in stage.operations):
        return demand.mix_s.value
    total_s = sum((known[own.operation].value or 0.0) * own.arrivals for own in stage.operations)
    return total_s / arrivals


def _beyond_cpu(loaded: Sequence[_Loaded], *, evenly: bool) -> tuple[_Loaded | None, float]:
    """The stage that tells it, and what a call takes beyond its CPU; without one, nothing."""
    calm = [one for one in loaded if one.utilisation <= CALM and one.stage.service_time_mean_s]
    if not calm:
        return None, 0.0
    calmest = min(calm, key=lambda one: one.utilisation)
    middle_s = sum(calmest.bracket_s(evenly=evenly)) / 2
    excess_s = (calmest.stage.service_time_mean_s or 0.0) - middle_s
    return (calmest, excess_s) if excess_s > 0 else (None, 0.0)


def _check(one: _Loaded, beyond_cpu_s: float, *, evenly: bool, calibrates: bool) -> ModelCheck:
    measured_s = one.stage.service_time_mean_s
    if not one.is_stable:
        return _unstable(one)
    low_s, high_s = (end + beyond_cpu_s for end in one.bracket_s(evenly=evenly))
    agrees = None
    if measured_s is not None and not calibrates:
        agrees = low_s / WITHIN <= measured_s <= high_s * WITHIN
    expected = (
        f"At {100 * one.utilisation:.0f} % utilisation theory expects {_span(low_s, high_s)} a call"
    )
    if measured_s is None:
        explanation = f"{expected}; the mean was not measured, because calls were cut or none ended"
    elif calibrates:
        explanation = (
            f"In this calmest stage a call took {_text(measured_s)}; {_text(beyond_cpu_s)} of that "
            "are not explained by its CPU (network, database, waiting) and are added in all stages"
        )
    else:
        explanation = f"{expected}, measured {_text(measured_s)}{_hint(measured_s, high_s, agrees)}"
    return ModelCheck(
        stage=one.stage.index,
        webservers=one.webservers,
        utilisation=one.utilisation,
        measured_s=measured_s,
        low_s=low_s,
        high_s=high_s,
        bound_per_s=one.bound_per_s,
        agrees=agrees,
        explanation=f"{explanation}.",
    )


def _hint(measured_s: float, high_s: float, agrees: bool | None) -> str:
    if agrees is not False:
        return ""
    if measured_s > high_s:
        return (
            ": calls waited for something other than webserver CPU, such as the database or a "
            "connection pool, were spread unevenly, or had an older backlog before them"
        )
    return ": calls cost less CPU here than the service demand says, such as another mix or a cache"


def _unstable(one: _Loaded) -> ModelCheck:
    explanation = (
        f"Its {one.calls_per_s:.3g} calls/s are more than the {one.bound_per_s:.3g} calls/s that "
        "the CPU of its webservers allows, so calls pile up and theory expects no mean."
    )
    return _unchecked(one, explanation)


def _closed(one: _Loaded) -> ModelCheck:
    return _unchecked(
        one, "The models are those of callers who do not wait for answers; these users did."
    )


def _unchecked(one: _Loaded, explanation: str) -> ModelCheck:
    return ModelCheck(
        stage=one.stage.index,
        webservers=one.webservers,
        utilisation=one.utilisation,
        measured_s=one.stage.service_time_mean_s,
        low_s=None,
        high_s=None,
        bound_per_s=one.bound_per_s,
        agrees=None,
        explanation=explanation,
    )


def _span(low_s: float, high_s: float) -> str:
    low, high = _text(low_s), _text(high_s)
    if low == high:
        return low
    return f"{low.removesuffix(' ms')}-{high}" if high.endswith(" ms") else f"{low} to {high}"


def _text(seconds: float) -> str:
    milliseconds = 1000 * seconds
    if milliseconds >= 1000:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{milliseconds:.1f} ms" if milliseconds < 10 else f"{milliseconds:.0f} ms"
