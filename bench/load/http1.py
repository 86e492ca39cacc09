"""HTTP/1.1 over one socket, one call at a time, kept alive."""

from __future__ import annotations

import socket

from bench.load.calls import OK, Done, Target

_CHUNK = 1 << 18


class Http1Connection:
    """See `bench.load.calls.Connection`."""

    def __init__(self, target: Target) -> None:
        """Connects; raises OSError where nobody listens."""
        self._socket = socket.create_connection(("127.0.0.1", target.port), timeout=10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(0)
        self._head = (
            f"POST {target.path} HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\nAccept: */*\r\n"
            f"Content-Type: {target.content_type}\r\nContent-Length: "
        ).encode()
        self._ticket = -1
        self._unsent = b""
        self._received = bytearray()

    @property
    def free(self) -> int:
        """1 between calls."""
        return int(self._ticket < 0)

    @property
    def has_unsent(self) -> bool:
        """Whether a part of the request is still here."""
        return bool(self._unsent)

    def fileno(self) -> int:
        """The socket, for epoll."""
        return self._socket.fileno()

    def call(self, body: bytes, ticket: int) -> None:
        """Sends a request."""
        self._ticket = ticket
        self._unsent = b"%s%d\r\n\r\n%s" % (self._head, len(body), body)
        self.flush()

    def flush(self) -> None:
        """Sends what is left."""
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            return

    def receive(self) -> list[Done]:
        """Reads what is there, and returns the call where its answer is whole."""
        try:
            received = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return []
        if not received:
            raise ConnectionResetError("the server closed the connection")
        self._received += received
        body = _body(self._received)
        if body is None:
            return []
        status = bytes(self._received[9:12]).decode()
        done = Done(self._ticket, OK if status == "200" else status, body)
        self._ticket = -1
        self._received.clear()
        return [done]

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()


def _body(answer: bytearray) -> bytes | None:
    """Returns the body of an answer, None where it is not whole yet."""
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head, start = bytes(answer[:end]).lower(), end + 4
    place = head.find(b"content-length:")
    if place < 0:
        return _joined(answer, start) if b"transfer-encoding: chunked" in head else b""
    length = int(head[place + 15 :].split(b"\r\n", 1)[0])
    return bytes(answer[start : start + length]) if len(answer) >= start + length else None


def _joined(answer: bytearray, place: int) -> bytes | None:
    """Returns the chunks from `place` on as one, None where the last is not there."""
    parts: list[bytes] = []
    while (end := answer.find(b"\r\n", place)) >= 0:
        size = int(answer[place:end].split(b";")[0], 16)
        if len(answer) < end + 4 + size:
            return None
        if not size:
            return b"".join(parts)
        parts.append(bytes(answer[end + 2 : end + 2 + size]))
        place = end + 4 + size
    return None
