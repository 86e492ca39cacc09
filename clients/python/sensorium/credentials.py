"""What a client shows and trusts: TLS from PEM files, and tokens, which no stranger on the way may read."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

import grpc

from sensorium.errors import InvalidInput
from sensorium.options import header
from sensorium.targets import read_target

SYSTEM = "system"  # as `ca`: the public authorities that gRPC brings

PemFile = str | os.PathLike[str] | None


def channel_credentials(
    ca: PemFile = None, cert: PemFile = None, key: PemFile = None
) -> grpc.ChannelCredentials | None:
    """Returns the credentials of a channel; None, which is plain text, where there is no `ca`.

    ca: PEM file of the authorities that the server's certificate must lead to, or `system`.
    cert, key: PEM files of the client's own certificate and its key, for servers that ask for one.

    Raises:
        InvalidInput: a file cannot be read or is no PEM, or one of `cert` and `key` is missing, or `ca` is.
    """
    if bool(cert) != bool(key):
        raise InvalidInput("is missing; a certificate and its key are given together", field="key" if cert else "cert")
    if not ca:
        if cert:
            raise InvalidInput("is missing; a certificate is shown over TLS only: name a file or `system`", field="ca")
        return None
    roots = None if ca == SYSTEM else _pem(ca, "ca", b"CERTIFICATE-----")
    if not cert or not key:
        return grpc.ssl_channel_credentials(roots)
    return grpc.ssl_channel_credentials(
        roots, _pem(key, "key", b"PRIVATE KEY-----"), _pem(cert, "cert", b"CERTIFICATE-----")
    )


def _pem(path: str | os.PathLike[str], field: str, holds: bytes) -> bytes:
    try:
        content = Path(path).read_bytes()
    except OSError as fault:
        raise InvalidInput(f"{path} cannot be read: {fault.strerror}", field=field) from None
    if holds not in content:
        raise InvalidInput(f"{path} holds no -----BEGIN … {holds.decode()}, so it is not that PEM file", field=field)
    return content


def token_header(token: str, address: str, *, is_encrypted: bool, insecure_token: bool) -> tuple[str, str]:
    """Returns the metadata that carries a token.

    insecure_token: send it over plain text to another machine too, because something else encrypts the way, such as a
    service mesh.

    Raises:
        InvalidInput: it would go over plain text to another machine, or has characters that no header can carry.
    """
    if not (is_encrypted or insecure_token or is_loopback(address)):
        raise InvalidInput(
            "is not sent over plain text to another machine, where whoever is on the way could read it; use TLS (ca), "
            "or say that the way is safe (insecure_token)",
            field="token",
        )
    return header("authorization", f"Bearer {token}")


def is_loopback(address: str) -> bool:
    """Whether a gRPC target leads to this machine only, whoever is asked for names."""
    if "://" in address and ":///" not in address:
        return False  # it names a DNS server, which may say anything
    try:
        target = read_target(address)
    except ValueError:
        return False  # the channel says what is wrong with it
    if target.scheme in ("unix", "unix-abstract"):
        return True
    return bool(target.hosts) and all(_is_own(host) for host, _ in target.hosts)


def _is_own(host: str) -> bool:
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
