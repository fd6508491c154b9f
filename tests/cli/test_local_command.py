"""`headroom local`, run as a user runs it."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from json_outputs import checked

from mwaa_headroom.harness.cli.main import main

HEADROOM = str(Path(sys.executable).with_name("headroom"))
pytestmark = pytest.mark.slow

Local = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def local(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Local]:
    """`headroom local`: `up` in a process of its own, which has ended, the rest in this one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        if arguments[0] == "up":
            return subprocess.run(
                [HEADROOM, "local", *arguments],
                capture_output=True,
                text=True,
                timeout=60,
                stdin=subprocess.DEVNULL,
            )
        with pytest.raises(SystemExit) as ended:
            main(["local", *arguments])
        told = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, ended.value.code, told.out, told.err)

    yield run
    run("down")


def test_up_status_down(local: Local) -> None:
    up = local("up", "--kind", "simulated", "--min-webservers", "1", "--webserver-cpu", "0.5")
    assert up.returncode == 0, up.stderr
    assert "is up" in up.stderr

    again = local("up")
    assert "already up" in again.stderr
    assert again.stdout == up.stdout
    other = local("up", "--kind", "simulated", "--min-webservers", "2")
    assert other.returncode == 2
    assert "already up" in other.stderr

    # What `up` prints is for a shell to evaluate; its example call works then, as it stands.
    example = "\n".join(
        line.removeprefix("#   ")
        for line in up.stdout.splitlines()
        if line.startswith("#   ") and not line.startswith("#   aws")
    )
    called = subprocess.run(
        [
            "sh",
            "-c",
            f'{up.stdout}\nexec "$0" -c "$1"',
            sys.executable,
            f"{example}\nprint('called')",
        ],
        env={**os.environ, "AWS_PROFILE": "no-such-profile"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert called.stdout == "called\n", called.stderr

    status = checked("local status", local("status", "--json").stdout)
    assert status["schema_version"] == 1
    assert status["is_up"] is True
    assert [one["name"] for one in status["webservers"]] == ["webserver-1"]
    assert "webserver-1" in local("status").stdout

    down = local("down")
    assert down.returncode == 0, down.stderr
    assert "is down; none of its processes is left" in down.stdout
    assert checked("local status", local("status", "--json").stdout)["is_up"] is False
    assert "was not up" in local("down").stdout


def test_down_after_a_kill_and_after_the_folder_was_removed(local: Local, tmp_path: Path) -> None:
    up = local("up", "--kind", "simulated", "--json")
    tree = checked("local up", up.stdout)
    assert tree["schema_version"] == 1
    assert tree["was_already_up"] is False
    assert tree["variables"]["AWS_ENDPOINT_URL_MWAA"] == tree["mwaa_url"]
    os.kill(tree["pid"], signal.SIGKILL)
    down = local("down", "--json")
    assert down.returncode == 0, down.stderr
    assert checked("local down", down.stdout)["schema_version"] == 1
    assert local("up", "--kind", "simulated").returncode == 0

    folder = tmp_path / "headroom" / "local" / "headroom-local"
    shutil.rmtree(folder)
    down = local("down")
    assert down.returncode == 0, down.stderr
    assert "is down; none of its processes is left" in down.stdout
    left = [
        process.pid
        for process in psutil.process_iter(["environ", "cmdline"])
        if str(folder) in str(process.info["cmdline"])
        or (
            "HEADROOM_INSTANCE" in (variables := process.info["environ"] or {})
            and str(folder) in str(variables)
        )
    ]
    assert left == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["up", "--max-webservers", "9"],
            "--max-webservers cannot be used: .*less than or equal to 5",
        ),
        (
            ["up", "--min-webservers", "3", "--max-webservers", "2"],
            "must not be below min_webservers",
        ),
        (["up", "--kind", "simulated", "--webserver-cpu", "0"], "--webserver-cpu cannot be used"),
        (["up", "--port", "70000"], "--port cannot be used"),
        (
            ["up", "--airflow-version", "1.9.0"],
            "--airflow-version cannot be used: Airflow 1.9.0 .* known are .*3.3.1",
        ),
        (["up", "--name", "../../elsewhere"], "--name must start with a letter"),
        (["status", "--name", ""], "--name must start with a letter"),
    ],
)
def test_wrong_options_are_one_sentence(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        main(["local", *arguments])
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert len(told.splitlines()) == 1
    assert list(tmp_path.rglob("settings.json")) == []
    assert re.search(sentence, told)


def test_nothing_is_up_at_first(local: Local) -> None:
    assert "is not up; start it with" in local("status").stdout
    assert "was not up" in local("down").stdout


def test_down_removes_what_is_secret(local: Local, tmp_path: Path) -> None:
    folder = tmp_path / "headroom" / "local" / "headroom-local"
    secrets = (folder / "ready.json", folder / "airflow" / "passwords.json")
    for file in secrets:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")  # as a killed environment leaves them
    assert local("down").returncode == 0
    assert not any(file.exists() for file in secrets)
