"""The process that serves a page: it may go away, and what is told of it is true."""

import os
import signal
import time
import urllib.request
from pathlib import Path

import psutil
import pytest
from whole_runs import until

from mwaa_headroom.harness.live.page_process import live_page

pytestmark = pytest.mark.slow


def test_a_page_that_was_killed_is_not_waited_for(tmp_path: Path) -> None:
    with live_page() as page:
        with urllib.request.urlopen(page.address, timeout=10) as answer:
            assert answer.status == 200
        assert page.is_served

        (served_by,) = psutil.Process().children()
        os.kill(served_by.pid, signal.SIGKILL)
        until(lambda: not page.is_served, "the end of the page's process", within_s=10)
        began_s = time.monotonic()
        page.recording(tmp_path)
        page.report(tmp_path / "report.html")
        page.stay()
        assert time.monotonic() - began_s < 5
