"""gRPC over one HTTP/2 connection: many unary calls side by side, or one stream of messages."""

from __future__ import annotations

import socket
import struct

from bench.load.calls import OK, Done, Target
from bench.load.http2 import DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, RST_STREAM, Frames, frame, hello, literal

_STATUS = b"grpc-status"
_MOST_CALLS = 100_000  # more than any server allows on one connection


def connect(target: Target) -> socket.socket:
    """Connects; raises OSError where nobody listens."""
    return socket.create_connection(("127.0.0.1", target.port), timeout=10)


class UnaryConnection:
    """See `bench.load.calls.Connection`."""

    def __init__(self, target: Target) -> None:
        """Connects and greets."""
        self._frames = Frames(connect(target), self._on_frame)
        self._frames.write(PREFACE + hello())
        self._headers = _headers(target)
        self._stream = 1
        self._calls: dict[int, tuple[int, list[bytes]]] = {}  # by stream: the ticket and what came
        self._done: list[Done] = []

    @property
    def free(self) -> int:
        """How many more calls it can carry."""
        return _MOST_CALLS - len(self._calls)

    @property
    def has_unsent(self) -> bool:
        """Whether it waits to be writable."""
        return self._frames.has_unsent

    def fileno(self) -> int:
        """The socket, for epoll."""
        return self._frames.fileno()

    def call(self, body: bytes, ticket: int) -> None:
        """Sends a request."""
        stream = self._stream
        self._stream += 2
        self._calls[stream] = ticket, []
        self._frames.write(frame(HEADERS, END_HEADERS, stream, self._headers))
        self._frames.write_data(stream, _message(body), END_STREAM)
        self._frames.flush()

    def receive(self) -> list[Done]:
        """Reads what is there, and returns the calls that came to their end."""
        self._frames.receive()
        done, self._done = self._done, []
        return done

    def flush(self) -> None:
        """Sends what is left."""
        self._frames.flush()

    def close(self) -> None:
        """Closes the socket."""
        self._frames.close()

    def _on_frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if stream not in self._calls:
            return
        ticket, parts = self._calls[stream]
        if kind == DATA:
            parts.append(payload)
        if flags & END_STREAM or kind == RST_STREAM:
            status = "reset" if kind == RST_STREAM else _status(payload)
            del self._calls[stream]
            self._frames.forget(stream)
            self._done.append(Done(ticket, status, b"".join(parts)[5:]))


class StreamConnection:
    """One bidirectional stream; every message starts with its ticket as `string id = 1`, and so does its answer."""

    def __init__(self, target: Target) -> None:
        """Connects, greets and opens the stream."""
        self._frames = Frames(connect(target), self._on_frame)
        self._frames.write(PREFACE + hello() + frame(HEADERS, END_HEADERS, 1, _headers(target)))
        self._waiting: set[int] = set()
        self._received = bytearray()
        self._done: list[Done] = []

    @property
    def free(self) -> int:
        """How many more messages it can carry."""
        return _MOST_CALLS - len(self._waiting)

    @property
    def has_unsent(self) -> bool:
        """Whether it waits to be writable."""
        return self._frames.has_unsent

    def fileno(self) -> int:
        """The socket, for epoll."""
        return self._frames.fileno()

    def call(self, body: bytes, ticket: int) -> None:
        """Sends a message."""
        self._waiting.add(ticket)
        number = b"%d" % ticket
        self._frames.write_data(1, _message(b"\x0a" + bytes([len(number)]) + number + body), 0)
        self._frames.flush()

    def receive(self) -> list[Done]:
        """Reads what is there, and returns the messages that were answered."""
        self._frames.receive()
        done, self._done = self._done, []
        return done

    def flush(self) -> None:
        """Sends what is left."""
        self._frames.flush()

    def close(self) -> None:
        """Closes the socket, which ends the stream."""
        self._frames.close()

    def _on_frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == DATA:
            self._received += payload
            self._split()
        if flags & END_STREAM or kind == RST_STREAM:
            status = "reset" if kind == RST_STREAM else _status(payload)
            raise ConnectionResetError(f"the server ended the stream with status {status}")

    def _split(self) -> None:
        place = 0
        while len(self._received) >= place + 5:
            size = struct.unpack_from(">I", self._received, place + 1)[0]
            if len(self._received) < place + 5 + size:
                break
            body = bytes(self._received[place + 5 : place + 5 + size])
            ticket = int(body[2 : 2 + body[1]])
            self._waiting.discard(ticket)
            self._done.append(Done(ticket, OK, body))
            place += 5 + size
        del self._received[:place]


def _message(body: bytes) -> bytes:
    return struct.pack(">BI", 0, len(body)) + body


def _headers(target: Target) -> bytes:
    """Returns POST and http by their places in HPACK's static table, the rest as literals."""
    named = [
        (b":path", target.path.encode()),
        (b":authority", f"127.0.0.1:{target.port}".encode()),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"grpc-timeout", f"{target.timeout_s}S".encode()),
    ]
    return b"\x83\x86" + b"".join(literal(name, value) for name, value in named)


def _status(trailers: bytes) -> str:
    """Returns the status that trailers state; without a table every header is a literal."""
    place = trailers.find(_STATUS)
    if place < 0:
        return "unread"
    length = trailers[place + len(_STATUS)]
    start = place + len(_STATUS) + 1
    return trailers[start : start + length].decode() if length < 3 else "unread"
