"""Installs a pinned Airflow, and PostgreSQL with it, into a virtual environment of its own.

The versions that can be installed are the files in `requirements/`: `make requirements` compiles
each `X.in` there into an `X.txt` with hashes and without index addresses.
"""

import fcntl
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import uv

from mwaa_headroom.harness.errors import EnvironmentStartError, InstallError
from mwaa_headroom.harness.local.instance import cache_home, writing_to
from mwaa_headroom.harness.local.processes import Children
from mwaa_headroom.harness.local.settings import REQUIREMENTS, known_versions

COMPLETE = ".complete"
_POLL_S = 0.5
_LOCK_TIMEOUT_S = 20 * 60.0
_INSTALL_TIMEOUT_S = 15 * 60.0
# uv must not write into another environment, and must be free to write bytecode: without it every
# start of every Airflow process compiles 4,000 modules, which doubles the time until it is ready.
_NOT_FOR_UV = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONPATH")
_TAIL_BYTES = 8192
_LONGEST = 200
_TELLING = ("error", "fatal", "exception", "failed", "no solution", "denied", "cannot", "no such")


@dataclass(frozen=True, slots=True)
class Workspace:
    """What everything that belongs to one environment of real Airflow is started with.

    Attributes:
        directory: logs, passwords and Airflow's home; one environment at a time may use it.
        children: starts everything, and ends it whatever happens.
        progress: told, from any thread, what takes time.
    """

    directory: Path
    children: Children
    progress: Callable[[str], None]

    @property
    def home(self) -> Path:
        """AIRFLOW_HOME."""
        return self.directory / "airflow"

    @property
    def logs(self) -> Path:
        """The folder of all log files."""
        return self.directory / "logs"

    def log(self, name: str) -> Path:
        """The log file of the process with this name."""
        return self.logs / f"{name}.log"


@dataclass(frozen=True, slots=True)
class Installation:
    """An installed Airflow."""

    version: str
    folder: Path

    @property
    def is_complete(self) -> bool:
        """Whether it is there, in full."""
        return (self.folder / COMPLETE).exists()

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


def installation_of(version: str) -> Installation:
    """Where an Airflow version is, or would be; InstallError if there is no such version."""
    content = hashlib.sha256(requirement_file(version).read_bytes()).hexdigest()[:12]
    return Installation(version, cache_home() / "airflow" / f"{version}-{python_tag()}-{content}")


def install(version: str, workspace: Workspace) -> Installation:
    """Install an Airflow version, or find it installed.

    Raises:
        InstallError: unknown version, no network, no room; names the log.
    """
    requirements = requirement_file(version)
    installation = installation_of(version)
    folder = installation.folder

    def build(folder: Path) -> None:
        workspace.progress(f"Installing Airflow {version} (once; 400 MB) into {folder}")
        python = str(installation.python)
        _uv(workspace, "venv", "--clear", "--python", sys.executable, str(folder))
        _uv(
            workspace,
            *("pip", "install", "--python", python, "-r", str(requirements)),
            # The file is complete, but for what Airflow asks for and never imports.
            *("--no-deps", "--require-hashes", "--no-build", "--compile-bytecode"),
        )

    try:
        build_once(folder, build, workspace, doing="installs Airflow")
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


def _uv(workspace: Workspace, *arguments: str) -> None:
    log_path = workspace.log("install")
    env = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_UV}
    try:
        argv = [uv.find_uv_bin(), "--no-progress", *arguments]
    except FileNotFoundError as exc:
        raise InstallError("Installing Airflow needs uv: run 'pip install uv'.") from exc
    child = workspace.children.start("uv", argv, env=env, log_path=log_path)
    try:
        if not child.wait(_INSTALL_TIMEOUT_S):
            raise InstallError(
                f"Installing Airflow took longer than {_INSTALL_TIMEOUT_S / 60:.0f} minutes: check"
                f" the network and try again; see {log_path}."
            )
    finally:
        workspace.children.stop(child)
    if child.exit_code() != 0:
        raise InstallError(
            "Airflow could not be installed: check the network and the room on the disk and try"
            f" again{hint(log_path)}."
        )


def build_once(
    folder: Path, build: Callable[[Path], None], workspace: Workspace, *, doing: str
) -> None:
    """Have `build` fill `folder`, unless somebody already did.

    Built in place, because a virtual environment cannot be moved; what a killed build has left
    is cleared by the next one.

    Args:
        folder: the result; its name must change whenever the result would.
        build: fills the empty folder.
        workspace: once its children are stopped, waiting for another process ends too.
        doing: what that other process does, for the user.

    Raises:
        EnvironmentStartError: the folder cannot be made, or the other process takes for ever.
    """
    if (folder / COMPLETE).exists():
        return
    with writing_to(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = folder.with_name(f"{folder.name}.lock").open("w")
    with lock:
        _acquire(lock, workspace, doing)
        if (folder / COMPLETE).exists():
            return
        with writing_to(folder):
            if folder.exists():
                shutil.rmtree(folder)
            folder.mkdir()
        build(folder)
        with writing_to(folder):
            (folder / COMPLETE).touch()


def _acquire(lock: TextIO, workspace: Workspace, doing: str) -> None:
    """Lock the file; closing it, or dying, unlocks it."""
    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    announced = False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            if time.monotonic() > deadline:
                raise EnvironmentStartError(
                    f"Another process has held '{lock.name}' for {_LOCK_TIMEOUT_S / 60:.0f}"
                    " minutes: end it and try again."
                ) from exc
        else:
            return
        if not announced:
            workspace.progress(f"Waiting for another process that {doing}")
            announced = True
        workspace.children.ensure_not_stopped()
        time.sleep(_POLL_S)


def hint(log_path: Path) -> str:
    """`; see LOG` with the log's last telling line in front of it, if there is a short one."""
    line = last_telling_line(log_path)
    return f" ({line}); see {log_path}" if line else f"; see {log_path}"


def last_telling_line(log_path: Path) -> str:
    """The last line that looks like a reason, else the last line; empty if too long or none."""
    try:
        with log_path.open("rb") as log:
            log.seek(max(log.seek(0, 2) - _TAIL_BYTES, 0))
            text = log.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if any(word in line.lower() for word in _TELLING)]
    line = (telling or lines or [""])[-1].rstrip(".")
    return line if len(line) <= _LONGEST else ""
