"""Starts and stops an environment from another program; the daemon does the work.

    with StandIn.start(settings, instance_dir, print) as environment:
        os.environ.update(environment.endpoints.as_variables())

The daemon ends with us: its standard input is a pipe of ours, which the kernel closes however we
end. It has a session of its own, so that Ctrl-C reaches us first and we decide what it means.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Self

import psutil

from mwaa_headroom.harness.errors import EnvironmentStartError, InstallError, UsageError
from mwaa_headroom.harness.local.instance import (
    Endpoints,
    Instance,
    read_json,
    without_aws_settings,
    writing_to,
)
from mwaa_headroom.harness.local.processes import MARKER, has_leftovers, reclaim
from mwaa_headroom.harness.local.settings import LocalSettings, SimulatedSettings

STOP_TIMEOUT_S: Final = 60.0  # PostgreSQL and Airflow may take their time
KILL_TIMEOUT_S: Final = 10.0
POLL_S: Final = 0.1
DAEMON: Final = "mwaa_headroom.harness.local.daemon"
# What the extra "local" installs; only a running environment needs it.
PACKAGES: Final = ("aiohttp", "flask", "moto", "trustme", "uv")
# What a daemon may end with; of everything else, only that it did not come up is known.
_ERRORS: Final = {kind.__name__: kind for kind in (InstallError, UsageError)}


class StandIn:
    """A running environment that ends with this process, or when told to."""

    def __init__(self, instance: Instance, daemon: "subprocess.Popen[str]") -> None:
        ready = read_json(instance.ready_path) or {}
        self.endpoints = Endpoints.from_ready(ready)
        self.facts: dict[str, object] = ready["facts"]
        self.pid = daemon.pid
        self._instance = instance
        self._daemon = daemon
        self._events_read = 0
        self._unwritten: deque[dict[str, object]] = deque()
        self._has_failed = False
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()

    @classmethod
    def start(
        cls,
        settings: LocalSettings | SimulatedSettings,
        instance_dir: Path,
        on_progress: Callable[[str], None],
    ) -> "StandIn":
        """Start an environment and wait until it takes calls; raises as `start_daemon`."""
        instance = Instance(instance_dir)
        return cls(instance, start_daemon(settings, instance, on_progress, ends_with_us=True))

    def new_events(self) -> list[dict[str, object]]:
        """What happened since the last call, as events of the environment."""
        with self._instance.events_path.open("rb") as file:
            file.seek(self._events_read)
            *whole_lines, rest = file.read().split(b"\n")
            self._events_read = file.tell() - len(rest)
        unwritten = [self._unwritten.popleft() for _ in range(len(self._unwritten))]
        return [json.loads(line) for line in whole_lines] + unwritten

    def status(self) -> dict[str, Any]:
        """Webservers, calls and CPU as of about a second ago; empty before the first time."""
        return read_json(self._instance.status_path) or {}

    def is_running(self) -> bool:
        """False once the daemon has ended or has to end, for whatever reason."""
        return not self._has_failed and self._daemon.poll() is None

    def stop(self) -> None:
        """Stop everything and wait until it is gone; may be called again."""
        _end(self._daemon, self._instance)
        self._listening.join()

    def _listen(self) -> None:
        assert self._daemon.stdout is not None  # noqa: S101 - it is a pipe
        with self._daemon.stdout as lines:
            for line in lines:
                message = _message(line)
                if "event" in message:
                    self._unwritten.append(message["event"])
                self._has_failed |= "failed" in message

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def require_packages() -> None:
    """Refuse with a UsageError to go on without what only environments on this machine need."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"Environments on this machine need packages that are missing ({', '.join(missing)}):"
            " run `pip install 'mwaa-headroom[local]'`."
        )


