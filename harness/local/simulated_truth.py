"""What simulated webservers are set to, drawn from their seed: demands, delays, memory, facts.

Both kinds of them use it, those that answer real HTTP and those in virtual time, so that one seed
means the same in both.
"""

import random
from collections.abc import Callable
from functools import partial
from math import log, sqrt
from typing import Final

from harness.local.settings import SimulatedSettings

# Operations a scenario cannot load, which preflight and cleaning up still use.
OTHER_DEMANDS_S: Final = {
    "version": 0.002,
    "get_dag": 0.013,
    "delete_dag_run": 0.030,
    "get_variable": 0.010,
    "create_variable": 0.020,
    "delete_variable": 0.015,
}
UNKNOWN_DEMAND_S: Final = 0.002  # a 404 of the router
IDLE_MEMORY_FRACTION: Final = 0.20
MEMORY_FRACTION_PER_CALL: Final = 0.002


class DemandDraws:
    """What each call of one webserver costs; `take` gives CPU-seconds, call after call."""

    def __init__(self, settings: SimulatedSettings, webserver: str) -> None:
        self._mean_s = {**OTHER_DEMANDS_S, **settings.demand_s}
        self._factor = _lognormal(f"{settings.seed}:{webserver}", settings.demand_cv)

    def take(self, operation: str) -> float:
        """Of the next call, which is of this operation."""
        return self._mean_s.get(operation, UNKNOWN_DEMAND_S) * self._factor()


def start_delay_s(settings: SimulatedSettings, webserver: str) -> float:
    """How long this webserver takes from the decision until it is ready."""
    # A stream of its own: delays must not change which demands are drawn.
    return settings.start_s * _lognormal(f"{settings.seed}:{webserver}:start", settings.start_cv)()


def memory_fraction(in_service: int) -> float:
    """Memory of a webserver, which grows a little with the calls in service."""
    return min(1.0, IDLE_MEMORY_FRACTION + MEMORY_FRACTION_PER_CALL * in_service)


def simulated_facts(settings: SimulatedSettings) -> dict[str, object]:
    """The truth, for whoever wants to compare an estimate with it."""
    return {
        "airflow_version": settings.airflow_version,
        "webserver_cpu": settings.cores,
        "cpu_limited": True,
        "cpu_limit_reason": "the processor is simulated",
        "database": "none (simulated)",
        "demand_s": dict(settings.demand_s),
        "demand_cv": settings.demand_cv,
        "contention": settings.contention,
        "background_cpu": settings.background_cpu,
        "start_s": settings.start_s,
        "start_cv": settings.start_cv,
    }


def _lognormal(seed: str, cv: float) -> Callable[[], float]:
    """Draws from the lognormal distribution of mean 1 with this coefficient of variation."""
    if cv == 0:
        return lambda: 1.0
    stream = random.Random(seed)  # noqa: S311 - not for secrets
    variance = log(1 + cv**2)
    return partial(stream.lognormvariate, -variance / 2, sqrt(variance))
