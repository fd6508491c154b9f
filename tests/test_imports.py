"""The house's rules about who may import whom, read from the source itself."""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "mwaa_headroom."
ROOMS = ("analysis", "harness", "locustfiles")
# The local environments scale by the rule that the simulator proves itself with: there is only one.
# AWS's constants are everybody's.
SHARED = ("analysis.policy.scaling_rule", "analysis.mwaa")


@cache
def imports_of(path: Path) -> frozenset[str]:
    """Every module imported anywhere in a file, our own without the package's name."""
    return frozenset(_imports_of(path))


def _imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.removeprefix(PACKAGE) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            package = node.module.removeprefix(PACKAGE)
            for alias in node.names:
                inner = f"{package}.{alias.name}"
                yield inner if inner in modules() else package


def offenders(
    folder: str, forbidden: tuple[str, ...], *, spared: tuple[str, ...] = ()
) -> list[str]:
    found = set()
    for path in sorted((ROOT / folder).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(spared):
            continue
        found |= {
            f"{name} imports {rule}"
            for module in imports_of(path)
            if not module.startswith(SHARED)
            for rule in forbidden
            if f"{module}.".startswith(f"{rule}.")
        }
    return sorted(found)


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
            ("aiohttp", "flask", "moto", "uv", "yarl"),
            ("harness/local/",),
            "only environments on this machine need them",
        ),
        (
            "harness",
            ("gevent", "geventhttpclient"),
            (
                "harness/transport/http.py",
                "harness/transport/lean.py",
                "harness/transport/signer.py",
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


@cache
def modules() -> dict[str, Path]:
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
    }


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """A way through the graph that comes back to where it began; empty when there is none."""
    done: set[str] = set()

    def follow(module: str, way: list[str]) -> list[str]:
        if module in way:
            return [*way[way.index(module) :], module]
        if module in done:
            return []
        for other in sorted(graph[module]):
            if found := follow(other, [*way, module]):
                return found
        done.add(module)
        return []

    return next((found for module in sorted(graph) if (found := follow(module, []))), [])


def imported_modules() -> dict[str, set[str]]:
    known = modules()
    return {
        module: {other for other in imports_of(path) if other in known} - {module}
        for module, path in known.items()
    }


def test_no_two_modules_need_each_other() -> None:
    assert circle(imported_modules()) == []


def analysis_parts() -> dict[str, set[str]]:
    """What each folder or root module of analysis imports of the others."""
    parts: dict[str, set[str]] = {}
    for module, imported in imported_modules().items():
        if module.startswith("analysis."):
            part = parts.setdefault(part_of(module), set())
            part |= {part_of(other) for other in imported if other.startswith("analysis.")}
            part.discard(part_of(module))
    return parts


def part_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def test_folders_inside_analysis_import_downward_only() -> None:
    parts = analysis_parts()
    assert circle(parts) == []
    assert [name for name, part in parts.items() if "analysis.report" in part] == []


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


def test_every_package_says_what_lives_there() -> None:
    silent = [
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in (ROOT / room).rglob("__init__.py")
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []
