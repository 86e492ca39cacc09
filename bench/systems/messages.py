"""Protobuf by hand, for the contracts of peers whose stubs are not here."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def message(number: int, payload: bytes) -> bytes:
    """Returns a field of bytes, a string or a message."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def fields(payload: bytes) -> Iterator[tuple[int, bytes]]:
    """Returns the fields that hold bytes; the others are passed over."""
    place = 0
    while place < len(payload):
        key, place = _read(payload, place)
        if key & 7 == 2:
            size, place = _read(payload, place)
            yield key >> 3, payload[place : place + size]
            place += size
        elif key & 7 == 0:
            _, place = _read(payload, place)
        else:
            place += 4 if key & 7 == 5 else 8


def infer_request(model: str, name: str, texts: list[bytes]) -> bytes:
    """Returns a ModelInferRequest of the Open Inference Protocol with one tensor of texts, shape (n, 1)."""
    shape = message(3, _varint(len(texts)) + _varint(1))
    tensor = message(1, name.encode()) + message(2, b"BYTES") + shape
    raw = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return message(1, model.encode()) + message(5, tensor) + message(7, raw)


def infer_response(payload: bytes) -> NDArray[np.float32]:
    """Returns the first tensor of a ModelInferResponse as one row."""
    for number, value in fields(payload):
        if number == 6:  # raw_output_contents
            return np.frombuffer(value, np.float32)
    for number, value in fields(payload):
        if number == 5:
            contents = next(inner for place, inner in fields(value) if place == 5)
            return np.frombuffer(next(inner for place, inner in fields(contents) if place == 6), np.float32)
    raise ValueError("the answer holds no tensor")


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _read(payload: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = payload[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
