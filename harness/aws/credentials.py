"""Credentials are found once, by the main process, which hands them to the load processes.

A chain may ask for an MFA code, run a program or call AWS: once, where the user is. Only keys that
were in a file are looked for again, when it has changed: other programs renew temporary keys there.
The keys pass through a pipe, the load process's standard input, as one JSON line for each set of
keys: they are never on disk, in arguments or in environment variables.
"""

import json
import os
import select
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
import botocore.session
from botocore.credentials import CredentialProvider, Credentials, ReadOnlyCredentials

from mwaa_headroom.harness.aws.translate import aws_call
from mwaa_headroom.harness.errors import EnvironmentAccessError, HeadroomError

KEY_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
)
ASK_EVERY_S = 60.0  # botocore then decides whether new keys are due: 15 minutes before expiry
EXPIRES_SOON_S = 30.0  # for keys that live for less
ASK_FILES_EVERY_S = 5.0  # at most
FIRST_LINE_WITHIN_S = 30.0
_STDIN = 0
_MEMBERS = ("access_key", "secret_key", "token")
_METHODS_OF_FILES = ("shared-credentials-file", "config-file")  # botocore's names


class KeySource:
    """The main process's end: has new keys whenever there are some.

    Args:
        credentials: as botocore's chain found them; their own refreshing is used. Keys of a file
            are replaced in place, so that the clients they belong to have the new ones too.
        environment: its name, for error messages.
        files: that the chain read.
        find_again: the chain once more, and that its keys are still for the same environment; None:
            it finds none.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        credentials: Any,
        environment: str,
        *,
        files: tuple[Path, ...] = (),
        find_again: Callable[[], Credentials | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._credentials = credentials
        self._environment = environment
        self._files = files if credentials.method in _METHODS_OF_FILES else ()
        self._stamps = self._stamps_now()
        self._find_again = find_again
        self._clock = clock
        self._last: ReadOnlyCredentials | None = None
        self._asked_s = float("-inf")

    def line(self) -> bytes:
        """The keys of now, for a load process that starts.

        Raises:
            EnvironmentAccessError: they cannot be had.
        """
        self._asked_s = self._clock()
        with aws_call("fetching credentials", environment=self._environment):
            self._last = self._credentials.get_frozen_credentials()
        return (json.dumps({name: getattr(self._last, name) for name in _MEMBERS}) + "\n").encode()

    def new_line(self) -> bytes | None:
        """Other keys than the last ones; None: there are none, or it is too early to ask.

        Raises:
            EnvironmentAccessError: they cannot be had.
        """
        renews_itself = hasattr(self._credentials, "refresh_needed")
        if not (self._is_due() if renews_itself else self._was_rewritten()):
            return None
        before = self._last
        line = self.line()
        return None if self._last == before else line

    def _is_due(self) -> bool:
        due = self._clock() - self._asked_s >= ASK_EVERY_S
        return due or bool(self._credentials.refresh_needed(EXPIRES_SOON_S))

    def _was_rewritten(self) -> bool:
        stamps = self._stamps_now()
        if stamps == self._stamps or self._clock() - self._asked_s < ASK_FILES_EVERY_S:
            return False
        self._asked_s = self._clock()
        try:
            found = self._find_again()
        except HeadroomError as exc:
            message = f"The AWS keys in your files have changed and are not used: {exc}"
            raise EnvironmentAccessError(message) from exc
        if found is None:  # it is just being written
            return False
        keys = found.get_frozen_credentials()
        for name in _MEMBERS:
            setattr(self._credentials, name, getattr(keys, name))
        self._stamps = stamps
        return True

    def _stamps_now(self) -> list[tuple[int, int, int]]:
        stamps = []
        for file in self._files:
            with suppress(OSError):
                status = file.stat()
                stamps.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return stamps


class HandedCredentials(Credentials):
    """The load process's end, for boto3 clients and for `transport.signer.CurrentKeys`.

    Args:
        descriptor: of the pipe; what comes later is read whenever somebody asks.

    Raises:
        EnvironmentAccessError: nothing came in time.
    """

    def __init__(self, descriptor: int = _STDIN) -> None:
        self._descriptor = descriptor
        self._unread = b""
        readable, _, _ = select.select([descriptor], [], [], FIRST_LINE_WITHIN_S)
        os.set_blocking(descriptor, False)
        keys = self._read() if readable else None
        if keys is None:
            raise EnvironmentAccessError("No AWS credentials were handed to this load process.")
        self._newest = self._given = keys
        super().__init__(str(keys.access_key), str(keys.secret_key), keys.token, method="headroom")

    def refresh_needed(self, refresh_in: float | None = None) -> bool:  # noqa: ARG002 - botocore's
        """Whether newer keys are there than `get_frozen_credentials` gave last."""
        self._newest = self._read() or self._newest
        return self._newest is not self._given

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """The newest keys; the same object until there are others."""
        self.refresh_needed()
        self._given = self._newest
        return self._given

    def _read(self) -> ReadOnlyCredentials | None:
        with suppress(BlockingIOError):
            while data := os.read(self._descriptor, 65536):
                self._unread += data
        *lines, self._unread = self._unread.split(b"\n")
        return ReadOnlyCredentials(**json.loads(lines[-1])) if lines else None


class _Handed(CredentialProvider):
    """First in botocore's chain: the rest of it is never asked."""

    METHOD = CANONICAL_NAME = "headroom"

    def __init__(self, keys: Credentials) -> None:
        super().__init__()
        self._keys = keys

    def load(self) -> Credentials:
        return self._keys


def session_of(
    profile: str | None, region: str | None, keys: Credentials | None = None
) -> boto3.Session:
    """A session as the user configured it; with `keys` no other source of them is asked.

    Raises:
        Exception: whatever botocore lets out on a configuration that cannot be used.
    """
    if keys is None:
        return boto3.Session(profile_name=profile, region_name=region)
    session = botocore.session.Session(profile=profile)
    session.get_component("credential_provider").providers.insert(0, _Handed(keys))
    return boto3.Session(botocore_session=session, region_name=region)


def files_of_keys(profile: str | None) -> tuple[Path, ...]:
    """Where botocore's chain looks for a profile; they need not exist."""
    session = botocore.session.Session(profile=profile)
    names = ("credentials_file", "config_file")
    return tuple(Path(session.get_config_variable(name)).expanduser() for name in names)


def asks_for_code(profile: str | None) -> bool:
    """Whether whoever renews a profile's keys is asked for an MFA code."""
    return "mfa_serial" in botocore.session.Session(profile=profile).get_scoped_config()
