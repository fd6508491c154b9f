"""Ends what a dead parent has left behind: its processes, cgroups and scratch directories.

`Children` appends everything it starts to a ledger, one JSON object a line, and starts this file as
a script whose standard input is a pipe nobody writes to. End of file on that pipe means that the
parent is gone, by whatever means, because the kernel closes it. One file of nothing but standard
library on purpose: it runs without the project being importable, and costs little while it waits.

A process belongs to a ledger if it is
- one that the ledger names by pid *and* start (a reused pid is a stranger), or in its session, or
- one whose environment carries the ledger's marker, whatever session it has moved to, or
- a descendant of one of these, or in one of the ledger's cgroups.
"""

import contextlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

MARKER = "HEADROOM_INSTANCE"
LEDGER_PATTERN = "children-*.jsonl"
_PROC = Path("/proc")
_GRACE_S = 5.0
_KILL_S = 5.0
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Identity:
    """A process for all time: pids are reused, a pid and a start are not."""

    pid: int
    started: str  # boot and clock ticks since boot


@dataclass(frozen=True, slots=True)
class _Process:
    identity: Identity
    parent: int
    session: int


@dataclass(frozen=True, slots=True)
class ProcessTree:
    """The processes of a ledger, or of one child; found anew at every look."""

    marker: str  # what the value of MARKER starts with
    leaders: tuple[Identity, ...]
    cgroups: tuple[Path, ...] = ()

    def to_terminate(self) -> set[Identity]:
        """The leaders, their sessions and every marked process: these are asked to end.

        A descendant that left the session is left to its parent first: PostgreSQL, for one,
        shuts its own processes down in an order that matters.
        """
        return self._in_sessions_or_marked(_process_table())

    def to_kill(self) -> set[Identity]:
        """The whole tree."""
        table = _process_table()
        found = self._in_sessions_or_marked(table)
        members = {pid for group in self.cgroups for pid in _cgroup_members(group)}
        found |= {table[pid].identity for pid in members if pid in table}
        return found | _descendants(found, table)

    def _in_sessions_or_marked(self, table: dict[int, _Process]) -> set[Identity]:
        alive = {entry.identity for entry in table.values()}
        sessions = {leader.pid for leader in self.leaders if leader in alive}
        return {
            entry.identity
            for pid, entry in table.items()
            if pid in sessions or entry.session in sessions or _is_marked(pid, self.marker)
        }


def end(tree: ProcessTree, *, grace_s: float) -> bool:
    """Ask a tree to end, then make it; False if something could not be ended."""
    survivors = tree.to_kill()  # before parents end and their children are adopted by others
    for identity in tree.to_terminate():
        _send(identity, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    last = deadline + _KILL_S
    while survivors := set(filter(is_running, survivors)) | tree.to_kill():
        now = time.monotonic()
        if now > last:
            return False
        if now > deadline:
            for identity in survivors:
                _send(identity, signal.SIGKILL)
        time.sleep(_POLL_S)
    return True


def end_everything(ledger: Path, *, grace_s: float = _GRACE_S) -> bool:
    """End all that a ledger names, remove its cgroups and directories, then the ledger itself.

    Returns False, and keeps the ledger for a later `reclaim`, if a process could not be ended.
    """
    lines = list(_read(ledger))
    marker = next((line["instance"] for line in lines if "instance" in line), None)
    if marker is None:  # nothing can have been started before the first line was written
        ledger.unlink(missing_ok=True)
        return True
    leaders = tuple(
        Identity(line["process"], line["started"]) for line in lines if "process" in line
    )
    cgroups = tuple(Path(line["cgroup"]) for line in lines if "cgroup" in line)
    if not end(ProcessTree(f"{marker}.", leaders, cgroups), grace_s=grace_s):
        return False
    for group in cgroups:
        remove_cgroup(group)
    for line in lines:
        if "directory" in line:
            shutil.rmtree(line["directory"], ignore_errors=True)
    ledger.unlink(missing_ok=True)
    return True


def reclaim(state_dir: Path, *, grace_s: float = _GRACE_S) -> None:
    """End what earlier parents left in `state_dir`; those whose parent still lives are left alone.

    For the case that parent and watchdog were killed together. Safe to call at any time.
    """
    for ledger in sorted(state_dir.glob(LEDGER_PATTERN)):
        parents = [
            Identity(line["parent"], line["started"]) for line in _read(ledger) if "parent" in line
        ]
        if not any(is_running(parent) for parent in parents):
            end_everything(ledger, grace_s=grace_s)


def has_leftovers(state_dir: Path) -> bool:
    """Whether there is anything to `reclaim`, of a living parent or a dead one."""
    return any(state_dir.glob(LEDGER_PATTERN))


def identify(pid: int) -> Identity | None:
    """The identity of a running process; None if there is none (a zombie is none)."""
    entry = _entry(pid)
    return entry.identity if entry else None


def is_running(identity: Identity) -> bool:
    """Whether exactly this process still runs."""
    return identify(identity.pid) == identity


def remove_cgroup(group: Path) -> None:
    """Remove a cgroup; the kernel needs a moment after its last process has ended."""
    for _ in range(40):
        try:
            group.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(_POLL_S)
        else:
            return


def _read(ledger: Path) -> Iterator[dict[str, Any]]:
    try:
        text = ledger.read_text(encoding="utf-8")
    except OSError:
        return
    for line in text.splitlines():
        with contextlib.suppress(json.JSONDecodeError):  # torn: the parent was killed writing it
            yield json.loads(line)


def _process_table() -> dict[int, _Process]:
    pids = (int(folder.name) for folder in _PROC.iterdir() if folder.name.isdigit())
    entries = ((pid, _entry(pid)) for pid in pids if pid != os.getpid())
    return {pid: entry for pid, entry in entries if entry}


def _entry(pid: int) -> _Process | None:
    try:
        # The name in parentheses may itself hold spaces and parentheses: read from the last one.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    state, parent, session, started_ticks = fields[0], fields[1], fields[3], fields[19]
    if state in "ZX":
        return None
    return _Process(Identity(pid, f"{_boot()}:{started_ticks}"), int(parent), int(session))


@cache
def _boot() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def _is_marked(pid: int, marker: str) -> bool:
    try:
        variables = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False
    prefix = f"{MARKER}={marker}".encode()
    return any(variable.startswith(prefix) for variable in variables)


def _cgroup_members(group: Path) -> list[int]:
    try:
        return [int(pid) for pid in (group / "cgroup.procs").read_text().split()]
    except OSError:
        return []


def _descendants(roots: Iterable[Identity], table: dict[int, _Process]) -> set[Identity]:
    pids = {root.pid for root in roots}
    while more := {pid for pid, entry in table.items() if entry.parent in pids and pid not in pids}:
        pids |= more
    return {table[pid].identity for pid in pids if pid in table}


def _send(identity: Identity, number: signal.Signals) -> None:
    if is_running(identity):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(identity.pid, number)


def main() -> None:
    """Wait for the end of the parent, then end what it has left."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    ledger = Path(sys.argv[1])
    sys.stdin.buffer.read()
    if ledger.exists():
        end_everything(ledger)


if __name__ == "__main__":
    main()
