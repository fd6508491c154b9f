"""The live page and the live terminal of one real run, ended by the page's button."""

import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from browser import MISSING, browser, opened
from whole_runs import HEADROOM, until, wait_for_load

from mwaa_headroom.analysis.run import Run

__all__ = ["browser"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SCENARIO = """
slo = ["p95(latency) < 500ms"]
[question]
ask = "check"
[environment]
kind = "simulated"
name = "live-{pid}"
min_webservers = 2
max_webservers = 3
metrics = {{ period_s = 1 }}
[traffic]
seed = 3
[traffic.mix]
health = 1
[[stages]]
name = "steady"
rate_per_s = 20
duration_s = 300
[recovery]
longest_s = 0
[limits]
max_rate_per_s = 400
"""


@dataclass
class Watched:
    """A run in a terminal of 80x24, with its page."""

    folder: Path
    directory: Path
    server: str
    address: str

    def screen(self) -> str:
        shown = subprocess.run(
            ["tmux", "-L", self.server, "capture-pane", "-p", "-J"], capture_output=True, text=True
        )
        return shown.stdout


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    if shutil.which("tmux") is None:
        pytest.skip(f"tmux {MISSING}")
    folder, server = tmp_path_factory.mktemp("live"), f"headroom-{os.getpid()}"
    (folder / "run.toml").write_text(SCENARIO.format(pid=os.getpid()))
    script = folder / "go.sh"
    script.write_text(
        f'export XDG_CACHE_HOME="{folder}/cache" TERM=xterm-256color LC_ALL=C.UTF-8\n'
        "trap : INT\n"  # the shell itself goes on
        f'"{HEADROOM}" run run.toml --ui\necho "code $?" > code\nsleep 60\n'
    )
    subprocess.run(
        [
            *("tmux", "-L", server, "-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24"),
            *("-c", str(folder), f"sh {script}"),
        ],
        check=True,
    )
    try:
        directory = wait_for_load(folder / "runs")
        screen = subprocess.run(
            ["tmux", "-L", server, "capture-pane", "-p", "-J"], capture_output=True, text=True
        ).stdout
        found = re.search(r"http://127\.0\.0\.1:\d+/\S+/", screen)
        assert found is not None, screen
        yield Watched(folder, directory, server, found[0])
    finally:
        subprocess.run(["tmux", "-L", server, "kill-server"], check=False)


def asked(address: str, *, method: str = "GET", **headers: str) -> int:
    request = urllib.request.Request(address, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code


def test_only_who_knows_the_token_and_the_name_is_answered(watched: Watched) -> None:
    parts = urllib.parse.urlsplit(watched.address)
    assert asked(watched.address) == 200
    assert asked(f"http://{parts.netloc}/") == 404
    assert asked(f"http://{parts.netloc}/wrong/") == 404
    assert asked(watched.address + "../../etc/passwd") == 404
    assert asked(watched.address, Host=f"evil.example:{parts.port}") == 403
    stop = watched.address + "stop"
    assert asked(stop, method="POST") == 403  # without an origin
    assert asked(stop, method="POST", Origin="http://evil.example") == 403
    assert asked(f"http://{parts.netloc}/wrong/stop", method="POST") == 404
    assert asked(stop) == 404  # a GET stops nothing
    assert asked(watched.address + "plots/timeline.png") == 404  # there is no report yet


def test_the_terminal_tells_the_load_of_the_record(watched: Watched) -> None:
    until(lambda: _calls_told(watched.screen()) > 0, "a panel", within_s=20)
    before = len(Run.read(watched.directory).calls)
    until(lambda: _calls_told(watched.screen()) >= before, "a newer panel")
    screen = watched.screen()
    after = len(Run.read(watched.directory).calls)

    assert "Stage 1 of 1 steady: 20 calls/s" in screen
    assert re.search(r"Run .* left, load ends about \d\d:\d\d:\d\d UTC", screen)
    assert re.search(r"p95 .* ms, SLO 500 ms", screen)
    assert re.search(r"Webservers +2 at \d+ % CPU", screen)
    assert "Limited by" in screen
    assert before <= _calls_told(screen) <= after
    assert after - before < 20 * 20, "a panel from long ago would do too"


def test_two_browsers_a_reload_a_deaf_reader_and_the_button(browser, watched: Watched) -> None:
    parts = urllib.parse.urlsplit(watched.address)
    deaf = socket.create_connection((parts.hostname, parts.port))
    deaf.sendall(f"GET {parts.path}events HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
    one, two = opened(browser, watched.address), opened(browser, watched.address, width=400)
    for seen in (one, two):
        seen.page.wait_for_selector("#chart canvas", timeout=60_000)
        assert seen.page.inner_text("#phase") == "Stage 1 of 1 steady: 20 calls/s"
    two.page.reload()
    two.page.wait_for_selector("#chart canvas", timeout=60_000)
    before = _calls_shown(one.page)
    until(lambda: _calls_shown(one.page) > before, "more calls", within_s=20)
    two.page.close()

    one.page.on("dialog", lambda dialog: dialog.accept())
    one.page.click("#stop")
    one.page.wait_for_selector("text=Stopping")
    clicked_s = time.time()
    one.page.wait_for_selector("h1:has-text('nterrupted'), table", timeout=90_000)  # the report

    until((watched.folder / "runs" / "latest" / "report.html").exists, "the report")
    manifest = json.loads((watched.directory / "manifest.json").read_text())
    rows = pq.read_table(watched.directory / "requests.parquet")
    assert manifest["status"] == "interrupted"
    assert manifest["rows"]["requests"] == rows.num_rows
    assert rows.num_rows >= before
    assert max(rows["intended_start_s"].to_pylist()) < clicked_s + 5
    assert one.page.url == watched.address
    assert one.complaints == []
    origin = f"http://{parts.netloc}"
    assert asked(watched.address + "stop", method="POST", Origin=origin) == 409
    assert "stays until Ctrl-C" in watched.screen()
    assert not (watched.folder / "code").exists()  # it waits

    subprocess.run(["tmux", "-L", watched.server, "send-keys", "C-c"], check=True)
    until((watched.folder / "code").exists, "the end of the command", within_s=20)
    assert (watched.folder / "code").read_text() == "code 130\n"
    deaf.close()


def _calls_shown(page) -> int:
    return _calls_told(page.inner_text("#now"))


def _calls_told(text: str) -> int:
    found = re.search(r"(\d+) calls, 0 failed, 0 unsent", text)
    return int(found[1]) if found else 0
