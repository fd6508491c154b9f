"""Who may reach Locust's web UI: this machine, unless the user asks for more."""

import subprocess
import sys

import pytest

PARSE = """
import sys
from locust.argument_parser import parse_options
import locustfiles.invoke_rest_api
print("web host:", parse_options(sys.argv[1:]).web_host)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "host"), [((), "127.0.0.1"), (("--web-host", "127.0.0.2"), "127.0.0.2")]
)
def test_the_web_ui_listens_on_this_machine_unless_told_otherwise(
    arguments: tuple[str, ...], host: str
) -> None:
    # A process of its own, because importing Locust patches the standard library.
    done = subprocess.run(
        [sys.executable, "-c", PARSE, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert f"web host: {host}" in done.stdout
