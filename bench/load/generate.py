"""The load generator: one thread, one epoll, in a process of its own."""

from __future__ import annotations

import random
import select
import time
from collections import Counter, deque
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from typing import TYPE_CHECKING

from bench.load.calls import OK, REFUSED, Connection, Done, Load, Outcome, Target
from bench.load.grpc_wire import StreamConnection, UnaryConnection
from bench.load.http1 import Http1Connection
from bench.processes import cpu_s

if TYPE_CHECKING:
    from collections.abc import Callable

_KINDS: dict[str, Callable[[Target], Connection]] = {
    "grpc": UnaryConnection,
    "grpc-stream": StreamConnection,
    "http": Http1Connection,
}
_OPEN_CONNECTIONS = {"grpc": 8, "grpc-stream": 1, "http": 256}  # of an open loop: for HTTP/1.1 also the calls at once
_DRAIN_S = 5.0  # for the answers after the window; they are not counted
_MOST_WAIT_S = 0.25
_LATE_S = 0.25  # above a call's deadline


def measure(target: Target, load: Load) -> Outcome:
    """Runs a load in a process of its own and returns what came of it.

    Raises:
        RuntimeError: it ended without an outcome, or the server went away.
    """
    context = get_context("spawn")  # nothing is inherited: no locks, no sockets
    here, there = context.Pipe()
    process = context.Process(target=_run_for, args=(target, load, there), daemon=True)
    process.start()
    there.close()
    try:
        limit_s = load.warmup_s + load.seconds + _DRAIN_S + 30
        if not here.poll(limit_s):
            raise RuntimeError(f"the load generator said nothing within {limit_s:.0f} s")
        result: Outcome | str = here.recv()
    except EOFError:
        raise RuntimeError("the load generator died") from None
    finally:
        process.join(5)
        if process.is_alive():
            process.kill()
    if isinstance(result, str):
        raise RuntimeError(result)
    return result


def _run_for(target: Target, load: Load, pipe: Pipe) -> None:
    try:
        pipe.send(run(target, load))
    except OSError as fault:
        pipe.send(f"the server cannot be called: {fault}")


def once(target: Target, body: bytes, timeout_s: float = 30.0) -> Done:
    """Makes one call and returns its end; raises OSError where it does not come in time."""
    connection = _KINDS[target.wire](target)
    try:
        connection.call(body, 0)
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            select.select([connection], [connection] if connection.has_unsent else [], [], left)
            connection.flush()
            done = connection.receive()
            if done:
                return done[0]
    finally:
        connection.close()
    raise TimeoutError(f"no answer within {timeout_s} s")


def run(target: Target, load: Load) -> Outcome:
    """Runs a load in this process."""
    loop = _Loop(target, load)
    try:
        return loop.run()
    finally:
        loop.close()


