"""What a load is made of: whom to call, with what, how, and what came of it."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, Protocol

Wire = Literal["grpc", "grpc-stream", "http"]
OK = "0"  # status of a call that was answered, on every wire
REFUSED = frozenset({"8", "14", "429", "503"})  # RESOURCE_EXHAUSTED, UNAVAILABLE, and what HTTP has for them


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to call, with what.

    port: on 127.0.0.1.
    bodies: serialized requests, sent in turn, again from the first after the last.
    items: how many inputs one body holds.
    least_bytes: of an answer; a shorter one holds an error in place of a vector.
    callers_per_connection: how many callers share one HTTP/2 connection; on HTTP/1.1 each has its own.
    """

    wire: Wire
    port: int
    path: str
    bodies: tuple[bytes, ...]
    items: int = 1
    content_type: str = "application/json"
    timeout_s: int = 30
    least_bytes: int = 0
    callers_per_connection: int = 16


@dataclass(frozen=True, slots=True)
class Load:
    """How to call: `callers` in a closed loop, or, where `rate` is given, that many calls a second whatever comes back.

    pids: the roots of the processes whose CPU time is taken beside.
    """

    seconds: float
    warmup_s: float = 0.5
    callers: int = 1
    rate: float = 0.0
    pids: tuple[int, ...] = ()


@dataclass(slots=True)
class Outcome:
    """What came back within the window, warm-up left out.

    latencies_s: of the answered calls; in an open loop from the moment that a call was due.
    refusals_s: the same of the calls that were refused: not of those that failed or came too late.
    statuses: how many calls had which status; "0" is an answer.
    cpu_s, generator_cpu_s: CPU time of the server's processes and of the generator.
    """

    seconds: float = 0.0
    items: int = 0
    latencies_s: array[float] = field(default_factory=lambda: array("d"))
    refusals_s: array[float] = field(default_factory=lambda: array("d"))
    statuses: Counter[str] = field(default_factory=Counter)
    cpu_s: float = 0.0
    generator_cpu_s: float = 0.0

    @property
    def rate(self) -> float:
        """Items a second."""
        return self.items / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Done:
    """One call that came to its end."""

    ticket: int
    status: str
    body: bytes

    def status_for(self, target: Target) -> str:
        """Returns the status, with errors inside of an answer told from answers."""
        return "item error" if self.status == OK and len(self.body) < target.least_bytes else self.status


class Connection(Protocol):
    """One socket with calls on it; nothing blocks."""

    @property
    def free(self) -> int:
        """How many more calls it can carry now."""

    @property
    def has_unsent(self) -> bool:
        """Whether it waits to be writable."""

    def fileno(self) -> int:
        """The socket, for epoll."""

    def call(self, body: bytes, ticket: int) -> None:
        """Sends a request; `ticket` comes back with its end."""

    def receive(self) -> list[Done]:
        """Reads what is there; raises ConnectionError where the peer is gone."""

    def flush(self) -> None:
        """Sends what is left."""

    def close(self) -> None:
        """Closes the socket."""
