"""The process that is one environment: `python -m mwaa_headroom.harness.local.daemon INSTANCE_DIR`.

Standard output is JSON lines for whoever started it: {"progress": sentence}, then {"ready": true}
or {"error": sentence, "kind": class}; later {"event": ...} for what could not be written to the
file of events, and {"failed": sentence} when it has to end, before all is taken down. It lives
until SIGTERM, SIGINT or SIGHUP or, with --stop-with-stdin, until its standard input ends, that is
until its parent is gone, however it went.
"""

import argparse
import asyncio
import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Final

from mwaa_headroom.harness.errors import HeadroomError
from mwaa_headroom.harness.local.instance import Instance, write_json

LOCK_ATTEMPTS: Final = 20  # somebody may hold the lock for a moment, to see whether it is taken
LOCK_RETRY_S: Final = 0.1


def main() -> None:
    """Be an environment until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m mwaa_headroom.harness.local.daemon")
    parser.add_argument("instance_dir", type=Path)
    parser.add_argument("--stop-with-stdin", action="store_true")
    arguments = parser.parse_args()
    _raise_file_limit()
    sys.exit(asyncio.run(_serve(Instance(arguments.instance_dir), arguments.stop_with_stdin)))


def _raise_file_limit() -> None:
    """Every call is two connections here, and the usual soft limit of 1024 is for `select`."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(instance: Instance, stop_with_stdin: bool) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    if stop_with_stdin:
        await _call_at_end_of_stdin(stop.set)
    stopping = asyncio.create_task(stop.wait())
    running = asyncio.create_task(_run(instance))
    await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
    running.cancel()
    try:
        await running
    except asyncio.CancelledError:
        return 0
    except HeadroomError as exc:
        _say({"error": str(exc), "kind": type(exc).__name__})
    except Exception as exc:  # the last line of defence: whoever waits for us must hear of it
        traceback.print_exc()
        _say({"error": f"The environment failed unexpectedly: {exc!r}.", "kind": "HeadroomError"})
    return 1


async def _run(instance: Instance) -> None:
    with await _take_lock(instance):
        await _run_locked(instance)


async def _run_locked(instance: Instance) -> None:
    # Imported here so that a wrong instance or a taken lock is known at once.
    from mwaa_headroom.harness.local.environment import running_environment
    from mwaa_headroom.harness.local.processes import reclaim

    reclaim(instance.processes_path)
    settings = instance.read_settings()
    for path in (instance.ready_path, instance.status_path, instance.cloudtrail_path):
        path.unlink(missing_ok=True)
    try:
        async with running_environment(
            settings,
            instance,
            progress=lambda sentence: _say({"progress": sentence}),
            unwritten=lambda event: _say({"event": event}),
        ) as running:
            ready = {**asdict(running.endpoints), "facts": running.facts, "pid": os.getpid()}
            write_json(instance.ready_path, ready)
            _say({"ready": True})
            try:
                await running.keep_going()
            except Exception as exc:
                _say({"failed": str(exc)})
                raise
    finally:
        instance.remove_secrets()


async def _take_lock(instance: Instance) -> IO[bytes]:
    for _ in range(LOCK_ATTEMPTS):
        lock = instance.take_lock()
        if lock is not None:
            return lock
        await asyncio.sleep(LOCK_RETRY_S)
    raise instance.already_running()


async def _call_at_end_of_stdin(callback: Callable[[], None]) -> None:
    class UntilItEnds(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - as asyncio has it
            callback()

    await asyncio.get_running_loop().connect_read_pipe(UntilItEnds, sys.stdin)


def _say(message: dict[str, object]) -> None:
    with suppress(OSError):  # nobody may be listening any more
        print(json.dumps(message), flush=True)  # noqa: T201 - the protocol with our parent


if __name__ == "__main__":
    main()
