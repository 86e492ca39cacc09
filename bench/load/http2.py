"""HTTP/2 frames (RFC 9113), as much of them as gRPC calls over one connection need, without HPACK's table."""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Callable

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD = 9  # bytes before a frame's payload

_MAX_FRAME = 16_384  # what every peer takes
_FIRST_WINDOW = 65_535
_WIDEST = (1 << 31) - 1
_REOPEN = 1 << 29  # received bytes after which the connection's window is opened again
_CHUNK = 1 << 18
_TABLE_SIZE, _INITIAL_WINDOW = 1, 4  # identifiers of settings


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Returns one frame."""
    return struct.pack(">BHBBI", len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """Returns a header that no table keeps (RFC 7541, 6.2.2), of less than 127 bytes each."""
    return bytes([0, len(name)]) + name + bytes([len(value)]) + value


def hello(table_size: int = 0) -> bytes:
    """Returns the settings that both ends start with: no table for headers, windows as wide as they go."""
    settings = struct.pack(">HIHI", _TABLE_SIZE, table_size, _INITIAL_WINDOW, _WIDEST)
    return frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", _WIDEST - _FIRST_WINDOW))


class Frames:
    """Sends within the peer's windows and takes received bytes apart; `on_frame` hears of what concerns a stream.

    on_frame: called with kind, flags, stream and payload of DATA, HEADERS and RST_STREAM.
    """

    def __init__(self, connected: socket.socket, on_frame: Callable[[int, int, int, bytes], None]) -> None:
        """Takes a connected socket, which it closes."""
        self._socket = connected
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(0)
        self._on_frame = on_frame
        self._unsent = bytearray()
        self._received = bytearray()
        self._window, self._stream_window = _FIRST_WINDOW, _FIRST_WINDOW
        self._windows: dict[int, int] = {}  # of streams that have sent or been granted something
        self._waiting: deque[tuple[int, bytes, int]] = deque()  # stream, data, flags: no window for them yet
        self._to_grant = 0

    @property
    def has_unsent(self) -> bool:
        """Whether bytes wait for the socket."""
        return bool(self._unsent)

    def fileno(self) -> int:
        """The socket."""
        return self._socket.fileno()

    def write(self, framed: bytes) -> None:
        """Queues bytes that are frames already; `flush` sends them."""
        self._unsent += framed

    def write_data(self, stream: int, payload: bytes, flags: int) -> None:
        """Queues data, at once or when the peer's windows allow it."""
        allowed = min(_MAX_FRAME, self._window, self._windows.get(stream, self._stream_window))
        if not self._waiting and len(payload) <= allowed:
            self._count(stream, len(payload))
            self._unsent += frame(DATA, flags, stream, payload)
            return
        self._waiting.append((stream, payload, flags))
        self._pump()

    def forget(self, stream: int) -> None:
        """Drops what is kept of a stream that ended."""
        self._windows.pop(stream, None)

    def flush(self) -> None:
        """Sends as much as the socket takes."""
        try:
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            return

    def receive(self) -> None:
        """Reads what is there, answers what concerns the connection and tells of the rest."""
        try:
            received = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return
        if not received:
            raise ConnectionResetError("the peer closed the connection")
        self._received += received
        place, end = 0, len(self._received)
        while place + HEAD <= end:
            high, low, kind, flags, stream = struct.unpack_from(">BHBBI", self._received, place)
            size = high << 16 | low
            if place + HEAD + size > end:
                break
            payload = bytes(self._received[place + HEAD : place + HEAD + size])
            self._take(kind, flags, stream, payload)
            place += HEAD + size
        del self._received[:place]
        self.flush()

    def strip(self, count: int) -> bool:
        """Drops the first bytes received (a client's preface), if they are there."""
        if len(self._received) < count:
            self._received += self._socket.recv(count - len(self._received))
        is_whole = len(self._received) >= count
        if is_whole:
            del self._received[:count]
        return is_whole

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind in (DATA, HEADERS, RST_STREAM):
            if kind == DATA:
                self._grant(len(payload))
            self._on_frame(kind, flags, stream, payload)
        elif kind == SETTINGS and not flags & ACK:
            self._settings(payload)
        elif kind == PING and not flags & ACK:
            self._unsent += frame(PING, ACK, 0, payload)
        elif kind == WINDOW_UPDATE:
            self._widen(stream, struct.unpack(">I", payload)[0])

    def _settings(self, payload: bytes) -> None:
        for name, value in struct.iter_unpack(">HI", payload):
            if name == _INITIAL_WINDOW:
                more, self._stream_window = value - self._stream_window, value
                self._windows = {stream: window + more for stream, window in self._windows.items()}
        self._unsent += frame(SETTINGS, ACK, 0, b"")
        self._pump()

    def _widen(self, stream: int, more: int) -> None:
        if not stream:
            self._window += more
        elif stream in self._windows:
            self._windows[stream] += more
        self._pump()

    def _grant(self, count: int) -> None:
        self._to_grant += count
        if self._to_grant > _REOPEN:
            self._unsent += frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", self._to_grant))
            self._to_grant = 0

    def _count(self, stream: int, count: int) -> None:
        self._window -= count
        self._windows[stream] = self._windows.get(stream, self._stream_window) - count

    def _pump(self) -> None:
        """Sends waiting data, each stream's in order, as far as the windows go."""
        for _ in range(len(self._waiting)):
            stream, payload, flags = self._waiting.popleft()
            while payload:
                allowed = min(_MAX_FRAME, self._window, self._windows.get(stream, self._stream_window), len(payload))
                if allowed <= 0:
                    break
                self._count(stream, allowed)
                part, payload = payload[:allowed], payload[allowed:]
                self._unsent += frame(DATA, 0 if payload else flags, stream, part)
            if payload:
                self._waiting.append((stream, payload, flags))
