"""Starting one Airflow command as a child."""

from collections.abc import Mapping
from pathlib import Path

from harness.errors import EnvironmentStartError
from harness.local.airflow import release
from harness.local.airflow.install import Installation
from harness.local.processes import Child, Children


def start_airflow(
    name: str,
    command: tuple[str, ...],
    *,
    installation: Installation,
    env: Mapping[str, str],
    children: Children,
    log_path: Path,
    niceness: int = 0,
) -> Child:
    """Start `airflow <command>` and return at once.

    Raises:
        EnvironmentStartError: the installation cannot be run.
    """
    argv = [*release.launcher(installation), *command]
    if niceness:
        argv = ["nice", "-n", str(niceness), *argv]
    try:
        return children.start(name, argv, env=env, log_path=log_path)
    except OSError as exc:
        raise EnvironmentStartError(
            f"'{installation.python}' cannot be run ({exc.strerror}): remove the folder"
            f" '{installation.folder}' to have Airflow installed again."
        ) from exc
