"""The metrics of a run on AWS, read again: those that came after it had ended, or was killed.

Nothing of the record is lost: what CloudWatch tells otherwise or more is added, as rows that were
read later. Doing it again, or after having been interrupted halfway, is safe.
"""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from mwaa_headroom.analysis.errors import RecordFormatError
from mwaa_headroom.analysis.record import RunRecord, read_run
from mwaa_headroom.analysis.run_findings import METRICS_COLLECTED, open_gaps
from mwaa_headroom.analysis.schema import EVENTS_FILE
from mwaa_headroom.harness.aws.clients import make_clients
from mwaa_headroom.harness.aws.collector import (
    DAY_S,
    KEPT_FOR_S,
    Metric,
    MetricsReader,
    Sample,
    finest_period_s,
)
from mwaa_headroom.harness.aws.environment import describe_environment
from mwaa_headroom.harness.errors import NotAllowedError, RecordError, UsageError
from mwaa_headroom.harness.record.directory import (
    EventLog,
    add_metrics,
    is_being_written,
    write_manifest,
)
from mwaa_headroom.harness.run.cleaning import scenario_of
from mwaa_headroom.harness.scenario.model import AwsSettings

_Key = tuple[str, frozenset[tuple[str, str]], str, float, float]


@dataclass(frozen=True, slots=True)
class Collected:
    """What was read again, and how many samples the record lacked."""

    from_s: float
    to_s: float
    rows: int


def collect_run(
    directory: Path, *, now_s: float, tell: Callable[[str], None] = lambda _: None
) -> Collected:
    """Fill in the metrics that a run's record lacks.

    Args:
        directory: of the run.
        now_s: seconds since the epoch.
        tell: is told when AWS is asked.

    Raises:
        HeadroomError: it is no run on AWS, goes on, or is too long ago; its environment is not the
            one these credentials lead to; AWS refuses; the record cannot be read or written.
    """
    settings = scenario_of(directory).environment
    if not isinstance(settings, AwsSettings):
        raise UsageError(
            f"'{directory}' is a run of a {settings.kind} environment, whose metrics went with it: "
            "only those of runs on AWS can be read again."
        )
    if is_being_written(directory):
        raise UsageError(f"'{directory}' is being written to: wait until the run has ended.")
    try:
        record = read_run(directory, columns=("arrival",))
    except RecordFormatError as exc:
        raise RecordError(str(exc)) from exc
    from_s, to_s = _span(record, settings.metric_period_s, now_s)
    tell("Reading the metrics of the run")
    clients = make_clients(
        environment=settings.name, region=settings.region, profile=settings.profile
    )
    _require_same(record, describe_environment(clients, settings.name).arn)
    reader = MetricsReader(clients.cloudwatch, settings.name)
    metrics = reader.discover_past(_recorded_metrics(record))
    period_s = settings.metric_period_s
    samples = reader.read(metrics, from_s=from_s, to_s=to_s, period_s=period_s)
    lacking = [sample.row(now_s) for sample in _lacking(record, samples)]
    rows = add_metrics(directory, lacking)
    if record.manifest.get("rows") != rows:
        write_manifest(directory, {**record.manifest, "rows": rows})
    if lacking or open_gaps(record.events):
        events = EventLog(directory / EVENTS_FILE)
        told = {"from_s": from_s, "to_s": to_s, "rows": len(lacking)}
        events.write(METRICS_COLLECTED, source="collector", time_s=now_s, **told)
        events.close()
    return Collected(from_s, to_s, len(lacking))


def _span(record: RunRecord, period_s: int, now_s: float) -> tuple[float, float]:
    """From the start of the run to the end of its load, in whole periods that are over."""
    manifest = record.manifest
    times_s = [float(event["time_s"]) for event in record.events]
    started_s = float(manifest.get("started_at_s") or min(times_s, default=now_s))
    last_s = max(times_s, default=started_s)
    finest_s = finest_period_s(started_s, now_s)
    if finest_s is None or finest_s > period_s:
        raise UsageError(
            f"The run began {(now_s - started_s) / DAY_S:.0f} days ago, and CloudWatch keeps "
            f"metrics of {period_s} s for {KEPT_FOR_S[period_s] // DAY_S} days: what it has left "
            "of that time is too coarse to be told by stage."
        )
    of_load = (e["time_s"] for e in record.events if e.get("source") == "generator")
    ended_s = float(max(of_load, default=last_s))
    until_s = min(math.ceil(ended_s / period_s), math.floor(now_s / period_s)) * period_s
    return math.floor(started_s / period_s) * period_s, float(until_s)


def _require_same(record: RunRecord, arn: str) -> None:
    recorded = record.manifest.get("environment", {}).get("arn")
    if recorded != arn or not arn:
        raise NotAllowedError(
            f"The run was of {recorded or 'an environment without ARN'}, and these credentials "
            f"lead to {arn or 'one without ARN'}: use the profile and the region of the run."
        )


def _recorded_metrics(record: RunRecord) -> Iterable[Metric]:
    pairs = zip(
        *(record.metrics.column(name).to_pylist() for name in ("metric", "dimensions")), strict=True
    )
    for name, dimensions in dict.fromkeys(pairs):
        yield Metric(name, tuple(json.loads(dimensions).items()))


def _lacking(record: RunRecord, samples: Iterable[Sample]) -> Iterable[Sample]:
    """Samples that are not in the record, or that it has with another value."""
    known: dict[_Key, float] = {}
    for row in sorted(record.metrics.to_pylist(), key=lambda row: float(row["read_at_s"])):
        dimensions = frozenset(json.loads(row["dimensions"]).items())
        key = (row["metric"], dimensions, row["statistic"], row["period_s"], row["period_start_s"])
        known[key] = row["value"]
    for sample in samples:
        metric = sample.metric
        dimensions = frozenset(metric.dimensions)
        key = (metric.name, dimensions, sample.statistic, sample.period_s, sample.period_start_s)
        if known.get(key) != sample.value:
            yield sample
