"""The folder of an environment, its events, and the variables that lead to it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mwaa_headroom.harness.errors import EnvironmentStartError, UsageError
from mwaa_headroom.harness.local.handle import start_daemon
from mwaa_headroom.harness.local.instance import (
    VARIABLES_TO_UNSET,
    Endpoints,
    Instance,
    instance_root,
    read_json,
    shell_lines,
    write_json,
)
from mwaa_headroom.harness.local.settings import LocalSettings, SimulatedSettings
from mwaa_headroom.harness.local.webservers import EventLog

ENDPOINTS = Endpoints(
    mwaa_url="http://127.0.0.1:1",
    webserver_url="http://127.0.0.1:2",
    cloudwatch_url="http://127.0.0.1:3",
    region="eu-west-1",
    environment_name="mine",
    access_key_id="AKIAEXAMPLE",
    secret_access_key="it's secret",
)


@pytest.mark.parametrize(
    "settings", [LocalSettings(webserver_cpu=0.5), SimulatedSettings(cores=2.0, name="x")]
)
def test_settings_survive_the_way_to_the_daemon(
    tmp_path: Path, settings: LocalSettings | SimulatedSettings
) -> None:
    instance = Instance(tmp_path / "new" / "folder")
    instance.write_settings(settings)
    assert instance.read_settings() == settings


@pytest.mark.parametrize("content", [None, "", "{}", '{"kind": "simulated", "coers": 2}'])
def test_damaged_settings_are_one_sentence(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "settings.json").write_text(content)
    with pytest.raises(EnvironmentStartError, match="are missing or damaged"):
        Instance(tmp_path).read_settings()


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    instance = Instance(tmp_path / "file" / "instance")
    for attempt in (lambda: instance.write_settings(SimulatedSettings()), instance.take_lock):
        with pytest.raises(EnvironmentStartError, match=r"instance' \(Not a .*XDG_CACHE_HOME"):
            attempt()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "ready.json.part").symlink_to("/dev/full")
    with pytest.raises(EnvironmentStartError, match=r"No space left on device\): make room"):
        write_json(tmp_path / "ready.json", {})


@pytest.mark.parametrize(
    ("folder", "advice"),
    [
        ("headroom/local/mine", "stop it with `headroom local down --name mine`"),
        ("headroom/local/run-mine", "end the `headroom run`"),
        ("elsewhere/mine", "or other program"),
    ],
)
def test_the_advice_names_the_right_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, advice: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    instance = Instance(tmp_path / folder)
    lock = instance.take_lock()
    assert lock is not None
    with lock, pytest.raises(UsageError, match="already running") as caught:
        start_daemon(SimulatedSettings(), instance, print, ends_with_us=True)
    assert advice in str(caught.value)


def test_one_lock_at_a_time(tmp_path: Path) -> None:
    instance = Instance(tmp_path / "instance")
    assert not instance.is_running()
    assert not instance.directory.exists()  # asking leaves nothing behind
    lock = instance.take_lock()
    assert lock is not None
    assert instance.is_running()
    assert instance.take_lock() is None
    lock.close()
    assert not instance.is_running()


def test_files_with_secrets_are_the_owners_only(tmp_path: Path) -> None:
    path = tmp_path / "ready.json"
    write_json(path, {"secret_access_key": "x"})
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_json(path) == {"secret_access_key": "x"}
    assert read_json(tmp_path / "absent.json") is None


def test_instances_live_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert instance_root() == tmp_path / "headroom" / "local"


def test_events_are_lines_as_soon_as_they_are_emitted(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text("from an earlier life\n")
    log = EventLog(path, unwritten=pytest.fail, wall_clock=lambda: 12.5)
    log.emit("webserver_ready", webserver="webserver-1")
    assert json.loads(path.read_text()) == {
        "time_s": 12.5,
        "kind": "webserver_ready",
        "source": "environment",
        "webserver": "webserver-1",
    }
    log.close()


def test_the_secret_is_in_no_repr() -> None:
    assert "secret" not in repr(ENDPOINTS)


def test_variables_replace_what_would_lead_elsewhere() -> None:
    before = {"AWS_PROFILE": "work", "AWS_SESSION_TOKEN": "t", "AWS_REGION": "us-east-2", "A": "b"}
    after = ENDPOINTS.environment_from(before)
    assert after["A"] == "b"
    assert after["AWS_REGION"] == after["AWS_DEFAULT_REGION"] == "eu-west-1"
    assert after["AWS_ENDPOINT_URL_MWAA"] == "http://127.0.0.1:1"
    assert not set(VARIABLES_TO_UNSET) & set(after)


def test_shell_lines_do_the_same_in_a_shell() -> None:
    script = f"{shell_lines(ENDPOINTS)}\nexec env"
    before = {"PATH": "/usr/bin:/bin", "AWS_PROFILE": "work", "NO_PROXY": "example.com"}
    shown = subprocess.run(
        ["sh", "-euc", script], env=before, capture_output=True, text=True, check=True
    )
    after = dict(line.split("=", 1) for line in shown.stdout.splitlines())
    assert after["AWS_SECRET_ACCESS_KEY"] == "it's secret"
    assert after["NO_PROXY"] == "127.0.0.1,example.com"
    assert "AWS_PROFILE" not in after


def test_events_that_the_disk_does_not_take_are_handed_over_whole(tmp_path: Path) -> None:
    """In a process of its own, whose files may have 150 bytes: two events and a part of a third."""
    program = (
        "import json, resource, sys; from pathlib import Path\n"
        "from mwaa_headroom.harness.local.webservers import EventLog\n"
        "log = EventLog(Path(sys.argv[1]), lambda event: print(event['name']), lambda: 1.0)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (150, resource.RLIM_INFINITY))\n"
        "for name in 'abcd': log.emit('note', name=name)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)\n"
        "log.emit('note', name='e')\n"
    )
    path = tmp_path / "events.jsonl"
    command = [sys.executable, "-c", program, str(path)]
    handed_over = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert handed_over.split() == ["c", "d"]
    assert [json.loads(line)["name"] for line in path.read_text().splitlines()] == ["a", "b", "e"]


def test_nothing_of_the_users_aws_settings_reaches_what_is_started() -> None:
    before = {"AWS_CA_BUNDLE": "nowhere", "AWS_CONFIG_FILE": "broken", "AWS_RETRY_MODE": "x"}
    after = ENDPOINTS.environment_from(before)
    assert "AWS_CA_BUNDLE" not in after
    assert "AWS_RETRY_MODE" not in after
    assert after["AWS_CONFIG_FILE"] == after["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull
