"""Secures a mesh on this machine: an authority of its own to try TLS with, certificates, and tokens."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sensorium.cli.processes import MeshError
from sensorium.cli.token import Role, append, made

_DAYS = 30  # it is for trying things out
_TENANT = "me"


@dataclass(frozen=True)
class Security:
    """What the services of a secured mesh are told, and how it is called.

    encoders, orchestrator: variables of their environments.
    client: the options of a client's command that the mesh wants.
    """

    encoders: Mapping[str, str] = field(default_factory=dict)
    orchestrator: Mapping[str, str] = field(default_factory=dict)
    client: Sequence[str] = ()


def secured(folder: Path | None, tokens: Path | None) -> Security:
    """Returns what secures a mesh: TLS on every hop where there is a folder, tokens where there is a file.

    folder: where authority, certificates and keys are kept; what is there and still good is used again.
    tokens: a file of tokens; one that is not there is made, with a token for an admin, which goes into FILE.token.

    Raises:
        MeshError: what TLS needs is not installed, or a file cannot be written.
    """
    try:
        tls = _tls(folder) if folder is not None else Security()
        access, sent = _tokens(tokens) if tokens is not None else ({}, [])
    except OSError as fault:
        raise MeshError(f"{fault.filename} cannot be written: {fault.strerror}") from None
    return Security(tls.encoders, {**tls.orchestrator, **access}, [*tls.client, *sent])


def _tokens(file: Path) -> tuple[dict[str, str], list[str]]:
    """Returns the orchestrator's variables and a client's options."""
    environ = {"SENSORIUM_TOKENS": str(file.resolve())}
    secret = file.with_name(f"{file.name}.token")
    if not file.exists():
        token, line = made(_TENANT, Role.ADMIN)
        append(file, line)
        _write(secret, token.encode())
    return environ, ["--token", f"@{secret}"] if secret.exists() else ["--token", "TOKEN"]


def _tls(folder: Path) -> Security:
    try:
        from cryptography import x509
    except ModuleNotFoundError:
        raise MeshError("cryptography is missing; install it with: pip install -e '.[serving]'") from None
    folder.mkdir(parents=True, exist_ok=True)
    ca, cert, key = (folder / name for name in ("ca.pem", "mesh.pem", "mesh.key"))
    is_there = all(file.is_file() for file in (ca, cert, key))
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    if not is_there or x509.load_pem_x509_certificate(cert.read_bytes()).not_valid_after_utc < soon:
        _issue(ca, cert, key)
    trusted, shown, secret = (str(file.resolve()) for file in (ca, cert, key))
    own = {"SENSORIUM_TLS_CERT": shown, "SENSORIUM_TLS_KEY": secret}
    peer = {"SENSORIUM_PEER_CA": trusted, "SENSORIUM_PEER_CERT": shown, "SENSORIUM_PEER_KEY": secret}
    return Security({**own, "SENSORIUM_TLS_CLIENT_CA": trusted}, {**own, **peer}, ["--ca", str(ca)])


def _issue(ca: Path, cert: Path, key: Path) -> None:
    """Makes an authority, whose key is not kept, and one certificate for this machine that all services show."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import NameOID

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = dt.datetime.now(dt.UTC)
    authority, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = named("Sensorium try-out authority")

    def certificate(subject: x509.Name, public: ec.EllipticCurvePublicKey, extension: x509.ExtensionType) -> bytes:
        until = now + dt.timedelta(days=_DAYS)
        builder = x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number())
        builder = builder.not_valid_before(now - dt.timedelta(minutes=5)).not_valid_after(until)
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(authority, SHA256()).public_bytes(Encoding.PEM)

    addresses = [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")]
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), *map(x509.IPAddress, addresses)])
    _write(ca, certificate(issuer, authority.public_key(), x509.BasicConstraints(ca=True, path_length=0)))
    _write(cert, certificate(named("localhost"), own.public_key(), names))
    _write(key, own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _write(file: Path, content: bytes) -> None:
    """Writes a file for its owner alone."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as opened:
        opened.write(content)
