"""What the collector would have read of the metrics that the stand-in would have published."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

import pyarrow as pa

from analysis.records.columns import encoded, whole
from analysis.records.schema import METRICS_SCHEMA
from harness.aws.cloudwatch import Metric
from harness.aws.cloudwatch import Sample as Statistic
from harness.local.meter import Sample
from harness.local.metrics import metric_data
from harness.local.settings import SimulatedSettings
from harness.record.stream import record_batch

READ_AFTER_S = 1.0  # publishing, and the collector's next look

_OF_VALUES: Mapping[str, Callable[[Sequence[float]], float]] = {
    "Average": fmean,
    "Maximum": max,
    "Minimum": min,
    "Sum": sum,
    "SampleCount": len,
}


class VirtualMetrics:
    """Statistics over the webservers, period by period."""

    def __init__(self, settings: SimulatedSettings) -> None:
        self._settings = settings
        self._rows: list[tuple[object, ...]] = []
        self._starts_s: list[float] = []

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
                self._rows.append(read.row(read_at_s))
                self._starts_s.append(period_start_s)

    def table(self, until_s: float) -> pa.Table:
        """The periods that began before then, as the reader of records hands them out."""
        rows = [
            row
            for row, start_s in zip(self._rows, self._starts_s, strict=True)
            if start_s < until_s
        ]
        batches = [record_batch(rows, METRICS_SCHEMA)] if rows else []
        table = pa.Table.from_batches(batches, METRICS_SCHEMA)
        columns = [
            encoded(column) if pa.types.is_string(column.type) else whole(column)
            for column in table.columns
        ]
        return pa.Table.from_arrays(columns, names=table.column_names)
