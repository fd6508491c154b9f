"""CloudWatch for the local environments: moto's, behind the checks that AWS makes.

A process of its own, because moto is threaded, keeps everything in memory, and must not slow down
the event loop all calls go through. It works in a folder of its own and serves nothing but
CloudWatch. Every request needs a signature: the environment's key may read, and only a key that
nobody is told may put data.

Started as `python -m mwaa_headroom.harness.local.metrics_server PORT_FILE`, with `Access` as JSON
in a variable; the file appears, with the port in it, once the server listens.
"""

import asyncio
import io
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from mwaa_headroom.harness.errors import EnvironmentStartError
from mwaa_headroom.harness.local.gateway.answers import ApiError
from mwaa_headroom.harness.local.gateway.signature import (
    Credential,
    ReceivedRequest,
    SignatureVerifier,
)
from mwaa_headroom.harness.local.loopback import FOREIGN, LOOPBACK, is_foreign
from mwaa_headroom.harness.local.processes import Child, Children

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

TIMEOUT_S: Final = 60.0
POLL_S: Final = 0.05
IDLE_TIMEOUT_S: Final = 30.0  # a thread waits no longer for the rest, or the next, of a request
SERVICE: Final = "monitoring"  # CloudWatch, as signatures name it
MOST_REQUEST_BYTES: Final = 1024 * 1024  # PutMetricData's limit
READS: Final = frozenset(("GetMetricData", "GetMetricStatistics", "ListMetrics"))
FEEDS: Final = frozenset(("PutMetricData",))
CONTENT_TYPES: Final = ("application/x-www-form-urlencoded", "application/x-amz-json-1.0")
ACCESS_VARIABLE: Final = "HEADROOM_CLOUDWATCH_ACCESS"  # only its owner can look at it in /proc


@dataclass(frozen=True, slots=True)
class Access:
    """Who may do what."""

    region: str
    max_clock_skew_s: float
    reader: tuple[str, str]  # access key id, secret
    feed: tuple[str, str]


@dataclass(frozen=True, slots=True)
class MetricsServer:
    """The process, which `Children` ends."""

    child: Child
    port_file: Path

    async def wait_until_ready(self, clock: Callable[[], float] = time.monotonic) -> str:
        """Return its URL once it listens.

        Raises:
            EnvironmentStartError: it does not, or has ended.
        """
        deadline_s = clock() + TIMEOUT_S
        while not self.port_file.exists():
            if not self.child.is_alive() or clock() > deadline_s:
                raise EnvironmentStartError(
                    f"The CloudWatch server did not start; see '{self.child.log_path}'."
                )
            await asyncio.sleep(POLL_S)
        return f"http://{LOOPBACK}:{self.port_file.read_text(encoding='utf-8')}"


def start_metrics_server(directory: Path, children: Children, access: Access) -> MetricsServer:
    """Start it in a folder of its own in `directory`, its log beside that; return at once."""
    folder = directory.absolute() / "cloudwatch"
    folder.mkdir(exist_ok=True)
    port_file = folder / "port"
    port_file.unlink(missing_ok=True)
    child = children.start(
        "cloudwatch",
        [sys.executable, "-m", __name__, str(port_file)],
        env={
            **os.environ,
            ACCESS_VARIABLE: json.dumps(asdict(access)),
            "MOTO_DISABLE_GLOBAL_CORS": "true",
        },
        log_path=directory / "cloudwatch.log",
        cwd=folder,
    )
    return MetricsServer(child, port_file)


