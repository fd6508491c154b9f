"""Ten thousand hostile requests against a gateway in a process of its own.

Each is a valid signed request, or a login, that one row of `MUTATIONS` has spoiled. None may be
accepted, none may be answered with 5xx, none may be left without an end.
"""

import asyncio
import gzip
import multiprocessing
import os
import random
import re
import resource
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from gateway_stand import CREDENTIALS, ENVIRONMENT, signed_headers

from mwaa_headroom.harness.local.gateway.balancer import Balancer
from mwaa_headroom.harness.local.gateway.server import Gateway
from mwaa_headroom.harness.local.settings import StandInSettings

pytestmark = pytest.mark.slow

SEED = 20261130
REQUESTS = 10_500
PATIENCE_S = 0.05  # after which a request is taken to be cut off, and we close our side
ANSWERED_WITHIN_S = 15.0
MOST_FILES = 1024
MOST_GROWTH_BYTES = 16 * 2**20

# What may be said before anybody is recognised.
REFUSALS = {
    *("MissingAuthenticationTokenException", "IncompleteSignatureException"),
    *("UnrecognizedClientException", "InvalidSignatureException", "ForbiddenException"),
    *("UnknownOperationException", "MalformedHttpRequestException"),
    *("RequestEntityTooLargeException", ""),  # the last one: it was no HTTP, or the web login
}


