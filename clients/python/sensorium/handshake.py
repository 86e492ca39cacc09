"""Finds out what a server speaks, TLS or plain text, and why a TLS connection does not come about."""

from __future__ import annotations

import os
import socket
import ssl
from dataclasses import dataclass

from sensorium.credentials import SYSTEM, PemFile
from sensorium.targets import read_target

_WANTED = "the server wants a certificate of yours that leads to its tls_client_ca: --cert FILE --key FILE"
_TRIED_S = 2.0

SocketAddress = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Handshake:
    """What became of an attempt to speak with a server.

    problem, fix: why it did not come about, and what to do; empty where it did.
    version, not_after: of TLS, and of the server's certificate; empty where plain text is spoken.
    """

    problem: str = ""
    fix: str = ""
    version: str = ""
    not_after: str = ""


def tls_fault(address: str, ca: PemFile = None, cert: PemFile = None, key: PemFile = None) -> str:
    """Returns why a server that is there cannot be spoken with, and what to do; "" where that is not about TLS.

    address: a gRPC target; the arguments are those of a client. Takes two seconds at most for each host.
    """
    try:
        hosts = read_target(address).hosts
    except ValueError:
        return ""
    for host, port in hosts:
        try:
            found = secured((host, port), host, ca, cert, key, _TRIED_S) if ca else plain((host, port), host, _TRIED_S)
        except OSError:
            continue  # nobody is there
        if found.problem:
            return f"{found.problem}: {found.fix}"
    return ""


def plain(address: SocketAddress, host: str, timeout_s: float) -> Handshake:
    """Returns that plain text is spoken, unless the server speaks TLS.

    Raises:
        OSError: nobody is there.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent: only who is there is asked
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(address, timeout=timeout_s) as connection:
        try:
            with context.wrap_socket(connection, server_hostname=host):
                pass
        except OSError:
            return Handshake()
    fix = "give --ca FILE (ca= in Python), the authorities of its certificate, or `system`"
    return Handshake("the server speaks TLS, and you do not", fix)


def secured(address: SocketAddress, host: str, ca: PemFile, cert: PemFile, key: PemFile, timeout_s: float) -> Handshake:
    """Returns whether a TLS connection comes about.

    Raises:
        OSError: nobody is there.
    """
    try:
        context = ssl.create_default_context(cafile=None if ca == SYSTEM else ca)
        if cert and key:
            context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as fault:
        return Handshake(f"the PEM files cannot be used: {reason_of(fault)}", "see --ca, --cert, --key")
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(address, timeout=timeout_s) as connection:
        try:
            with context.wrap_socket(connection, server_hostname=host) as tls:
                not_after, version = (tls.getpeercert() or {}).get("notAfter", ""), tls.version()
                # With TLS 1.3 a server judges our certificate after the handshake, and gRPC's hangs up without a word.
                is_let_in = bool(tls.recv(1))
        except ssl.SSLCertVerificationError as fault:
            return _unverified(fault, host)
        except ssl.SSLError as fault:
            return _broken(fault)
        except OSError as fault:
            return Handshake(reason_of(fault), "does the server speak TLS at all? Without --ca, plain text is spoken")
    if not is_let_in:
        return Handshake("the server hung up after the handshake", _WANTED)
    return Handshake(version=version or "TLS", not_after=str(not_after))


def reason_of(fault: OSError) -> str:
    """Returns what an error of the system says, in words."""
    return "no answer in time" if isinstance(fault, TimeoutError) else fault.strerror or os.fspath(str(fault))


def _unverified(fault: ssl.SSLCertVerificationError, host: str) -> Handshake:
    found = fault.verify_message or str(fault)
    if "expired" in found or "not yet valid" in found:
        return Handshake(found, "have it issued anew, and look at the clocks of both machines")
    if "match" in found or "mismatch" in found:
        return Handshake(found, f"call it by a name of the certificate, or have it issued for {host}")
    return Handshake(
        f"the server's certificate is of another authority ({found})",
        "give in --ca the authority that issued the server's certificate",
    )


def _broken(fault: ssl.SSLError) -> Handshake:
    reason = (fault.reason or str(fault)).replace("_", " ").lower()
    if "certificate" in reason or "unknown ca" in reason:
        return Handshake(reason, _WANTED)
    return Handshake(
        f"the server does not speak TLS ({reason})",
        "does the server speak TLS at all? Without --ca, plain text is spoken",
    )
