"""A database in which Airflow's tables exist and the DAGs are parsed, made once and then copied.

Migrating and parsing take some ten CPU-seconds; copying 40 MB takes a blink.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

from mwaa_headroom.harness.errors import EnvironmentStartError
from mwaa_headroom.harness.local.airflow import release
from mwaa_headroom.harness.local.airflow.database import Database
from mwaa_headroom.harness.local.airflow.install import (
    Installation,
    build_once,
    hint,
    python_tag,
    requirement_file,
)
from mwaa_headroom.harness.local.instance import cache_home
from mwaa_headroom.harness.local.processes import Children

_COMMAND_TIMEOUT_S = 300.0
_MOST_CONNECTIONS = 50


def ensure_template(
    installation: Installation,
    *,
    home: Path,
    children: Children,
    logs: Path,
    progress: Callable[[str], None],
) -> Path:
    """Make the template, or find it made.

    Args:
        installation: whose tables.
        home: an AIRFLOW_HOME for the commands that make it.
        children: starts what is needed.
        logs: the folder of the log files.
        progress: told what takes time.

    Returns:
        A PostgreSQL data directory, to be copied and never started itself.

    Raises:
        EnvironmentStartError: something failed; names the log.
    """
    folder = cache_home() / "database" / _key(installation.version)

    def build(folder: Path) -> None:
        progress(f"Preparing a database for Airflow {installation.version} (once)")
        database = Database(
            installation,
            children=children,
            log_path=logs / "template-postgres.log",
            max_connections=_MOST_CONNECTIONS,
        )
        try:
            database.create()
            database.start()
            for command in release.PREPARE:
                _run(command, installation, database, home, children, logs / "template.log")
            database.stop()
            database.save(folder / "data")
        finally:
            database.remove()

    build_once(
        folder,
        build,
        children=children,
        waiting=lambda: progress("Waiting for another process that prepares the database"),
    )
    return folder / "data"


def _key(version: str) -> str:
    digest = hashlib.sha256(requirement_file(version).read_bytes())
    for source in (*sorted(release.DAGS.glob("*.py")), Path(release.__file__), Path(__file__)):
        digest.update(str(source).encode() + source.read_bytes())
    return f"{version}-{python_tag()}-{digest.hexdigest()[:12]}"


def _run(
    command: tuple[str, ...],
    installation: Installation,
    database: Database,
    home: Path,
    children: Children,
    log_path: Path,
) -> None:
    child = release.start_airflow(
        "template",
        command,
        installation=installation,
        home=home,
        database=database.urls(),
        children=children,
        log_path=log_path,
    )
    try:
        child.wait(_COMMAND_TIMEOUT_S)
    finally:
        children.stop(child)
    if child.exit_code() != 0:
        raise EnvironmentStartError(f"'airflow {' '.join(command)}' failed{hint(log_path)}.")
