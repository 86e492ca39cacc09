"""Replicas of one service, on addresses of their own, behind a name of a real DNS server."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dnslib import QTYPE, RR, A
from dnslib.server import BaseResolver, DNSServer

from tests.running import metric_at

_ROOT = Path(__file__).resolve().parents[2]
NAME = "text.sensorium.svc.cluster.local"


class Names(BaseResolver):  # type: ignore[misc]  # dnslib has no types
    """Answers every A question for NAME with the hosts as they stand, other questions with nothing."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self.hosts = list(hosts)
        self.asked = 0

    def resolve(self, request: Any, handler: Any) -> Any:  # Any: dnslib has no types
        del handler
        reply = request.reply()
        if str(request.q.qname).rstrip(".") == NAME and request.q.qtype == QTYPE.A:
            self.asked += 1
            for host in self.hosts:
                reply.add_answer(RR(request.q.qname, QTYPE.A, rdata=A(host), ttl=0))
        return reply


@contextlib.contextmanager
def naming(hosts: Sequence[str], port: int) -> Iterator[tuple[Names, str]]:
    """Runs a DNS server; yields its records, and the gRPC target that asks it for NAME."""
    names = Names(hosts)
    server = DNSServer(names, address="127.0.0.1", port=0, logger=_Silent())
    server.start_thread()
    try:
        yield names, f"dns://127.0.0.1:{server.server.server_address[1]}/{NAME}:{port}"
    finally:
        server.stop()
        server.server.server_close()


class _Silent:
    """A logger for dnslib that says nothing, not even of faults: a fault here is an unanswered question."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


class Replica:
    """One process; see `tests.balancing.backend` for the behaviours."""

    def __init__(self, host: str, port: int, *behaviour: str) -> None:
        """Starts it; `port` 0 takes a free one."""
        self.host = host
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.balancing.backend", host, str(port), *behaviour],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=_ROOT,
        )

        self._ports: list[int] = []

    @property
    def port(self) -> int:
        """Its port; waits until it listens."""
        return self._said()[0]

    @property
    def calls(self) -> int:
        """How many calls it has answered or refused so far."""
        return int(metric_at(self._said()[1], "sensorium_requests_total", self.host))

    def _said(self) -> list[int]:
        if not self._ports:
            assert self.process.stdout is not None
            self._ports = [int(port) for port in self.process.stdout.readline().split()]
        assert self._ports, f"the replica on {self.host} did not start"
        return self._ports

    def hang(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)
        if self.process.stdout is not None:
            self.process.stdout.close()


@contextlib.contextmanager
def replicas(hosts: Sequence[str], *behaviour: str, port: int = 0) -> Iterator[dict[str, Replica]]:
    """Runs a replica on every host, all on one port; whatever stands in the dictionary at the end is killed."""
    running: dict[str, Replica] = {}
    try:
        running[hosts[0]] = first = Replica(hosts[0], port, *behaviour)
        running |= {host: Replica(host, first.port, *behaviour) for host in hosts[1:]}
        for replica in running.values():
            assert replica.port == first.port
        yield running
    finally:
        for replica in running.values():
            replica.kill()
