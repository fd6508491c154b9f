"""The token bucket in front of InvokeRestApi."""

import time
from collections.abc import Callable

from harness.local.gateway.answers import ApiError
from harness.local.settings import ThrottleSettings


class Throttle:
    """Admits `burst` calls at once and `rate_per_s` in the long run; without a rate, all calls."""

    def __init__(
        self, settings: ThrottleSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._tokens = float(settings.burst)
        self._filled_at_s = clock()

    def admit(self) -> None:
        """Take one token, or raise the throttling error that the settings name."""
        rate_per_s = self._settings.rate_per_s
        if rate_per_s is None:
            return
        now_s = self._clock()
        gained = (now_s - self._filled_at_s) * rate_per_s
        self._tokens = min(float(self._settings.burst), self._tokens + gained)
        self._filled_at_s = now_s
        if self._tokens < 1.0:
            raise ApiError(
                self._settings.error_code,
                self._settings.http_status,
                "Rate exceeded",
                retry_after_ms=self._settings.retry_after_ms,
            )
        self._tokens -= 1.0
