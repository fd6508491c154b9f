"""Real Airflow: one environment with two webservers for most tests, and one that gets killed.

The first run on a machine installs Airflow (once, into the user's cache); the limit of time is
for that.
"""

import asyncio
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp
import psutil
import pytest

from mwaa_headroom.harness.aws.cleanup import bulk_body
from mwaa_headroom.harness.errors import UsageError
from mwaa_headroom.harness.local.airflow.backend import AirflowBackend, release_of
from mwaa_headroom.harness.local.airflow.webserver import AirflowWebserver
from mwaa_headroom.harness.local.backend import DAG_IDS
from mwaa_headroom.harness.local.processes import MARKER, Children
from mwaa_headroom.harness.local.settings import LocalSettings

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(600)]


def marked(instance: str) -> list[psutil.Process]:
    """All living processes that belong to an instance."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARKER, "").startswith(instance):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return [process for process in found if process.status() != psutil.STATUS_ZOMBIE]


def leftovers(instance: str) -> list[object]:
    """Processes, control groups and folders that an instance has left."""
    groups = Path("/sys/fs/cgroup").glob(f"cpu*/**/headroom-{instance}-*")
    folders = [
        folder
        for temporary in ("/tmp", "/var/tmp")  # noqa: S108
        for folder in Path(temporary).glob(f"headroom-{instance}-*")
    ]
    postgres = [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(f"headroom-{instance}-" in part for part in process.info["cmdline"] or [])
    ]
    return [*marked(instance), *postgres, *groups, *folders]


async def eventually(condition: Callable[[], Awaitable[bool]], timeout_s: float = 60) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if await condition():
            return True
        await asyncio.sleep(0.2)
    return False


PLUGIN = """
from airflow.plugins_manager import AirflowPlugin


class Greeting:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def greet(message):
            if message["type"] == "http.response.start":
                message["headers"].append((b"x-greeting", b"of the plugin"))
            await send(message)

        await self.app(scope, receive, greet)


class GreetingPlugin(AirflowPlugin):
    name = "greeting"
    fastapi_root_middlewares = [
        {"middleware": Greeting, "args": [], "kwargs": {}, "name": "greeting"}
    ]
