"""What a system under test is, and how one is started, checked and stopped."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.load.calls import OK, Target
from bench.load.generate import once
from bench.models.folder import BUILD, ROOT, Models

Setting = Mapping[str, int | float]

_DIM = {"short": 384, "mixed": 384, "image": 384, "audio": 128}
_FLOAT_BYTES = 4
_PAUSE_S = 0.1
_GRACE_S = 8.0
_LEAST_COSINE = 0.9999  # to the reference: fp32 in other batches and fusions differs in the sixth digit


class SystemFault(Exception):
    """A system does not start, or answers wrongly; the message says how."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server is to run.

    port: the one that is measured. other_ports: free ones for whatever else it opens.
    folder: an empty folder of its own. python: the interpreter of its environment.
    """

    port: int
    other_ports: Sequence[int]
    folder: Path
    python: Path
    models: Models


@dataclass(frozen=True, slots=True)
class Command:
    """A process to start."""

    argv: Sequence[str]
    environ: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = ROOT


Commands = Callable[[Place, Setting, str], Sequence[Command]]
Calls = Callable[[int, str, Sequence[bytes]], Target]
Vector = Callable[[bytes], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class System:
    """A system under test.

    kinds: of inputs that it takes.
    settings: what the sweep tries; the first is taken where nothing was swept.
    commands: what to start for a kind, the last being the one that is called.
    target: how to call it: port, kind and payloads in, bodies out.
    vector: takes the first vector out of an answer's body.
    packages: what pip installs into its environment; none for ours, which run in this one.
    has_metrics: whether `other_ports[0]` serves our Prometheus metrics.
    has_deadlines: whether a call tells the server how long its caller waits, as gRPC does.
    """

    name: str
    kinds: frozenset[str]
    settings: Sequence[Setting]
    commands: Commands
    target: Calls
    vector: Vector
    packages: Sequence[str] = ()
    start_s: float = 60.0
    has_metrics: bool = False
    has_deadlines: bool = False
    least_cosine: float = _LEAST_COSINE


@dataclass(frozen=True, slots=True)
class Server:
    """A system that runs."""

    pids: tuple[int, ...]
    target: Target
    metrics_port: int
    start_s: float

    def with_timeout(self, timeout_s: int) -> Server:
        """Returns it with another deadline for each call, where the wire has one."""
        return replace(self, target=replace(self.target, timeout_s=timeout_s))


def label(setting: Setting) -> str:
    """Returns a setting as the tables show it."""
    return ", ".join(f"{name} {value:g}" for name, value in setting.items()) or "as it ships"


def aimed(system: System, port: int, kind: str, payloads: Sequence[bytes]) -> Target:
    """Returns how to call a system with inputs of a kind, and how large an answer is at least."""
    target = system.target(port, kind, payloads)
    return replace(target, least_bytes=int(0.9 * _FLOAT_BYTES * _DIM[kind] * target.items))


@contextlib.contextmanager
def serving(
    system: System, setting: Setting, kind: str, models: Models, python: Path, payloads: Sequence[bytes]
) -> Iterator[Server]:
    """Runs a system until the block is left, and yields once it answered a call.

    Raises:
        SystemFault: it ends, or does not answer in time; with the last lines of its log.
    """
    folder = BUILD / "running" / f"{system.name}-{os.getpid()}-{time.monotonic_ns()}"
    folder.mkdir(parents=True)
    port, *others = free_ports(8)
    place = Place(port, others, folder, python, models)
    started = time.monotonic()
    processes: list[subprocess.Popen[bytes]] = []
    log = folder / "log.txt"
    try:
        with log.open("wb") as out:
            commands = system.commands(place, setting, kind)
            processes.extend(start(command, out.fileno()) for command in commands)  # one by one: all are stopped
        target = aimed(system, port, kind, payloads)
        _wait(system, target, processes, log, started + system.start_s)
        yield Server(
            tuple(each.pid for each in processes),
            target,
            others[0] if system.has_metrics else 0,
            time.monotonic() - started,
        )
    finally:
        for process in reversed(processes):
            stop(process)
        shutil.rmtree(folder, ignore_errors=True)


def start(command: Command, log: int) -> subprocess.Popen[bytes]:
    """Starts a process in a group of its own, its words going to the file `log`; `stop` ends it."""
    return subprocess.Popen(
        command.argv,
        env={**os.environ, **command.environ},
        cwd=command.cwd,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,  # its group is stopped with it
    )


def _wait(
    system: System, target: Target, processes: Sequence[subprocess.Popen[bytes]], log: Path, deadline: float
) -> None:
    said = "nothing listened"
    while time.monotonic() < deadline:
        if any(process.poll() is not None for process in processes):
            raise SystemFault(f"{system.name} ended while it started: {_tail(log)}")
        try:
            done = once(target, target.bodies[0], timeout_s=min(10.0, system.start_s))
        except OSError as fault:
            said = str(fault)
        else:
            if done.status_for(target) == OK:
                return
            said = f"status {done.status}: {done.body[:200]!r}"
        time.sleep(_PAUSE_S)
    raise SystemFault(f"{system.name} did not answer within {system.start_s:.0f} s ({said}): {_tail(log)}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the process and all of its group, which nobody else is in."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tail(log: Path) -> str:
    return " | ".join(log.read_text(errors="replace").strip().splitlines()[-6:])[-900:]


def free_ports(count: int) -> list[int]:
    """Returns ports of 127.0.0.1 that nobody has now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def check(system: System, server: Server, expected: Sequence[NDArray[np.float32]]) -> float:
    """Compares answers with the reference: all systems must do the same work; returns the least cosine.

    expected: rows of length 1 of the first inputs.

    Raises:
        SystemFault: an answer is no vector, or another one.
    """
    lowest = 1.0
    step = server.target.items
    for body, row in zip(server.target.bodies, expected[::step], strict=False):
        done = once(server.target, body)
        if done.status != OK:
            raise SystemFault(f"{system.name} answered {done.status}: {done.body[:200]!r}")
        vector = system.vector(done.body)
        if vector.shape != row.shape:
            raise SystemFault(f"{system.name} returned a vector of shape {vector.shape}; expected {row.shape}")
        lowest = min(lowest, float(vector @ row / np.linalg.norm(vector)))
    if lowest < system.least_cosine:
        raise SystemFault(f"{system.name}'s vectors are others: the lowest cosine to the reference is {lowest:.5f}")
    return lowest