@dataclass(frozen=True)
class Sent:
    """A request before it becomes bytes."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def changed(self, name: str, change: Callable[[str], str]) -> "Sent":
        """With another value of a header."""
        return replace(
            self,
            headers=tuple((k, change(v) if k.lower() == name else v) for k, v in self.headers),
        )

    def without(self, name: str) -> "Sent":
        return replace(
            self, headers=tuple(pair for pair in self.headers if pair[0].lower() != name)
        )

    def plus(self, *pairs: tuple[str, str]) -> "Sent":
        return replace(self, headers=(*self.headers, *pairs))

    def bytes(self, *, length: int | None = None) -> bytes:
        pairs = (
            *self.headers,
            ("Content-Length", str(len(self.body) if length is None else length)),
        )
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{k}: {v}" for k, v in pairs), "", ""]
        return "\r\n".join(lines).encode("utf-8", "surrogateescape") + self.body


Random = random.Random
Mutation = Callable[[Random, Sent], bytes]


def one_character(rng: Random, text: str, alphabet: str = "0123456789abcdefXYZ/=;, ") -> str:
    """With one character replaced by another one."""
    place = rng.randrange(len(text))
    other = rng.choice([c for c in alphabet if c.lower() != text[place].lower()])
    return text[:place] + other + text[place + 1 :]


def in_authorization(rng: Random, sent: Sent, pattern: str) -> bytes:
    """With one character changed in the part of the Authorization header that a pattern names."""

    def change(value: str) -> str:
        found = re.search(pattern, value)
        assert found is not None
        start, end = found.span(1)
        return value[:start] + one_character(rng, found[1]) + value[end:]

    return sent.changed("authorization", change).bytes()


def junk(rng: Random, most: int = 400) -> bytes:
    return rng.randbytes(rng.randrange(1, most))


DATES = (
    *("20261301T000000Z", "120261130T100000Z", "20261130t100000z", "2026-11-30T10:00:00Z", ""),
    *(
        "20260000000101T000000Z",
        "\u0662\u0660\u0662\u06661130T100000Z",
        "-0261130T100000Z",
        "99991231T235959Z",
    ),
)
DATE_HEADERS = (
    *("Mon, 30 Nov 12026 10:00:00 GMT", "Mon, 30 Nov 20261130000 10:00:00 GMT", "0", "\x7f"),
    *("Mon, 30 Nov 2026 10:00:00 +2400", "Mon, 30 Nov 2026 10:00:00 GMT (((((((((((((("),
)
ENCODINGS = ("gzip", "deflate", "br", "zstd", "garbage", "gzip, gzip", "identity;q=0", "\x01")
FRAMINGS = (
    *(
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
        "Content-Length: -1",
        "Content-Length: +3",
    ),
    *("Content-Length: 3\r\nContent-Length: 4", "Content-Length: 3, 3", "Content-Length: 0x3"),
    *("Content-Length: 99999999999999999999999", "Transfer-Encoding: xchunked"),
    *(
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: \x0bchunked",
        "Content-Length: \u0663",
    ),
    *("Transfer-Encoding : chunked", "X: a\r\n Folded: b\r\nContent-Length: a"),
    *("X\x00Y: 1", "X: \x00", "No colon", ": no name", "X: \rTransfer-Encoding: chunked"),
)
CHUNKS = (
    *(
        b"zz\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nabcXX0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\n0\n\n",
    ),
    *(b"fffffffffffffffff\r\nabc\r\n", b"3;\n\r\nabc\r\n0\r\n\r\n", b"0x3\r\nabc\r\n0\r\n\r\n"),
    *(
        b"3\r\nabc\r\n0\r\nAuthorization: x\r\n\r\n",
        b"3" + 20_000 * b";x" + b"\r\nabc\r\n0\r\n\r\n",
    ),
)
OTHER_PROTOCOLS = (
    *(
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /\r\n",
    ),
    *(
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x00" * 100,
        b"\r\n\r\n\r\n\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"\x05\x01\x00",
    ),
)


def framed_as(rng: Random, sent: Sent) -> bytes:
    head = sent.bytes().partition(b"\r\nContent-Length")[0]
    return head + b"\r\n" + rng.choice(FRAMINGS).encode() + b"\r\n\r\n" + sent.body


def chunked_as(rng: Random, sent: Sent) -> bytes:
    head = sent.bytes().partition(b"\r\nContent-Length")[0]
    return head + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + rng.choice(CHUNKS)


def cut(rng: Random, sent: Sent) -> bytes:
    whole = sent.bytes(length=len(sent.body) + 1)
    return whole[: rng.randrange(len(whole) + 1)]


def byte_flipped(rng: Random, sent: Sent) -> bytes:
    """Anywhere in the signature, the signed headers or the body."""
    body = bytearray(sent.body or b"x")
    body[rng.randrange(len(body))] ^= rng.randrange(1, 256)
    return replace(sent, body=bytes(body)).bytes()


def many_headers(rng: Random, sent: Sent) -> bytes:
    return sent.plus(*((f"X-{n}", "x") for n in range(rng.randrange(130, 400)))).bytes()


def pipelined(rng: Random, sent: Sent) -> bytes:
    return sent.changed("authorization", lambda _: "none").without("connection").bytes() + junk(rng)


MUTATIONS: dict[str, Mutation] = {
    # the signature
    "no authorization": lambda _, s: s.without("authorization").bytes(),
    "another signature": lambda r, s: in_authorization(r, s, "Signature=(.*)"),
    "another key": lambda r, s: in_authorization(r, s, "Credential=([^/]*)"),
    "another scope": lambda r, s: in_authorization(r, s, r"Credential=[^/]*/([^,]*)"),
    "other signed headers": lambda r, s: in_authorization(r, s, "SignedHeaders=([^,]*)"),
    "another algorithm": lambda r, s: in_authorization(r, s, "^(AWS4-HMAC-SHA256)"),
    "upper-case signature": lambda _, s: s.changed("authorization", str.upper).bytes(),
    "two authorizations": lambda _, s: s.plus(s.headers[-1], s.headers[-1]).bytes(),
    "noise for authorization": lambda r, s: s.changed(
        "authorization", lambda _: "AWS4-HMAC-SHA256 " + "".join(r.choices("=,/; aZ\té", k=60))
    ).bytes(),
    "a session token": lambda r, s: s.plus(("X-Amz-Security-Token", str(r.random()))).bytes(),
    # what is signed
    "another date": lambda r, s: s.changed("x-amz-date", lambda _: r.choice(DATES)).bytes(),
    "another second": lambda r, s: s.changed("x-amz-date", lambda d: one_character(r, d)).bytes(),
    "a date header": lambda r, s: (
        s.without("x-amz-date").plus(("Date", r.choice(DATE_HEADERS))).bytes()
    ),
    "two dates": lambda _, s: s.plus(("X-Amz-Date", "20261130T100000Z")).bytes(),
    "odd white space": lambda r, s: s.changed(
        "x-amz-date", lambda d: d[:8] + r.choice("\x0b\x0c\x1c\x85\xa0\u2003") + d[8:]
    ).bytes(),
    "another method": lambda r, s: replace(
        s,
        method=r.choice([m for m in ("GET", "PUT", "POST", "HEAD", "post", "X") if m != s.method]),
    ).bytes(),
    "another query": lambda r, s: replace(
        s, path=f"{s.path}?{r.choice('abc')}={r.random()}"
    ).bytes(),
    "a longer path": lambda r, s: replace(
        s, path=s.path + r.choice("x/%?#;é") * r.choice((1, 9000)) + "a"
    ).bytes(),
    "encoded path": lambda _, s: replace(s, path=f"{s.path[:-1]}%{ord(s.path[-1]):02x}").bytes(),
    "dots in the path": lambda r, s: replace(
        s, path=r.choice(("/.", "/..", "//", "/%2e")) + s.path
    ).bytes(),
    "absolute path": lambda _, s: replace(s, path=f"http://evil.example{s.path}").bytes(),
    # the body
    "a byte of the body": byte_flipped,
    "a longer body": lambda r, s: replace(s, body=s.body + junk(r)).bytes(),
    "a large body": lambda r, s: replace(s, body=s.body + r.choice((b" ", b"[")) * 200_000).bytes(),
    "a packed body": lambda r, s: (
        replace(s, body=gzip.compress(s.body))
        .plus(("Content-Encoding", r.choice(ENCODINGS)))
        .bytes()
    ),
    "an encoding": lambda r, s: s.plus(("Content-Encoding", r.choice(ENCODINGS))).bytes(),
    "a hash instead of the body": lambda r, s: (
        replace(s, body=junk(r)).plus(("X-Amz-Content-SHA256", "UNSIGNED-PAYLOAD")).bytes()
    ),
    # who asks
    "a foreign host": lambda r, s: s.changed(
        "host", lambda h: r.choice(("evil.example", "", f"x{h}", h[:-1]))
    ).bytes(),
    "two hosts": lambda _, s: s.plus(("Host", "evil.example")).bytes(),
    "a foreign origin": lambda r, s: s.plus(
        ("Origin", r.choice(("null", "http://evil.example", "")))
    ).bytes(),
    # HTTP itself
    "framing": framed_as,
    "chunks": chunked_as,
    "cut": cut,
    "no length": lambda _, s: (
        s.bytes().partition(b"\r\nContent-Length")[0] + b"\r\n\r\n" + (s.body or b"x")
    ),
    "a long header": lambda r, s: s.plus(("X", "x" * r.randrange(9_000, 100_000))).bytes(),
    "many headers": many_headers,
    "bare line feeds": lambda _, s: (
        s.changed("authorization", lambda _: "x").bytes().replace(b"\r\n", b"\n")
    ),
    "noise after it": pipelined,
    "noise": lambda r, _: junk(r, 2_000),
    "noise in the head": lambda r, s: (lambda whole, n: whole[:n] + junk(r, 20) + whole[n:])(
        s.changed("authorization", lambda a: a[:-1]).bytes(), r.randrange(60)
    ),
    "another protocol": lambda r, _: r.choice(OTHER_PROTOCOLS),
}


def serve(pipe: Connection, folder: Path) -> None:
    """A gateway without webservers and with few files, until the pipe says stop."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (MOST_FILES, MOST_FILES))

    async def main() -> None:
        gateway = Gateway(
            settings=StandInSettings(),
            airflow_version="3.3.1",
            balancer=Balancer(),
            credentials=CREDENTIALS,
            authorization=lambda role: asyncio.sleep(0, role),
            cloudtrail_path=folder / "trail.jsonl",
        )
        addresses = await gateway.start()
        pipe.send((addresses.mwaa_url, addresses.webserver_url))
        await asyncio.to_thread(pipe.recv)
        await gateway.stop()

    asyncio.run(main())


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def valid_requests(url: str) -> list[Sent]:
    """One of each operation, each with its own signature."""

    def signed(method: str, path: str, body: bytes = b"") -> Sent:
        headers = signed_headers(url, method, path, body)
        host = url.removeprefix("http://")
        pairs = (("Host", host), ("Connection", "close"), *headers.items())
        return Sent(method, path, pairs, body)

    invocation = b'{"Path": "/dags", "Method": "GET", "QueryParameters": {"limit": 10}}'
    return [
        signed("GET", "/environments"),
        signed("GET", f"/environments/{ENVIRONMENT}"),
        signed("POST", f"/restapi/{ENVIRONMENT}", invocation),
        signed("POST", f"/webtoken/{ENVIRONMENT}", b"{}"),
    ]


