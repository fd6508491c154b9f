"""Folders that are built once."""

import threading
import time
from pathlib import Path

import pytest

from mwaa_headroom.harness.errors import EnvironmentStartError
from mwaa_headroom.harness.local.airflow.install import build_once
from mwaa_headroom.harness.local.processes import Children


@pytest.fixture
def children(tmp_path: Path) -> Children:
    return Children(tmp_path / "state")


def unexpected() -> None:
    pytest.fail("nobody else is building")


def test_a_folder_is_built_only_once(tmp_path: Path, children: Children) -> None:
    built: list[Path] = []
    for _ in range(2):
        build_once(tmp_path / "a" / "folder", built.append, children=children, waiting=unexpected)
    assert built == [tmp_path / "a" / "folder"]


def test_what_a_failed_build_has_left_is_cleared(tmp_path: Path, children: Children) -> None:
    folder = tmp_path / "folder"

    def fails(folder: Path) -> None:
        (folder / "half").touch()
        raise RuntimeError

    with pytest.raises(RuntimeError):
        build_once(folder, fails, children=children, waiting=unexpected)
    assert (folder / "half").exists()
    build_once(
        folder, lambda folder: (folder / "whole").touch(), children=children, waiting=unexpected
    )
    assert not (folder / "half").exists()
    assert (folder / "whole").exists()


def test_of_two_builders_at_once_one_builds_and_one_waits(
    tmp_path: Path, children: Children
) -> None:
    built, waited = [], threading.Event()

    def build(folder: Path) -> None:
        built.append(folder)
        assert waited.wait(20)

    builders = [
        threading.Thread(
            target=build_once,
            args=(tmp_path / "folder", build),
            kwargs={"children": children, "waiting": waited.set},
        )
        for _ in range(2)
    ]
    for builder in builders:
        builder.start()
        time.sleep(0.01)
    for builder in builders:
        builder.join(30)
    assert len(built) == 1


def test_waiting_ends_when_the_environment_is_stopped(tmp_path: Path, children: Children) -> None:
    def build(_: Path) -> None:
        with pytest.raises(EnvironmentStartError, match="was stopped"):
            build_once(folder, build, children=children, waiting=children.stop_all)

    folder = tmp_path / "folder"
    build_once(folder, build, children=children, waiting=unexpected)
