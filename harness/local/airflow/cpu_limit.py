"""Holds process trees to a number of CPUs through Linux control groups, where that is permitted.

Version 1: a quota (`cpu.cfs_quota_us`) in each period (`cpu.cfs_period_us`). Version 2: both in
`cpu.max`. Whether it is permitted depends on mounts, delegation, namespaces and users, so nothing
is concluded from them: a group is really made, and a process really moved into it.
"""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

# 100 ms, the kernel's default, would let a webserver with a quarter of a CPU run at full speed for
# 25 ms and then stop dead for 75 ms; a short period is nearer to a CPU that is four times slower.
PERIOD_US = 20_000
_MINIMUM_QUOTA_US = 1_000  # the kernel takes no less
_ROUNDS = 5  # a tree that forks while it is moved needs more than one


@dataclass(frozen=True, slots=True)
class Unavailable:
    """CPU limits cannot be set here, and why: half a sentence for the user."""

    reason: str


@dataclass(frozen=True, slots=True)
class CpuLimiter:
    """Makes groups below `parent`."""

    parent: Path
    version: int  # of control groups: 1 or 2

    @classmethod
    def detect(
        cls, root: Path = Path("/sys/fs/cgroup"), *, own_groups: str | None = None
    ) -> "CpuLimiter | Unavailable":
        """Find a place where limits can be set, by trying.

        Args:
            root: where control groups are mounted.
            own_groups: the content of /proc/self/cgroup, read if not given.
        """
        if own_groups is None:
            try:
                own_groups = Path("/proc/self/cgroup").read_text(encoding="utf-8")
            except OSError:
                return Unavailable("this system has no control groups")
        refusals = []
        for parent, version in _candidates(root, own_groups):
            limiter = cls(parent, version)
            refusal = limiter.refusal()
            if refusal is None:
                return limiter
            refusals.append(refusal)
        return Unavailable((*refusals, f"there is no CPU controller under {root}")[0])

    def group(self, name: str) -> Path:
        """The directory of the group with this name."""
        return self.parent / name

    def refusal(self) -> str | None:
        """Why a process cannot be limited here; None if one just has been."""
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as idle:
            group = self.group(f"headroom-trial-{os.getpid()}")
            try:
                self.limit(group, lambda: [idle.pid], cpus=0.5)
                moved = str(idle.pid) in (group / "cgroup.procs").read_text().split()
                refusal = None if moved else f"{group} takes no processes"
            except OSError as exc:
                where = exc.filename or group
                refusal = f"control groups v{self.version}: {where}: {exc.strerror}"
            idle.communicate()
        with contextlib.suppress(OSError):
            group.rmdir()
        return refusal

    def limit(self, group: Path, pids: Callable[[], Iterable[int]], *, cpus: float) -> None:
        """Hold a process tree to `cpus` CPUs; what it starts later is held too.

        Args:
            group: from `group()`; made if needed.
            pids: looks up the tree's processes, as often as it takes until all are moved.
            cpus: may be a fraction, or more than one.

        Raises:
            OSError: not permitted.
        """
        if self.version == 2:
            self._enable_controller()
        group.mkdir(exist_ok=True)
        quota_us = max(round(cpus * PERIOD_US), _MINIMUM_QUOTA_US)
        self._write_quota(group, str(quota_us))
        for _ in range(_ROUNDS):
            outside = set(pids()) - set(map(int, _words(group / "cgroup.procs")))
            for pid in outside:
                with contextlib.suppress(ProcessLookupError):
                    _write(group / "cgroup.procs", str(pid))
            if not outside:
                break

    def lift(self, group: Path) -> None:
        """Let the group's processes run freely again, to end quickly for instance."""
        if not group.exists():
            return
        with contextlib.suppress(OSError):
            self._write_quota(group, "-1" if self.version == 1 else "max")

    def _write_quota(self, group: Path, quota: str) -> None:
        if self.version == 1:
            _write(group / "cpu.cfs_period_us", str(PERIOD_US))
            _write(group / "cpu.cfs_quota_us", quota)
        else:
            _write(group / "cpu.max", f"{quota} {PERIOD_US}")

    def _enable_controller(self) -> None:
        control = self.parent / "cgroup.subtree_control"
        if "cpu" not in control.read_text(encoding="utf-8").split():
            _write(control, "+cpu")


def groups_of(root: Path) -> tuple[Path, ...]:
    """The groups that limit this process's CPU, and those above them; empty: there are none."""
    try:
        own_groups = Path("/proc/self/cgroup").read_text(encoding="utf-8")
    except OSError:
        return ()
    return tuple(group for group, _ in _candidates(root, own_groups))


def _candidates(root: Path, own_groups: str) -> list[tuple[Path, int]]:
    """Places to try, each with its version of control groups, best first."""
    own = {}  # controller -> our own group's path; "" is version 2
    for line in own_groups.splitlines():
        _, controllers, path = line.split(":", 2)
        own.update(dict.fromkeys(controllers.split(","), path.lstrip("/")))
    found = []
    # Below our own group a limit on all of us still holds. Inside a container the path may be one
    # of the host's, which is not there.
    for mount in sorted(root.glob("cpu*")):
        places = [mount / own.get("cpu", ""), mount]
        found += [(place, 1) for place in places if (place / "cpu.cfs_quota_us").exists()]
    if (root / "cgroup.controllers").exists():
        # A group with processes in it, such as our own, cannot hand controllers down, but one above
        # may have been delegated to us.
        group = root / own.get("", "")
        above = [group, *group.parents]
        found += [
            (place, 2)
            for place in above
            if place.is_relative_to(root) and "cpu" in _words(place / "cgroup.controllers")
        ]
    return list(dict.fromkeys(found))


def _words(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").split()
    except OSError:
        return []


def _write(file: Path, text: str) -> None:
    # Unbuffered: the kernel's refusal must come from this very write, with the file's name.
    try:
        with file.open("wb", buffering=0) as stream:
            stream.write(text.encode())
    except OSError as exc:
        exc.filename = exc.filename or str(file)
        raise
