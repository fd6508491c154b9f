"""Real Airflow behind the stand-in's gateway: database, scheduler, webservers."""

import asyncio
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

import aiohttp

from mwaa_headroom.harness.errors import EnvironmentStartError, UsageError
from mwaa_headroom.harness.local.airflow.cpu_limit import CpuLimiter, Unavailable
from mwaa_headroom.harness.local.airflow.database import Database
from mwaa_headroom.harness.local.airflow.install import Installation, Workspace, install
from mwaa_headroom.harness.local.airflow.release import (
    TASKS_HEALTH,
    Command,
    Release,
    Tokens,
    password_statements,
    pool_settings,
    prepare_home,
    start_airflow,
    task_server_settings,
    write_passwords,
)
from mwaa_headroom.harness.local.airflow.release_2 import airflow_2
from mwaa_headroom.harness.local.airflow.release_3 import airflow_3
from mwaa_headroom.harness.local.airflow.template import ensure_template
from mwaa_headroom.harness.local.airflow.webserver import (
    AirflowWebserver,
    CpuLimit,
    free_port,
    wait_for,
)
from mwaa_headroom.harness.local.backend import DAG_IDS, WEBSERVER_NICENESS, DatabaseUsage
from mwaa_headroom.harness.local.processes import Child, Children
from mwaa_headroom.harness.local.settings import LocalSettings

_OTHER_CONNECTIONS = 60  # scheduler, task server, running tasks
_SERVICE_TIMEOUT_S = 120.0
_NICE = 10
_STOP_TIMEOUT_S = 3.0  # all they know is thrown away with the database


def _plugins_settings(folder: str | None) -> dict[str, str]:
    if folder is None:
        return {}
    path = Path(folder).absolute()
    if not path.is_dir():
        raise UsageError(
            f"There is no folder '{path}' with plugins: correct environment.plugins_folder."
        )
    return {"CORE__PLUGINS_FOLDER": str(path)}


def release_of(settings: LocalSettings) -> Release:
    """How the Airflow of these settings is run."""
    if settings.airflow_version.startswith("2."):
        return airflow_2(settings.airflow_version)
    return airflow_3(settings.airflow_version, settings.auth_manager)


