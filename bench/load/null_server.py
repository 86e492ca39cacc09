"""A server that answers at once, to see what the generator can do: `python -m bench.load.null_server grpc 0`."""

from __future__ import annotations

import os
import select
import socket
import struct
import sys

from bench.load.http2 import DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, Frames, frame, hello, literal

_ANSWER_BYTES = 1_600  # of a reply with 384 floats
_HTTP = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % _ANSWER_BYTES + bytes(_ANSWER_BYTES)
_HEADERS = b"\x88" + literal(b"content-type", b"application/grpc")
_MESSAGE = struct.pack(">BI", 0, _ANSWER_BYTES) + bytes(_ANSWER_BYTES)
_TRAILERS = literal(b"grpc-status", b"0")


class _Grpc:
    """One client's HTTP/2 connection."""

    def __init__(self, connected: socket.socket) -> None:
        self._frames = Frames(connected, self._on_frame)
        self._frames.write(hello())
        self._is_greeted = False

    def receive(self) -> None:
        if not self._is_greeted:
            self._is_greeted = self._frames.strip(len(PREFACE))
        if self._is_greeted:
            self._frames.receive()

    def _on_frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == DATA and flags & END_STREAM:
            self._frames.write(
                frame(HEADERS, END_HEADERS, stream, _HEADERS)
                + frame(DATA, 0, stream, _MESSAGE)
                + frame(HEADERS, END_HEADERS | END_STREAM, stream, _TRAILERS)
            )


class _Http:
    """One client's HTTP/1.1 connection; a request is taken to be whole where it ends in what arrived."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def receive(self) -> None:
        if not self._socket.recv(1 << 16):
            raise ConnectionResetError
        self._socket.send(_HTTP)


def main() -> None:
    """Serves until the process that started it is gone; prints its port."""
    kind = _Grpc if sys.argv[1] == "grpc" else _Http
    listening = socket.create_server(("127.0.0.1", int(sys.argv[2])))
    print(listening.getsockname()[1], flush=True)
    parent = os.getppid()
    epoll = select.epoll()
    epoll.register(listening, select.EPOLLIN)
    clients: dict[int, _Grpc | _Http] = {}
    while os.getppid() == parent:
        for number, _ in epoll.poll(1):
            if number == listening.fileno():
                connected, _address = listening.accept()
                clients[connected.fileno()] = kind(connected)
                epoll.register(connected, select.EPOLLIN)
                continue
            try:
                clients[number].receive()
            except ConnectionError:
                epoll.unregister(number)
                del clients[number]


if __name__ == "__main__":
    main()
