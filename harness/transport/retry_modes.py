"""botocore's retry modes: what a client is told, how often it sends, how long it waits.

Everything but `off` keeps botocore's own defaults, so that a user sees what their clients do:
the mode's number of attempts, unless AWS_MAX_ATTEMPTS or `max_attempts` of their profile says
otherwise, exactly as for their own programs. Waits between attempts (botocore 1.44,
`retryhandler.py` and `retries/standard.py`; n counts attempts from 1, rand is uniform on 0..1):

- legacy: rand * 2^(n-1) s.
- standard and adaptive: rand * 0.05 * 2^(n-1) s, after a throttle rand * 2^(n-1) s, never more than
  20 s; the server may ask for up to 5 s more (x-amz-retry-after). Before 1.44 the longer of the two
  was for every error.
- adaptive also slows down before sending, for as long as the service throttles: that wait has no
  bound, so whoever calls must bound it.
"""

from typing import Any, Literal

RetryMode = Literal["off", "legacy", "standard", "adaptive"]

_DEFAULT_ATTEMPTS = {"legacy": 5, "standard": 3, "adaptive": 3}
_LONGEST_WAIT_S = 20.0  # standard and adaptive
_LONGEST_ASKED_FOR_S = 5.0


def retry_settings(mode: RetryMode) -> dict[str, Any]:
    """The `retries` of a botocore Config."""
    if mode == "off":
        return {"total_max_attempts": 1, "mode": "standard"}
    return {"mode": mode}


def most_attempts(client: Any) -> int:
    """How often a boto3 client sends one call at most."""
    retries = client.meta.config.retries
    attempts = retries.get("total_max_attempts", _DEFAULT_ATTEMPTS[retries["mode"]])
    return max(int(attempts), 1)


def longest_backoff_s(client: Any) -> float:
    """How long a boto3 client waits between the attempts of one call, in total and at most."""
    waits = range(most_attempts(client) - 1)
    if client.meta.config.retries["mode"] == "legacy":
        return float(sum(2**n for n in waits))
    return sum(min(2.0**n, _LONGEST_WAIT_S) + _LONGEST_ASKED_FOR_S for n in waits)
