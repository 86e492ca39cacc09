"""Closes connections that say nothing, where there are many: silent ones of one address must not keep others out.

gRPC's core bounds how many connections there are, but not whose. So where many are open, the kernel is asked for those
of this process: which address each is from, and how many bytes came over it. One that never sent as much as a call has
is silent; of an address with more than its share the silent ones go, and where all places are nearly taken, the silent
ones of everybody, the longest silent first. Who makes calls is left alone. Linux; elsewhere gRPC's bound is all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_log = logging.getLogger("sensorium.connections")

# How often the connections are counted, and looked at where there are many. A look at 10,000 takes 50 ms of a thread.
_EVERY_S = 0.25
# Of all places: from how many taken on they are looked at, and how many the silent ones may leave taken.
_MANY, _ROOM = 0.25, 0.5
# The bytes that come before a first call (HTTP/2's preface, settings, their acknowledgement, a ping) are below; a call
# with its headers is above.
_SILENT_BYTES = 256
_SETTLED_S = 1.0  # a connection that is younger may still be about to call
_ESTABLISHED = "01"
# Of `struct tcp_info` (linux/tcp.h): milliseconds since data came, and how many bytes did.
_LAST_DATA_AT, _RECEIVED_AT, _INFO_BYTES = 52, 128, 136


@dataclass(frozen=True, slots=True)
class Connection:
    """One open connection: its descriptor here, whom it is with, the bytes that came, how long none have.

    inode: tells it from another that has its descriptor since.
    """

    descriptor: int
    address: str
    received: int
    silent_s: float
    inode: int = 0

    @property
    def is_silent(self) -> bool:
        """Whether it never made a call, though it had time to."""
        return self.received < _SILENT_BYTES and self.silent_s >= _SETTLED_S


def chosen(connections: Sequence[Connection], most: int, most_of_one: int) -> Sequence[Connection]:
    """Returns the connections that should go: silent ones alone, the longest silent first.

    most, most_of_one: how many there may be, and how many of one address.
    """
    silent = sorted((each for each in connections if each.is_silent), key=lambda each: -each.silent_s)
    by_address: dict[str, int] = defaultdict(int)
    for each in connections:
        by_address[each.address] += 1
    going: dict[int, Connection] = {}
    for each in silent:
        left = len(connections) - len(going)
        if by_address[each.address] > most_of_one or left > _ROOM * most:
            going[each.descriptor] = each
            by_address[each.address] -= 1
    return list(going.values())


@contextlib.asynccontextmanager
async def guarding(port: int, most: int, most_of_one: int) -> AsyncIterator[None]:
    """Keeps connections to a port within bounds while the block runs."""
    if not sys.platform.startswith("linux"):
        yield
        return
    task = asyncio.create_task(_guard(port, most, most_of_one))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _guard(port: int, most: int, most_of_one: int) -> None:
    while True:  # until cancelled
        await asyncio.sleep(_EVERY_S)
        try:
            closed = await asyncio.to_thread(_tidied, port, most, most_of_one)
        except OSError as fault:
            _log.warning("connections cannot be looked at", exc_info=fault)
            return
        if closed:
            _log.warning("silent connections are closed", extra={"f": {"by_address": closed}})


def _tidied(port: int, most: int, most_of_one: int) -> Mapping[str, int]:
    """Closes what should go, and returns how many that were, by address."""
    limit = min(most_of_one, int(_MANY * most))
    if len(os.listdir("/proc/self/fd")) <= limit:  # noqa: PTH208  # counted four times a second
        return {}
    closed: dict[str, int] = defaultdict(int)
    for connection in chosen(list(connections(port)), most, most_of_one):
        if shut(connection):
            closed[connection.address] += 1
    return dict(closed)


def shut(connection: Connection) -> bool:
    """Ends a connection; False where it is gone, though another may have its descriptor by now."""
    try:
        with _handle(connection.descriptor, connection.inode) as theirs:
            theirs.shutdown(socket.SHUT_RDWR)  # gRPC's core sees the end, and closes what is its own
    except OSError:
        return False
    return True


def _handle(descriptor: int, inode: int) -> socket.socket:
    """Returns a second handle of a connection, which is the caller's to close.

    Raises:
        OSError: the descriptor is closed, or leads to something else by now: gRPC's threads open and close meanwhile.
    """
    mine = os.dup(descriptor)
    if os.fstat(mine).st_ino != inode:
        os.close(mine)
        raise OSError(f"descriptor {descriptor} leads to something else")
    return socket.socket(fileno=mine)


def connections(port: int) -> Iterable[Connection]:
    """Yields the connections of this process to one of its ports."""
    addresses = _addresses(port)
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(entry)  # noqa: PTH115  # ten thousand of them
            address = addresses.get(target)
            if address is None:
                continue
            inode = int(target[len("socket:[") : -1])
            with _handle(int(entry.name), inode) as mine:
                info = mine.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
        except OSError:
            continue  # it went just now
        if len(info) < _INFO_BYTES:
            return  # a kernel that does not say
        (silent_ms,) = struct.unpack_from("I", info, _LAST_DATA_AT)
        (received,) = struct.unpack_from("Q", info, _RECEIVED_AT)
        yield Connection(int(entry.name), address, received, silent_ms / 1000, inode)


def _addresses(port: int) -> Mapping[str, str]:
    """Returns the remote addresses of established connections to a port, by what their descriptors lead to."""
    found: dict[str, str] = {}
    for name in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/self/net", name).read_text().splitlines()[1:]
        except FileNotFoundError:
            continue
        for line in lines:
            _, local, remote, state, *rest = line.split()
            if state == _ESTABLISHED and int(local.rpartition(":")[2], 16) == port:
                found[f"socket:[{rest[5]}]"] = _readable(remote.rpartition(":")[0])
    return found


def _readable(written: str) -> str:
    """Returns an address as people write it, of the kernel's words in the byte order of this machine."""
    raw = b"".join(bytes.fromhex(written[at : at + 8])[::-1] for at in range(0, len(written), 8))
    if raw[:12] == bytes(10) + b"\xff\xff":  # IPv4 in IPv6
        raw = raw[12:]
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)
