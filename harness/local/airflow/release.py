"""All that depends on the version of Airflow: commands, settings, paths, how to log in.

Written for Airflow 3 (SimpleAuthManager, /api/v2). Another major version needs its own answer to
every name in here, and nothing else in `airflow`.
"""

import asyncio
import base64
import errno
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

DAGS = Path(__file__).parent / "dags"
PREPARE = (("db", "migrate"), ("dags", "reserialize"))
SCHEDULER = ("scheduler", "--skip-serve-logs")  # also runs the tasks
DAG_PROCESSOR = ("dag-processor",)  # the DAGs come parsed with the database: little to do
TRIGGERER = ("triggerer", "--skip-serve-logs")
ROLES = ("admin", "op", "user", "viewer")  # each is also the name of a user
HEALTH = "/api/v2/monitor/health"
TASKS_HEALTH = "/execution/health"
TOKEN = "/auth/token"  # noqa: S105 - a path
DAG_LIST = "/api/v2/dags?limit=100"
_PASSED_ON = ("HOME", "USER", "LOGNAME", "TMPDIR", "LD_LIBRARY_PATH")
_PARALLEL_TASKS = 2
_REPARSE_S = 3600  # DAG files do not change: parsing them would take CPU from the webservers
# Airflow's tokens are good for a day; no call must start with one that ends during it.
_RENEW_BEFORE_S = 600.0
_TIMEOUT = aiohttp.ClientTimeout(total=60)


def webserver(port: int) -> tuple[str, ...]:
    """A webserver's command."""
    return _server(port, "core")


def task_server(port: int) -> tuple[str, ...]:
    """The command of the server that running tasks report to.

    A webserver could be that too, but the first task to call one costs it 3 CPU-seconds, in the
    middle of a measurement, and any of them may be scaled in or killed under a running task.
    """
    return _server(port, "execution")


def _server(port: int, apps: str) -> tuple[str, ...]:
    # One worker process, so that the CPU limit is that of one process.
    return ("api-server", "--host=127.0.0.1", f"--port={port}", "--workers=1", f"--apps={apps}")


def secret_settings(passwords_file: Path) -> dict[str, str]:
    """What all processes of one environment share, anew for each. Never to be printed."""
    return {
        "API_AUTH__JWT_SECRET": secrets.token_urlsafe(48),
        "API__SECRET_KEY": secrets.token_urlsafe(32),
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords_file),
    }


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
    name: str,
    command: tuple[str, ...],
    workspace: Workspace,
    installation: Installation,
    database: Urls,
    *,
    settings: Mapping[str, str] = MappingProxyType({}),
    niceness: int = 0,
) -> Child:
    """Start `airflow <command>` and return at once.

    Args:
        name: for people, and of its log.
        command: one of those above.
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
    env = _environment(installation, workspace.home, database, settings)
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
    installation: Installation, home: Path, database: Urls, more: Mapping[str, str]
) -> dict[str, str]:
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    settings = {
        "CORE__DAGS_FOLDER": str(DAGS),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__LAZY_LOAD_PLUGINS": "True",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": str(_PARALLEL_TASKS),
        "CORE__FERNET_KEY": "",  # nothing in here is worth encrypting
        "CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{role}:{role}" for role in ROLES),
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": str(_REPARSE_S),
        "DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "DATABASE__SQL_ALCHEMY_CONN": database.blocking,
        "DATABASE__SQL_ALCHEMY_CONN_ASYNC": database.asynchronous,
        "LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "LOGGING__LOGGING_LEVEL": "WARNING",
        "LOGGING__UVICORN_LOGGING_LEVEL": "WARNING",
        "USAGE_DATA_COLLECTION__ENABLED": "False",
        **more,
    }
    return {
        **passed_on,
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


@dataclass
class Tokens:
    """Bearer tokens, fetched when first needed and again before they end."""

    passwords_file: Path
    ready_url: Callable[[], str | None]  # of a webserver that answers; None while there is none
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self._tokens: dict[str, str] = {}
        self._lock = asyncio.Lock()

    async def authorization(self, airflow_role: str) -> str | None:
        """The Authorization header of a user with this role; None for the role Public.

        Raises:
            EnvironmentStartError: no webserver answers, or it refuses the login.
        """
        user = airflow_role.lower()
        if user not in ROLES:
            return None
        async with self._lock:
            token = self._tokens.get(user)
            if token is None or expiry_s(token) - self.clock() < _RENEW_BEFORE_S:
                token = self._tokens[user] = await self._log_in(user)
        return f"Bearer {token}"

    async def _log_in(self, user: str) -> str:
        base_url = self.ready_url()
        if base_url is None:
            raise EnvironmentStartError("No webserver is ready to log in to: start one first.")
        passwords = json.loads(self.passwords_file.read_text(encoding="utf-8"))
        body = {"username": user, "password": passwords[user]}
        try:
            async with (
                aiohttp.ClientSession(timeout=_TIMEOUT, raise_for_status=True) as session,
                session.post(base_url + TOKEN, json=body) as answer,
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
