import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest

# Canned server and run directories are shared with the benchmarks, which are scripts.
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

# Locust would patch the standard library of all tests. The processes that they start must not
# inherit this, so it is gone again at once.
os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"
import locust  # noqa: F401

del os.environ["LOCUST_SKIP_MONKEY_PATCH"]

from mwaa_headroom.locustfiles.senders import SenderPool


@pytest.fixture(scope="module", autouse=True)
def nothing_stays_frozen() -> Iterator[None]:
    """A dispatcher keeps what is there out of garbage collection, for the rest of its process."""
    yield
    gc.unfreeze()


@pytest.fixture
def start_senders() -> Iterator[Callable[[SenderPool, int], None]]:
    """Greenlets that live in a pool, as Locust's users do."""
    senders: list[gevent.Greenlet] = []

    def start(pool: SenderPool, count: int) -> None:
        senders.extend(gevent.spawn(pool.serve) for _ in range(count))
        gevent.sleep(0)  # they are idle now

    yield start
    gevent.killall(senders)
