"""The folder of one environment on this machine: what is in it, and whose it is at the moment.

lock           held by the daemon for as long as it lives
settings.json  LocalSettings or SimulatedSettings, written before the daemon is started
ready.json     where everything listens, with the credentials: readable by the owner only, and
               there while the environment is up
status.json    webservers and counters, rewritten about every second
events.jsonl   what happened since the daemon started
trail.jsonl    data events of the MWAA API as CloudTrail logs them
daemon.log     what the daemon and its libraries had to say
cloudwatch/    where the CloudWatch server works
processes/     which child processes there are, to be found again after a kill -9
airflow/       real Airflow's files
ca.pem         the issuer of its certificate, if it serves https
"""

import errno
import fcntl
import json
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from pydantic import TypeAdapter

from mwaa_headroom.harness.errors import EnvironmentStartError, UsageError
from mwaa_headroom.harness.local.settings import AnyStandIn, LocalSettings, SimulatedSettings

PASSWORDS_FILE: Final = "passwords.json"  # of Airflow's users, in airflow/
RUN_PREFIX: Final = "run-"  # of the folders of environments that live as long as one run

VARIABLES_TO_UNSET: Final = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
)
"""Must be absent besides `Endpoints.as_variables`: botocore has no value of AWS_PROFILE that means
"none" (an empty or unknown one is an error), and a session token left over from somebody else's
credentials would be sent along."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Addresses and credentials of a running stand-in."""

    mwaa_url: str
    webserver_url: str
    cloudwatch_url: str
    region: str
    environment_name: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    ca_file: str = ""  # of whoever issued its certificate; "": it serves plain HTTP

    @classmethod
    def from_ready(cls, ready: Mapping[str, Any]) -> "Endpoints":
        """From the content of ready.json."""
        return cls(**{name: str(ready[name]) for name in cls.__slots__})

    def as_variables(self) -> dict[str, str]:
        """Variables that point boto3 and the AWS CLI to the stand-in.

        They also switch off what would lead elsewhere: the "env." host prefix of the MWAA API,
        other kinds of endpoints, and proxies. See `VARIABLES_TO_UNSET` for what has to go.
        """
        return {
            **({"AWS_CA_BUNDLE": self.ca_file} if self.ca_file else {}),
            "AWS_ENDPOINT_URL_MWAA": self.mwaa_url,
            "AWS_ENDPOINT_URL_CLOUDWATCH": self.cloudwatch_url,
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
            "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
            "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
            "AWS_USE_FIPS_ENDPOINT": "false",
            "AWS_USE_DUALSTACK_ENDPOINT": "false",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def environment_from(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Those variables, changed so that programs started with them call the stand-in.

        Nothing of the user's own AWS settings is left, which could be wrong or lead elsewhere.
        """
        return {**without_aws_settings(variables), **self.as_variables()}


def without_aws_settings(variables: Mapping[str, str]) -> dict[str, str]:
    """Those variables without AWS's, and with AWS's files hidden from botocore."""
    kept = {name: value for name, value in variables.items() if not name.startswith("AWS_")}
    return {**kept, "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}


def shell_lines(endpoints: Endpoints) -> str:
    """What a shell can evaluate to get there; examples of use follow as comments."""
    lines = [f"unset {' '.join(VARIABLES_TO_UNSET)}"]
    for variable, value in endpoints.as_variables().items():
        # Other addresses that a user keeps from the proxy stay so.
        is_list = variable.lower() == "no_proxy"
        shown = f'"{value}${{{variable}:+,${variable}}}"' if is_list else shlex.quote(value)
        lines.append(f"export {variable}={shown}")
    name = endpoints.environment_name
    lines += [
        "",
        "# With these variables set, for example:",
        f"#   aws mwaa invoke-rest-api --name {name} --path /dags --method GET",
        "#",
        "#   import boto3, json",
        '#   boto3.client("mwaa").invoke_rest_api(',
        f'#       Name="{name}", Method="POST", Path="/dags/headroom_example/dagRuns",',
        '#       Body=json.dumps({"logical_date": None}),',
        "#   )",
        "#",
        "# botocore before 1.37 does not read AWS_DISABLE_HOST_PREFIX_INJECTION: give the client",
        "# Config(inject_host_prefix=False). The SDK for JavaScript needs disableHostPrefix: true.",
    ]
    if endpoints.ca_file:
        ca_file = shlex.quote(endpoints.ca_file)
        lines += [
            f"# For web logins through requests: REQUESTS_CA_BUNDLE={ca_file}",
            f"# For Node.js, which does not read AWS_CA_BUNDLE: NODE_EXTRA_CA_CERTS={ca_file}",
        ]
    return "\n".join(lines)


def cache_home() -> Path:
    """Where this project caches, as the XDG base directories say."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headroom"


def instance_root() -> Path:
    """Where environments live."""
    return cache_home() / "local"


class Instance:
    """The folder of one environment; the module says what its files are."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.settings_path = directory / "settings.json"
        self.ready_path = directory / "ready.json"
        self.status_path = directory / "status.json"
        self.events_path = directory / "events.jsonl"
        self.cloudtrail_path = directory / "trail.jsonl"
        self.log_path = directory / "daemon.log"
        self.processes_path = directory / "processes"
        self.ca_path = directory / "ca.pem"
        self.airflow_path = directory / "airflow"

    def write_settings(self, settings: LocalSettings | SimulatedSettings) -> None:
        """Make the folder and put the settings into it; EnvironmentStartError if it cannot be."""
        with writing_to(self.directory):
            self.directory.mkdir(parents=True, exist_ok=True)
            self.directory.chmod(0o700)
        write_json(self.settings_path, settings.model_dump(mode="json"))

    def read_settings(self) -> LocalSettings | SimulatedSettings:
        """Read the settings; EnvironmentStartError if they are missing or wrong."""
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

    def is_running(self) -> bool:
        """Whether a daemon holds the lock; EnvironmentStartError if that cannot be told."""
        if not self.directory.is_dir():
            return False
        lock = self.take_lock()
        if lock is not None:
            lock.close()
        return lock is None

    def remove_secrets(self) -> None:
        """Remove what holds keys or passwords of an environment that is down."""
        for path in (self.ready_path, self.airflow_path / PASSWORDS_FILE):
            path.unlink(missing_ok=True)

    def already_running(self) -> UsageError:
        """The error for whoever wants to start another one here: it says how to stop this one."""
        name = self.directory.name
        if self.directory.parent == instance_root() and not name.startswith(RUN_PREFIX):
            advice = f"stop it with `headroom local down --name {name}`"
        else:
            advice = "end the `headroom run` (or other program) that started it"
        return UsageError(
            f"An environment is already running in '{self.directory}'; {advice} first."
        )


def write_json(path: Path, tree: object) -> None:
    """Replace a file at once, readable by its owner only; EnvironmentStartError if it cannot be."""
    unfinished = path.with_name(path.name + ".part")
    with writing_to(path.parent):
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(tree, file, indent=2)
        unfinished.replace(path)


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Turn an OSError inside the `with` block into an EnvironmentStartError about this folder."""
    try:
        yield
    except OSError as exc:
        advice = "make room there or set XDG_CACHE_HOME to a folder you can write to"
        if exc.errno in (errno.EMFILE, errno.ENFILE):
            advice = "raise the limit of open files (`ulimit -n`) or call it with less at a time"
        raise EnvironmentStartError(
            f"Cannot write to the folder '{folder}' ({exc.strerror}): {advice}."
        ) from exc


def read_json(path: Path) -> dict[str, Any] | None:
    """An object written by `write_json`; None: there is none."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return tree if isinstance(tree, dict) else None
