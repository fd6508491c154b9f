"""The webservers of an environment on AWS over a time, from CloudWatch alone: nothing is loaded."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from mwaa_headroom.analysis.metric_periods import webserver_periods
from mwaa_headroom.analysis.observed import CallsOverTime, Observed, Watched, observe
from mwaa_headroom.analysis.schema import METRICS_SCHEMA
from mwaa_headroom.harness.aws.clients import AwsClients, make_clients
from mwaa_headroom.harness.aws.collector import (
    DAY_S,
    KEPT_FOR_S,
    MetricsReader,
    finest_period_s,
)
from mwaa_headroom.harness.aws.environment import describe_environment
from mwaa_headroom.harness.errors import EnvironmentAccessError, UsageError
from mwaa_headroom.harness.record.stream import record_batch
from mwaa_headroom.harness.traffic.trace_files import read_trace

USUAL_DAYS = 30
LONGEST_FINEST_S = 2 * DAY_S  # of a longer time five minutes tell as much, in a fifth of the calls
PERIODS_PER_CALL = 1440


def moment_of(text: str) -> float:
    """Epoch seconds of a date, with or without a time; UTC where no zone is told.

    Raises:
        UsageError: it is none.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as exc:
        raise UsageError(
            f"'{text}' is no date such as 2026-11-23, or time such as 2026-11-23T08:00+01:00."
        ) from exc
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def calls_of(path: Path) -> CallsOverTime:
    """The calls in a log or the rates in an export, by the clock.

    Raises:
        ScenarioError: it is no trace.
        UsageError: its times are on no clock.
    """
    trace = read_trace(path)
    if trace.began_at_s is None:
        raise UsageError(f"{path} has no dates: without them its calls are of no known time.")
    if trace.rate_per_s is None:
        total = np.arange(1.0, len(trace.time_s) + 1)
    else:
        total = np.concatenate([[0.0], np.cumsum(trace.rate_per_s[:-1] * np.diff(trace.time_s))])
    return CallsOverTime(trace.began_at_s + trace.time_s, total)


def observe_environment(
    name: str,
    *,
    region: str | None,
    profile: str | None,
    from_s: float | None,
    to_s: float | None,
    growth: float,
    calls: CallsOverTime | None,
    now_s: float,
) -> Observed:
    """Read the webservers' metrics of a time, and tell what they say.

    Args:
        name: of the environment.
        region: None: from botocore's standard configuration.
        profile: likewise.
        from_s: epoch seconds; None: 30 days before `to_s`.
        to_s: likewise; None: now.
        growth: times that traffic to size for.
        calls: beside the metrics.
        now_s: epoch seconds.

    Raises:
        UsageError: there is no such time, or CloudWatch keeps nothing of it.
        EnvironmentAccessError: CloudWatch refused or could not be reached.
    """
    until_s = min(to_s or now_s, now_s)
    since_s = until_s - USUAL_DAYS * DAY_S if from_s is None else from_s
    if since_s >= until_s:
        raise UsageError("--from must be before --to, and in the past.")
    period_s = finest_period_s(since_s, now_s)
    if period_s is None:
        raise UsageError(
            f"CloudWatch keeps metrics for {max(KEPT_FOR_S.values()) // DAY_S} days: give a later "
            "--from."
        )
    if until_s - since_s > LONGEST_FINEST_S:
        period_s = max(period_s, 300)
    clients = make_clients(environment=name, region=region, profile=profile)
    environment = _watched(clients, name)
    reader = MetricsReader(clients.cloudwatch, name)
    samples = reader.read(
        reader.discover_past(),
        from_s=since_s,
        to_s=until_s // period_s * period_s,
        period_s=period_s,
        periods_per_call=PERIODS_PER_CALL,
    )
    rows = [sample.row(now_s) for sample in samples]
    batches = [record_batch(rows, METRICS_SCHEMA)] if rows else []
    periods = webserver_periods(pa.Table.from_batches(batches, METRICS_SCHEMA))
    return observe(periods, environment, from_s=since_s, to_s=until_s, growth=growth, calls=calls)


def _watched(clients: AwsClients, name: str) -> Watched:
    """As it is today; it may be gone, or these credentials may not ask."""
    try:
        facts = describe_environment(clients, name)
    except EnvironmentAccessError:
        return Watched(name)
    fewest, most = (facts.recorded.get(key) for key in ("MinWebservers", "MaxWebservers"))
    return Watched(
        name,
        environment_class=str(facts.recorded.get("EnvironmentClass") or "") or None,
        webserver_cpu=facts.webserver_vcpu,
        min_webservers=fewest if isinstance(fewest, int) else None,
        max_webservers=most if isinstance(most, int) else None,
    )
