"""A loopback server in place of the MWAA service: one canned answer, every request remembered."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RESULT = {"RestApiStatusCode": 200, "RestApiResponse": {"dags": []}}


@dataclass
class CannedServer:
    """Answers every request the same way; remembers what it was asked."""

    url: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = json.dumps(RESULT).encode()
    delay_s: float = 0.0
    hang_up: bool = False
    changes_after: int | None = None  # requests; then it answers as `later` says
    later: tuple[int, dict[str, str], bytes] = (200, {}, json.dumps(RESULT).encode())
    asked: list[tuple[str, dict[str, str], dict]] = field(default_factory=list)

    def error(self, status: int, code: str | None, **body: object) -> None:
        self.status = status
        self.headers = {"x-amzn-errortype": code} if code else {}
        self.body = json.dumps(body).encode() if body else b""

    def has_changed(self) -> bool:
        return self.changes_after is not None and len(self.asked) > self.changes_after


@contextmanager
def listening_server() -> Iterator[CannedServer]:
    canned = CannedServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            canned.asked.append((self.path, dict(self.headers), json.loads(body)))
            if canned.has_changed():
                canned.status, canned.headers, canned.body = canned.later
            time.sleep(canned.delay_s)
            if canned.hang_up:
                self.close_connection = True
                return
            # A client that has read an empty answer moves on to the next test at once.
            status, headers, answer = canned.status, canned.headers, canned.body
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

        def handle(self):
            with suppress(ConnectionError):  # the client gave up: some tests are about that
                super().handle()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        canned.url = f"http://127.0.0.1:{http.server_address[1]}"
        try:
            yield canned
        finally:
            http.shutdown()
            thread.join()


def point_aws_at(monkeypatch, url: str) -> None:
    for name in (
        "AWS_PROFILE",
        "AWS_SESSION_TOKEN",
        "AWS_DISABLE_HOST_PREFIX_INJECTION",
        "AWS_MAX_ATTEMPTS",
        "AWS_RETRY_MODE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL_MWAA", url)
