"""A manifest says what ran, on what, with which versions, and whether the run is complete."""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

import psutil

from mwaa_headroom.analysis.schema import RUN_STATUSES, SCHEMA_VERSION

_DISTRIBUTIONS = {
    "headroom": "mwaa-headroom",
    "boto3": "boto3",
    "botocore": "botocore",
    "locust": "locust",
    "gevent": "gevent",
    "geventhttpclient": "geventhttpclient",
    "numpy": "numpy",
}


def build_manifest(
    *,
    run_id: str,
    status: str,
    started_at_s: float,
    finished_at_s: float | None,
    scenario: Mapping[str, object],
    scenario_file: str,
    environment: Mapping[str, object],
    airflow_version: str | None,
    clock_offset_s: float | None,
    generator: Mapping[str, object],
    rows: Mapping[str, int],
) -> dict[str, object]:
    """Put together the manifest of one run.

    Args:
        run_id: the name of the run directory.
        status: one of `RUN_STATUSES`.
        started_at_s: seconds since the epoch.
        finished_at_s: seconds since the epoch; None while running.
        scenario: the effective scenario as JSON values.
        scenario_file: the name it was read from.
        environment: name, kind, arn, before, after and facts; see `describe_run_environment`.
        airflow_version: of the environment; None: not known.
        clock_offset_s: the environment's clock minus this host's; None: not known.
        generator: workers (how many were to send) and remote (on other machines).
        rows: rows by table, as `finish_tables` counts them; empty while running.

    Raises:
        ValueError: an unknown status.
    """
    if status not in RUN_STATUSES:
        raise ValueError(f"unknown run status '{status}'")
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "status": status,
        "started_at_s": started_at_s,
        "finished_at_s": finished_at_s,
        "scenario": dict(scenario),
        "scenario_file": scenario_file,
        "environment": dict(environment),
        "versions": collect_versions(airflow_version),
        "host": describe_host(),
        "clock_offset_s": clock_offset_s,
        "generator": dict(generator),
        "rows": dict(rows),
    }


def describe_run_environment(
    *,
    name: str,
    kind: str,
    arn: str,
    before: Mapping[str, object],
    after: Mapping[str, object] | None,
    facts: Mapping[str, object],
) -> dict[str, object]:
    """The manifest's `environment` member.

    Args:
        name: of the environment.
        kind: aws, local or simulated.
        arn: of the environment.
        before: the reduced GetEnvironment answer before the run.
        after: the same after it; None: the run has not ended.
        facts: what the stand-in, or the environment class, tells beyond that.
    """
    return {
        "name": name,
        "kind": kind,
        "arn": arn,
        "before": dict(before),
        "after": None if after is None else dict(after),
        "facts": dict(facts),
    }


def collect_versions(airflow_version: str | None) -> dict[str, str]:
    """Versions of everything that can change a result; a part that is not installed is left out."""
    versions = {"python": platform.python_version()}
    for name, distribution in _DISTRIBUTIONS.items():
        try:
            versions[name] = version(distribution)
        except PackageNotFoundError:
            continue
    if airflow_version is not None:
        versions["airflow"] = airflow_version
    return versions


def describe_host() -> dict[str, object]:
    """The machine that sent the load. Its name stays out: it says nothing about the result."""
    return {
        "cpus": os.cpu_count(),
        "platform": platform.platform(),
        "memory_bytes": psutil.virtual_memory().total,
    }
