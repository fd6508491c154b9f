"""Calls that failed before the environment: by the caller's own doing, or on the way to it.

    the caller's    denied, invalid, not_found: credentials, permissions or requests were wrong
    on the way      connection_error; with web login tokens it may be the webservers' own load
                    balancer that closed the connection, so then it is not one of these

A stage is not judged when more than 1 % of its calls sent failed so, for the load that reached the
environment was not the one that was asked for; nor when fewer did, but a line of its SLO is broken
that would be met without them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mwaa_headroom.analysis.calls import Calls, Mask
from mwaa_headroom.analysis.findings import Finding, refusal
from mwaa_headroom.analysis.outcomes import LAYER_OF_OUTCOME
from mwaa_headroom.analysis.results import SloResult
from mwaa_headroom.analysis.slo import Slo
from mwaa_headroom.analysis.slo_judgement import Window, judge

LIMIT: Final = 0.01  # of the calls sent
CALLERS: Final = tuple(name for name, layer in LAYER_OF_OUTCOME.items() if layer == "caller")
ON_THE_WAY: Final = ("connection_error",)
# Of AWS, and of botocore where a sign-on session ended while keys were to be renewed.
EXPIRED_CODES: Final = (
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidGrantException",
    "RequestExpired",
    "TokenRetrievalError",
    "UnauthorizedSSOTokenError",
)


@dataclass(frozen=True, slots=True)
class Expiry:
    """When a run's credentials expired, in epoch seconds, and the error code that told."""

    at_s: float
    code: str


def expiry_of(requests: pa.Table, events: Iterable[Mapping[str, Any]]) -> Expiry | None:
    """When the credentials expired; None: not that it is known.

    By the event that says so or, in records of before there was one, by the first call it failed.
    """
    for event in events:
        if event["kind"] == "credentials_expired":
            return Expiry(float(event["time_s"]), str(event.get("code") or EXPIRED_CODES[0]))
    codes = requests.column("error_code").cast(pa.string())
    told = pc.fill_null(pc.is_in(codes, pa.array(EXPIRED_CODES)), False)
    rows = requests.select(["intended_start_s", "error_code"]).filter(told)
    if not rows.num_rows:
        return None
    first = rows.sort_by("intended_start_s").slice(0, 1).to_pylist()[0]
    return Expiry(first["intended_start_s"], first["error_code"])


def outcomes_before(transport: str) -> tuple[str, ...]:
    """The outcomes of calls that failed before the environment."""
    return CALLERS if transport == "web_token" else (*CALLERS, *ON_THE_WAY)


def failed_before(
    window: Window,
    judged: Sequence[SloResult],
    outcomes: Sequence[str],
    expiry: Expiry | None = None,
) -> Finding | None:
    """Why a window says nothing about the environment; None: nothing hinders it.

    Args:
        window: all of it counts.
        judged: the lines of the SLO over it.
        outcomes: `outcomes_before` of the run's transport.
        expiry: of the run's credentials.
    """
    calls = window.calls
    failed = calls.sent & calls.outcome.are(*outcomes)
    count, sent = int(np.count_nonzero(failed)), int(np.count_nonzero(calls.sent))
    if not count:
        return None
    broke_slo = any(_met_without(failed, line.slo, window) for line in judged if line.met is False)
    if count <= LIMIT * sent and not broke_slo:
        return None
    counts = {name: n for name, n in calls.where(failed).outcome.counts().items() if n}
    most = max(counts, key=counts.__getitem__)
    about = {"failed": count, "sent": sent, "limit_fraction": LIMIT, "broke_slo": broke_slo}
    if expiry and most == "denied" and expiry.at_s <= _last_s(calls):
        return refusal("caller.credentials_expired", at_s=expiry.at_s, code=expiry.code, **about)
    if most in ON_THE_WAY:
        return refusal("network.connections_failed", **about)
    return refusal("caller.calls_failed", outcomes=tuple(counts.items()), **about)


def _met_without(failed: Mask, slo: Slo, window: Window) -> bool:
    left = replace(window, calls=window.calls.where(~failed), good=window.good[~failed])
    return judge(slo, left).met is True


def _last_s(calls: Calls) -> float:
    return float(calls.intended_start_s.max())
