"""Which files an ONNX graph opens beside its own: onnxruntime reads weights from wherever the graph says."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path

_Buffer = mmap.mmap | bytes

# Which fields of a message of onnx.proto lead to tensors, and to what kind of message each.
_MESSAGES: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {4: "operator", 5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
    "entry": {1: "key", 2: "value"},
}
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_MOST_DEEP = 100


def data_files(graph: Path) -> set[str]:
    """Returns the names of the files that a graph keeps weights in, relative to the graph, as it spells them.

    Raises:
        ValueError: it is no graph, or holds a compiled part, which may open files of its own.
        OSError: it cannot be read.
    """
    if graph.suffix.lower() == ".ort":
        raise ValueError("it is in onnxruntime's own format")
    if not graph.stat().st_size:
        raise ValueError("it is empty")
    with graph.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return set(_locations(data, "model", 0, len(data), 0))


def _locations(data: _Buffer, kind: str, at: int, end: int, depth: int) -> Iterator[str]:
    if depth > _MOST_DEEP:
        raise ValueError("it is nested too deeply")
    if kind == "entry":
        found = {name: data[start:stop] for name, start, stop in _fields(data, kind, at, end)}
        if found.get("key") == b"location":
            yield found.get("value", b"").decode()
        return
    for name, start, stop in _fields(data, kind, at, end):
        if name == "operator":
            if data[start:stop] == b"EPContext":
                raise ValueError("it has a node EPContext, a compiled part")
        else:
            yield from _locations(data, name, start, stop, depth + 1)


def _fields(data: _Buffer, kind: str, at: int, end: int) -> Iterator[tuple[str, int, int]]:
    """Yields the fields that lead on, each with where it starts and ends."""
    known = _MESSAGES[kind]
    while at < end:
        tag, at = _varint(data, at, end)
        wire, field = tag & 7, tag >> 3
        if wire == _VARINT:
            _, at = _varint(data, at, end)
            continue
        if wire == _BYTES:
            size, at = _varint(data, at, end)
        elif wire in (_EIGHT, _FOUR):
            size = 8 if wire == _EIGHT else 4
        else:
            raise ValueError(f"it has a field of the kind {wire} at byte {at}")
        if size > end - at:
            raise ValueError(f"it is cut off at byte {at}")
        if wire == _BYTES and field in known:
            yield known[field], at, at + size
        at += size


def _varint(data: _Buffer, at: int, end: int) -> tuple[int, int]:
    """Returns a number, and where what follows it starts."""
    number = 0
    for shift in range(0, 70, 7):
        if at >= end:
            break
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise ValueError(f"it has no number at byte {at}")
