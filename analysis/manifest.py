"""Reads a run's manifest: whoever wrote it, what is in it is of the kinds that analyses expect.

Unknown keys are let through, a later headroom may have more; missing ones are left to who needs
them.
"""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from mwaa_headroom.analysis import schema
from mwaa_headroom.analysis.errors import RecordFormatError
from mwaa_headroom.analysis.run_files import run_file

_LARGEST: Final = 2**63  # no count, time or size is larger
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "a table": (dict,),
    "a list": (list,),
    "a number": (int, float),
    "a text": (str,),
}
_NAMED: Final = {
    "a table": """
        tags environment environment.before environment.after environment.facts
        environment.facts.demand_s versions host generator rows phases_s
        scenario scenario.question scenario.environment scenario.environment.autoscaler
        scenario.environment.demand_s scenario.traffic scenario.traffic.mix scenario.traffic.mix.*
        scenario.traffic.mix.*.parameters scenario.recovery scenario.limits scenario.expect
        scenario.stages.*
    """,
    "a list": "scenario.slo scenario.stages",
    "a number": """
        started_at_s finished_at_s clock_offset_s phases_s.* rows.* host.cpus generator.workers
        environment.before.MinWebservers environment.before.MaxWebservers
        environment.facts.demand_s.* environment.facts.background_cpu environment.facts.contention
        environment.facts.demand_cv environment.facts.latency_s environment.facts.start_s
        environment.facts.start_cv environment.facts.webserver_cpu
        environment.facts.scale_out_cpu_percent environment.facts.scale_out_connections
        scenario.traffic.mix.*.weight scenario.stages.*.duration_s scenario.stages.*.warmup_s
        scenario.stages.*.rate_per_s scenario.stages.*.ramp_to_rate_per_s scenario.stages.*.users
        scenario.stages.*.peak_rate_per_s scenario.recovery.hold_s scenario.recovery.longest_s
        scenario.recovery.rate_per_s scenario.question.target_rate_per_s
        scenario.question.utilisation_target
    """,
    "a text": """
        run_id status scenario_file tags.* versions.*
        environment.kind environment.name environment.arn
        host.platform host.cpu_model host.machine
        environment.before.AirflowVersion environment.before.EnvironmentClass
        scenario.name scenario.description scenario.slo.* scenario.question.ask
        scenario.stages.*.name scenario.stages.*.operation scenario.traffic.mix.*.operation
    """,
}
_EXPECTED: Final = {kind: [key.split(".") for key in keys.split()] for kind, keys in _NAMED.items()}


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of a run directory.

    Raises:
        RecordFormatError: it is missing, damaged, or was written by a newer version.
    """
    if not directory.is_dir():
        raise RecordFormatError(f"There is no run directory '{directory}'.")
    path = run_file(directory, schema.MANIFEST_FILE)
    if path is None:
        raise RecordFormatError(
            f"'{directory}' is not a run directory: it has no {schema.MANIFEST_FILE}."
        )
    try:
        manifest = json.loads(
            path.read_bytes(), parse_constant=_refuse, parse_int=_whole, parse_float=_finite
        )
        json.dumps(manifest, ensure_ascii=False).encode()  # halves of characters are no text
    except (OSError, ValueError) as exc:
        raise RecordFormatError(f"The manifest '{path}' cannot be read: {exc}.") from exc
    except RecursionError as exc:
        raise RecordFormatError(
            f"The manifest '{path}' cannot be read: it is nested too deeply."
        ) from exc
    _check_version(manifest, path)
    _check_kinds(manifest, path)
    return dict(manifest)


def _check_version(manifest: Any, path: Path) -> None:
    version = manifest.get("schema_version") if isinstance(manifest, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise RecordFormatError(f"The manifest '{path}' does not say its schema_version.")
    if version > schema.SCHEMA_VERSION:
        raise RecordFormatError(
            f"'{path.parent}' was written with record version {version}, but this headroom reads "
            f"up to version {schema.SCHEMA_VERSION}: use a newer headroom."
        )


def _check_kinds(manifest: Any, path: Path) -> None:
    for kind, keys in _EXPECTED.items():
        for key in keys:
            for place, value in _at(manifest, key, ""):
                if not isinstance(value, _KINDS[kind]) or isinstance(value, bool):
                    raise RecordFormatError(
                        f"The manifest '{path}' is damaged: {place} must be {kind}."
                    )


def _at(value: Any, keys: Sequence[str], place: str) -> Iterator[tuple[str, Any]]:
    """Everything that is at a path, with its place.

    A key that is missing or null is not there; every member of a table or list is.
    """
    if not keys:
        yield place.removeprefix("."), value
        return
    first, *rest = keys
    inside: dict[str, Any] = value if isinstance(value, dict) else {}
    if isinstance(value, list):
        inside = {str(index): each for index, each in enumerate(value)}
    is_there = inside.get(first) is not None
    for name in list(inside) if first == "*" else [first] if is_there else []:
        yield from _at(inside[name], rest, f"{place}.{name}")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _whole(text: str) -> int:
    value = int(text)
    if abs(value) > _LARGEST:
        raise ValueError(f"the number {text[:20]}... is too large")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value
