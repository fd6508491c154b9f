"""Installs a pinned Airflow, and PostgreSQL with it, into a virtual environment of its own.

The versions that can be installed are the files in `requirements/`: `make requirements` compiles
each `X.in` there into an `X.txt` with hashes and without index addresses.
"""

import hashlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uv

from harness.errors import EnvironmentStartError, InstallError
from harness.local.airflow.cache import build_once, cache_home
from harness.local.airflow.logs import hint
from harness.local.airflow_versions import REQUIREMENTS, known_versions
from harness.local.processes import Children

_INSTALL_TIMEOUT_S = 15 * 60.0
# uv must not write into another environment, and must be free to write bytecode: without it every
# start of every Airflow process compiles 4,000 modules, which doubles the time until it is ready.
_NOT_FOR_UV = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONPATH")


@dataclass(frozen=True, slots=True)
class Installation:
    """An installed Airflow."""

    version: str
    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        """Where its packages are."""
        python = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.folder / "lib" / python / "site-packages"


def requirement_file(version: str) -> Path:
    """The pinned packages of an Airflow version.

    Raises:
        InstallError: there is no such version; names those there are.
    """
    if version not in known_versions():
        raise InstallError(
            f"Airflow {version} cannot be run locally: set airflow_version to one of"
            f" {', '.join(known_versions())}."
        )
    return REQUIREMENTS / f"{version}.txt"


def install(
    version: str, *, children: Children, log_path: Path, progress: Callable[[str], None]
) -> Installation:
    """Install an Airflow version, or find it installed.

    Args:
        version: one of `known_versions()`.
        children: starts uv.
        log_path: where uv's output goes.
        progress: told what takes time.

    Raises:
        InstallError: unknown version, no network, no room; names the log.
    """
    requirements = requirement_file(version)
    installation = Installation(version, cache_home() / "airflow" / _key(version, requirements))

    def build(folder: Path) -> None:
        progress(f"Installing Airflow {version} (once; 300 MB) into {folder}")
        python = str(installation.python)
        _uv(["venv", "--clear", "--python", sys.executable, str(folder)], children, log_path)
        _uv(
            [
                *("pip", "install", "--python", python, "-r", str(requirements)),
                *("--require-hashes", "--no-build", "--compile-bytecode"),
            ],
            children,
            log_path,
        )

    try:
        build_once(
            installation.folder,
            build,
            children=children,
            waiting=lambda: progress("Waiting for another process that installs Airflow"),
        )
    except InstallError:
        raise
    except EnvironmentStartError as exc:
        raise InstallError(str(exc)) from exc
    return installation


def python_tag() -> str:
    """What interpreter this is: an environment made by another one is not to be used."""
    identity = f"{sys.base_prefix} {sys.version}"
    short = hashlib.sha256(identity.encode()).hexdigest()[:6]
    return f"cp{sys.version_info.major}{sys.version_info.minor}-{short}"


def _key(version: str, requirements: Path) -> str:
    content = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    return f"{version}-{python_tag()}-{content}"


def _uv(arguments: list[str], children: Children, log_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_UV}
    try:
        argv = [uv.find_uv_bin(), "--no-progress", *arguments]
    except FileNotFoundError as exc:
        raise InstallError("Installing Airflow needs uv: run 'pip install uv'.") from exc
    child = children.start("uv", argv, env=env, log_path=log_path)
    try:
        if not child.wait(_INSTALL_TIMEOUT_S):
            raise InstallError(
                f"Installing Airflow took longer than {_INSTALL_TIMEOUT_S / 60:.0f} minutes: check"
                f" the network and try again; see {log_path}."
            )
    finally:
        children.stop(child)
    if child.exit_code() != 0:
        raise InstallError(
            "Airflow could not be installed: check the network and the room on the disk and try"
            f" again{hint(log_path)}."
        )
