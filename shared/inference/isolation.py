"""Decodes files in processes of their own: one that crashes, hangs or bloats a codec ends that process, not ours."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import math
import mmap
import os
import queue
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sensorium.errors import InvalidInput, Reason
from shared.inference.confined import ALIGNED, REQUEST_BYTES
from shared.inference.cpu_time import MOST_S
from shared.inference.nursery import Nursery, bound_times

_ANSWER_BYTES = 65_536
_KEPT_BYTES = 8 << 20  # of a decoder's shared memory between two files: a picture of 2.5 megapixels

# Why a decoder ended before the service did.
Ended = Literal["crash", "timeout", "memory", "killed"]

_log = logging.getLogger("sensorium.inference")

# An array and a number that goes with it, in memory that is used anew once the block is left.
Decoder = Callable[[bytes], contextlib.AbstractContextManager[tuple[NDArray[Any], int]]]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one decoder may take.

    input_bytes, output_bytes: the largest file, and the largest array made of one.
    memory_bytes: what it may take beside these and what it starts with.
    timeout_s: how long one file may take.
    """

    input_bytes: int
    output_bytes: int
    memory_bytes: int
    timeout_s: float


class Isolation:
    """A few decoders, each busy with one file at a time; for threads.

    entry, arguments: see `Nursery`. count: how many decoders there are at most; more callers wait.
    on_end: hears of every decoder that ended before us, and why.
    """

    def __init__(
        self, entry: str, arguments: Mapping[str, int], bounds: Bounds, count: int, on_end: Callable[[Ended], None]
    ) -> None:
        """Starts the process that forks decoders; they come as they are needed."""
        self.nursery = Nursery(entry, arguments, bounds.memory_bytes)
        self._cells = [_Cell(self.nursery, bounds, on_end) for _ in range(count)]
        self._free: queue.LifoQueue[_Cell] = queue.LifoQueue()  # the last one used is in the caches of the CPU
        for cell in self._cells:
            self._free.put(cell)

    @contextlib.contextmanager
    def decoded(self, data: bytes) -> Iterator[tuple[NDArray[Any], int]]:
        """Gives what the decoder makes of a file of at most `input_bytes`, until the block is left.

        Raises:
            InvalidInput: of the field `data`: what the decoder found wrong; MEDIA_UNDECODABLE where it crashed or took
                too long; MEDIA_TOO_LARGE where it took too much memory.
            FailedPrecondition: there is no decoder to be had.
        """
        cell = self._free.get()
        try:
            yield cell.decode(data)
        finally:
            cell.tidy()
            self._free.put(cell)

    @property
    def pids(self) -> list[int]:
        """Of the decoders that run."""
        return [cell.pid for cell in self._cells if cell.pid]

    def close(self) -> None:
        """Ends all decoders; nobody may be decoding."""
        self.nursery.close()
        for cell in self._cells:
            cell.close()