class CheckedCloudWatch:
    """A WSGI application: passes on to CloudWatch what its caller may do."""

    def __init__(
        self,
        cloudwatch: "WSGIApplication",
        access: Access,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._cloudwatch = cloudwatch
        self._wall_clock = wall_clock
        self._actions = {access.reader[0]: READS, access.feed[0]: FEEDS}
        self._verifier = SignatureVerifier(
            service=SERVICE,
            region=access.region,
            credentials=[
                Credential(key_id, secret, user_name="", account="", airflow_role="")
                for key_id, secret in (access.reader, access.feed)
            ],
            max_clock_skew_s=access.max_clock_skew_s,
        )

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer one request."""
        from werkzeug.datastructures import EnvironHeaders

        headers = dict(EnvironHeaders(environ))
        try:
            if is_foreign(headers, int(environ["SERVER_PORT"])):
                raise ApiError("AccessDenied", 403, FOREIGN)
            body = _read_body(environ)
            self._check(environ, headers, body)
        except ApiError as error:
            return _refuse(error, headers, start_response)
        environ["wsgi.input"] = io.BytesIO(body)
        return self._cloudwatch(environ, start_response)

    def _check(self, environ: "WSGIEnvironment", headers: Mapping[str, str], body: bytes) -> None:
        path, _, query = environ["RAW_URI"].partition("?")
        request = ReceivedRequest(
            environ["REQUEST_METHOD"], path, query, list(headers.items()), body
        )
        caller = self._verifier.verify(request, self._wall_clock())
        actions = _actions(headers, query, body) if _is_plain(headers) else set()
        # Several, and moto might carry out another one than was looked at.
        if len(actions) != 1 or not actions <= self._actions[caller.access_key_id]:
            named = ", ".join(sorted(actions)) or "anything else"
            raise ApiError(
                "AccessDenied",
                403,
                f"This CloudWatch lets its users call {', '.join(sorted(READS))}, not {named}.",
            )


def _read_body(environ: "WSGIEnvironment") -> bytes:
    length = environ.get("CONTENT_LENGTH") or "0"
    if not length.isdecimal() or int(length) > MOST_REQUEST_BYTES:
        raise ApiError("RequestEntityTooLarge", 413, f"At most {MOST_REQUEST_BYTES} bytes.")
    body: bytes = environ["wsgi.input"].read(int(length))
    return body


def _is_plain(headers: Mapping[str, str]) -> bool:
    """Whether moto will read no other action out of a body than we do: no archive, no parts."""
    content_type = headers.get("Content-Type", "").partition(";")[0]
    return "Content-Encoding" not in headers and content_type in CONTENT_TYPES


def _actions(headers: Mapping[str, str], query: str, body: bytes) -> set[str]:
    """What a request asks for, in any protocol: in a header (JSON) or in a form (query)."""
    target = headers.get("X-Amz-Target")
    forms = (parse_qs(query), parse_qs(body.decode("utf-8", "replace")))
    named = {action for form in forms for action in form.get("Action", ())}
    return named if target is None else {*named, target.partition(".")[2]}


def _refuse(
    error: ApiError, headers: Mapping[str, str], start_response: "StartResponse"
) -> list[bytes]:
    if "json" in headers.get("Content-Type", ""):
        content_type = "application/x-amz-json-1.0"
        body = json.dumps({"__type": error.code, "message": error.message})
    else:
        content_type = "text/xml"
        body = (
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{error.code}</Code>"
            f"<Message>{escape(error.message)}</Message></Error></ErrorResponse>"
        )
    # What was not read of the request must not be taken for the next one.
    answered = [("Content-Type", content_type), ("Connection", "close")]
    start_response(f"{error.status} {error.code}", answered)
    return [body.encode()]


def main() -> None:
    """Serve on a free loopback port until terminated."""
    from moto.moto_server.werkzeug_app import create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class RequestHandler(WSGIRequestHandler):
        timeout = IDLE_TIMEOUT_S

    port_file = Path(sys.argv[1])
    access = json.loads(os.environ[ACCESS_VARIABLE])
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    cloudwatch = create_backend_app("cloudwatch")
    cloudwatch.debug = False
    server = make_server(
        LOOPBACK,
        0,
        CheckedCloudWatch(cloudwatch, Access(**access)),
        threaded=True,
        request_handler=RequestHandler,
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    unfinished = port_file.with_suffix(".part")
    unfinished.write_text(str(server.server_port), encoding="utf-8")
    unfinished.replace(port_file)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()
