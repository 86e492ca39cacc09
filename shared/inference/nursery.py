"""The process that forks decoders, seen from the service."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping

from sensorium.errors import FailedPrecondition, Reason

_START_S = 60.0  # a guess: importing a decoder takes 0.2 s on an idle core
_STOP_S = 5.0
# All that a decoder may know of the service's environment, which may hold secrets.
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ")
_SETTINGS = {
    # What forks must have no other threads, and they would fight with the model's.
    "OPENBLAS_NUM_THREADS": "1",
    # glibc would give a picture's memory back after each, and have the kernel clear it anew: 1 ms of a 2 ms decode.
    "MALLOC_MMAP_THRESHOLD_": str(16 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(16 << 20),
}


class Nursery:
    """Starts decoders, and ends them; `close` leaves none.

    It is a child of ours without threads, which may fork where a process of gRPC may not.

    entry: `module:function`, of a function that takes `arguments` and returns a `Decode`.
    memory_bytes: what a decoder may take beside what it starts with.
    """

    def __init__(self, entry: str, arguments: Mapping[str, int], memory_bytes: int) -> None:
        """Starts the process; it is ready, or has failed, by the time that the first decoder is asked for."""
        self._arguments = [entry, json.dumps(dict(arguments)), str(memory_bytes)]
        self._lock = threading.Lock()
        self._start()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def fork(self, channel: socket.socket, memory: int) -> int:
        """Returns the pid of a new decoder, which has a channel and the descriptor of the memory to decode in.

        Raises:
            FailedPrecondition: no decoder can be started on this machine; the process says why in the log.
        """
        with self._lock:
            answer = self._ask(b"fork", [channel.fileno(), memory])
            if not answer:  # whoever killed it, another one takes over
                self._stop()
                self._start()
                answer = self._ask(b"fork", [channel.fileno(), memory])
        if not answer:
            raise FailedPrecondition(
                "the process that decodes files cannot be started here; SENSORIUM_DECODE=inline does without",
                reason=Reason.PACKAGE_INVALID,
            )
        return int(answer)

    def end(self, pid: int) -> int:
        """Ends a decoder unless it has, and returns its exit code, or minus the signal that ended it."""
        with self._lock:
            return int(self._ask(str(pid).encode(), []) or -signal.SIGKILL)

    def close(self) -> None:
        """Ends the process and all decoders."""
        with self._lock:
            self._stop()

    def _ask(self, message: bytes, descriptors: list[int]) -> bytes:
        """Returns the answer; empty where the process is gone."""
        try:
            socket.send_fds(self._control, [message], descriptors)
            return self._control.recv(64)
        except OSError:
            return b""

    def _start(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        bound_times(self._control, _START_S)
        known = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        own = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **_SETTINGS}
        # Without `site`: all that it would find is on that path, and the start takes half the time.
        flags = ["-S", "-P", "-B", "-m", "shared.inference.confined"]
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  # this interpreter, with arguments of ours
                [sys.executable, *flags, *self._arguments, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=known | own,
                pass_fds=[theirs.fileno()],
            )

    def _stop(self) -> None:
        self._control.close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()  # and the kernel its children
            self._process.wait()


def bound_times(channel: socket.socket, seconds: float) -> None:
    """Lets a blocking socket raise BlockingIOError where an answer takes longer; costs no system call by itself."""
    times = struct.pack("ll", int(seconds), int(seconds % 1 * 1_000_000))
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, times)
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, times)
