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


def build_once(
    folder: Path,
    build: Callable[[Path], None],
    *,
    children: Children,
    waiting: Callable[[], None],
) -> None:
    """Have `build` fill `folder`, unless somebody already did.

    Built in place, because a virtual environment cannot be moved; what a killed build has left
    is cleared by the next one.

    Args:
        folder: the result; its name must change whenever the result would.
        build: fills the empty folder.
        children: once they are stopped, waiting ends too.
        waiting: called once if another process is building the same folder.

    Raises:
        EnvironmentStartError: the folder cannot be made, or the other process takes for ever.
    """
    if (folder / COMPLETE).exists():
        return
    with writing_to(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = folder.with_name(f"{folder.name}.lock").open("w")
    with lock:
        _acquire(lock, children, waiting)
        if (folder / COMPLETE).exists():
            return
        with writing_to(folder):
            if folder.exists():
                shutil.rmtree(folder)
            folder.mkdir()
        build(folder)
        with writing_to(folder):
            (folder / COMPLETE).touch()


def _acquire(lock: TextIO, children: Children, waiting: Callable[[], None]) -> None:
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
            waiting()
            announced = True
        children.ensure_not_stopped()
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
