"""A decoder that does what its file says, for tests of what a crafted file may do to one."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sensorium.errors import InvalidInput, Reason
from shared.inference.confined import Decode
from shared.inference.cpu_time import allow


def set_up(note: int) -> Decode:
    """Returns a decoder: of what is no command it gives the bytes, and the note that it was set up with."""
    commands: dict[bytes, Callable[[], object]] = {
        b"segfault": lambda: ctypes.string_at(0),
        b"abort": os.abort,
        b"exit": lambda: os._exit(3),
        b"hang": lambda: _turn(60, units=10**9),
        b"slow": lambda: _turn(0.5, units=10**9),
        b"streams": _many_streams,
        b"spin": lambda: _turn(60),
        b"bloat": lambda: np.ones(1 << 30, np.uint8),
        b"bug": lambda: 1 // 0,
        b"nonsense": lambda: _say(b'{"dtype": "O", "shape": [1]}'),
        b"beyond": lambda: _say(b'{"dtype": "|u1", "shape": [99999999999], "note": 0}'),
        b"refuse": _refuse,
    }

    def decode(data: bytes, _: object) -> tuple[np.ndarray, int]:
        if data == b"confined":
            return np.frombuffer("\n".join(_allowed()).encode() or b"-", np.uint8), note
        if data in commands:
            commands[data]()
        return np.frombuffer(data, np.uint8), note

    return decode


def _turn(seconds: float, units: int = 0) -> None:
    allow(units)
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def _many_streams() -> None:
    for _ in range(100):
        _turn(0.2)


def _refuse() -> None:
    raise InvalidInput("is refused", reason=Reason.MEDIA_TRUNCATED, field="data", metadata={"a": "b"})


def _say(answer: bytes) -> None:
    """Answers in the decoder's stead, as code that took it over would."""
    for descriptor in [int(each.name) for each in Path("/proc/self/fd").iterdir()]:
        try:
            channel = socket.socket(fileno=os.dup(descriptor))
            channel.send(answer)
        except OSError:
            continue
        time.sleep(60)


def _allowed() -> list[str]:
    """Returns what of all that is forbidden can be done."""
    parent = os.getppid()
    forbidden: dict[str, Callable[[], object]] = {
        "open a socket": lambda: socket.socket(socket.AF_INET),
        "start a program": lambda: os.execv("/bin/true", ["true"]),
        "fork": os.fork,
        "signal another process": lambda: os.kill(parent, 0),
        "write a file": lambda: Path("/tmp/sensorium-decoder-wrote").write_text("x"),
        "remove a file": lambda: Path("/tmp/sensorium-decoder-removes").unlink(),
        "open many files": lambda: [os.dup(0) for _ in range(100)],
        "read a secret of the environment": lambda: os.environ["SENSORIUM_SECRET"],
    }
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    done = []
    for name, act in forbidden.items():
        try:
            act()
        except (OSError, KeyError) as fault:
            if not isinstance(fault, FileNotFoundError):
                continue
        done.append(name)
    return done
