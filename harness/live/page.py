"""The page of a run that goes on: a process of its own, so that no reader costs the run anything.

    python -m mwaa_headroom.harness.live.page

It tells its address on standard output, learns the run directory and the report from standard
input, and ends when that ends. A click on the page's button is a line `stop` on standard output.

The page is served on loopback only, below a random token. The Host header must name this server, so
that no other site's name can be made to lead here (DNS rebinding); a stop must come from this page.
Every reader gets the newest state when it is ready for it; what it was too slow for is left out.
"""

import hmac
import json
import os
import secrets
import sys
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from mwaa_headroom.analysis.errors import RecordFormatError
from mwaa_headroom.analysis.report.charts.chart import chart_data
from mwaa_headroom.analysis.report.charts.timeline import timeline
from mwaa_headroom.analysis.report.html import chart_scripts, chart_styles, page_style
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.harness.live.page_process import STOP
from mwaa_headroom.harness.live.state import LiveReader
from mwaa_headroom.harness.live.words import as_data

MOST_READERS: Final = 20
_EVERY_S: Final = 1.0
_SHARE_OF_TIME: Final = 20  # the chart takes at most a 20th of the time of one core
_WRITE_TIMEOUT_S: Final = 10.0
_LINGER_S: Final = 3.0
_NICENESS: Final = 10
_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'"
)


class Shown:
    """What the page shows, the newest of each kind; safe to use from any thread.

    Attributes:
        report: the page of the final report; None: the run goes on.
    """

    def __init__(self) -> None:
        self.report: Path | None = None
        self._changed = threading.Condition()
        self._newest: dict[str, tuple[int, str]] = {}
        self._version = 0

    def tell(self, kind: str, value: object) -> None:
        """Replace the newest value of a kind."""
        with self._changed:
            self._version += 1
            self._newest[kind] = self._version, json.dumps(value, allow_nan=False)
            self._changed.notify_all()

    def since(self, version: int, wait_s: float) -> tuple[int, list[tuple[str, str]]]:
        """The newest version, and what is newer than `version`, waited for if there is nothing."""
        with self._changed:
            self._changed.wait_for(lambda: self._version > version, wait_s)
            newer = [(k, text) for k, (number, text) in self._newest.items() if number > version]
            return self._version, newer


def watch(directory: Path, shown: Shown, ended: threading.Event) -> None:
    """Tell how a run stands until it has ended; a defect of ours is told there too."""
    try:
        _watch(directory, shown, ended)
    except Exception as exc:
        shown.tell("problem", f"This page stands still, the run goes on: {exc!r}")
        raise


def _watch(directory: Path, shown: Shown, ended: threading.Event) -> None:
    """The state once a second, the chart as often as that is cheap."""
    reader = LiveReader(directory)
    chart_at_s = 0.0
    while not ended.wait(_EVERY_S):
        shown.tell("state", as_data(reader.read(time.time())))
        began_s = time.monotonic()
        if began_s < chart_at_s:
            continue
        with suppress(RecordFormatError):  # its streams have just become tables
            run = Run.read(directory)
            shown.tell("chart", chart_data(timeline(run.analysis, run.calls)))
        chart_at_s = began_s + max(2.0, _SHARE_OF_TIME * (time.monotonic() - began_s))


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, shown: Shown) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.shown = shown
        self.token = secrets.token_urlsafe(24)
        self.readers = threading.BoundedSemaphore(MOST_READERS)
        self.is_read = False  # a browser has been here
        self.has_stopped = threading.Event()
        self.hosts = {f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost")}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that went away is nobody's concern."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _WRITE_TIMEOUT_S
    server_version, sys_version = "headroom", ""

    def do_GET(self) -> None:
        """The page, its events, or a picture of the report."""
        name = self._name()
        if name is None:
            return
        report = self.server.shown.report
        if name == "events":
            self._events()
        elif name == "" and report is None:
            self._answer(HTTPStatus.OK, live_page().encode(), "text/html; charset=utf-8")
        elif name == "" and report is not None:
            self._answer(HTTPStatus.OK, report.read_bytes(), "text/html; charset=utf-8")
        elif report is not None and name in _pictures(report):
            self._answer(HTTPStatus.OK, _pictures(report)[name].read_bytes(), "image/png")
        else:
            self._answer(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """The button."""
        name = self._name()
        if name is None:
            return
        if self.headers.get("Origin") != f"http://{self.headers.get('Host')}":
            self._answer(HTTPStatus.FORBIDDEN)
        elif name != STOP:
            self._answer(HTTPStatus.NOT_FOUND)
        elif self.server.shown.report is not None:
            self._answer(HTTPStatus.CONFLICT)
        else:
            if not self.server.has_stopped.is_set():  # a second one would kill calls in flight
                self.server.has_stopped.set()
                print(STOP, flush=True)  # noqa: T201 - to the run
            self._answer(HTTPStatus.ACCEPTED)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Nothing: the token is in every line."""

    def _name(self) -> str | None:
        """What is asked for, below the token; None: refused, and answered."""
        if self.headers.get("Host") not in self.server.hosts:
            self._answer(HTTPStatus.FORBIDDEN)
            return None
        _, _, rest = self.path.partition("/")
        token, slash, name = rest.partition("/")
        if not slash or not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self._answer(HTTPStatus.NOT_FOUND)
            return None
        return name

    def _answer(self, status: HTTPStatus, body: bytes = b"", kind: str = "text/plain") -> None:
        self.send_response(status)
        self._safe_headers(kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _safe_headers(self, kind: str) -> None:
        self.send_header("Content-Type", kind)
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("Referrer-Policy", "same-origin")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")

    def _events(self) -> None:
        if not self.server.readers.acquire(blocking=False):
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE)
            return
        try:
            self.send_response(HTTPStatus.OK)
            self._safe_headers("text/event-stream")
            self.end_headers()
            self.server.is_read = True
            version = 0
            while True:
                version, newer = self.server.shown.since(version, wait_s=5.0)
                text = "".join(f"event: {kind}\ndata: {data}\n\n" for kind, data in newer)
                self.wfile.write((text or ": still here\n\n").encode())
        except OSError:  # closed, or so slow that its turn is over
            return
        finally:
            self.server.readers.release()


def _pictures(report: Path) -> dict[str, Path]:
    return {f"plots/{path.name}": path for path in (report.parent / "plots").glob("*.png")}


def live_page() -> str:
    """The page while the run goes on."""
    text = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
    parts = {
        "STYLE": f"{page_style()}\n{chart_styles()}",
        "SCRIPTS": str(chart_scripts()),
    }
    for name, part in parts.items():
        text = text.replace(f"/*{name}*/", part)
    return text


def main() -> None:
    """Serve until standard input ends."""
    os.nice(_NICENESS)
    shown, ended = Shown(), threading.Event()
    server = _Server(shown)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.address, flush=True)  # noqa: T201 - to the run
    for line in sys.stdin:
        kind, _, path = line.strip().partition(" ")
        if kind == "directory":
            arguments = (Path(path), shown, ended)
            threading.Thread(target=watch, args=arguments, daemon=True).start()
        elif kind == "report":
            ended.set()
            shown.report = Path(path)
            shown.tell("report", value=True)
    if shown.report is not None and server.is_read:
        time.sleep(_LINGER_S)  # browsers take the report now


if __name__ == "__main__":
    main()
