"""A loopback server that is never the limit: canned answers, an exact delay, an exact freeze.

Every InvokeRestApi call is answered alike. A call takes `--delay-s`. The whole server stands still
once, for `--freeze-s`, from `--freeze-after-s` after its first call on: a call that arrives in that
time, or is being worked on when it begins, is answered that much later (`answered_s` is the rule,
for the server as well as for whoever computes the truth).

It prints its port as the first line and serves until it is told to stop. `GET /report` tells, as
JSON, how many calls it answered, its own CPU seconds, by how much its answers were late, and when
it stood still (seconds since the epoch).

    .venv/bin/python benchmarks/fast_server.py --delay-s 0.02 --core 1
"""

import argparse
import asyncio
import json
import math
import os
import select
import selectors
import time
from array import array
from dataclasses import dataclass
from typing import Any

ANSWER_BODY = b'{"RestApiStatusCode":200,"RestApiResponse":{"dags":[],"total_entries":0}}'
ANSWER = (
    b"HTTP/1.1 200 OK\r\n"
    b"Content-Type: application/json\r\n"
    b"x-amzn-RequestId: 00000000-0000-0000-0000-000000000000\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(ANSWER_BODY), ANSWER_BODY)
)
CALL = b"POST /restapi/"
HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length:"


@dataclass(frozen=True, slots=True)
class Freeze:
    """A time, on any clock, in which the server does nothing; never, if it starts at infinity."""

    from_s: float = math.inf
    duration_s: float = 0.0

    @property
    def to_s(self) -> float:
        """When it ends."""
        return self.from_s + self.duration_s


def answered_s(arrived_s: float, delay_s: float, freeze: Freeze) -> float:
    """When a call is answered that arrived at `arrived_s` and takes `delay_s` of working time."""
    if freeze.from_s <= arrived_s < freeze.to_s:
        return freeze.to_s + delay_s
    if arrived_s < freeze.from_s < arrived_s + delay_s:
        return arrived_s + delay_s + freeze.duration_s
    return arrived_s + delay_s


class PunctualSelector(selectors.EpollSelector):
    """Waits to the microsecond; epoll by itself rounds every wait up to the next millisecond."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """See `selectors.BaseSelector`."""
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        select.select([self.fileno()], [], [], timeout)
        return super().select(0)


class Answers:
    """What the connections share: the delay, the freeze and the account of what was answered."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        delay_s: float,
        freeze_after_s: float,
        freeze_s: float,
    ) -> None:
        self.calls = 0
        self.at_once = delay_s == 0 and freeze_s == 0
        self._loop = loop
        self._delay_s = delay_s
        self._freeze_after_s = freeze_after_s
        self._freeze_s = freeze_s
        self._freeze = Freeze()  # on the loop's clock
        self._late_s = array("d")

    def schedule(self, transport: asyncio.WriteTransport) -> None:
        """A call has arrived: answer it when its time has come."""
        now_s = self._loop.time()
        if not self.calls and self._freeze_s:
            self._freeze = Freeze(now_s + self._freeze_after_s, self._freeze_s)
        self.calls += 1
        due_s = answered_s(now_s, self._delay_s, self._freeze)
        self._loop.call_at(due_s, self._answer, transport, due_s)

    def _answer(self, transport: asyncio.WriteTransport, due_s: float) -> None:
        self._late_s.append(self._loop.time() - due_s)
        if not transport.is_closing():
            transport.write(ANSWER)

    def report(self) -> dict[str, Any]:
        """As `GET /report` tells it."""
        late_s = sorted(self._late_s) or [0.0]
        epoch_s = time.time() - self._loop.time()
        frozen = None
        if math.isfinite(self._freeze.from_s):
            frozen = [self._freeze.from_s + epoch_s, self._freeze.to_s + epoch_s]
        return {
            "calls": self.calls,
            "cpu_s": time.process_time(),
            "late_p99_s": late_s[math.ceil(0.99 * len(late_s)) - 1],
            "late_max_s": late_s[-1],
            "frozen": frozen,
        }


class Connection(asyncio.Protocol):
    """One keep-alive connection; as much HTTP/1.1 as honest clients need."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._received = b""
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._received += data
        while (head_length := self._received.find(HEAD_END)) >= 0:
            head = self._received[:head_length]
            end = head_length + len(HEAD_END) + _body_length(head)
            if len(self._received) < end:
                return
            self._received = self._received[end:]
            self._handle(head)

    def _handle(self, head: bytes) -> None:
        answers = self._answers
        if not head.startswith(CALL):
            self._transport.write(_other_answer(head, answers))
        elif answers.at_once:
            answers.calls += 1
            self._transport.write(ANSWER)
        else:
            answers.schedule(self._transport)


def _body_length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(LENGTH)
    if at < 0:
        return 0
    return int(lower[at + len(LENGTH) :].split(b"\r\n", 1)[0])


def _other_answer(head: bytes, answers: Answers) -> bytes:
    path = head.split(b" ", 2)[1]
    if path.startswith(b"/environments/"):
        tree: dict[str, Any] = {"Environment": {"Arn": "", "Status": "AVAILABLE"}}
    elif path == b"/report":
        tree = answers.report()
    else:
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    body = json.dumps(tree).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )


async def serve(delay_s: float, freeze_after_s: float, freeze_s: float) -> None:
    """Serve on any free loopback port until cancelled."""
    loop = asyncio.get_running_loop()
    answers = Answers(loop, delay_s, freeze_after_s, freeze_s)
    server = await loop.create_server(
        lambda: Connection(answers), "127.0.0.1", 0, backlog=1024, reuse_address=True
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Read options and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay-s", type=float, default=0.0)
    parser.add_argument("--freeze-after-s", type=float, default=0.0, help="from the first call on")
    parser.add_argument("--freeze-s", type=float, default=0.0)
    parser.add_argument("--core", type=int, help="run on this core only")
    options = parser.parse_args()
    if options.core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {options.core})
    with asyncio.Runner(
        loop_factory=lambda: asyncio.SelectorEventLoop(PunctualSelector())
    ) as runner:
        runner.run(serve(options.delay_s, options.freeze_after_s, options.freeze_s))


if __name__ == "__main__":
    main()
