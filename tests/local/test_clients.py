"""A simulated environment that serves https, as the clients people use meet it."""

import fcntl
import hashlib
import json
import os
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import boto3
import pytest
import uv
from botocore.config import Config
from botocore.exceptions import SSLError

from mwaa_headroom.harness.aws.clients import make_clients
from mwaa_headroom.harness.local.handle import StandIn
from mwaa_headroom.harness.local.instance import cache_home
from mwaa_headroom.harness.local.settings import SimulatedSettings

pytestmark = pytest.mark.slow
SETTINGS = SimulatedSettings(start_s=0.1, min_webservers=1, max_webservers=1, https=True)
NAME = SETTINGS.name


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with StandIn.start(SETTINGS, tmp_path_factory.mktemp("https"), lambda _: None) as environment:
        yield environment


def client(environment: StandIn, verify: str | None) -> Any:
    ends = environment.endpoints
    make: Any = boto3.client
    return make(
        "mwaa",
        endpoint_url=ends.mwaa_url,
        region_name=ends.region,
        aws_access_key_id=ends.access_key_id,
        aws_secret_access_key=ends.secret_access_key,
        verify=verify,
        config=Config(inject_host_prefix=False, retries={"total_max_attempts": 1}, proxies={}),
    )


def test_the_mwaa_api_is_verified_with_the_ca_and_refused_without(environment: StandIn) -> None:
    ca_file = environment.endpoints.ca_file
    answer = client(environment, ca_file).get_environment(Name=NAME)["Environment"]
    assert answer["WebserverUrl"] == environment.endpoints.webserver_url
    assert answer["WebserverUrl"].startswith("https://127.0.0.1:")
    with pytest.raises(SSLError):
        client(environment, None).get_environment(Name=NAME)


def test_a_web_login_works_as_providers_do_it(environment: StandIn) -> None:
    """https to the host name of the token, whatever it is."""
    ca_file = environment.endpoints.ca_file
    token = client(environment, ca_file).create_web_login_token(Name=NAME)
    base = f"https://{token['WebServerHostname']}"
    context = ssl.create_default_context(cafile=ca_file)
    form = urlencode({"token": token["WebToken"]}).encode()
    with urllib.request.urlopen(
        f"{base}/pluginsv2/aws_mwaa/login", data=form, context=context, timeout=10
    ) as answer:
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
    request = urllib.request.Request(f"{base}/api/v2/dags", headers={"Cookie": cookie})
    with urllib.request.urlopen(request, context=context, timeout=10) as answer:
        assert json.load(answer)["total_entries"] == 23
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(request, timeout=10)


def test_our_own_clients_know_the_ca(environment: StandIn) -> None:
    variables = environment.endpoints.as_variables()
    clients = make_clients(environment=NAME, variables=variables)
    assert clients.mwaa.get_environment(Name=NAME)["Environment"]["Name"] == NAME


@pytest.mark.parametrize(
    ("python", "config"),
    [
        pytest.param(None, "None", id="current"),
        pytest.param("boto3_before_1_37", "Config(inject_host_prefix=False)", id="1.35"),
    ],
)
def test_boto3_works_with_what_up_prints(
    environment: StandIn, python: str | None, config: str
) -> None:
    # CloudWatch's client speaks the query protocol before 1.42, JSON since.
    program = (
        "import boto3; from botocore.config import Config\n"
        "cloudwatch = boto3.client('cloudwatch')\n"
        "cloudwatch.list_metrics(Namespace='AWS/MWAA')\n"
        "try: cloudwatch.put_metric_data(Namespace='x', MetricData=[{'MetricName': 'x'}])\n"
        "except cloudwatch.exceptions.ClientError as error:\n"
        "    print(error.response['Error']['Code'])\n"
        f"mwaa = boto3.client('mwaa', config={config})\n"
        f"print(mwaa.invoke_rest_api(Name={NAME!r}, Path='/dags', Method='GET')"
        "['RestApiStatusCode'])"
    )
    executable = sys.executable if python is None else str(installed(python))
    assert output_of([executable, "-c", program], environment) == "AccessDenied\n200\n"


def test_the_aws_command_line_works(environment: StandIn) -> None:
    aws = str(Path(sys.executable).with_name("aws"))
    call = ["mwaa", "invoke-rest-api", "--name", NAME, "--path", "/dags", "--method", "GET"]
    answer = json.loads(output_of([sys.executable, aws, *call], environment))
    assert answer["RestApiResponse"]["total_entries"] == 23


@pytest.mark.timeout(300)  # the first time, its packages are installed
def test_airflows_provider_works(environment: StandIn, tmp_path: Path) -> None:
    program = Path(__file__).parent / "clients" / "use_airflow_provider.py"
    output = output_of(
        [str(installed("airflow_provider")), str(program), NAME],
        environment,
        AIRFLOW_HOME=str(tmp_path),
        REQUESTS_CA_BUNDLE=environment.endpoints.ca_file,
    )
    assert json.loads(output.rpartition("RESULTS ")[2]) == {
        "run": True,
        "task": True,
        "deferred": "success",
        "token": 200,
    }


def output_of(command: list[str], environment: StandIn, **more: str) -> str:
    variables = {"HOME": "/nonexistent", "PATH": os.environ["PATH"]}
    done = subprocess.run(
        command,
        env={**environment.endpoints.environment_from(variables), **more},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def installed(name: str) -> Path:
    """The interpreter of a virtual environment with these packages; kept between runs."""
    requirements = Path(__file__).parent / "clients" / f"{name}.txt"
    content = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    folder = cache_home() / "clients" / f"{name}-{content}"
    python, complete = folder / "bin" / "python", folder / ".complete"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            tool = uv.find_uv_bin()
            venv = [tool, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)]
            subprocess.run(venv, check=True)
            install = [tool, "pip", "install", "--quiet", "--python", str(python)]
            subprocess.run([*install, "--require-hashes", "-r", str(requirements)], check=True)
            complete.touch()
    return python


def test_no_private_key_is_on_the_disk(environment: StandIn) -> None:
    folder = Path(environment.endpoints.ca_file).parent
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert files
    assert not any(b"PRIVATE KEY" in file.read_bytes() for file in files)
