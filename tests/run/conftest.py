"""What whole runs against simulated webservers are given."""

import os
from pathlib import Path

import pytest

SCENARIO = """
slo = ["p95(latency) < 500ms", "rate(errors) < 1%"]
[question]
ask = "check"
[environment]
kind = "simulated"
name = "{name}"
min_webservers = 2
max_webservers = 3
metrics = {{ period_s = 1 }}
[traffic]
seed = 3
[traffic.mix]
health = 1
list_dags = 1
get_dag_run = 1
trigger_dag_run = 1
[[stages]]
name = "steady"
rate_per_s = 20
duration_s = 5
[recovery]
longest_s = 0
[limits]
max_rate_per_s = 400
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "short.toml"
    path.write_text(SCENARIO.format(name=f"test-{os.getpid()}"))
    return path


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    broken = tmp_path / "aws_config"
    broken.write_text("no section")
    # Runs against environments of their own must not care for any of the user's AWS settings.
    return {
        **os.environ,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "AWS_CONFIG_FILE": str(broken),
        "AWS_SHARED_CREDENTIALS_FILE": str(broken),
        "AWS_PROFILE": "no-such-profile",
        "AWS_CA_BUNDLE": str(tmp_path / "no-such-bundle"),
        "AWS_DEFAULTS_MODE": "no-such-mode",
        "AWS_MAX_ATTEMPTS": "many",
    }
