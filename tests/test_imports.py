"""The house's rules about who may import whom, read from the source itself."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("analysis", "harness", "locustfiles")
# The stand-in scales by the rule that the simulator proves itself with: there is only one.
SCALING_RULE = ("analysis.policy.parameters", "analysis.policy.rule")


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module


def offenders(
    folder: str, forbidden: tuple[str, ...], *, spared: tuple[str, ...] = ()
) -> list[str]:
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(spared):
            continue
        found += [
            f"{name} imports {module}"
            for module in set(imports_of(path)) - set(SCALING_RULE)
            if module.split(".")[0] in forbidden
            or any(module == rule or module.startswith(f"{rule}.") for rule in forbidden)
        ]
    return found


@pytest.mark.parametrize(
    ("folder", "forbidden", "spared", "why"),
    [
        ("analysis", ("harness", "locustfiles"), (), "analysis is the lowest room"),
        ("harness", ("locustfiles",), (), "harness does not know the Locust adapters"),
        (
            "analysis",
            ("boto3", "botocore", "locust", "socket", "requests", "aiohttp", "os", "time"),
            (),
            "analysis is pure: no network, no clock, no environment",
        ),
        ("analysis", ("matplotlib", "jinja2"), ("analysis/report/",), "only the report draws"),
        (
            "harness",
            ("boto3", "botocore"),
            ("harness/aws/", "harness/transport/", "harness/local/metrics.py"),
            "AWS has its rooms",
        ),
        ("harness", ("locust",), (), "Locust is a process of its own"),
        (
            "harness",
            ("gevent", "geventhttpclient"),
            (
                "harness/transport/deadlines.py",
                "harness/transport/http",
                "harness/transport/lean/",
                "harness/transport/web_token.py",
            ),
            "only what sends load inside Locust lives on gevent",
        ),
        (
            "harness/local",
            (
                "analysis",
                "harness.scenario",
                "harness.record",
                "harness.traffic",
                "harness.transport",
                "harness.aws",
                "harness.run",
                "harness.cli",
            ),
            (),
            "the stand-in knows nothing of load or records",
        ),
        ("harness/traffic", ("harness.aws", "harness.local"), (), "traffic is pure"),
        (
            "harness/virtual",
            ("time", "asyncio", "aiohttp", "socket", "boto3"),
            (),
            "virtual time has no clock and no network",
        ),
    ],
)
def test_imports_go_one_way(
    folder: str, forbidden: tuple[str, ...], spared: tuple[str, ...], why: str
) -> None:
    assert offenders(folder, forbidden, spared=spared) == [], why


def test_commands_start_without_gevent() -> None:
    """Its patches and its hub belong into the load processes alone."""
    script = "import sys, harness.cli.main, harness.run.session; print('gevent' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "False"


def test_every_package_says_what_lives_there() -> None:
    silent = [
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in (ROOT / room).rglob("__init__.py")
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []
