"""Progress lines: names in them are text, whatever they hold."""

import io
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from rich.live import Live

from mwaa_headroom.harness.cli.progress import ConsoleProgress
from mwaa_headroom.harness.errors import EnvironmentAccessError, ExitCode
from mwaa_headroom.harness.run.progress import LoadStatus

MANIFEST = Path(__file__).parents[1] / "frozen_runs" / "quickstart" / "manifest.json"
STATUS = LoadStatus(
    stage=0,
    stages=1,
    stage_name="calm",
    rate_per_s=1.0,
    users=None,
    remaining_s=1.0,
    sent=0,
    errors=0,
    unsent=0,
    in_flight=0,
    webservers=None,
    cpu_percent=None,
)
NAMES = ("[bold]x[/bold]", "[/] x", ":smile:", "a\x1b[2Jb", "a\n::set-output", "\u202eb")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_neither_markup_nor_an_order(name: str) -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, color_system=None, width=200)
    live = Live(console=console)
    progress = ConsoleProgress(console, live=live, clock=lambda: 0.0)

    progress.step(name)
    progress.note(name)
    progress.load(replace(STATUS, stage_name=name))
    console.print(live.renderable)

    shown = text.getvalue()
    assert shown.count(name.encode("unicode_escape").decode()) == 3
    assert "\x1b[2J" not in shown
    assert "\n::" not in shown


def test_no_access_is_the_users_to_mend() -> None:
    assert EnvironmentAccessError("no").exit_code == ExitCode.USAGE


def test_a_record_that_cannot_be_shown_ends_no_load(tmp_path: Path) -> None:
    shutil.copy(MANIFEST, tmp_path)
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    live = Live(console=console)
    times = iter(range(0, 100, 10))
    progress = ConsoleProgress(console, live=live, clock=lambda: float(next(times)))
    progress.recording(tmp_path)
    (tmp_path / "events.jsonl").write_text("this is no event\n")

    for _ in range(2):
        progress.load(STATUS)
    console.print(live.renderable)

    assert console.file.getvalue().count("the run goes on") == 1
    assert "calm" in console.file.getvalue()