def web_requests(url: str) -> list[Sent]:
    """A login and a call, neither with anything that was handed out."""
    host = url.removeprefix("http://")
    pairs = (
        *(("Host", host), ("Connection", "close"), ("X-Amz-Date", "20261130T100000Z")),
        ("Authorization", "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=x, Signature=0a"),
    )
    return [
        Sent("POST", "/pluginsv2/aws_mwaa/login", pairs, b"token=none"),
        Sent("GET", "/api/v2/dags", pairs, b""),
    ]


def answer_to(url: str, sent: bytes, patience_s: float = PATIENCE_S) -> bytes:
    """All that comes back until the other side closes; raises TimeoutError if it does not."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=ANSWERED_WITHIN_S) as connection:
        received = b""
        try:
            connection.sendall(sent)
            connection.settimeout(patience_s)
            try:
                received = connection.recv(65536)
            except TimeoutError:  # it waits for more
                connection.shutdown(socket.SHUT_WR)
            connection.settimeout(ANSWERED_WITHIN_S)
            while part := connection.recv(65536):
                received += part
        except ConnectionError:
            pass
        return received


def hostile_requests(count: int, mwaa_url: str, web_url: str) -> Iterator[tuple[str, str, bytes]]:
    """Each mutation in turn: its name, where to, and what."""
    rng = random.Random(SEED)  # noqa: S311 - must repeat
    bases = [(mwaa_url, sent) for sent in valid_requests(mwaa_url)]
    bases += [(web_url, sent) for sent in web_requests(web_url)]
    names = list(MUTATIONS)
    for number in range(count):
        name = names[number % len(names)]
        url, sent = rng.choice(bases)
        yield name, url, MUTATIONS[name](rng, sent)


@dataclass(frozen=True)
class Served:
    """A gateway in a process of its own."""

    mwaa_url: str
    web_url: str
    pid: int


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=serve, args=(theirs, tmp_path_factory.mktemp("gateway"))
    )
    process.start()
    assert process.pid is not None
    yield Served(*ours.recv(), process.pid)
    ours.send("stop")
    process.join(20)
    process.kill()


def accepts_valid_requests(url: str) -> bool:
    answers = [answer_to(url, sent.bytes(), ANSWERED_WITHIN_S) for sent in valid_requests(url)]
    return all(b" 200 " in one or b"No webserver is available" in one for one in answers)


@pytest.mark.timeout(300)
def test_nothing_hostile_is_accepted_or_breaks_it(served: Served) -> None:
    statuses: Counter[str] = Counter()
    wrong: list[tuple[str, bytes, bytes]] = []
    settled_bytes = 0
    hostile = hostile_requests(REQUESTS, served.mwaa_url, served.web_url)
    for number, (name, url, sent) in enumerate(hostile):
        received = answer_to(url, sent)
        for status, head in re.findall(rb"HTTP/1\.[01] (\d{3}) (.*?)\r\n\r\n", received, re.DOTALL):
            statuses[status.decode()] += 1
            code = re.search(rb"x-amzn-errortype: (\w+)", head)
            refusal = "" if code is None else code[1].decode()
            if not status.startswith(b"4") or refusal not in REFUSALS:
                wrong.append((name, sent[:300], received[:300]))
        if number == REQUESTS // 5:
            settled_bytes = resident_bytes(served.pid)
    assert wrong == []
    assert statuses.total() > 0.9 * REQUESTS, statuses
    assert resident_bytes(served.pid) - settled_bytes < MOST_GROWTH_BYTES
    assert accepts_valid_requests(served.mwaa_url)  # which are what was spoiled


def test_idle_strangers_shut_nobody_out(served: Served) -> None:
    """More of them than the gateway may open files."""
    with ExitStack() as stack:
        for url in (served.mwaa_url, served.web_url):
            host, _, port = url.removeprefix("http://").partition(":")
            for _ in range(MOST_FILES + 6):
                stack.enter_context(socket.create_connection((host, int(port)), timeout=5))
        assert accepts_valid_requests(served.mwaa_url)
        assert len(list(Path(f"/proc/{served.pid}/fd").iterdir())) < MOST_FILES / 2
