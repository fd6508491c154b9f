"""A database in which Airflow's tables exist and the DAGs are parsed, made once and then copied.

Migrating and parsing take some ten CPU-seconds; copying 40 MB takes next to nothing.
"""

import hashlib
from pathlib import Path

from mwaa_headroom.harness.errors import EnvironmentStartError
from mwaa_headroom.harness.local.airflow.database import Database
from mwaa_headroom.harness.local.airflow.install import (
    Installation,
    Workspace,
    build_once,
    hint,
    python_tag,
    requirement_file,
)
from mwaa_headroom.harness.local.airflow.release import DAGS, FAB, Command, Release, start_airflow
from mwaa_headroom.harness.local.instance import cache_home

_COMMAND_TIMEOUT_S = 300.0
_MOST_CONNECTIONS = 50


def ensure_template(release: Release, installation: Installation, workspace: Workspace) -> Path:
    """Make the template, or find it made.

    Returns:
        A PostgreSQL data directory, to be copied and never started itself.

    Raises:
        EnvironmentStartError: something failed; names the log.
    """
    folder = cache_home() / "database" / _key(release)

    def build(folder: Path) -> None:
        workspace.progress(f"Preparing a database for Airflow {release.version} (once)")
        log_path = workspace.log("template-postgres")
        database = Database(installation, workspace.children, log_path, _MOST_CONNECTIONS)
        try:
            database.create()
            database.start()
            for command in release.prepare:
                _run(release, command, installation, database, workspace)
            database.stop()
            database.save(folder / "data")
        finally:
            database.remove()

    build_once(folder, build, workspace, doing="prepares the database")
    return folder / "data"


def _key(release: Release) -> str:
    digest = hashlib.sha256(requirement_file(release.version).read_bytes())
    ours = (*sorted(DAGS.glob("*.py")), FAB / "users.json", Path(__file__))
    for source in ours:
        digest.update(str(source).encode() + source.read_bytes())
    digest.update(repr((release.prepare, sorted(release.settings.items()))).encode())
    return f"{release.version}-{python_tag()}-{digest.hexdigest()[:12]}"


def _run(
    release: Release,
    command: Command,
    installation: Installation,
    database: Database,
    workspace: Workspace,
) -> None:
    child = start_airflow(release, "template", command, workspace, installation, database.urls())
    try:
        child.wait(_COMMAND_TIMEOUT_S)
    finally:
        workspace.children.stop(child)
    if child.exit_code() != 0:
        raise EnvironmentStartError(f"'airflow {' '.join(command)}' failed{hint(child.log_path)}.")