def start_daemon(
    settings: LocalSettings | SimulatedSettings,
    instance: Instance,
    on_progress: Callable[[str], None],
    *,
    ends_with_us: bool,
) -> "subprocess.Popen[str]":
    """Start an environment's daemon and wait until it is ready.

    Raises:
        UsageError: the packages for local environments are not installed, one is already running in
            this folder, or the port is not free.
        EnvironmentStartError: it did not come up.
        InstallError: Airflow could not be installed.
    """
    require_packages()
    if instance.is_running():
        raise instance.already_running()
    instance.write_settings(settings)
    options = ["--stop-with-stdin"] if ends_with_us else []
    with writing_to(instance.directory):
        log = instance.log_path.open("wb")
    with log:
        daemon = subprocess.Popen(
            [sys.executable, "-m", DAEMON, str(instance.directory), *options],
            stdin=subprocess.PIPE if ends_with_us else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            # The user's AWS settings are for the caller's account, not for what runs inside.
            env={
                **without_aws_settings(os.environ),
                "PYTHONIOENCODING": "utf-8",  # not the terminal's: we read what it prints
            },
            start_new_session=True,
            encoding="utf-8",
        )
    try:
        _wait_until_ready(daemon, instance, on_progress)
    except BaseException:  # Ctrl-C included: nothing may stay behind
        _end(daemon, instance)
        if daemon.stdout is not None:
            daemon.stdout.close()
        raise
    return daemon


def stop_daemon(instance: Instance, clock: Callable[[], float] = time.monotonic) -> bool:
    """Stop whatever runs in this folder, and clear away what a killed daemon left.

    Returns:
        Whether there was something to stop.

    Raises:
        EnvironmentStartError: something could not be ended.
    """
    had_leftovers = has_leftovers(instance.processes_path)
    was_running = False
    deadline_s = clock() + STOP_TIMEOUT_S
    # Not by the lock: somebody may have removed the folder, or a daemon may not have taken it yet.
    while (left := _processes_of(instance, DAEMON)) and clock() < deadline_s + KILL_TIMEOUT_S:
        was_running = True
        for process in left:
            with suppress(psutil.Error):
                process.send_signal(signal.SIGTERM if clock() < deadline_s else signal.SIGKILL)
        time.sleep(POLL_S)
    reclaim(instance.processes_path)
    instance.remove_secrets()
    deadline_s = clock() + KILL_TIMEOUT_S  # a killed daemon's watchdog may be at it as well
    while (left := _processes_of(instance, DAEMON, MARKER)) or _is_there(instance):
        if clock() > deadline_s:
            break
        time.sleep(POLL_S)
    if left or _is_there(instance):
        named = f" ({', '.join(str(process.pid) for process in left)})" if left else ""
        raise EnvironmentStartError(
            f"Some processes of '{instance.directory}' could not be ended{named}; see"
            f" '{instance.log_path}' and end them by hand."
        )
    return was_running or had_leftovers


def _is_there(instance: Instance) -> bool:
    return instance.is_running() or has_leftovers(instance.processes_path)


def _processes_of(instance: Instance, *marks: str) -> list[psutil.Process]:
    """Processes with this folder and one of the marks in their command or their variables."""
    folder = str(instance.directory)
    found = []
    for process in psutil.process_iter():
        try:
            command, variables = process.cmdline(), process.environ()
        except psutil.Error:
            continue  # ended, or somebody else's
        texts = (*command, *variables.values())
        is_marked = any(mark in command or mark in variables for mark in marks)
        if is_marked and any(text == folder or f"{folder}/" in text for text in texts):
            found.append(process)
    return found


def _wait_until_ready(
    daemon: "subprocess.Popen[str]", instance: Instance, on_progress: Callable[[str], None]
) -> None:
    assert daemon.stdout is not None  # noqa: S101 - it is a pipe
    for line in daemon.stdout:
        message = _message(line)
        if "progress" in message:
            on_progress(message["progress"])
        if "error" in message:
            kind = _ERRORS.get(message["kind"], EnvironmentStartError)
            raise kind(_naming_the_log(message["error"], instance))
        if "ready" in message:
            return
    raise EnvironmentStartError(
        _naming_the_log("The environment ended while it was starting.", instance)
    )


def _message(line: str) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError:
        return {}  # a library printed something
    return message if isinstance(message, dict) else {}


def _naming_the_log(sentence: str, instance: Instance) -> str:
    if str(instance.directory) in sentence:
        return sentence
    return f"{sentence.rstrip('.')} (log: '{instance.log_path}')."


def _end(daemon: "subprocess.Popen[str]", instance: Instance) -> None:
    if daemon.stdin is not None:
        daemon.stdin.close()
    if daemon.poll() is None:
        daemon.send_signal(signal.SIGTERM)
    try:
        daemon.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait(KILL_TIMEOUT_S)
    reclaim(instance.processes_path)
