"""Run directories from anywhere: a damaged or hostile one is refused in one sentence."""

import copy
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mwaa_headroom.analysis.errors import RecordFormatError
from mwaa_headroom.analysis.manifest import read_manifest
from mwaa_headroom.analysis.record import read_run
from mwaa_headroom.analysis.report.run_report import run_document
from mwaa_headroom.analysis.report.terminal import render_terminal
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.harness.errors import RecordError
from mwaa_headroom.harness.run.answers import report_run

FROZEN = Path(__file__).parents[1] / "frozen_runs" / "simulated_check"
MANIFEST = json.loads((FROZEN / "manifest.json").read_text())


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FROZEN, tmp_path / "run"))


@pytest.fixture(scope="module")
def mutated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(FROZEN, tmp_path_factory.mktemp("mutated") / "run"))


def places(tree: Any, so_far: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    inside = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in inside:
        yield (*so_far, key)
        if isinstance(value, dict | list):
            yield from places(value, (*so_far, key))


MISSING = object()
VALUES = (
    *(MISSING, None, True, -1, 0, 0.5, 10**400, 1e308, float("nan"), float("inf")),
    *("x", "nan", "\ud800", "\x1b[2J", [], {}, [1], [[["a"]]], {"a": {"b": 1}}),
)


@settings(max_examples=40)
@given(st.sampled_from(list(places(MANIFEST))), st.sampled_from(VALUES))
def test_a_changed_manifest_is_read_or_refused_in_one_sentence(
    mutated: Path, place: tuple[str | int, ...], value: object
) -> None:
    tree = copy.deepcopy(MANIFEST)
    table = tree
    for key in place[:-1]:
        table = table[key]
    if value is MISSING:
        del table[place[-1]]
    else:
        table[place[-1]] = value
    (mutated / "manifest.json").write_text(json.dumps(tree))
    try:
        document = run_document(Run.read(mutated))
        render_terminal(document, verbose=True, width=100, colour=False).encode()
    except RecordFormatError as exc:
        assert "\n" not in str(exc)  # noqa: PT017 - most changes do no harm


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "cannot be read"),
        (b"\xff\xfe{}", "cannot be read"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "does not say its schema_version"),
        (b'{"schema_version": true}', "does not say its schema_version"),
        (b'{"schema_version": 1, "a": NaN}', "NaN is no number"),
        (b'{"schema_version": 1, "a": 1e999}', "is too large"),
        (b'{"schema_version": 1, "a": ' + b"9" * 5000 + b"}", "cannot be read"),
        (b'{"schema_version": 1, "versions": []}', "versions must be a table"),
        (b'{"schema_version": 1, "rows": {"requests": "3"}}', "rows.requests must be a number"),
        (b'{"schema_version": 1, "started_at_s": true}', "started_at_s must be a number"),
    ],
)
def test_what_a_damaged_manifest_lacks_is_named(run: Path, content: bytes, told: str) -> None:
    (run / "manifest.json").write_bytes(content)
    with pytest.raises(RecordFormatError, match=told):
        read_manifest(run)


@pytest.mark.parametrize("line", ["[" * 100_000, '{"time_s": 1e999, "kind": "note"}', "\ud83d"])
def test_a_damaged_event_is_left_out_with_a_warning(run: Path, line: str) -> None:
    path = run / "events.jsonl"
    path.write_bytes(path.read_bytes() + line.encode(errors="surrogatepass") + b"\n")

    assert [each.code for each in read_run(run).warnings] == ["record.lines_cut"]


@pytest.mark.parametrize("name", ["manifest.json", "requests.parquet", "events.jsonl"])
def test_a_link_out_of_the_directory_is_not_followed(run: Path, name: str, tmp_path: Path) -> None:
    (run / name).rename(tmp_path / name)
    (run / name).symlink_to(tmp_path / name)
    with pytest.raises(RecordFormatError, match="leads out of the run directory"):
        read_run(run)
    (run / name).unlink()
    (run / name).symlink_to(name)
    with pytest.raises(RecordFormatError, match=name):
        read_run(run)


def test_a_link_inside_the_directory_and_one_to_it_are_fine(run: Path) -> None:
    (run / "requests.parquet").rename(run / "rows")
    (run / "requests.parquet").symlink_to("rows")
    (run.parent / "latest").symlink_to(run)

    assert read_run(run.parent / "latest").requests.num_rows > 0


@pytest.mark.parametrize("name", ["manifest.json", "metrics.parquet", "events.jsonl"])
def test_what_is_no_file_is_refused_at_once(run: Path, name: str) -> None:
    (run / name).unlink()
    os.mkfifo(run / name)
    signal.alarm(20)  # a reader of it would wait for ever
    try:
        with pytest.raises(RecordFormatError, match="is not a regular file"):
            read_run(run)
    finally:
        signal.alarm(0)


def test_a_report_is_not_written_through_links(run: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in (".report.html.tmp", "report.html", "summary.txt"):
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(victim)

    page = report_run(run).page

    assert victim.read_text() == "mine"
    assert not page.is_symlink()
    assert not list(run.glob(".*.tmp")) or [each.name for each in run.glob(".*.tmp")] == [
        ".report.html.tmp"
    ]


def test_pictures_are_not_written_through_a_link(run: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (run / "plots").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(RecordError, match="'plots' is a link to elsewhere"):
        report_run(run)

    assert not list((tmp_path / "elsewhere").iterdir())
