"""`headroom worker`: a Locust worker for a run that somebody started elsewhere."""

import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from mwaa_headroom.harness.errors import ExitCode, HeadroomError, UsageError
from mwaa_headroom.harness.run.load_processes import (
    ALLOW_VARIABLE,
    EXIT_FINISHED,
    EXIT_UNUSABLE,
    locust_variables,
    worker_command,
)

MASTER_COMES_S = 120.0
DRAIN_S = 180.0  # calls in flight end within their time limit, which only the plan knows
_TRY_AGAIN_S = 0.5
_CONNECT_S = 3.0


def run_worker(
    host: str,
    port: int,
    *,
    variables: Mapping[str, str],
    allow_environment: str | None,
    say: Callable[[str], None],
) -> ExitCode:
    """Send what the master tells, until it says that the run is over.

    KeyboardInterrupt finishes the calls in flight; a second one gives them up.

    Args:
        host: of the master.
        port: of the master.
        variables: of this process; the worker's own AWS settings are among them.
        allow_environment: the ARN that this worker may load; None: no environment on AWS.
        say: tells the user something.

    Raises:
        UsageError: there is no such host.
        HeadroomError: no master answers there, or the load process broke.
    """
    say(f"waiting for the master at {host}:{port}.")
    wait_for_master(host, port)
    say(f"working for the master at {host}:{port}.")
    own = {name: value for name, value in variables.items() if name != ALLOW_VARIABLE}
    if allow_environment is not None:
        own[ALLOW_VARIABLE] = allow_environment
    with tempfile.TemporaryDirectory(prefix="headroom-worker-") as empty:
        process = subprocess.Popen(
            # Without Locust's own log, warnings come as bare sentences on standard error.
            worker_command(host, port, "--skip-log-setup"),
            env=locust_variables(own),
            cwd=empty,  # Locust reads its settings from there, and not from wherever the user is
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # Ctrl-C in the terminal must reach us first.
            start_new_session=True,
        )
        code = _wait_for_end(process, say)
    if code is None:
        return ExitCode.INTERRUPTED
    if code == EXIT_FINISHED:
        return ExitCode.OK
    if code == EXIT_UNUSABLE:  # the load process has said why
        return ExitCode.USAGE
    raise HeadroomError(
        f"The worker ended (code {code}) before the master at {host}:{port} had ended the run; "
        "see what that says."
    )


def wait_for_master(
    host: str,
    port: int,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return when something listens at that address.

    Raises:
        UsageError: there is no such host.
        HeadroomError: nothing listens there for too long.
    """
    give_up_at_s = clock() + MASTER_COMES_S
    while True:
        try:
            socket.create_connection((host, port), timeout=_CONNECT_S).close()
        except socket.gaierror as exc:
            raise UsageError(f"There is no host '{host}': {exc.strerror}.") from exc
        except OSError as exc:
            if clock() > give_up_at_s:
                raise HeadroomError(
                    f"No master answered at {host}:{port} within {MASTER_COMES_S:g} s "
                    f"({exc.strerror or exc}): start `headroom run --expect-workers` there, with "
                    "--bind and an address that this machine can reach."
                ) from exc
            sleep(_TRY_AGAIN_S)
        else:
            return


def _wait_for_end(process: "subprocess.Popen[bytes]", say: Callable[[str], None]) -> int | None:
    """Its exit code; None: our user did not want to wait for it."""
    try:
        return process.wait()
    except KeyboardInterrupt:
        say("interrupted: finishing the calls in flight (Ctrl-C again to kill them).")
    try:
        with suppress(ProcessLookupError):
            process.terminate()
        process.wait(DRAIN_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()
    return None