class _Loop:
    def __init__(self, target: Target, load: Load) -> None:
        self._target, self._load = target, load
        self._epoll = select.epoll()
        self._by_socket: dict[int, Connection] = {}
        self._connections = [self._open() for _ in range(self._connection_count())]
        self._writing: set[int] = set()
        self._begun: dict[int, float] = {}  # by ticket
        self._ticket = 0
        self._overdue: deque[float] = deque()  # an open loop's calls that found no connection
        self._random = random.Random(0)  # noqa: S311  # the same arrivals in every run
        self._outcome = Outcome()
        self._starts, self._ends = float("inf"), float("inf")

    def run(self) -> Outcome:
        now = time.perf_counter()
        self._starts = now + self._load.warmup_s
        self._ends = self._starts + self._load.seconds
        self._due = now if self._load.rate else float("inf")
        if not self._load.rate:
            for number in range(self._load.callers):
                self._call(self._connections[number % len(self._connections)], now)
        self._turn_until(self._starts)
        own, theirs, started = time.process_time(), self._server_cpu_s(), time.perf_counter()
        self._turn_until(self._ends)
        self._outcome.seconds = time.perf_counter() - started
        self._outcome.generator_cpu_s = time.process_time() - own
        self._outcome.cpu_s = self._server_cpu_s() - theirs
        self._turn_until(self._ends + _DRAIN_S, until_idle=True)
        return self._outcome

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
        self._epoll.close()

    def _connection_count(self) -> int:
        if self._load.rate:
            return _OPEN_CONNECTIONS[self._target.wire]
        shared = 1 if self._target.wire == "http" else self._target.callers_per_connection
        return -(-self._load.callers // shared)

    def _open(self) -> Connection:
        connection = _KINDS[self._target.wire](self._target)
        self._by_socket[connection.fileno()] = connection
        self._epoll.register(connection.fileno(), select.EPOLLIN)
        connection.flush()
        return connection

    def _server_cpu_s(self) -> float:
        return sum(map(cpu_s, self._load.pids))

    def _turn_until(self, end: float, *, until_idle: bool = False) -> None:
        while (now := time.perf_counter()) < end and not (until_idle and not self._begun):
            if now >= self._due:
                self._call_due(now)
            wait_s = max(0.0, min(end, self._due) - time.perf_counter())
            # epoll's timeout is rounded up to a millisecond: short waits for the next call's moment are turned here
            for number, event in self._epoll.poll(min(wait_s, _MOST_WAIT_S) if wait_s >= 0.001 else 0):
                connection = self._by_socket[number]
                if event & select.EPOLLOUT:
                    connection.flush()
                if event & ~select.EPOLLOUT:
                    self._receive(connection)
                self._watch(connection)

    def _call_due(self, now: float) -> None:
        while self._due <= now:
            if self._due < self._ends:
                self._overdue.append(self._due)
                self._due += self._random.expovariate(self._load.rate)
            else:
                self._due = float("inf")
        self._send_overdue()

    def _send_overdue(self) -> None:
        """Sends calls that are due over the connections in turn."""
        for _ in range(len(self._connections)):
            if not self._overdue:
                return
            self._connections.append(self._connections.pop(0))
            while self._overdue and self._connections[0].free:
                self._call(self._connections[0], self._overdue.popleft())

    def _call(self, connection: Connection, begun: float) -> None:
        bodies = self._target.bodies
        ticket, self._ticket = self._ticket, self._ticket + 1
        self._begun[ticket] = begun
        connection.call(bodies[ticket % len(bodies)], ticket)
        self._watch(connection)

    def _watch(self, connection: Connection) -> None:
        number = connection.fileno()
        if connection.has_unsent == (number in self._writing):
            return
        self._writing ^= {number}
        self._epoll.modify(number, select.EPOLLIN | (select.EPOLLOUT if connection.has_unsent else 0))

    def _receive(self, connection: Connection) -> None:
        for done in connection.receive():
            now = time.perf_counter()
            self._count(done, self._begun.pop(done.ticket), now)
            if self._load.rate:
                if self._overdue:
                    self._send_overdue()
            elif now < self._ends:
                self._call(connection, now)

    def _count(self, done: Done, begun: float, now: float) -> None:
        if not self._starts <= now < self._ends:
            return
        outcome = self._outcome
        status = done.status_for(self._target)
        if status == OK and self._load.rate and now - begun > self._target.timeout_s + _LATE_S:
            status = "late"  # HTTP/1.1 has no deadlines: nobody waits for such an answer
        outcome.statuses[status] += 1
        if status == OK:
            outcome.items += self._target.items
            outcome.latencies_s.append(now - begun)
        elif status in REFUSED:
            outcome.refusals_s.append(now - begun)


def merged(outcomes: list[Outcome]) -> Outcome:
    """Returns several outcomes of one load as one: rounds one after the other."""
    whole = Outcome(statuses=Counter())
    for each in outcomes:
        whole.seconds += each.seconds
        whole.items += each.items
        whole.latencies_s.extend(each.latencies_s)
        whole.refusals_s.extend(each.refusals_s)
        whole.statuses.update(each.statuses)
        whole.cpu_s += each.cpu_s
        whole.generator_cpu_s += each.generator_cpu_s
    return whole
