"""The folder of one environment on this machine: what is in it, and whose it is at the moment.

lock           held by the daemon for as long as it lives
settings.json  LocalSettings or SimulatedSettings, written before the daemon is started
ready.json     where everything listens, with the credentials: readable by the owner only
status.json    webservers and counters, about every second
events.jsonl   what happened since the daemon started
trail.jsonl    data events of the MWAA API
daemon.log     what the daemon and its libraries had to say
processes/     which child processes there are, to be found again after a kill -9
airflow/       real Airflow's files
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pydantic import TypeAdapter

from harness.errors import EnvironmentStartError
from harness.local.settings import AnyStandIn, LocalSettings, SimulatedSettings

RUN_PREFIX = "run-"  # of the folders of environments that live as long as one run


def instance_root() -> Path:
    """Where environments live: the user's cache folder, as the XDG base directories say."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "headroom" / "local"


@dataclass(frozen=True, slots=True)
class Instance:
    """The folder of one environment."""

    directory: Path

    @property
    def settings_path(self) -> Path:
        """LocalSettings or SimulatedSettings as JSON."""
        return self.directory / "settings.json"

    @property
    def ready_path(self) -> Path:
        """Exists while the environment is up."""
        return self.directory / "ready.json"

    @property
    def status_path(self) -> Path:
        """Rewritten about every second."""
        return self.directory / "status.json"

    @property
    def events_path(self) -> Path:
        """JSON lines, appended."""
        return self.directory / "events.jsonl"

    @property
    def trail_path(self) -> Path:
        """JSON lines, appended."""
        return self.directory / "trail.jsonl"

    @property
    def log_path(self) -> Path:
        """The daemon's standard error."""
        return self.directory / "daemon.log"

    @property
    def processes_path(self) -> Path:
        """State of the child processes."""
        return self.directory / "processes"

    def write_settings(self, settings: LocalSettings | SimulatedSettings) -> None:
        """Make the folder and put the settings into it.

        Raises:
            EnvironmentStartError: the folder cannot be written.
        """
        with writing_to(self.directory):
            self.directory.mkdir(parents=True, exist_ok=True)
            self.directory.chmod(0o700)
        write_json(self.settings_path, settings.model_dump(mode="json"))

    def read_settings(self) -> LocalSettings | SimulatedSettings:
        """Read the settings.

        Raises:
            EnvironmentStartError: they are missing or wrong.
        """
        adapter: TypeAdapter[LocalSettings | SimulatedSettings] = TypeAdapter(AnyStandIn)
        try:
            return adapter.validate_json(self.settings_path.read_bytes())
        except (OSError, ValueError) as exc:
            raise EnvironmentStartError(
                f"The settings in '{self.settings_path}' are missing or damaged; start the"
                " environment again."
            ) from exc

    def take_lock(self) -> IO[bytes] | None:
        """The lock, to be kept open for as long as the environment is ours; None: it is taken.

        Raises:
            EnvironmentStartError: the folder cannot be written.
        """
        with writing_to(self.directory):
            if not self.directory.is_dir():
                self.directory.mkdir(parents=True)
            lock = (self.directory / "lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return None
        return lock

    def daemon_pid(self) -> int | None:
        """The process that holds the lock; None: nobody does, or only just."""
        if not self.is_running():
            return None
        text = (self.directory / "lock").read_text(encoding="utf-8")
        return int(text) if text.isdecimal() else None

    def is_running(self) -> bool:
        """Whether a daemon holds the lock.

        Raises:
            EnvironmentStartError: the folder cannot be written.
        """
        if not self.directory.is_dir():
            return False
        lock = self.take_lock()
        if lock is not None:
            lock.close()
        return lock is None

    def how_to_stop(self) -> str:
        """What the user must do to stop the environment that runs here, as part of a sentence."""
        name = self.directory.name
        if self.directory.parent == instance_root() and not name.startswith(RUN_PREFIX):
            return f"stop it with `headroom local down --name {name}`"
        return "end the `headroom run` (or other program) that started it"


def write_json(path: Path, tree: object) -> None:
    """Replace a file at once, readable by its owner only.

    Raises:
        EnvironmentStartError: its folder cannot be written.
    """
    unfinished = path.with_name(path.name + ".part")
    with writing_to(path.parent):
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(tree, file, indent=2)
        unfinished.replace(path)


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Tell in one sentence that an environment's folder cannot be written.

    Raises:
        EnvironmentStartError: instead of an OSError inside the `with` block.
    """
    try:
        yield
    except OSError as exc:
        raise EnvironmentStartError(
            f"Cannot write to the folder '{folder}' ({exc.strerror}): make room there or set"
            " XDG_CACHE_HOME to a folder you can write to."
        ) from exc


def read_json(path: Path) -> dict[str, Any] | None:
    """An object written by `write_json`; None: there is none."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return tree if isinstance(tree, dict) else None
