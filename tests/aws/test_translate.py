"""Whatever botocore lets out, by its own classes or anybody's, is one sentence with exit code 2."""

import inspect
import json
import string
import subprocess

import botocore.exceptions
import pytest
from botocore.credentials import RefreshableCredentials

from mwaa_headroom.harness.aws.translate import aws_call
from mwaa_headroom.harness.errors import EnvironmentAccessError, ExitCode

SECRET = "do-not-tell-1234"


def of_its_own_kind(kind):
    """An instance, its fields filled in."""
    if issubclass(kind, botocore.exceptions.ClientError):
        return kind({"Error": {"Code": "X", "Message": "no"}}, "Operation")
    fields = [name for _, name, _, _ in string.Formatter().parse(kind.fmt) if name]
    if issubclass(kind, botocore.exceptions.WaiterError):
        return kind(name="x", reason="some\nthing.", last_response={})
    return kind(**dict.fromkeys([*fields, "error"], "some\nthing."))


KINDS = sorted(
    (
        kind
        for _, kind in inspect.getmembers(botocore.exceptions, inspect.isclass)
        if issubclass(kind, botocore.exceptions.BotoCoreError | botocore.exceptions.ClientError)
    ),
    key=lambda kind: kind.__name__,
)


def said(raise_it):
    with (
        pytest.raises(EnvironmentAccessError) as told,
        aws_call("airflow:GetEnvironment", environment="env"),
    ):
        raise_it()
    assert told.value.exit_code == ExitCode.USAGE
    text = str(told.value)
    assert text.startswith("airflow:GetEnvironment on environment 'env': ")
    assert text.endswith(".")
    assert not text.endswith("..")
    assert "\n" not in text
    return text


def test_there_are_many():
    assert len(KINDS) > 90


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_exception_of_botocores_is_one_sentence(kind):
    def raise_it():
        raise of_its_own_kind(kind)

    said(raise_it)


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (EOFError(), "MFA"),
        (FileNotFoundError(2, "No such file or directory", "/none/token"), "/none/token"),
        (PermissionError(13, "Permission denied", "/opt/creds"), "/opt/creds"),
        (json.JSONDecodeError("Expecting value", SECRET, 0), "JSON"),
        (subprocess.TimeoutExpired("/opt/creds", 60), "credential_process"),
        (RuntimeError("Credentials were refreshed, but are still expired."), "expired"),
        (KeyError(SECRET), "KeyError"),
        (TypeError(SECRET), "TypeError"),
        (AttributeError(SECRET), "AttributeError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_a_source_of_credentials_lets_out_is_one_sentence_without_secrets(error, word):
    def fetch():
        raise error

    credentials = RefreshableCredentials(None, None, None, None, fetch, "test")
    credentials._expiry_time = credentials._time_fetcher()
    text = said(credentials.get_frozen_credentials)
    assert word in text
    assert SECRET not in text


def test_an_error_of_our_own_stays_what_it_is():
    with pytest.raises(KeyError), aws_call("airflow:GetEnvironment", environment="env"):
        {}["ours"]
