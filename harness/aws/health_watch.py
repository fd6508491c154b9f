"""Beside the load: is the rest of Airflow still well? A run must not be the end of others' work."""

import threading
import time
from collections.abc import Callable, Collection
from types import TracebackType

from mwaa_headroom.harness.aws.clients import RestApi
from mwaa_headroom.harness.errors import EnvironmentAccessError

ASK_EVERY_S = 4.0  # with the answer's time a load ends within 5 s of what is told
_UNHEALTHY = "unhealthy"


class HealthWatch:
    """Asks in a thread while it is entered.

    An answer that does not come says nothing here: the calls under load meet the same, and
    `limits.abort_error_rate` is there for them.

    Args:
        api: of the environment.
        path: of its health check.
        components: to look at.
        every_s: how often.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        api: RestApi,
        path: str,
        components: Collection[str],
        *,
        every_s: float = ASK_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._path = path
        self._components = components
        self._every_s = every_s
        self._clock = clock
        self._were_well: set[str] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask_on, name="health-watch", daemon=True)
        self.reason_to_abort: str | None = None

    def __enter__(self) -> "HealthWatch":
        if self._components:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._ended.set()

    def _ask_on(self) -> None:
        while not self._ended.is_set() and self.reason_to_abort is None:
            began_s = self._clock()
            self._ask()
            self._ended.wait(max(0.0, began_s + self._every_s - self._clock()))

    def _ask(self) -> None:
        try:
            health = self._api.get(self._path)
        except EnvironmentAccessError:
            return
        for component in self._components:
            told = health.get(component)
            status = told.get("status") if health.ok and isinstance(told, dict) else None
            if status == _UNHEALTHY and component in self._were_well:
                self.reason_to_abort = (
                    f"Airflow's health check says that its {component} is unhealthy, which it was "
                    "not before; limits.abort_unhealthy ends the load then."
                )
            elif status == "healthy":
                self._were_well.add(component)
