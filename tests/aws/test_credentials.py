"""Keys go from the main process to the load processes, through a pipe, as they change."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from botocore.credentials import Credentials, RefreshableCredentials

from mwaa_headroom.harness.aws import credentials as credentials_module
from mwaa_headroom.harness.aws.credentials import (
    ASK_EVERY_S,
    ASK_FILES_EVERY_S,
    HandedCredentials,
    KeySource,
    session_of,
)
from mwaa_headroom.harness.errors import EnvironmentAccessError, NotAllowedError
from mwaa_headroom.harness.transport.signer import LOOK_EVERY_S, CurrentKeys

CONFIG = """
[profile mfa]
role_arn = arn:aws:iam::123456789012:role/a
source_profile = base
mfa_serial = arn:aws:iam::123456789012:mfa/me
region = eu-west-1
[profile base]
aws_access_key_id = AKIAEXAMPLEEXAMPLE00
aws_secret_access_key = secret
"""


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


class Role:
    """A source of temporary credentials: each time others, that live for so long."""

    def __init__(self, life_s):
        self.life_s = life_s
        self.fetched = 0
        self.problem = None

    def __call__(self):
        if self.problem:
            raise self.problem
        self.fetched += 1
        until = datetime.now(UTC) + timedelta(seconds=self.life_s)
        return {
            "access_key": f"ASIA{self.fetched}",
            "secret_key": "s",
            "token": "t",
            "expiry_time": until.isoformat(),
        }

    def credentials(self):
        return RefreshableCredentials.create_from_metadata(self(), self, "test")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_keys_that_never_change_are_handed_over_once(pipe):
    clock = Clock()
    source = KeySource(Credentials("AKIA", "secret", "token"), "env", clock=clock)
    os.write(pipe[1], source.line())
    handed = HandedCredentials(pipe[0])
    assert handed.get_frozen_credentials() == ("AKIA", "secret", "token", None)
    clock.now_s += 10 * ASK_EVERY_S
    assert source.new_line() is None
    assert not handed.refresh_needed(900)
    assert handed.get_frozen_credentials() is handed.get_frozen_credentials()


def test_new_keys_reach_the_signer_of_a_running_load(pipe):
    role, clock = Role(life_s=600), Clock()  # botocore renews what lives for less than 15 minutes
    source = KeySource(role.credentials(), "env", clock=clock)
    os.write(pipe[1], source.line())
    keys = CurrentKeys(HandedCredentials(pipe[0]), clock=clock)
    first = keys.get()
    assert source.new_line() is None, "too early to ask"
    clock.now_s += ASK_EVERY_S
    line = source.new_line()
    assert line is not None
    os.write(pipe[1], line[:10])
    clock.now_s += LOOK_EVERY_S
    assert keys.get() is first, "a line that is not whole is none"
    os.write(pipe[1], line[10:])
    clock.now_s += LOOK_EVERY_S
    assert keys.get().access_key == f"ASIA{role.fetched}" != first.access_key


def test_keys_that_expire_soon_are_asked_for_at_once_and_a_failure_is_a_sentence(pipe):
    role = Role(life_s=20)
    source = KeySource(role.credentials(), "env", clock=Clock())
    source.line()
    role.problem = FileNotFoundError(2, "No such file or directory", "/opt/creds")
    with pytest.raises(EnvironmentAccessError, match="/opt/creds"):
        source.new_line()
    role.problem = None
    assert b"ASIA" in source.new_line()


def test_a_load_process_that_is_handed_nothing_says_so(pipe, monkeypatch):
    monkeypatch.setattr(credentials_module, "FIRST_LINE_WITHIN_S", 0.01)
    with pytest.raises(EnvironmentAccessError, match="handed"):
        HandedCredentials(pipe[0])


def test_with_handed_keys_nobody_else_is_asked(pipe, monkeypatch, tmp_path):
    """The profile would ask for an MFA code; its other settings still count."""
    (tmp_path / "config").write_text(CONFIG)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for name in credentials_module.KEY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    os.write(pipe[1], KeySource(Credentials("AKIA", "secret"), "env").line())
    handed = HandedCredentials(pipe[0])
    session = session_of("mfa", None, handed)
    assert session.client("mwaa").meta.region_name == "eu-west-1"
    assert session.client("mwaa")._get_credentials() is handed


class Rewritten:
    """A file of keys, the clients that use them, and what the chain finds in it."""

    def __init__(self, path, method="shared-credentials-file"):
        self.path = path
        self.clock = Clock()
        self.given = Credentials("ASIA1", "secret-1", "token-1", method=method)
        self.found = self.given
        self.asked = 0
        path.write_text("first")
        self.source = KeySource(
            self.given, "env", files=(path,), find_again=self.find_again, clock=self.clock
        )
        self.source.line()

    def find_again(self):
        self.asked += 1
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def rewrite(self, found):
        self.found = found
        self.path.with_name("new").write_text("other")
        self.path.with_name("new").replace(self.path)

    def later(self):
        self.clock.now_s += ASK_FILES_EVERY_S
        return self.source.new_line()


NEW = Credentials("ASIA2", "secret-2", "token-2")


def test_keys_that_another_program_has_written_are_handed_over_and_used_by_the_same_clients(
    tmp_path,
):
    file = Rewritten(tmp_path / "credentials")
    assert file.later() is None
    assert file.asked == 0, "nothing has changed"
    file.rewrite(NEW)
    assert b"ASIA2" in file.later()
    assert file.given.get_frozen_credentials() == NEW.get_frozen_credentials()
    file.rewrite(NEW)
    assert file.later() is None, "the same keys again"
    assert (file.later(), file.asked) == (None, 2)


@pytest.mark.parametrize(
    "found", [None, EnvironmentAccessError("denied"), NotAllowedError("another account's")]
)
def test_keys_that_cannot_be_used_leave_the_old_ones_and_are_tried_again(tmp_path, found):
    file = Rewritten(tmp_path / "credentials")
    file.rewrite(found)
    for _ in range(2):
        if found is None:
            assert file.later() is None
        else:
            with pytest.raises(EnvironmentAccessError, match=f"not used: {found}"):
                file.later()
        assert file.source.new_line() is None, "not all the time"
    assert (file.given.access_key, file.asked) == ("ASIA1", 2)
    file.found = NEW
    assert b"ASIA2" in file.later()


def test_keys_of_variables_are_not_looked_for_in_files(tmp_path):
    file = Rewritten(tmp_path / "credentials", method="env")
    file.rewrite(NEW)
    assert file.later() is None
    assert file.asked == 0
