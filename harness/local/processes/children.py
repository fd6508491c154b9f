"""Starts child processes and ends them; a ledger tells the watchdog what is left if we die."""

import json
import os
import pwd
import secrets
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from mwaa_headroom.harness.errors import EnvironmentStartError
from mwaa_headroom.harness.local.processes import watchdog

_WATCHDOG_END_S = 5.0


@dataclass(frozen=True, slots=True)
class Used:
    """What a process and its descendants have used."""

    cpu_s: float  # ended descendants included
    memory_bytes: int  # resident now


@dataclass(eq=False)
class Child:
    """One started process, leader of its own session, with its descendants."""

    name: str
    log_path: Path
    process: subprocess.Popen[bytes]
    processes: watchdog.ProcessTree
    _used: Used = Used(0.0, 0)

    @property
    def pid(self) -> int:
        """The process id, also after it has ended."""
        return self.process.pid

    def is_alive(self) -> bool:
        """False once the process has ended (its descendants may still run)."""
        return self.process.poll() is None

    def exit_code(self) -> int | None:
        """None while it runs; negative: ended by that signal."""
        return self.process.poll()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the process to end; False if it still runs after `timeout_s`."""
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def tree(self) -> list[int]:
        """Pids of the process and its living descendants; empty once it has ended."""
        return [self.pid, *descendants(self.pid)] if self.is_alive() else []

    def used(self) -> Used:
        """What the tree has used: never less CPU than said before, the last memory once ended."""
        cpu_s, memory_bytes = 0.0, 0
        for pid in self.tree():
            try:
                process = psutil.Process(pid)
                times, memory = process.cpu_times(), process.memory_info()
            except psutil.NoSuchProcess:
                continue
            # A parent's children times hold its descendants once they have ended and been waited
            # for, and never before: nobody is counted twice.
            cpu_s += times.user + times.system + times.children_user + times.children_system
            memory_bytes += memory.rss
        # A descendant that nobody waits for would take its time with it.
        self._used = Used(max(self._used.cpu_s, cpu_s), memory_bytes or self._used.memory_bytes)
        return self._used


class Children:
    """All child processes of one parent, which end with it, even if it is killed.

    Args:
        state_dir: where the ledger of this instance is kept while something is running; give the
            same folder to `reclaim` when everything, the watchdog included, was killed.
    """

    def __init__(self, state_dir: Path) -> None:
        self.instance = secrets.token_hex(6)
        self._ledger = state_dir / watchdog.LEDGER_PATTERN.replace("*", self.instance)
        self._started = 0
        self._lock = threading.Lock()
        self._children: list[Child] = []
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def __enter__(self) -> "Children":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_all()

    def start(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        log_path: Path,
        cwd: Path | None = None,
        user: str | None = None,
    ) -> Child:
        """Start a process in its own session.

        Args:
            name: for people; need not be unique.
            argv: the command.
            env: its whole environment; the marker by which its descendants are found is added.
            log_path: standard output and error are appended to it.
            cwd: working directory; ours by default.
            user: run as this user (needs root).

        Raises:
            OSError: the command cannot be started.
            EnvironmentStartError: `stop_all` was called before.
        """
        with self._lock:
            self.ensure_not_stopped()
            self._ensure_watchdog()
            self._started += 1
            marker = f"{self.instance}.{self._started}."  # the last dot tells 1 from 10
            account = pwd.getpwnam(user) if user else None
            with log_path.open("ab") as log:
                process = subprocess.Popen(
                    argv,
                    env={**env, watchdog.MARKER: marker},
                    cwd=cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    user=account.pw_uid if account else None,
                    group=account.pw_gid if account else None,
                    extra_groups=[] if account else None,
                )
            leader = watchdog.identify(process.pid)
            if leader:
                self._record(name=name, process=leader.pid, started=leader.started)
            tree = watchdog.ProcessTree(marker, (leader,) if leader else ())
            child = Child(name, log_path, process, tree)
            self._children.append(child)
            return child

    def ensure_not_stopped(self) -> None:
        """For threads that take long: there is no sense in going on once all has been stopped.

        Raises:
            EnvironmentStartError: `stop_all` was called.
        """
        if self._stopped:
            raise EnvironmentStartError("The environment was stopped while it was starting.")

    def own_cgroup(self, group: Path) -> None:
        """Have this cgroup removed at the end, and whoever is in it ended."""
        self._own(cgroup=str(group))

    def own_directory(self, directory: Path) -> None:
        """Have this directory removed at the end; best said before it is made."""
        self._own(directory=str(directory))

    def stop(self, child: Child, timeout_s: float = 10.0) -> bool:
        """SIGTERM, and SIGKILL after `timeout_s`, for the child and all its descendants.

        Returns:
            False if a process could not be ended at all.
        """
        ended = watchdog.end(child.processes, grace_s=timeout_s)
        with self._lock:
            self._children = [other for other in self._children if other is not child]
        return child.wait(1.0) and ended

    def stop_all(self, timeout_s: float = 10.0) -> bool:
        """End every child, remove owned cgroups and directories, and let the watchdog go.

        Nothing can be started any more, so that a thread still at it leaves nothing behind.

        Returns:
            False if a process could not be ended at all; its ledger is kept for `reclaim`.
        """
        with self._lock:
            self._stopped = True
            ended = watchdog.end_everything(self._ledger, grace_s=timeout_s)
            if self._children:  # the ledger names them, unless somebody has removed it
                tree = watchdog.ProcessTree(f"{self.instance}.", ())
                ended = watchdog.end(tree, grace_s=timeout_s) and ended
            for child in self._children:
                child.wait(1.0)
            self._children = []
            self._end_watchdog()
            return ended

    def _own(self, **line: str) -> None:
        with self._lock:
            self.ensure_not_stopped()
            self._ensure_watchdog()
            self._record(**line)

    def _ensure_watchdog(self) -> None:
        if self._watchdog and self._watchdog.poll() is None:
            return
        self._end_watchdog()
        self._ledger.parent.mkdir(parents=True, exist_ok=True)
        if not self._ledger.exists():
            ours = watchdog.identify(os.getpid())
            started = ours.started if ours else ""
            self._record(instance=self.instance, parent=os.getpid(), started=started)
        self._watchdog = subprocess.Popen(
            [sys.executable, "-I", "-S", watchdog.__file__, str(self._ledger.absolute())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    def _end_watchdog(self) -> None:
        if self._watchdog is None:
            return
        if self._watchdog.stdin:
            self._watchdog.stdin.close()
        try:
            self._watchdog.wait(_WATCHDOG_END_S)
        except subprocess.TimeoutExpired:
            self._watchdog.kill()
            self._watchdog.wait()
        self._watchdog = None

    def _record(self, **line: str | int) -> None:
        with self._ledger.open("a", encoding="utf-8") as ledger:
            ledger.write(json.dumps(line) + "\n")


def descendants(pid: int) -> list[int]:
    """Ids of the living descendants of a process, each after its parent."""
    found = []
    # The kernel's own lists, one a thread: psutil would read every process of the machine, which
    # takes too long for something asked every few seconds on an event loop that serves calls.
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(word) for word in file.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found
