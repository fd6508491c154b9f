"""Time limits of many calls at once, watched by one timer.

gevent's own Timeout sets a timer for each call, a quarter of what a lean call costs. Calls are
limited to seconds, so it is exact enough to look for late ones twenty times a second.
"""

import weakref
from time import monotonic
from typing import Any

import gevent
from gevent import getcurrent

PERIOD_S = 0.05


class Deadlines:
    """Of the greenlets of one thread, each of which has one deadline at a time."""

    def __init__(self) -> None:
        self._ends: dict[Any, tuple[float, Exception]] = {}
        self._is_looking = False

    def begin(self, end_s: float, error: Exception) -> None:
        """Have `error` raised in this greenlet where it waits, if `end` is not called by `end_s`.

        Args:
            end_s: on the monotonic clock.
            error: what is raised.
        """
        if not self._is_looking:
            self._look_regularly()
        self._ends[getcurrent()] = (end_s, error)

    def end(self) -> None:
        """This greenlet has done what it had to do in time."""
        self._ends.pop(getcurrent(), None)

    def _look_regularly(self) -> None:
        self._is_looking = True
        # Not counted as work: it must not keep an event loop going that has nothing else to do.
        timer = gevent.get_hub().loop.timer(PERIOD_S, PERIOD_S, ref=False)
        timer.start(_look, self._ends)
        weakref.finalize(self, timer.close)


def _look(ends: dict[Any, tuple[float, Exception]]) -> None:
    """In the hub, so that every greenlet in `ends` is waiting right now."""
    now_s = monotonic()
    late = [(greenlet, error) for greenlet, (end_s, error) in ends.items() if end_s <= now_s]
    for greenlet, error in late:
        if ends.pop(greenlet, None) is not None:
            greenlet.throw(error)
