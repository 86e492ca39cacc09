"""Breaks bytes, as a careless or a spiteful sender would; the same random numbers break them in the same way."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from random import Random

_MOST_BYTES = 1 << 18
_MOST_STEPS = 6
_ODD_BYTES = (0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF)
_ODD_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
_PNG = b"\x89PNG\r\n\x1a\n"


def mutated(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Returns the bytes after one to six random changes; `others` are what parts are taken from."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, _MOST_STEPS)):
        rng.choice(_STEPS)(changed, rng, others)
    return repaired(bytes(changed[:_MOST_BYTES]), rng)


def repaired(data: bytes, rng: Random) -> bytes:
    """Returns half of the PNG and OGG files with right checksums, which else keep nearly all from the codec."""
    if rng.random() < 0.5:
        return data
    if data.startswith(_PNG):
        return _repaired_png(data)
    return _repaired_ogg(data) if data.startswith(b"OggS") else data


def _flip(data: bytearray, rng: Random, _: Sequence[bytes]) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set(data: bytearray, rng: Random, _: Sequence[bytes]) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.choice(_ODD_BYTES) if rng.random() < 0.5 else rng.randrange(256)


def _set_number(data: bytearray, rng: Random, _: Sequence[bytes]) -> None:
    size = rng.choice((2, 4))
    if len(data) >= size:
        # Headers stand at the start, and are where numbers matter.
        at = min(rng.randrange(len(data)), rng.randrange(len(data))) if len(data) > size else 0
        at = min(at, len(data) - size)
        number = rng.choice(_ODD_NUMBERS) & ((1 << 8 * size) - 1)
        data[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))


def _insert(data: bytearray, rng: Random, _: Sequence[bytes]) -> None:
    at = rng.randint(0, len(data))
    data[at:at] = rng.randbytes(rng.randint(1, 16))


def _delete(data: bytearray, rng: Random, _: Sequence[bytes]) -> None:
    at = rng.randint(0, len(data))
    del data[at : at + rng.randint(1, 64)]


def _truncate(data: bytearray, rng: Random, _: Sequence[bytes]) -> None:
    del data[rng.randint(0, len(data)) :]


def _repeat(data: bytearray, rng: Random, _: Sequence[bytes]) -> None:
    at = rng.randint(0, len(data))
    data[at:at] = bytes(data[at : at + rng.randint(1, 256)]) * rng.randint(1, 8)


def _move(data: bytearray, rng: Random, _: Sequence[bytes]) -> None:
    start, to = rng.randint(0, len(data)), rng.randint(0, len(data))
    part = bytes(data[start : start + rng.randint(1, 128)])
    data[to : to + len(part)] = part


def _take(data: bytearray, rng: Random, others: Sequence[bytes]) -> None:
    if others:
        other = rng.choice(others)
        start, to = rng.randint(0, len(other)), rng.randint(0, len(data))
        part = other[start : start + rng.randint(1, 512)]
        data[to : to + (len(part) if rng.random() < 0.5 else 0)] = part


_STEPS: Sequence[Callable[[bytearray, Random, Sequence[bytes]], None]] = (
    _flip, _flip, _set, _set, _set_number, _set_number, _insert, _delete, _truncate, _repeat, _move, _take,
)  # fmt: skip


def _repaired_png(data: bytes) -> bytes:
    whole, at = bytearray(data), len(_PNG)
    while at + 12 <= len(whole):
        (length,) = struct.unpack_from(">I", whole, at)
        end = at + 8 + length
        if end + 4 > len(whole):
            break
        struct.pack_into(">I", whole, end, zlib.crc32(whole[at + 4 : end]))
        at = end + 4
    return bytes(whole)


def _repaired_ogg(data: bytes) -> bytes:
    whole, at = bytearray(data), 0
    while at + 27 <= len(whole) and whole[at : at + 4] == b"OggS":
        count = whole[at + 26]
        end = at + 27 + count + sum(whole[at + 27 : at + 27 + count])
        if end > len(whole):
            break
        whole[at + 22 : at + 26] = bytes(4)
        struct.pack_into("<I", whole, at + 22, _ogg_checksum(whole[at:end]))
        at = end
    return bytes(whole)


def _ogg_table() -> list[int]:
    table = []
    for index in range(256):
        value = index << 24
        for _ in range(8):
            value = (value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)
        table.append(value & 0xFFFFFFFF)
    return table


_OGG_TABLE = _ogg_table()


def _ogg_checksum(page: bytes | bytearray) -> int:
    """Returns the checksum of RFC 3533: polynomial 0x04c11db7, nothing reflected."""
    value = 0
    for byte in page:
        value = ((value << 8) & 0xFFFFFFFF) ^ _OGG_TABLE[(value >> 24) ^ byte]
    return value
