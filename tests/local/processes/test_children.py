"""Children end with their parent, whatever happens to it. Everything here is really started."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from mwaa_headroom.harness.errors import EnvironmentStartError
from mwaa_headroom.harness.local.processes import MARKER, Children, reclaim

pytestmark = pytest.mark.slow

PYTHON = sys.executable
ENV = {"PATH": os.environ["PATH"]}

# A child that starts a grandchild in a session of its own, writes both pids and ignores SIGTERM.
STUBBORN = """
import os, pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, "-c", sys.argv[2]], start_new_session=True)
pathlib.Path(sys.argv[1] + ".new").write_text(f"{os.getpid()} {grandchild.pid}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(300)
"""
SLEEP = "import time; time.sleep(300)"

# A parent that starts STUBBORN and then does nothing.
PARENT = """
import sys, time, pathlib
from mwaa_headroom.harness.errors import EnvironmentStartError
from mwaa_headroom.harness.local.processes import Children
state = pathlib.Path(sys.argv[1])
children = Children(state)
children.own_directory(state / "scratch")
(state / "scratch").mkdir()
children.start("stubborn", [sys.executable, "-c", sys.argv[2], str(state / "pids"), sys.argv[3]],
               env={}, log_path=state / "log")
time.sleep(300)
"""


def eventually(condition: Callable[[], bool], timeout_s: float = 30.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def pids_in(file: Path) -> list[int]:
    assert eventually(file.exists)
    return [int(pid) for pid in file.read_text().split()]


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    with Children(tmp_path / "state") as children:
        yield children


@pytest.fixture
def parent(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([PYTHON, "-c", PARENT, str(tmp_path), STUBBORN, SLEEP])
    yield process
    process.kill()
    process.wait()
    reclaim(tmp_path, grace_s=0.5)


def watchdog_of(parent: int) -> psutil.Process:
    (found,) = [
        child
        for child in psutil.Process(parent).children()
        if any(part.endswith("watchdog.py") for part in child.cmdline())
    ]
    return found


def test_output_goes_to_the_log_and_the_marker_to_the_environment(
    children: Children, tmp_path: Path
) -> None:
    code = (
        f"import os, sys; print(os.environ['{MARKER}'], flush=True); print('oops', file=sys.stderr)"
    )
    child = children.start("talker", [PYTHON, "-c", code], env=ENV, log_path=tmp_path / "log")
    assert child.wait(20)
    assert child.exit_code() == 0
    assert (tmp_path / "log").read_text() == f"{children.instance}.1.\noops\n"


def test_stop_ends_a_child_that_ignores_sigterm_and_its_daemonised_grandchild(
    children: Children, tmp_path: Path
) -> None:
    argv = [PYTHON, "-c", STUBBORN, str(tmp_path / "pids"), SLEEP]
    child = children.start("stubborn", argv, env=ENV, log_path=tmp_path / "log")
    pids = pids_in(tmp_path / "pids")
    assert children.stop(child, timeout_s=0.3)
    assert not child.is_alive()
    assert not any(alive(pid) for pid in pids)


def test_stop_leaves_the_other_children_alone(children: Children, tmp_path: Path) -> None:
    started = [
        children.start(str(n), [PYTHON, "-c", SLEEP], env=ENV, log_path=tmp_path / "log")
        for n in range(11)
    ]
    assert children.stop(started[0])
    assert [child.is_alive() for child in started] == [False] + [True] * 10


def test_stop_all_ends_children_and_watchdog_and_leaves_no_file(
    children: Children, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    children.own_directory(scratch)
    scratch.mkdir()
    (scratch / "file").touch()
    child = children.start("sleeper", [PYTHON, "-c", SLEEP], env=ENV, log_path=tmp_path / "log")
    watchdog = watchdog_of(os.getpid())
    assert children.stop_all()
    assert not child.is_alive()
    assert not alive(watchdog.pid)
    assert not scratch.exists()
    assert list((tmp_path / "state").iterdir()) == []


def test_cpu_and_memory_of_the_whole_tree_never_go_back(children: Children, tmp_path: Path) -> None:
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    code = (
        f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', {busy!r}]); {SLEEP}"
    )
    child = children.start("busy", [PYTHON, "-c", code], env=ENV, log_path=tmp_path / "log")
    assert eventually(lambda: len(child.tree()) == 2)
    assert eventually(lambda: child.used().cpu_s >= 0.3 and len(child.tree()) == 1)
    before = child.used()
    assert before.memory_bytes > 1_000_000
    children.stop(child)
    assert child.tree() == []
    assert child.used() == before


def test_kill_9_of_the_parent_ends_its_grandchildren(
    parent: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    pids = pids_in(tmp_path / "pids")
    watchdog = watchdog_of(parent.pid)
    parent.kill()
    parent.wait()
    assert eventually(lambda: not any(alive(pid) for pid in [*pids, watchdog.pid]))
    assert not (tmp_path / "scratch").exists()
    assert list(tmp_path.glob("children-*")) == []


def test_reclaim_after_kill_9_of_parent_and_watchdog(
    parent: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    pids = pids_in(tmp_path / "pids")
    watchdog = watchdog_of(parent.pid)
    watchdog.kill()
    assert eventually(lambda: not alive(watchdog.pid))
    parent.kill()
    parent.wait()
    assert all(alive(pid) for pid in pids)
    reclaim(tmp_path, grace_s=0.5)
    assert not any(alive(pid) for pid in pids)
    assert not (tmp_path / "scratch").exists()
    assert list(tmp_path.glob("children-*")) == []


def test_reclaim_leaves_the_children_of_a_living_parent_alone(
    parent: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    pids = pids_in(tmp_path / "pids")
    reclaim(tmp_path)
    assert all(alive(pid) for pid in pids)


def test_reclaim_spares_a_stranger_with_a_recorded_pid(tmp_path: Path) -> None:
    stranger = subprocess.Popen([PYTHON, "-c", SLEEP], start_new_session=True)
    try:
        lines = [
            {"instance": "0123456789ab", "parent": 2**22, "started": "another boot:1"},
            {"process": stranger.pid, "started": "another boot:1", "name": "ours"},
        ]
        text = "\n".join(json.dumps(line) for line in lines) + '\n{"process": 12'  # torn
        (tmp_path / "children-0123456789ab.jsonl").write_text(text)
        reclaim(tmp_path)
        assert stranger.poll() is None
        assert list(tmp_path.iterdir()) == []
    finally:
        stranger.kill()
        stranger.wait()


def test_a_killed_watchdog_is_replaced_before_the_next_child_starts(
    children: Children, tmp_path: Path
) -> None:
    children.start("first", [PYTHON, "-c", SLEEP], env=ENV, log_path=tmp_path / "log")
    first = watchdog_of(os.getpid())
    first.send_signal(signal.SIGKILL)
    assert eventually(lambda: not alive(first.pid))
    children.start("second", [PYTHON, "-c", SLEEP], env=ENV, log_path=tmp_path / "log")
    assert alive(watchdog_of(os.getpid()).pid)


def test_a_command_that_does_not_exist_is_an_os_error(children: Children, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        children.start("none", [str(tmp_path / "no")], env=ENV, log_path=tmp_path / "log")


def test_nothing_can_be_started_after_stop_all(children: Children, tmp_path: Path) -> None:
    children.stop_all()
    with pytest.raises(EnvironmentStartError, match="was stopped"):
        children.start("late", [PYTHON, "-c", SLEEP], env=ENV, log_path=tmp_path / "log")
    assert not (tmp_path / "state").exists()
