"""Checks the way to a server, below gRPC: name, port, TLS, clock."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from sensorium.cli.diagnosis.finding import Finding, State
from sensorium.handshake import SocketAddress, plain, reason_of, secured

_SOON_DAYS = 14.0  # before a certificate ends
_TELLING_S = 1.0  # a skew of the clocks below it cannot be told: the server's time comes in whole seconds
_SKEW_S = 5.0  # tokens that are valid from now on fail with a clock that is late by more than the usual leeway


@dataclass(frozen=True, slots=True)
class Tls:
    """The client's side of TLS: paths of PEM files; `ca` may be `system`, and is None for plain text."""

    ca: str | None
    cert: str | None = None
    key: str | None = None


def resolve(host: str, port: int) -> tuple[Finding, Sequence[SocketAddress]]:
    """Returns whether a name leads to addresses, and the addresses."""
    started = time.perf_counter()
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as fault:
        fix = "is the name right, and known to the DNS that this machine asks? In Kubernetes: <service>.<namespace>"
        return Finding("address", "failed", f"{host}: {fault.strerror or fault}", fix), ()
    addresses = list(dict.fromkeys((str(each[4][0]), port) for each in found))
    shown = ", ".join(address for address, _ in addresses)
    return Finding("address", "ok", f"{host} is {shown}", ms=_ms(started)), addresses


def connect(addresses: Sequence[SocketAddress], timeout_s: float) -> tuple[Finding, SocketAddress | None]:
    """Returns whether the port is open at every address, and the first address where it is."""
    refused, first, started = [], None, time.perf_counter()
    took_ms = 0.0
    for address in addresses:
        try:
            with socket.create_connection(address, timeout=timeout_s):
                if first is None:
                    first, took_ms = address, _ms(started)
        except OSError as fault:
            refused.append(f"{address[0]}: {reason_of(fault)}")
    if first is None:
        fix = "is the server running, does it listen on this interface (SENSORIUM_HOST) and port (SENSORIUM_PORT), and "
        return Finding("port", "failed", "; ".join(refused), fix + "does a firewall or NetworkPolicy let you in?"), None
    if refused:
        fix = "calls go around it; `localhost` has two addresses, of which servers often listen on one"
        return Finding("port", "warning", f"open at {first[0]}, not at {'; '.join(refused)}", fix, took_ms), first
    return Finding("port", "ok", f"{first[1]} is open", ms=took_ms), first


def check_tls(address: SocketAddress, host: str, tls: Tls, timeout_s: float) -> Finding:
    """Returns whether a TLS connection comes about, and how long the server's certificate is good for."""
    started = time.perf_counter()
    try:
        if tls.ca is None:
            found = plain(address, host, timeout_s)
        else:
            found = secured(address, host, tls.ca, tls.cert, tls.key, timeout_s)
    except OSError as fault:
        return Finding("TLS", "failed", reason_of(fault), "does the server still listen?")
    if found.problem:
        return Finding("TLS", "failed", found.problem, found.fix)
    if tls.ca is None:
        return Finding("TLS", "skipped", "plain text: good on a trusted network only")
    return _lasting(found.not_after, found.version, _ms(started))


def check_clock(host: str, metrics_port: int, timeout_s: float) -> Finding:
    """Returns by how much the server's clock is off from ours, as the headers of its HTTP endpoint tell."""
    connection = http.client.HTTPConnection(host, metrics_port, timeout=timeout_s)
    try:
        before = time.time()
        connection.request("GET", "/healthz")
        date = connection.getresponse().getheader("Date")
        theirs = parsedate_to_datetime(date or "").timestamp()
    except (OSError, ValueError, http.client.HTTPException):
        return Finding("clock", "skipped", f"not known: no HTTP at {host}:{metrics_port} (--metrics-port)")
    finally:
        connection.close()
    # Theirs is cut to the second, and was read at some time between the question and the answer.
    skew_s = max(0.0, theirs - time.time(), before - theirs - 1.0)
    if skew_s <= _TELLING_S:
        return Finding("clock", "ok", "within a second of this one")
    state: State = "failed" if skew_s > _SKEW_S else "warning"
    fix = "set the clocks by NTP: tokens and certificates are judged by them"
    return Finding("clock", state, f"{skew_s:.0f} s from this one", fix)


def _lasting(not_after: str, version: str, ms: float) -> Finding:
    if not not_after:
        return Finding("TLS", "ok", version, ms=ms)
    days = (ssl.cert_time_to_seconds(not_after) - time.time()) / 86_400
    found = f"{version}; the certificate is good for {days:.0f} days"
    if days < _SOON_DAYS:
        return Finding("TLS", "warning", found, "have it issued anew; the server reads it without a restart", ms)
    return Finding("TLS", "ok", found, ms=ms)


def _ms(started: float) -> float:
    return (time.perf_counter() - started) * 1000