class _Cell:
    """One decoder, and the memory that we share with it."""

    def __init__(self, nursery: Nursery, bounds: Bounds, on_end: Callable[[Ended], None]) -> None:
        self._nursery, self._bounds, self._on_end = nursery, bounds, on_end
        self._memory = os.memfd_create("sensorium-decode", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self._memory, bounds.input_bytes + ALIGNED + bounds.output_bytes)  # takes none before it is used
        # Nobody can make it shorter, which would end whoever reads it.
        fcntl.fcntl(self._memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        self._region = mmap.mmap(self._memory, 0)
        self._channel: socket.socket | None = None
        self._used = 0
        self.pid = 0

    def decode(self, data: bytes) -> tuple[NDArray[Any], int]:
        answer = self._answered(data) or self._answered(data)  # a decoder that was killed is not the file's fault
        if not answer:
            raise _undecodable("was not decoded: the decoder was killed twice over it")
        try:
            return self._read(json.loads(answer), len(data))
        except (ValueError, KeyError, TypeError):
            self._end("crash")
            raise _undecodable("made the decoder answer nonsense") from None

    def tidy(self) -> None:
        """Gives large memory back to the system."""
        if self._used > _KEPT_BYTES:
            self._region.madvise(mmap.MADV_REMOVE, 0, self._used)
        self._used = 0

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
        self._channel, self.pid = None, 0
        os.close(self._memory)

    def _answered(self, data: bytes) -> bytes:
        """Returns what the decoder says of a file; empty where it was killed by somebody else."""
        channel = self._channel or self._start()
        self._region[: len(data)] = data
        self._used = len(data)
        try:
            channel.send(len(data).to_bytes(REQUEST_BYTES, "little"))
            answer = channel.recv(_ANSWER_BYTES)
        except BlockingIOError:
            self._end("timeout")
            raise _undecodable(f"took more than {self._bounds.timeout_s:g} s to decode") from None
        except OSError:  # it died before
            answer = b""
        if not answer:
            code = self._end()
            if code == -signal.SIGPROF:
                raise _too_slow()
            if code != -signal.SIGKILL:
                raise _undecodable(f"crashed the decoder ({_named(code)})")
        return answer

    def _read(self, answer: dict[str, Any], length: int) -> tuple[NDArray[Any], int]:
        """Returns what a decoder made; whatever it says is checked, since a file may have taken it over."""
        if "memory" in answer:
            self._end("memory")
            raise _too_large(self._bounds.memory_bytes)
        if "bug" in answer:
            raise RuntimeError(f"a decoder failed:\n{answer['bug']}")
        if "refused" in answer:
            said = answer["refused"]
            raise InvalidInput(
                str(said["problem"]),
                reason=Reason(said["reason"]),
                field=str(said["field"]),
                metadata={str(key): str(value) for key, value in said["metadata"].items()},
            )
        start = -(-length // ALIGNED) * ALIGNED
        shape = [int(size) for size in answer["shape"]]
        made = np.frombuffer(self._region, np.dtype(answer["dtype"]), math.prod(shape), start).reshape(shape)
        self._used = start + made.nbytes
        return made, int(answer["note"])

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, contextlib.ExitStack() as unless_it_starts:
            unless_it_starts.enter_context(ours)
            self.pid = self._nursery.fork(theirs, self._memory)
            unless_it_starts.pop_all()
        bound_times(ours, self._bounds.timeout_s)
        self._channel = ours
        return ours

    def _end(self, reason: Ended | None = None) -> int:
        """Ends the decoder, of which another one will take the place, and returns its exit code.

        reason: None where it ended by itself; a signal that no codec sends itself then tells of somebody else.
        """
        assert self._channel is not None, "it was started"
        self._channel.close()
        code = self._nursery.end(self.pid)
        by_signal: dict[int, Ended] = {-signal.SIGKILL: "killed", -signal.SIGPROF: "timeout"}
        reason = reason or by_signal.get(code, "crash")
        _log.warning("a decoder ended", extra={"f": {"reason": reason, "exit": _named(code), "file_bytes": self._used}})
        self._channel, self.pid = None, 0
        self._on_end(reason)
        return code


def _named(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _undecodable(problem: str) -> InvalidInput:
    return InvalidInput(f"{problem}; send a file of another encoder", reason=Reason.MEDIA_UNDECODABLE, field="data")


def _too_slow() -> InvalidInput:
    return InvalidInput(
        f"takes more of a CPU to decode than its pixels or samples may, {MOST_S:g} s at most; save it as a plain file",
        reason=Reason.MEDIA_TOO_LARGE,
        field="data",
        metadata={"limit": f"{MOST_S:g}", "unit": "seconds"},
    )


def _too_large(limit: int) -> InvalidInput:
    return InvalidInput(
        f"takes more than {limit // 1_000_000} MB of memory to decode; send a smaller one",
        reason=Reason.MEDIA_TOO_LARGE,
        field="data",
        metadata={"limit": str(limit), "unit": "bytes"},
    )
