"""Sources of credentials as users have them, gone wrong: each is one sentence with exit code 2.

From public reports: a credential_process that prints no JSON, nothing, or a list (boto/botocore
2779, okta/okta-aws-cli 169); a cache file that is damaged (boto/botocore 3106); a cached sign-on
without its expiry (61418/aws-sso-util 88); container credentials with an empty expiry
(awslabs/amazon-ecs-local-container-endpoints 26) or refused (boto/botocore 3117); two variables
that name profiles (boto/boto3 3891); an expiry without a time zone (boto/botocore 1980) or in
another form (fluent/fluent-bit 9025); profiles that lead to each other (boto/botocore 1780).
"""

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from botocore.credentials import Credentials

from mwaa_headroom.harness.aws.clients import make_clients
from mwaa_headroom.harness.aws.credentials import HandedCredentials, KeySource
from mwaa_headroom.harness.errors import EnvironmentAccessError, ExitCode

SSO_URL = "https://example.awsapps.com/start"
SSO = f"""
[profile x]
sso_start_url = {SSO_URL}
sso_region = us-east-1
sso_account_id = 123456789012
sso_role_name = Dev
"""
MFA = """
[profile x]
role_arn = arn:aws:iam::123456789012:role/a
source_profile = base
mfa_serial = arn:aws:iam::123456789012:mfa/me
[profile base]
aws_access_key_id = AKIAEXAMPLEEXAMPLE00
aws_secret_access_key = secret
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of this machine's own configuration counts, and nothing leaves it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for service in ("MWAA", "STS", "SSO"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", "http://127.0.0.1:9")
    (tmp_path / ".aws").mkdir()
    return tmp_path


def configure(home: Path, text: str) -> None:
    (home / ".aws" / "config").write_text(text)


def problem(profile: str | None = "x") -> str:
    with pytest.raises(EnvironmentAccessError) as told:
        KeySource(make_clients(environment="env", profile=profile).credentials, "env").line()
    assert told.value.exit_code == ExitCode.USAGE
    assert "\n" not in str(told.value)
    return str(told.value)


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("/bin/echo hello", "JSON"),
        ("/bin/true", "JSON"),
        ("/bin/echo []", "unusable"),
        ("/bin/echo '{}'", "fetched"),
        ("/bin/echo '{\"Version\": 1}'", "fetched"),
        ("/bin/false", "fetched"),
        ("/opt/none/creds", "/opt/none/creds"),
        ("/etc/hostname", "/etc/hostname"),
        ("/bin/echo 'unbalanced", "ValueError|wrong"),
    ],
)
def test_a_credential_process_that_gives_none(home: Path, command: str, word: str) -> None:
    configure(home, f"[profile x]\ncredential_process = {command}\n")
    assert any(one in problem() for one in word.split("|"))


def process_that_expires(home: Path, expiration: object) -> None:
    printed = {"Version": 1, "AccessKeyId": "ASIA1", "SecretAccessKey": "s", "SessionToken": "t"}
    (home / "printed").write_text(json.dumps({**printed, "Expiration": expiration}))
    configure(home, f"[profile x]\ncredential_process = /bin/cat {home / 'printed'}\n")


@pytest.mark.parametrize(
    ("expiration", "word"),
    [
        ("2999-01-01T00:00:00", "time zone"),
        ("2001-01-01T00:00:00Z", "expired"),
        (1796061428, "unusable"),
        ("1796061428", "out of range"),
    ],
)
def test_an_expiry_that_cannot_be_used(home: Path, expiration: object, word: str) -> None:
    process_that_expires(home, expiration)
    assert word in problem()


@pytest.mark.parametrize(
    "expiration",
    ["2999-01-01T00:00:00Z", "2999-01-01T02:00:00+02:00", "Tue, 01 Jan 2999 00:00:00 GMT", None],
)
def test_an_expiry_in_any_form_that_botocore_reads(home: Path, expiration: object) -> None:
    process_that_expires(home, expiration)
    clients = make_clients(environment="env", profile="x")
    assert b"ASIA1" in KeySource(clients.credentials, "env").line()


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ("role_arn = r\nsource_profile = y\n[profile y]\nrole_arn = q\nsource_profile = x", "loop"),
        ("role_arn = r\nsource_profile = y", "does not exist"),
        ("role_arn = r\nsource_profile = y\n[profile y]\nregion = z", "must have credentials"),
        (
            "role_arn = r\nsource_profile = y\n[profile y]\nrole_arn = q\n"
            "web_identity_token_file = /none/token",
            "/none/token",
        ),
    ],
)
def test_profiles_that_lead_nowhere(home: Path, config: str, word: str) -> None:
    configure(home, f"[profile x]\n{config}\n")
    assert word in problem()


@pytest.mark.parametrize("cached", ["{", "[]", "{}", '{"accessToken": "t"}', '{"expiresAt": 1}'])
def test_a_damaged_sign_on_in_the_cache(home: Path, cached: str) -> None:
    configure(home, SSO)
    cache = home / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    (cache / f"{hashlib.sha1(SSO_URL.encode()).hexdigest()}.json").write_text(cached)  # noqa: S324
    problem()


def test_a_sign_on_that_is_over(home: Path) -> None:
    configure(home, SSO)
    assert "aws sso login" in problem()


@pytest.fixture
def container(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, object]]:
    """What the container's source of credentials answers: status and body."""
    answer: dict[str, object] = {"status": 200, "body": ""}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(int(str(answer["status"])))
            self.end_headers()
            self.wfile.write(str(answer["body"]).encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/creds"
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)
        yield answer
        server.shutdown()


KEYS = {"AccessKeyId": "ASIA1", "SecretAccessKey": "s", "Token": "t"}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, json.dumps({**KEYS, "Expiration": ""})),
        (200, json.dumps({**KEYS, "Expiration": "soon"})),
        (200, json.dumps(KEYS)),
        (200, "<html>"),
        (400, "[18b9740f]: (ExpiredTokenException): The token\nincluded is expired"),
    ],
)
def test_a_container_whose_credentials_cannot_be_used(
    container: dict[str, object], status: int, body: str
) -> None:
    container.update(status=status, body=body)
    problem(profile=None)


def test_which_profile_a_load_process_has_does_not_matter_to_its_keys(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two variables that name profiles botocore takes the other one than the user meant."""
    configure(home, MFA + "[profile other]\ncredential_process = /bin/false\n")
    monkeypatch.setenv("AWS_PROFILE", "x")
    monkeypatch.setenv("AWS_DEFAULT_PROFILE", "other")
    reading, writing = os.pipe()
    try:
        os.write(writing, KeySource(Credentials("AKIA", "secret"), "env").line())
        keys = HandedCredentials(reading)
        for profile in ("x", "other", None):
            clients = make_clients(environment="env", profile=profile, keys=keys)
            assert clients.credentials is keys
    finally:
        os.close(reading)
        os.close(writing)