"""


class Environment:
    """A backend with two ready webservers, and calls to them."""

    def __init__(
        self, backend: AirflowBackend, api: str, webservers: list[AirflowWebserver]
    ) -> None:
        self.api = api
        self.backend = backend
        self.webservers = webservers

    async def call(
        self, number: int, method: str, path: str, body: object = None, role: str = "Admin"
    ) -> tuple[int, dict[str, object]]:
        authorization = await self.backend.authorization(role)
        headers = {"Authorization": authorization} if authorization else {}
        url = f"{self.webservers[number].base_url}{self.api}{path}"
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, json=body, headers=headers) as answer,
        ):
            return answer.status, await answer.json()

    async def trigger(self, dag_id: str) -> str:
        body = {"logical_date": None} if self.api == "/api/v2" else {}
        status, run = await self.call(0, "POST", f"/dags/{dag_id}/dagRuns", body)
        assert status == 200
        return str(run["dag_run_id"])

    async def succeeds(self, dag_id: str, run_id: str) -> bool:
        async def finished() -> bool:
            _, run = await self.call(1, "GET", f"/dags/{dag_id}/dagRuns/{run_id}")
            assert run["state"] != "failed"
            return run["state"] == "success"

        return await eventually(finished)


@asynccontextmanager
async def running(
    directory: Path, children: Children, settings: LocalSettings
) -> AsyncIterator[Environment]:
    backend = AirflowBackend(
        settings, directory=directory, children=children, progress=lambda _: None
    )
    try:
        await backend.start()
        webservers = [backend.new_webserver(f"webserver-{number}") for number in (1, 2)]
        await asyncio.gather(*(webserver.wait_until_ready() for webserver in webservers))
        await backend.wait_for_dags()
        yield Environment(backend, release_of(settings).api, webservers)
    finally:
        await backend.stop()


Run = Callable[[Callable[[Environment], Awaitable[None]]], None]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("airflow")


@pytest.fixture(scope="module")
def in_environment(directory: Path) -> Iterator[Run]:
    plugins = directory / "plugins"
    plugins.mkdir()
    (plugins / "greeting.py").write_text(PLUGIN, encoding="utf-8")
    with run_in(directory, LocalSettings(plugins_folder=str(plugins))) as run:
        yield run


def test_webservers_load_the_plugins_of_the_folder(in_environment: Run) -> None:
    async def test(environment: Environment) -> None:
        url = f"{environment.webservers[0].base_url}{environment.api}/version"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            assert answer.headers["x-greeting"] == "of the plugin"

    in_environment(test)


def test_plugins_that_are_not_there_are_named(tmp_path: Path) -> None:
    settings = LocalSettings(plugins_folder=str(tmp_path / "none"))
    with (
        pytest.raises(UsageError, match=r"environment\.plugins_folder"),
        run_in(tmp_path, settings),
    ):
        pass


@contextmanager
def run_in(directory: Path, settings: LocalSettings) -> Iterator[Run]:
    """Runs a coroutine function on the one event loop that the shared environment lives on."""
    with Children(directory / "processes") as children, asyncio.Runner() as runner:
        shared = running(directory, children, settings)
        environment = runner.run(shared.__aenter__())
        yield lambda test: runner.run(_passed_on(test, environment))
        runner.run(shared.__aexit__(None, None, None))
        assert leftovers(children.instance) == []


async def _passed_on(
    test: Callable[[Environment], Awaitable[None]], environment: Environment
) -> None:
    await test(environment)


def test_airflow_2_has_the_same_roles_and_limits(tmp_path: Path) -> None:
    """Of several worker processes a webserver, which all count."""
    settings = LocalSettings(airflow_version="2.11.2", webserver_workers=2)

    async def test(environment: Environment) -> None:
        await roles_differ(environment)
        await usage_grows_up_to_the_limit(environment)

    with run_in(tmp_path, settings) as run:
        run(test)


def test_both_webservers_answer_with_the_pinned_version(in_environment: Run) -> None:
    async def test(environment: Environment) -> None:
        for number in (0, 1):
            status, body = await environment.call(number, "GET", "/version")
            assert (status, body["version"]) == (200, environment.backend.airflow_version)

    in_environment(test)


def test_a_token_of_one_webserver_is_good_on_the_other_and_roles_differ(
    in_environment: Run,
) -> None:
    """The token comes from the first ready webserver; both share the secret it is signed with."""
    in_environment(roles_differ)


async def roles_differ(environment: Environment) -> None:
    nobody = 401 if environment.api == "/api/v2" else 403  # Airflow 2 takes him for a guest
    expected = {"Admin": 200, "Op": 200, "User": 403, "Viewer": 403, "Public": nobody}
    for role, expected_status in expected.items():
        status, _ = await environment.call(1, "GET", "/connections", role=role)
        assert (role, status) == (role, expected_status)


def test_passwords_are_private(in_environment: Run, directory: Path) -> None:
    mode = (directory / "passwords.json").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    passwords = json.loads((directory / "passwords.json").read_text()).values()
    assert len(set(passwords)) == 4
    for log in (directory / "logs").iterdir():
        assert not any(password in log.read_text() for password in passwords)


def test_the_shipped_dags_are_listed_and_not_paused(in_environment: Run) -> None:
    async def test(environment: Environment) -> None:
        _, body = await environment.call(0, "GET", "/dags?limit=100")
        assert {dag["dag_id"] for dag in body["dags"]} == set(DAG_IDS)  # type: ignore[attr-defined]
        assert not any(dag["is_paused"] for dag in body["dags"])  # type: ignore[attr-defined]
        _, errors = await environment.call(0, "GET", "/importErrors")
        assert errors["total_entries"] == 0

    in_environment(test)


@pytest.mark.parametrize("dag_id", ["headroom_example", "headroom_dag_20", "headroom_work"])
def test_a_triggered_run_succeeds(in_environment: Run, dag_id: str) -> None:
    async def test(environment: Environment) -> None:
        assert await environment.succeeds(dag_id, await environment.trigger(dag_id))

    in_environment(test)


def test_more_runs_than_airflows_default_are_active_at_once(in_environment: Run) -> None:
    """Airflow's default of 16 active runs a DAG would make a load test wait for the scheduler."""

    async def test(environment: Environment) -> None:
        runs = await asyncio.gather(*(environment.trigger("headroom_example") for _ in range(20)))
        results = [await environment.succeeds("headroom_example", run) for run in runs]
        assert all(results)

    in_environment(test)


