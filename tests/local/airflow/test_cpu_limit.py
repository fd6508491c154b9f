"""CPU limits: version 1 for real where this user may, version 2 on a tree of plain files."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mwaa_headroom.harness.local.airflow.cpu_limit import CpuLimiter, Unavailable

BUSY = "while True: pass"
BUSY_TREE = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {BUSY!r}]).wait()"


def tree_of(pid: int) -> list[int]:
    process = psutil.Process(pid)
    return [process.pid, *(child.pid for child in process.children(recursive=True))]


def cpu_s(pids: list[int]) -> float:
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


@pytest.fixture
def busy() -> Iterator[list[int]]:
    """A process with a child that uses all it can get."""
    process = subprocess.Popen([sys.executable, "-c", BUSY_TREE], start_new_session=True)
    deadline = time.monotonic() + 20
    while len(tree_of(process.pid)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    yield tree_of(process.pid)
    os.killpg(process.pid, 9)
    process.wait()


@pytest.mark.slow
def test_a_busy_tree_is_held_to_a_quarter_of_a_cpu(busy: list[int]) -> None:
    limiter = CpuLimiter.detect()
    if isinstance(limiter, Unavailable):
        pytest.skip(limiter.reason)
    group = limiter.group(f"headroom-test-{busy[0]}")
    limiter.limit(group, lambda: tree_of(busy[0]), cpus=0.25)
    try:
        before_s, since_s = cpu_s(busy), time.monotonic()
        time.sleep(3)
        used = (cpu_s(busy) - before_s) / (time.monotonic() - since_s)
        # A machine full of other work can give less than the limit, never more.
        assert 0.05 < used < 0.28
        limiter.lift(group)
    finally:
        os.killpg(busy[0], 9)
        deadline = time.monotonic() + 10
        while group.exists() and time.monotonic() < deadline:
            try:
                group.rmdir()
            except OSError:
                time.sleep(0.05)
    assert not group.exists()


def test_detecting_leaves_no_group_behind() -> None:
    limiter = CpuLimiter.detect()
    if isinstance(limiter, Unavailable):
        pytest.skip(limiter.reason)
    assert list(limiter.parent.glob(f"headroom-trial-{os.getpid()}")) == []
    assert limiter.refusal() is None


@pytest.fixture
def v2_tree(tmp_path: Path) -> Path:
    """The files of a user's delegated group, and of a session outside of it."""
    delegated = tmp_path / "user.slice" / "user@1000.service"
    own = delegated / "app.slice"
    own.mkdir(parents=True)
    for group in (tmp_path, tmp_path / "user.slice", delegated):
        (group / "cgroup.controllers").write_text("cpu memory pids\n")
        (group / "cgroup.subtree_control").write_text("cpu memory\n")
    (own / "cgroup.controllers").write_text("memory pids\n")
    (own / "cgroup.subtree_control").write_text("\n")
    return tmp_path


def test_version_2_uses_the_nearest_group_that_has_the_cpu_controller(
    v2_tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "rmdir", shutil.rmtree)  # plain files do not go with their folder
    limiter = CpuLimiter.detect(
        v2_tree,
        own_groups="0::/user.slice/user@1000.service/app.slice\n",
    )
    assert isinstance(limiter, CpuLimiter)
    assert limiter.version == 2
    assert limiter.parent == v2_tree / "user.slice" / "user@1000.service"
    assert list(limiter.parent.glob("headroom-*")) == []


def test_version_2_writes_quota_and_period_and_lifts_them(v2_tree: Path) -> None:
    limiter = CpuLimiter(v2_tree, 2)
    group = limiter.group("headroom-x-webserver-1")
    limiter.limit(group, lambda: [17], cpus=0.3)
    assert (group / "cpu.max").read_text() == "6000 20000"
    assert (group / "cgroup.procs").read_text() == "17"
    limiter.lift(group)
    assert (group / "cpu.max").read_text() == "max 20000"


def test_version_2_switches_the_controller_on_for_children(v2_tree: Path) -> None:
    (v2_tree / "cgroup.subtree_control").write_text("memory\n")
    limiter = CpuLimiter(v2_tree, 2)
    limiter.limit(limiter.group("headroom-x"), lambda: [17], cpus=1.5)
    assert (v2_tree / "cgroup.subtree_control").read_text() == "+cpu"


def test_without_a_cpu_controller_the_reason_says_so(tmp_path: Path) -> None:
    found = CpuLimiter.detect(tmp_path, own_groups="0::/\n")
    assert found == Unavailable(f"there is no CPU controller under {tmp_path}")


def test_a_refused_write_is_a_reason_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu\n")
    (tmp_path / "cgroup.subtree_control").mkdir()  # cannot be read or written, even by root
    found = CpuLimiter.detect(tmp_path, own_groups="0::/\n")
    assert isinstance(found, Unavailable)
    assert "cgroup.subtree_control" in found.reason


def test_a_group_path_of_the_host_inside_a_container_falls_back_to_the_mount(
    tmp_path: Path,
) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1")
    limiter = CpuLimiter.detect(tmp_path, own_groups="4:cpu,cpuacct:/docker/1234\n")
    assert limiter == CpuLimiter(tmp_path / "cpu", 1)
