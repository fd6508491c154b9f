"""Where a running stand-in can be reached, and the environment variables that lead there."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

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
        """Those variables, changed so that programs started with them call the stand-in."""
        kept = {name: value for name, value in variables.items() if name not in VARIABLES_TO_UNSET}
        return {**kept, **self.as_variables()}


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
    ]
    return "\n".join(lines)
