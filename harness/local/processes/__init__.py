"""Child processes that never outlive their parent, however it ends.

Starting, watching and ending processes, with the ledger of what was started and the watchdog that
reads it once the parent is gone. Nothing here knows what the processes are for. The way of finding
them is Linux's (/proc).
"""

from mwaa_headroom.harness.local.processes.children import Child, Children, descendants
from mwaa_headroom.harness.local.processes.watchdog import (
    MARKER,
    has_leftovers,
    reclaim,
    remove_cgroup,
)

__all__ = [
    "MARKER",
    "Child",
    "Children",
    "descendants",
    "has_leftovers",
    "reclaim",
    "remove_cgroup",
]