def test_many_runs_are_ended_and_deleted_at_once(in_environment: Run) -> None:
    async def test(environment: Environment) -> None:
        dag = DAG_IDS[0]
        runs = [await environment.trigger(dag) for _ in range(5)]
        body = bulk_body([*runs, "headroom_absent"], end_first=True)
        status, told = await environment.call(1, "PATCH", f"/dags/{dag}/dagRuns", body)
        assert status == 200
        assert told["delete"] == {"success": sorted(f"{dag}.{run}" for run in runs), "errors": []}
        for run in runs:
            assert (await environment.call(0, "GET", f"/dags/{dag}/dagRuns/{run}"))[0] == 404

    in_environment(test)


def test_usage_grows_with_calls_and_is_held_to_the_limit(in_environment: Run) -> None:
    in_environment(usage_grows_up_to_the_limit)


async def usage_grows_up_to_the_limit(environment: Environment) -> None:
    webserver, facts = environment.webservers[0], environment.backend.facts()
    await environment.backend.authorization("Admin")
    before, since_s = webserver.usage(), time.monotonic()

    async def calls() -> None:
        while time.monotonic() - since_s < 4:
            await environment.call(0, "GET", "/dags?limit=50")

    await asyncio.gather(*(calls() for _ in range(4)))
    used = (webserver.usage().cpu_s - before.cpu_s) / (time.monotonic() - since_s)
    assert used > 0.05
    assert 0.02 < webserver.usage().memory_fraction < 1
    if facts["cpu_limited"]:
        assert used < environment.backend.webserver_cpu * 1.15


def test_the_database_tells_its_use_while_it_runs(in_environment: Run) -> None:
    async def test(environment: Environment) -> None:
        before = environment.backend.database_usage()
        for _ in range(5):
            await environment.call(0, "GET", "/dags?limit=50")
        after = environment.backend.database_usage()
        assert before is not None
        assert after is not None
        assert 0 < before.cpu_s <= after.cpu_s
        assert 1 <= after.connections <= 200

    in_environment(test)


def test_facts_for_the_manifest(in_environment: Run) -> None:
    async def test(environment: Environment) -> None:
        facts = environment.backend.facts()
        assert facts["airflow_version"] == "3.3.1"
        assert facts["database"] == "postgresql"
        assert str(facts["database_version"]).startswith("18.")
        assert facts["cpu_limited"] is (facts["cpu_limit_reason"] is None)

    in_environment(test)


def test_a_killed_webserver_is_not_alive_and_another_takes_its_place(in_environment: Run) -> None:
    """The last test of the shared environment: it changes who is there."""

    async def test(environment: Environment) -> None:
        killed = environment.webservers[0]
        used = killed.usage()
        os.kill(killed.pid, 9)

        async def dead() -> bool:
            return not killed.is_alive()

        assert await eventually(dead)
        assert killed.usage().cpu_s >= used.cpu_s
        await killed.stop()
        third = environment.backend.new_webserver("webserver-3")
        await third.wait_until_ready()
        environment.webservers[0] = third
        status, _ = await environment.call(0, "GET", "/dags")
        assert status == 200

    in_environment(test)


PARENT = """
import asyncio, sys
from pathlib import Path
from mwaa_headroom.harness.aws.cleanup import bulk_body
from mwaa_headroom.harness.local.airflow.backend import AirflowBackend
from mwaa_headroom.harness.local.processes import Children
from mwaa_headroom.harness.local.settings import LocalSettings

async def main():
    directory = Path(sys.argv[1])
    children = Children(directory / "processes")
    backend = AirflowBackend(
        LocalSettings(), directory=directory, children=children, progress=lambda _: None
    )
    await backend.start()
    webserver = backend.new_webserver("webserver-1")
    await webserver.wait_until_ready()
    print(children.instance, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@asynccontextmanager
async def separate_parent(
    directory: Path,
) -> AsyncIterator[tuple["subprocess.Popen[str]", str]]:
    """An environment in a process of its own and its instance, once its webserver is ready."""
    command = [sys.executable, "-c", PARENT, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout
            yield parent, (await asyncio.to_thread(parent.stdout.readline)).strip()
        finally:
            parent.kill()


async def nothing_left(instance: str) -> bool:
    return leftovers(instance) == []


def test_kill_9_of_the_parent_leaves_nothing(tmp_path: Path) -> None:
    """The watchdog ends it all, as the next start would if that were killed, too."""

    async def test() -> None:
        async with separate_parent(tmp_path) as (parent, instance):
            assert len(marked(instance)) >= 3  # scheduler, task server, webserver
            parent.kill()
            assert await eventually(lambda: nothing_left(instance), timeout_s=30)

    asyncio.run(test())
