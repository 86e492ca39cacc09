"""The process that decodes others' files: `python -m shared.inference.confined`, started by `Nursery` alone.

It imports a decoder once and then, with no thread and no secret in it, forks itself for every decoder that is asked
for: a new one is there in milliseconds. A decoder reads a file from memory that it shares with the service, writes what
it made of it behind, and says what that is in a line of JSON, which the service checks. All of them end with the
service, whatever ends that.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import json
import math
import mmap
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.inference import cpu_time
from shared.inference.confinement import confine, die_first

# Gives the memory for the array of a result: where it is taken, the result need not be copied. Any: of any type.
Empty = Callable[[Sequence[int], Any], NDArray[Any]]
# From the bytes of a file to an array, and a number that goes with it.
Decode = Callable[[bytes, Empty], tuple[NDArray[Any], int]]

REQUEST_BYTES = 8  # the length of the file
ALIGNED = 64  # where the result begins: at a multiple, as numpy's own arrays do
_TRACE_CHARACTERS = 8_000


def main(argv: Sequence[str]) -> int:
    """Forks decoders until the service closes the socket; the arguments are those of `Nursery`."""
    entry, arguments, memory_bytes, number = argv[0], json.loads(argv[1]), int(argv[2]), int(argv[3])
    for unwanted in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(unwanted, signal.SIG_IGN)  # a terminal's Ctrl-C reaches us too, and the service drains first
    die_first()
    _skip_client()
    module, _, name = entry.partition(":")
    decode: Decode = getattr(importlib.import_module(module), name)(**arguments)
    with socket.socket(fileno=number) as control:
        _silence()  # what codecs print of a crafted file is no line of a log
        gc.collect()
        gc.freeze()  # so that decoders share the pages of what is imported
        _fork_on_demand(control, decode, memory_bytes)
    return 0


def _fork_on_demand(control: socket.socket, decode: Decode, memory_bytes: int) -> None:
    """Answers a pair of descriptors with the pid of a new decoder, and a pid, once that decoder ended, with how."""
    children: set[int] = set()
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 64, 2)
        if not message:
            break
        if descriptors:
            pid = os.fork()
            if pid == 0:
                control.close()
                _be_decoder(descriptors[0], descriptors[1], decode, memory_bytes)
            for descriptor in descriptors:
                os.close(descriptor)
            children.add(pid)
            control.send(str(pid).encode())
        else:
            control.send(str(_ended(int(message), children)).encode())
    for pid in list(children):
        _ended(pid, children)


def _ended(pid: int, children: set[int]) -> int:
    """Ends a child unless it has, and returns its exit code, or minus its signal."""
    if pid not in children:
        return -signal.SIGKILL  # of an earlier nursery, with which it died
    children.remove(pid)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _be_decoder(channel: int, memory: int, decode: Decode, memory_bytes: int) -> None:
    """Never returns: what the parent does next is not for a child."""
    code = 70  # sysexits.h: a fault of the software
    with contextlib.suppress(BaseException):
        region = mmap.mmap(memory, os.fstat(memory).st_size)
        os.close(memory)
        confine(memory_bytes)
        cpu_time.bound()
        if os.getppid() != 1:  # else the parent died before it was to take us along
            _decode_all(socket.socket(fileno=channel), region, decode)
        code = 0
    os._exit(code)


def _decode_all(channel: socket.socket, region: mmap.mmap, decode: Decode) -> None:
    while request := channel.recv(REQUEST_BYTES):
        length = int.from_bytes(request, "little")
        answer = _answer(region, length, decode)
        channel.send(json.dumps(answer).encode())
        if "memory" in answer:
            return  # whatever is left of the heap, the next one starts with a whole one


def _answer(region: mmap.mmap, length: int, decode: Decode) -> dict[str, Any]:
    """Returns what became of the file at the start of the region. Any: what JSON takes."""
    start = -(-length // ALIGNED) * ALIGNED

    def empty(shape: Sequence[int], dtype: Any) -> NDArray[Any]:
        count = math.prod(shape)
        return np.frombuffer(region, dtype, count, start).reshape(shape)

    try:
        cpu_time.allow(0)
        made, note = decode(region[:length], empty)
        there = empty(made.shape, made.dtype)
        if made.ctypes.data != there.ctypes.data:
            there[...] = made
    except MemoryError:
        return {"memory": True}
    except Exception as error:  # noqa: BLE001  # told to the service, which knows its own errors from bugs
        if not hasattr(error, "reason"):
            return {"bug": traceback.format_exc()[-_TRACE_CHARACTERS:]}
        parts = {name: getattr(error, name) for name in ("problem", "reason", "field", "metadata")}
        return {"refused": parts}
    finally:
        cpu_time.done()
    return {"dtype": made.dtype.str, "shape": made.shape, "note": note}


def _skip_client() -> None:
    """Makes `sensorium` a package without what its `__init__` imports: decoders need its errors, not gRPC."""
    spec = importlib.util.find_spec("sensorium")
    assert spec is not None, "the services need it"
    sys.modules["sensorium"] = importlib.util.module_from_spec(spec)


def _silence() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
