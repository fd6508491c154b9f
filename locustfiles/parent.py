"""Load processes end with whoever started them: load must not go on when nobody watches it."""

import logging
import os
import signal

import gevent

from harness.fleet import PARENT_VARIABLE

LOOK_EVERY_S = 1.0

logger = logging.getLogger(__name__)


def follow_parent() -> None:
    """Once `headroom` is gone, have Locust end this process in order, as SIGTERM does.

    Of a process that nobody but the user started, nothing is watched.
    """
    parent = os.environ.get(PARENT_VARIABLE)
    if parent is not None:
        gevent.spawn(_watch, int(parent))


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        gevent.sleep(LOOK_EVERY_S)
    logger.critical("Whoever started this process is gone, so it ends.")
    os.kill(os.getpid(), signal.SIGTERM)
