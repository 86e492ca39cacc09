"""Keeps vectors by what they were computed from, so that a repeated input costs little more than a hash."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from shared.inference.features import Features, Prepared

_Input = TypeVar("_Input")

# SHA-256, cut to 128 bits: with the instructions that CPUs have for it, 100 KB take 56 microseconds, BLAKE2b 110; of
# 40 bytes both take 0.4. Only who makes both of two inputs could make them collide, and only by 2^64 tries.
_DIGEST_BYTES = 16
# So many bytes are hashed on the event loop, in 70 microseconds; to ask a thread would cost as much.
_INLINE_BYTES = 128 << 10
# What Python takes for a vector beside its components, by tracemalloc 315 bytes; for an input of one row, 428; for each
# row of a clip with its span, 213.
_VECTOR_BYTES, _KNOWN_BYTES, _ROW_BYTES = 320, 216, 216
# So many entries are freed at once, in half a millisecond; 64 MB of them would hold the event loop for 30.
_FREED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Known:
    """An input that was prepared before: the keys of its rows, and the rest of its `Prepared`."""

    rows: Sequence[bytes]
    unit_count: int
    spans_ms: Sequence[tuple[int, int]]


Value = NDArray[np.float32] | Known


@dataclass(slots=True)
class _Entry:
    value: Value
    used_at: int  # by the cache's own clock, which counts uses


@dataclass(slots=True)
class _Shelf:
    """The entries of one model, the one that was not used for longest first."""

    entries: OrderedDict[bytes, _Entry] = field(default_factory=OrderedDict)
    size_bytes: int = 0

    def oldest(self) -> int:
        return next(iter(self.entries.values())).used_at

    def drop(self, key: bytes) -> int:
        """Returns how many bytes that leaves free."""
        size = _size(self.entries.pop(key).value)
        self.size_bytes -= size
        return size


class Cache:
    """The vectors (dim,) and the known inputs of all models of a service, each by its model's fingerprint and a key.

    What was not used for longest goes first, whichever model it is of. All of it lives on the event loop, but
    `size_bytes` may be read anywhere.

    max_bytes: what the entries may take together, with what Python needs for each.
    on_evicted: hears of each entry that went for another one.
    """

    def __init__(self, max_bytes: int, on_evicted: Callable[[], None]) -> None:
        """Starts empty."""
        self.size_bytes = 0
        self._max_bytes = max_bytes
        self._on_evicted = on_evicted
        self._shelves: dict[str, _Shelf] = {}  # none of them empty
        self._clock = 0

    def get(self, fingerprint: str, key: bytes) -> Value | None:
        """Returns what is kept, which is now the last to go."""
        shelf = self._shelves.get(fingerprint)
        entry = shelf.entries.get(key) if shelf is not None else None
        if shelf is None or entry is None:
            return None
        shelf.entries.move_to_end(key)
        entry.used_at = self._clock = self._clock + 1
        return entry.value

    def put(self, fingerprint: str, key: bytes, value: Value) -> None:
        """Keeps a value, unless it alone is larger than all may be."""
        size = _size(value)
        if size > self._max_bytes:
            return
        shelf = self._shelves.setdefault(fingerprint, _Shelf())
        if key in shelf.entries:
            self.size_bytes -= shelf.drop(key)
        self._clock += 1
        shelf.entries[key] = _Entry(value, self._clock)
        shelf.size_bytes += size
        self.size_bytes += size
        while self.size_bytes > self._max_bytes:
            self._evict()

    def forget(self, fingerprint: str) -> None:
        """Lets all entries of a model go."""
        shelf = self._shelves.pop(fingerprint, None)
        if shelf is not None:
            self.size_bytes -= shelf.size_bytes
            _free(shelf.entries)

    def _evict(self) -> None:
        fingerprint = min(self._shelves, key=lambda each: self._shelves[each].oldest())
        shelf = self._shelves[fingerprint]
        self.size_bytes -= shelf.drop(next(iter(shelf.entries)))
        if not shelf.entries:
            del self._shelves[fingerprint]
        self._on_evicted()


class CacheObserver(Protocol):
    """Hears how often the cache had the answer; metrics in production."""

    def looked_up(self, *, hits: int, misses: int) -> None:
        """Inputs were answered without the model, or computed."""


@dataclass(frozen=True, slots=True)
class Identity(Generic[_Input]):
    """What tells an input from others.

    parts: the bytes that say all of an input that its rows depend on; may run in any thread.
    byte_count: about how many these are, without making them.
    """

    parts: Callable[[_Input], Sequence[bytes]]
    byte_count: Callable[[_Input], int]


class ModelCache(Generic[_Input]):
    """The part of a cache that one model's vectors are in.

    It has two kinds of keys. That of a row is made of the arrays that the model sees, so that two files of the same
    pixels have one vector. That of an input is made of its bytes, and leads to its rows without decoding them anew.

    fingerprint: returns that of the model as it runs now, since a warm-up may change with what and in which precision.
    """

    def __init__(
        self,
        cache: Cache,
        fingerprint: Callable[[], str],
        identity: Identity[_Input],
        observer: CacheObserver,
    ) -> None:
        """Begins without entries, but for those of a loaded model with the same fingerprint."""
        self.observer = observer
        self._cache = cache
        self._fingerprint = fingerprint
        self._identity = identity
        self._is_closed = False

    async def keys(self, inputs: Sequence[_Input]) -> Sequence[bytes]:
        """Returns the keys of inputs; large ones are hashed in a thread."""
        if sum(map(self._identity.byte_count, inputs)) <= _INLINE_BYTES:
            return self._digests(inputs)
        # Not in the threads of preprocessing: hits and refusals would wait behind what is decoded there.
        return await asyncio.to_thread(self._digests, inputs)

    def recall(self, key: bytes) -> tuple[Known, NDArray[np.float32]] | None:
        """Returns an input whose rows are all there, and its vectors (rows, dim)."""
        known = self._cache.get(self._fingerprint(), key)
        if not isinstance(known, Known):
            return None
        vectors = [self.vector(row) for row in known.rows]
        present = [vector for vector in vectors if vector is not None]
        return (known, np.stack(present)) if len(present) == len(vectors) else None

    def learn(self, key: bytes, known: Known) -> None:
        """Keeps where an input leads to."""
        if not self._is_closed:
            self._cache.put(self._fingerprint(), key, known)

    def row_keys(self, prepared: Prepared) -> Sequence[bytes]:
        """Returns the keys of the rows of an input; may run in any thread."""
        return [_digest(_content(row)) for row in prepared.rows]

    def vector(self, row_key: bytes) -> NDArray[np.float32] | None:
        """Returns the vector (dim,) of a row."""
        found = self._cache.get(self._fingerprint(), row_key)
        return found if isinstance(found, np.ndarray) else None

    def keep(self, row_key: bytes, vector: NDArray[np.float32]) -> None:
        """Keeps the vector (dim,) of a row."""
        if not self._is_closed:
            # A copy, since it may be a view, which would keep its whole batch.
            self._cache.put(self._fingerprint(), row_key, vector.copy())

    def close(self) -> None:
        """Lets all entries go; calls that still run leave none."""
        self._is_closed = True
        self._cache.forget(self._fingerprint())

    def _digests(self, inputs: Sequence[_Input]) -> Sequence[bytes]:
        return [_digest(_whole(self._identity.parts(each))) for each in inputs]


def _whole(parts: Sequence[bytes]) -> Iterable[bytes]:
    """Yields an input, each part after its length."""
    yield b"input"
    for part in parts:
        yield len(part).to_bytes(8, "little")
        yield part


def _content(row: Features) -> Iterable[bytes | memoryview]:
    """Yields all that the model sees of a row, each array after what it is."""
    yield b"row"
    for name, array in row.arrays.items():
        yield f"{name} {array.dtype.str} {array.shape}\n".encode()
        yield np.ascontiguousarray(array).data


def _digest(parts: Iterable[bytes | memoryview]) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()[:_DIGEST_BYTES]


def _size(value: NDArray[np.float32] | Known) -> int:
    if isinstance(value, Known):
        return _KNOWN_BYTES + _ROW_BYTES * len(value.rows)
    return _VECTOR_BYTES + value.nbytes


def _free(entries: OrderedDict[bytes, _Entry]) -> None:
    """Frees what nobody sees any more, in between of other work."""
    for _ in range(min(len(entries), _FREED_AT_ONCE)):
        entries.popitem()
    if entries:
        asyncio.get_running_loop().call_soon(_free, entries)
