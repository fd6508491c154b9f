"""What all versions of Airflow have in common: how one is started, and how to log in.

What differs is a `Release`, made by `release_2` and `release_3`.
"""

import asyncio
import base64
import errno
import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import aiohttp

from mwaa_headroom.harness.errors import EnvironmentStartError
from mwaa_headroom.harness.local.airflow.database import Urls
from mwaa_headroom.harness.local.airflow.install import Installation, Workspace
from mwaa_headroom.harness.local.instance import PASSWORDS_FILE
from mwaa_headroom.harness.local.processes import Child
from mwaa_headroom.harness.local.settings import AuthManager

Command = tuple[str, ...]  # of the program `airflow`

DAGS = Path(__file__).parent / "dags"
FAB = Path(__file__).parent / "fab"
# Users without known passwords, each with the role of its name.
FAB_USERS: tuple[Command, ...] = (("sync-perm",), ("users", "import", str(FAB / "users.json")))
ROLES = ("admin", "op", "user", "viewer")  # each is also the name of a user
TASKS_HEALTH = "/execution/health"
_PASSED_ON = ("HOME", "USER", "LOGNAME", "TMPDIR", "LD_LIBRARY_PATH")
_PARALLEL_TASKS = 2
# Airflow's tokens are good for a day; no call must start with one that ends during it.
_RENEW_BEFORE_S = 600.0
_TIMEOUT = aiohttp.ClientTimeout(total=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """How one version of Airflow is run.

    Attributes:
        auth_manager: who its users are.
        api: where the REST API is, such as "/api/v2".
        health: path of a webserver's health, which has one key a service.
        prepare: commands that turn an empty database into one with tables, users and DAGs.
        settings: of all its processes, by the name that follows "AIRFLOW__".
        secret_settings: what all processes of one environment share, anew for each, from the file
            with the passwords. Never to be printed.
        services: what runs besides webservers.
        webserver: the command of a webserver, from its port, the number of its worker processes and
            AIRFLOW_HOME.
        task_server: the command of the server that running tasks report to, from its port; none:
            they write to the database.
        login: path where a webserver gives a token for a password; none: the password is the token.
        python_path: where it finds modules of ours.
    """

    version: str
    auth_manager: AuthManager
    api: str
    health: str
    prepare: tuple[Command, ...]
    settings: Mapping[str, str]
    secret_settings: Callable[[Path], dict[str, str]]
    services: Mapping[str, Command]
    webserver: Callable[[int, int, Path], Command]
    task_server: Callable[[int], Command] | None = None
    login: str | None = None
    python_path: Path | None = None

    @property
    def dag_list(self) -> str:
        """Path of the first hundred DAGs."""
        return f"{self.api}/dags?limit=100"


def task_server_settings(url: str) -> dict[str, str]:
    """Where tasks report to; needed by the scheduler."""
    return {"CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/"}


def pool_settings(size: int, overflow: int) -> dict[str, str]:
    """Connections that a process keeps to the database, where not Airflow's own defaults."""
    return {
        "DATABASE__SQL_ALCHEMY_POOL_SIZE": str(size),
        "DATABASE__SQL_ALCHEMY_MAX_OVERFLOW": str(overflow),
    }


def start_airflow(
    release: Release,
    name: str,
    command: Command,
    workspace: Workspace,
    installation: Installation,
    database: Urls,
    *,
    settings: Mapping[str, str] = MappingProxyType({}),
    niceness: int = 0,
) -> Child:
    """Start `airflow <command>` and return at once.

    Args:
        release: which Airflow.
        name: for people, and of its log.
        command: one of the release's.
        workspace: what it is started with.
        installation: what to start.
        database: where the metadata is.
        settings: beyond those that the commands preparing the database need.
        niceness: the higher, the less of a busy CPU it gets.

    Raises:
        EnvironmentStartError: the installation cannot be run.
        OSError: too many files are open.
    """
    nice = ["nice", "-n", str(niceness)] if niceness else []
    argv = [*nice, str(installation.python), "-m", "airflow", *command]
    env = _environment(release, installation, workspace.home, database, settings)
    try:
        return workspace.children.start(name, argv, env=env, log_path=workspace.log(name))
    except OSError as exc:
        if exc.errno in (errno.EMFILE, errno.ENFILE):
            raise
        raise EnvironmentStartError(
            f"'{installation.python}' cannot be run ({exc.strerror}): remove the folder"
            f" '{installation.folder}' to have Airflow installed again."
        ) from exc


def _environment(
    release: Release,
    installation: Installation,
    home: Path,
    database: Urls,
    more: Mapping[str, str],
) -> dict[str, str]:
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    settings = {
        "CORE__DAGS_FOLDER": str(DAGS),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__LAZY_LOAD_PLUGINS": "True",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": str(_PARALLEL_TASKS),
        "CORE__FERNET_KEY": "",  # nothing in here is worth encrypting
        "DATABASE__SQL_ALCHEMY_CONN": database.blocking,
        "DATABASE__SQL_ALCHEMY_CONN_ASYNC": database.asynchronous,
        "LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "LOGGING__LOGGING_LEVEL": "WARNING",
        "USAGE_DATA_COLLECTION__ENABLED": "False",
        **release.settings,
        **more,
    }
    python_path = {"PYTHONPATH": str(release.python_path)} if release.python_path else {}
    return {
        **passed_on,
        **python_path,
        "PATH": f"{installation.folder / 'bin'}{os.pathsep}{os.defpath}",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore",
        # A process title must not overwrite the environment, by which our processes are found.
        "SPT_NOENV": "1",
        "AIRFLOW_HOME": str(home),
        **{f"AIRFLOW__{name}": value for name, value in settings.items()},
    }


def prepare_home(home: Path) -> None:
    """Make an AIRFLOW_HOME into which no starting process writes a default configuration."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "airflow.cfg").touch()


def write_passwords(directory: Path) -> Path:
    """Give each role's user a new password, in a file that only its owner can read."""
    file = directory / PASSWORDS_FILE
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump({user: secrets.token_urlsafe(24) for user in ROLES}, stream)
    return file


def password_statements(passwords_file: Path) -> str:
    """SQL that gives FAB's users these passwords."""
    passwords = json.loads(passwords_file.read_text(encoding="utf-8"))
    return "".join(
        f"UPDATE ab_user SET password = '{_hashed(password)}' WHERE username = '{user}';\n"  # noqa: S608 - all ours
        for user, password in passwords.items()
    )


def _hashed(password: str) -> str:
    """As Werkzeug writes it. One round does for a random password, and spares logins their CPU."""
    salt = secrets.token_hex(8)
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), 1).hex()
    return f"pbkdf2:sha256:1${salt}${digest}"


