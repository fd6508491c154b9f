"""The analysis as strict JSON, for programs.

The keys are the fields of the dataclasses, with the unit added where a field's name has none
(`RENAMED`); `observed` is in base units: seconds, fraction, count.
What is not known, NaN and infinities included, is null. Raw events are left out, they are in the
record, and so is the series of every period that `headroom observe` read.
"""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final

from mwaa_headroom.analysis.findings import Finding
from mwaa_headroom.analysis.report.sentences import told
from mwaa_headroom.analysis.slo import Slo

SCHEMA_VERSION: Final = 1
RENAMED: Final = {
    "mix": "mix_fraction",
    "error_rate": "error_fraction",
    "error_rate_by_layer": "error_fraction_by_layer",
    "utilisation_target": "utilisation_target_fraction",
    "webserver_cpu": "webserver_cpus",
    "margin": "margin_fraction",
    "share_margin": "share_margin_fraction",
    "background_cpu_per_webserver": "background_cpus_per_webserver",
    "trend_per_min": "trend_fraction_per_min",
    "under_provisioned": "under_provisioned_fraction",
    "over_provisioned": "over_provisioned_fraction",
    "under_time": "under_time_fraction",
    "over_time": "over_time_fraction",
}
LEFT_OUT: Final = frozenset({"events", "series"})


def as_json(result: object) -> dict[str, Any]:
    """A dataclass as a dictionary that `json.dumps(..., allow_nan=False)` accepts."""
    return {"schema_version": SCHEMA_VERSION, **_plain(result)}


def _plain(value: object) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Slo):
        return value.text
    if isinstance(value, Finding):
        return {
            "code": value.code,
            "severity": value.severity,
            "values": _plain(value.values),
            "sentence": told(value),
        }
    if is_dataclass(value):
        return {
            RENAMED.get(field.name, field.name): _plain(getattr(value, field.name))
            for field in fields(value)
            if field.name not in LEFT_OUT
        }
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    return str(value)
