"""A loopback server that says exactly the bytes it is told to say, and nothing by itself."""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Script = Callable[[socket.socket], bool | None]  # False: close the connection


def say(*parts: bytes, then_close: bool = False) -> Script:
    """Send these parts; keep the connection unless told otherwise."""

    def script(connection: socket.socket) -> bool:
        for part in parts:
            connection.sendall(part)
        return not then_close

    return script


def reset(connection: socket.socket) -> bool:
    """End the connection with a TCP reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


@dataclass
class RawServer:
    """What it says to each request, and what it was asked."""

    port: int
    script: Script
    tls: ssl.SSLContext | None = None
    asked: list[bytes] = field(default_factory=list)  # requests, head and body
    accepted: int = 0  # connections
    connections: list[socket.socket] = field(default_factory=list)

    @property
    def url(self) -> str:
        scheme = "http" if self.tls is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}"

    @property
    def bodies(self) -> list[bytes]:
        return [request.partition(b"\r\n\r\n")[2] for request in self.asked]

    def serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
            with connection:
                self.connections.append(connection)
                while request := read_request(connection):
                    self.asked.append(request)
                    if self.script(connection) is False:
                        return


def read_request(connection: socket.socket) -> bytes:
    """One request with a Content-Length; empty: the client has closed."""
    received = b""
    while b"\r\n\r\n" not in received:
        data = connection.recv(65536)
        if not data:
            return b""
        received += data
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
    while len(body) < length:
        data = connection.recv(65536)
        if not data:
            return b""
        body += data
    return head + b"\r\n\r\n" + body


@contextmanager
def raw_server(
    script: Script | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[RawServer]:
    """Serve on any loopback port; every connection in a thread of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = RawServer(listener.getsockname()[1], script or say(b""), tls)
    threads: list[threading.Thread] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            server.accepted += 1
            threads.append(threading.Thread(target=server.serve, args=(connection,)))
            threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join()
        for connection in server.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


def http(status: int, body: bytes = b"", *lines: str) -> bytes:
    """An answer with a Content-Length."""
    head = [f"HTTP/1.1 {status} Reason", f"Content-Length: {len(body)}", *lines, "", ""]
    return "\r\n".join(head).encode() + body