@dataclass
class Tokens:
    """Bearer tokens, fetched when first needed and again before they end."""

    login: str | None  # the release's
    passwords_file: Path
    ready_url: Callable[[], str | None]  # of a webserver that answers; None while there is none
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self._tokens: dict[str, str] = {}
        self._lock = asyncio.Lock()
        self._passwords = json.loads(self.passwords_file.read_text(encoding="utf-8"))

    async def authorization(self, airflow_role: str) -> str | None:
        """The Authorization header of a user with this role; None for the role Public.

        Raises:
            EnvironmentStartError: no webserver answers, or it refuses the login.
        """
        user = airflow_role.lower()
        if user not in ROLES:
            return None
        if self.login is None:
            return f"Bearer {self._passwords[user]}"
        async with self._lock:
            token = self._tokens.get(user)
            if token is None or expiry_s(token) - self.clock() < _RENEW_BEFORE_S:
                token = self._tokens[user] = await self._log_in(self.login, user)
        return f"Bearer {token}"

    async def _log_in(self, path: str, user: str) -> str:
        base_url = self.ready_url()
        if base_url is None:
            raise EnvironmentStartError("No webserver is ready to log in to: start one first.")
        body = {"username": user, "password": self._passwords[user]}
        try:
            async with (
                aiohttp.ClientSession(timeout=_TIMEOUT, raise_for_status=True) as session,
                session.post(base_url + path, json=body) as answer,
            ):
                return str((await answer.json())["access_token"])
        except (aiohttp.ClientError, TimeoutError, KeyError) as exc:
            raise EnvironmentStartError(
                f"Airflow at {base_url} refused to log in user '{user}' ({type(exc).__name__}):"
                " look into the webserver's log."
            ) from exc


def expiry_s(token: str) -> float:
    """When a JSON web token ends, in seconds since the epoch; its signature is not checked."""
    payload = token.split(".")[1]
    padded = payload + "=" * (-len(payload) % 4)
    return float(json.loads(base64.urlsafe_b64decode(padded))["exp"])
