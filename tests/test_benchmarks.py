"""The server that benchmarks hold the generator to: its rule, and that it keeps to it."""

import ast
import math
import socket
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from fast_server import Freeze, answered_s
from freeze import closed_formula_ms
from rig import fast_server

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
DELAY_S = 0.005
FREEZE = Freeze(from_s=10.0, duration_s=5.0)
CALL = b"POST /restapi/lag HTTP/1.1\r\nHost: x\r\ncontent-length: 2\r\n\r\n{}"


@pytest.mark.parametrize(
    ("arrived_s", "freeze", "latency_s", "why"),
    [
        (3.0, Freeze(), 0.005, "never frozen"),
        (9.9, FREEZE, 0.005, "answered before the freeze"),
        (9.995, FREEZE, 0.005, "answered just as the freeze begins"),
        (9.998, FREEZE, 5.005, "caught in the middle of its work"),
        (10.0, FREEZE, 5.005, "arrives as it begins"),
        (14.0, FREEZE, 1.005, "waits for its end"),
        (15.0, FREEZE, 0.005, "arrives at its end"),
    ],
)
def test_latency_against_a_freeze(
    arrived_s: float, freeze: Freeze, latency_s: float, why: str
) -> None:
    seen_s = answered_s(arrived_s, DELAY_S, freeze) - arrived_s
    assert seen_s == pytest.approx(latency_s), why


def test_evenly_spread_arrivals_obey_the_closed_formula() -> None:
    latencies_ms = sorted(
        1000 * (answered_s(index / 1000, DELAY_S, FREEZE) - index / 1000) for index in range(30_000)
    )
    for percent in (50, 80, 90, 95, 99):
        rank = math.ceil(percent / 100 * len(latencies_ms))
        assert latencies_ms[rank - 1] == pytest.approx(
            closed_formula_ms(percent, 30.0), abs=DELAY_S * 1000
        )


@pytest.mark.slow
def test_calls_on_one_connection_are_answered_in_time_and_counted() -> None:
    with fast_server(None, delay_s=0.02) as server:
        assert min(server.bare_latencies_s(3)) >= 0.02
        assert server.report()["calls"] == 3


@pytest.mark.slow
def test_calls_in_pieces_and_calls_in_one_piece_are_all_answered() -> None:
    with (
        fast_server(None) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection,
    ):
        connection.sendall(CALL[:30])
        connection.sendall(CALL[30:] + CALL + CALL)
        answers = b""
        while answers.count(b"RestApiStatusCode") < 3:
            answers += connection.recv(65536)
        assert answers.count(b"HTTP/1.1 200 OK") == server.report()["calls"] == 3


@pytest.mark.slow
def test_a_freeze_counts_from_the_first_call() -> None:
    with fast_server(None, delay_s=0.001, freeze_after_s=0.0, freeze_s=0.3) as server:
        assert server.bare_latencies_s(1)[0] >= 0.3
        froze_s, thawed_s = server.report()["frozen"]
        assert thawed_s - froze_s == pytest.approx(0.3)


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.stem)
def test_what_a_benchmark_imports_of_the_product_is_there(path: Path) -> None:
    """They run for minutes, so here only their imports are tried."""
    imports = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("mwaa_headroom")
    ]
    for node in imports:
        known = defined_in(str(node.module))
        assert [alias.name for alias in node.names if alias.name not in known] == [], node.module


def defined_in(module: str) -> set[str]:
    """Names at the top of a module, or the modules of a package, without importing it."""
    path = ROOT / "/".join(module.split(".")[1:])
    if path.is_dir():
        names = {inner.stem for inner in path.iterdir()}
        path = path / "__init__.py"
    else:
        names, path = set(), path.with_suffix(".py")
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                names.add(node.name)
            case ast.Assign():
                names |= {each.id for each in node.targets if isinstance(each, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case ast.ImportFrom() | ast.Import():
                names |= {alias.asname or alias.name for alias in node.names}
    return names
