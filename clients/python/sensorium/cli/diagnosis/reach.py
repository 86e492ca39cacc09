"""Checks the way to a server, below gRPC: name, port, TLS, clock."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from sensorium.cli.diagnosis.finding import Finding, State
from sensorium.credentials import SYSTEM

_SOON_DAYS = 14.0  # before a certificate ends
_TELLING_S = 1.0  # a skew of the clocks below it cannot be told: the server's time comes in whole seconds
_SKEW_S = 5.0  # tokens that are valid from now on fail with a clock that is late by more than the usual leeway
_WANTED = "the server wants a certificate of yours that leads to its tls_client_ca: --cert FILE --key FILE"

SocketAddress = tuple[str, int]


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
            refused.append(f"{address[0]}: {_reason(fault)}")
    if first is None:
        fix = "is the server running, does it listen on this interface (SENSORIUM_HOST) and port (SENSORIUM_PORT), and "
        return Finding("port", "failed", "; ".join(refused), fix + "does a firewall or NetworkPolicy let you in?"), None
    if refused:
        fix = "calls go around it; `localhost` has two addresses, of which servers often listen on one"
        return Finding("port", "warning", f"open at {first[0]}, not at {'; '.join(refused)}", fix, took_ms), first
    return Finding("port", "ok", f"{first[1]} is open", ms=took_ms), first


def check_tls(address: SocketAddress, host: str, tls: Tls, timeout_s: float) -> Finding:
    """Returns whether a TLS connection comes about, and how long the server's certificate is good for."""
    if tls.ca is None:
        return _plain(address, host, timeout_s)
    started = time.perf_counter()
    try:
        context = ssl.create_default_context(cafile=None if tls.ca == SYSTEM else tls.ca)
        if tls.cert and tls.key:
            context.load_cert_chain(tls.cert, tls.key)
    except (OSError, ssl.SSLError) as fault:
        return Finding("TLS", "failed", f"the PEM files cannot be used: {_reason(fault)}", "see --ca, --cert, --key")
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection(address, timeout=timeout_s) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            certificate, version = secured.getpeercert() or {}, secured.version()
            # With TLS 1.3 a server judges our certificate after the handshake, and gRPC's hangs up without a word.
            is_let_in = bool(secured.recv(1))
    except ssl.SSLCertVerificationError as fault:
        return _unverified(fault, host)
    except ssl.SSLError as fault:
        return _broken(fault)
    except OSError as fault:
        fix = "does the server speak TLS at all? Without --ca, plain text is spoken"
        return Finding("TLS", "failed", _reason(fault), fix)
    if not is_let_in:
        return Finding("TLS", "failed", "the server hung up after the handshake", _WANTED)
    return _lasting(str(certificate.get("notAfter", "")), version or "TLS", _ms(started))


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


def _plain(address: SocketAddress, host: str, timeout_s: float) -> Finding:
    """Returns that plain text is spoken, unless the server speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent: only who is there is asked
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection(address, timeout=timeout_s) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            fix = "give --ca FILE, the authorities of its certificate, or --ca system"
            return Finding("TLS", "failed", "the server speaks TLS, and you do not", fix)
    except OSError:
        return Finding("TLS", "skipped", "plain text: good on a trusted network only")


def _unverified(fault: ssl.SSLCertVerificationError, host: str) -> Finding:
    found = fault.verify_message or str(fault)
    if "expired" in found or "not yet valid" in found:
        return Finding("TLS", "failed", found, "have it issued anew, and look at the clocks of both machines")
    if "match" in found or "mismatch" in found:
        fix = f"call it by a name of the certificate, or have it issued for {host}"
        return Finding("TLS", "failed", found, fix)
    return Finding("TLS", "failed", found, "give in --ca the authority that issued the server's certificate")


def _broken(fault: ssl.SSLError) -> Finding:
    reason = (fault.reason or str(fault)).replace("_", " ").lower()
    if "certificate" in reason or "unknown ca" in reason:
        return Finding("TLS", "failed", reason, _WANTED)
    return Finding("TLS", "failed", reason, "does the server speak TLS at all? Without --ca, plain text is spoken")


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


def _reason(fault: OSError) -> str:
    return "no answer in time" if isinstance(fault, TimeoutError) else fault.strerror or os.fspath(str(fault))
