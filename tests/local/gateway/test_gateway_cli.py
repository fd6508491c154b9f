"""The AWS command line against the gateway."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from gateway_stand import ENVIRONMENT, KEY_ID, SECRET, Stand

AWS = Path(sys.executable).parent / "aws"


@pytest.mark.slow
@pytest.mark.skipif(not AWS.exists(), reason="the AWS command line is not installed")
def test_the_aws_command_line_works(stand: Stand, tmp_path: Path) -> None:
    def aws(*arguments: str) -> dict[str, object]:
        done = subprocess.run(
            [AWS, "mwaa", *arguments, "--endpoint-url", stand.addresses.mwaa_url],
            env={
                "PATH": str(AWS.parent),
                "HOME": str(tmp_path),
                "AWS_ACCESS_KEY_ID": KEY_ID,
                "AWS_SECRET_ACCESS_KEY": SECRET,
                "AWS_DEFAULT_REGION": stand.settings.region,
                "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
                "AWS_MAX_ATTEMPTS": "1",
            },
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    answer = aws(
        *("invoke-rest-api", "--name", ENVIRONMENT, "--path", "/dags/x/dagRuns"),
        *("--method", "POST", "--body", '{"logical_date": null}'),
    )
    assert answer == {"RestApiStatusCode": 200, "RestApiResponse": {"ok": True}}
    assert json.loads(stand.webservers[0].seen[0].body) == {"logical_date": None}
    environment = aws("get-environment", "--name", ENVIRONMENT)["Environment"]
    assert isinstance(environment, dict)
    assert environment["Status"] == "AVAILABLE"
