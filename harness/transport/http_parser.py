"""One answer of HTTP/1.1 out of a socket, on geventhttpclient's parser (llhttp).

Directly on the parser, because geventhttpclient's own response class, made to be read in parts,
costs two thirds more.
"""

from typing import Any

from geventhttpclient._parser import HTTPParseError, HTTPResponseParser

_RECEIVE_BYTES = 65536


class AnswerParser(HTTPResponseParser):
    """Collects one answer; interim ones (1xx) are passed over.

    Attributes:
        headers: by lower-case name; values of a repeated header are joined by ", ".
        body: in the parts it came in.
        keeps_alive: whether the connection can carry another call.
        is_complete: whether all of the answer is there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.headers: dict[str, str] = {}
        self.body: list[bytearray] = []
        self.keeps_alive = False
        self.is_complete = False
        self._name = ""
        self._value: str | None = None
        self._in_head = True

    def _on_message_begin(self) -> None:
        if self.is_complete:
            self.keeps_alive = False
            raise HTTPParseError("more than one answer")
        self.headers.clear()
        self._in_head = True

    def _on_status(self, reason: str) -> None:
        """Says nothing that the status does not."""

    def _on_header_field(self, part: str) -> None:
        if self._value is not None:
            self._keep_header()
        self._name += part

    def _on_header_value(self, part: str) -> None:
        self._value = part if self._value is None else self._value + part

    def _on_headers_complete(self) -> bool:
        if self._value is not None:
            self._keep_header()
        self._in_head = False
        return False  # an answer's body is not skipped

    def _on_body(self, part: bytearray) -> None:
        self.body.append(part)

    def _on_message_complete(self) -> None:
        if self.get_code() >= 200 or self.get_code() == 101:
            self.keeps_alive = self.should_keep_alive()
            self.is_complete = True

    def _keep_header(self) -> None:
        name, value = self._name.lower(), self._value or ""
        self._name, self._value = "", None
        if not self._in_head:
            return  # a trailer, after the body: it must not replace a header
        self.headers[name] = f"{self.headers[name]}, {value}" if name in self.headers else value


def receive_answer(sock: Any) -> AnswerParser:
    """Receive one whole answer.

    Args:
        sock: of gevent, or anything else with `recv`.

    Raises:
        HTTPParseError: it is not HTTP, or the connection was closed before its end.
        OSError: the connection broke.
    """
    parser = AnswerParser()
    while not parser.is_complete:
        data = sock.recv(_RECEIVE_BYTES)
        try:
            parser.feed(data)  # no data: the end of an answer without a length
        except HTTPParseError:
            if not parser.is_complete:
                raise
            parser.keeps_alive = False  # what follows the answer is not HTTP
        if not data and not parser.is_complete:
            raise HTTPParseError("closed without an answer")
    return parser