class AirflowBackend:
    """Database, scheduler and webservers; see `Workspace` for the arguments."""

    def __init__(
        self,
        settings: LocalSettings,
        *,
        directory: Path,
        children: Children,
        progress: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._release = release_of(settings)
        self._workspace = Workspace(directory.absolute(), children, progress)
        self._limiter = CpuLimiter.detect()
        self._webservers: list[AirflowWebserver] = []
        self._installation: Installation | None = None
        self._database: Database | None = None
        self._database_version = ""
        self._shared_settings: dict[str, str] = {}
        self._tokens: Tokens | None = None
        self._services: dict[str, Child] = {}
        self.airflow_version = settings.airflow_version
        # Also the meaning of 100 % where nothing limits it: the autoscaler then acts at the same
        # load, and CPUUtilization may pass 100.
        self.webserver_cpu = settings.webserver_cpu

    async def start(self) -> None:
        """Install what is missing, then start database and scheduler.

        Does not wait for the scheduler, so that the first webservers start beside it.

        Raises:
            UsageError: there is no such folder with plugins.
            InstallError: Airflow could not be installed.
            EnvironmentStartError: something did not come up; names its log.
        """
        if sys.platform != "linux":
            raise EnvironmentStartError(
                'Real Airflow runs locally on Linux only: use kind = "simulated" here.'
            )
        plugins = _plugins_settings(self._settings.plugins_folder)
        self._workspace.logs.mkdir(parents=True, exist_ok=True)
        for log in self._workspace.logs.glob("*.log"):
            log.unlink()  # an error must not quote what an earlier start had to say
        prepare_home(self._workspace.home)
        passwords_file = write_passwords(self._workspace.directory)
        await asyncio.to_thread(self._start_database, passwords_file)
        self._tokens = Tokens(self._release.login, passwords_file, self._ready_url)
        self._shared_settings = self._release.secret_settings(passwords_file)
        self._shared_settings |= plugins
        if self._release.task_server:
            port = free_port()
            self._task_server_url = f"http://127.0.0.1:{port}"
            self._shared_settings |= task_server_settings(self._task_server_url)
            task_server = self._release.task_server(port)
            self._services["task-server"] = self._launch("task-server", task_server, _NICE)
        for name, command in self._release.services.items():
            # The others are needed last: they must not slow the start of the webservers down.
            niceness = WEBSERVER_NICENESS if name == "scheduler" else _NICE
            self._services[name] = self._launch(name, command, niceness)

    def new_webserver(self, name: str) -> AirflowWebserver:
        """Start one more webserver and return at once."""
        port = free_port()
        settings = self._settings
        child = self._launch(
            name,
            self._release.webserver(port, settings.webserver_workers, self._workspace.home),
            WEBSERVER_NICENESS,
            pool_settings(settings.database_pool_size, settings.database_max_overflow),
        )
        webserver = AirflowWebserver(
            name=name,
            base_url=f"http://127.0.0.1:{port}",
            health=self._release.health,
            child=child,
            children=self._workspace.children,
            limit=self._limit_for(name),
            memory_mib=settings.webserver_memory_mib,
        )
        self._webservers = [other for other in self._webservers if other.is_alive()]
        self._webservers.append(webserver)
        return webserver

    async def wait_for_dags(self) -> None:
        """Return once DAGs are listed and all components are healthy; needs a ready webserver.

        Raises:
            EnvironmentStartError: it takes too long, or a service has ended; names its log.
        """
        authorization = await self.authorization("Admin")

        async def listed(session: aiohttp.ClientSession) -> bool:
            base_url = self._ready_url() or ""
            headers = {"Authorization": authorization or ""}
            async with session.get(base_url + self._release.dag_list, headers=headers) as answer:
                ids = {dag["dag_id"] for dag in (await answer.json())["dags"]}
            return ids >= set(DAG_IDS)

        async def healthy(session: aiohttp.ClientSession, component: str) -> bool:
            async with session.get(f"{self._ready_url()}{self._release.health}") as answer:
                return bool((await answer.json())[component]["status"] == "healthy")

        async def tasks_served(session: aiohttp.ClientSession) -> bool:
            async with session.get(f"{self._task_server_url}{TASKS_HEALTH}") as answer:
                return answer.ok

        conditions = [("scheduler", listed)]
        conditions += [
            (name, partial(healthy, component=name.replace("-", "_")))
            for name in self._release.services
        ]
        if self._release.task_server:
            conditions.append(("task-server", tasks_served))
        for name, condition in conditions:
            service = self._services[name]
            await wait_for(condition, service, what=f"The {name}", timeout_s=_SERVICE_TIMEOUT_S)

    async def authorization(self, airflow_role: str) -> str | None:
        """The Authorization header for this Airflow role; None for the role Public."""
        if self._tokens is None:
            raise EnvironmentStartError("The environment is not started: start it first.")
        return await self._tokens.authorization(airflow_role)

    def database_usage(self) -> DatabaseUsage | None:
        """What PostgreSQL has used so far, from any thread; None: it is not running."""
        return self._database.usage() if self._database else None

    def facts(self) -> dict[str, object]:
        """What the manifest should know."""
        reason = self._limiter.reason if isinstance(self._limiter, Unavailable) else None
        return {
            "airflow_version": self.airflow_version,
            "auth_manager": self._release.auth_manager,
            "webserver_workers": self._settings.webserver_workers,
            "cpu_limited": reason is None,
            "cpu_limit_reason": reason,
            "webserver_cpu": self.webserver_cpu,
            "database": "postgresql",
            "database_version": self._database_version,
        }

    async def stop(self) -> None:
        """Stop everything, the database last, and remove the database."""
        services = self._services.values()
        await asyncio.gather(
            *(webserver.stop() for webserver in self._webservers),
            *(
                asyncio.to_thread(self._workspace.children.stop, child, _STOP_TIMEOUT_S)
                for child in services
            ),
        )
        if self._database:
            await asyncio.to_thread(self._database.remove)
        self._webservers, self._services, self._database = [], {}, None

    def _start_database(self, passwords_file: Path) -> None:
        self._installation = install(self.airflow_version, self._workspace)
        template = ensure_template(self._release, self._installation, self._workspace)
        self._database = Database(
            self._installation,
            self._workspace.children,
            self._workspace.log("postgres"),
            self._most_connections(),
        )
        self._database.restore(template)
        if self._release.auth_manager == "fab" and self._release.login:
            self._database.execute(password_statements(passwords_file))
        self._database.start()
        self._database_version = self._database.version()

    def _most_connections(self) -> int:
        settings = self._settings
        each = settings.database_pool_size + settings.database_max_overflow
        # Two pools a worker, one of them for asyncio; one more webserver while one is replaced.
        workers = (settings.max_webservers + 1) * settings.webserver_workers
        return workers * 2 * each + _OTHER_CONNECTIONS

    def _launch(
        self,
        name: str,
        command: Command,
        niceness: int,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> Child:
        if self._installation is None or self._database is None:
            raise EnvironmentStartError("The environment is not started: start it first.")
        return start_airflow(
            self._release,
            name,
            command,
            self._workspace,
            self._installation,
            self._database.urls(),
            settings={**self._shared_settings, **settings},
            niceness=niceness,
        )

    def _limit_for(self, name: str) -> CpuLimit | None:
        if isinstance(self._limiter, Unavailable):
            return None
        group = self._limiter.group(f"headroom-{self._workspace.children.instance}-{name}")
        return CpuLimit(self._limiter, group, self._settings.webserver_cpu)

    def _ready_url(self) -> str | None:
        ready = (server for server in self._webservers if server.ready and server.is_alive())
        return next((server.base_url for server in ready), None)
