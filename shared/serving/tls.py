"""TLS of servers and of channels to peers, from PEM files that are followed while they are used."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from shared.serving.config import ConfigError, ServerConfig
from shared.serving.files import Followed, read_file
from shared.serving.metrics import Metrics

_log = logging.getLogger("sensorium.tls")

_WARN_S = 7 * 24 * 3600.0  # before a certificate expires; certificates of 90 days are renewed 30 days before
_REPEAT_S = 24 * 3600.0  # between warnings


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate with its chain, and the key that fits it, as PEM.

    expires: in seconds since 1970, of whichever certificate of the chain ends first.
    """

    chain: bytes = field(repr=False)
    key: bytes = field(repr=False)  # never in a log
    expires: float


@dataclass(frozen=True, slots=True)
class Authorities:
    """The certificates that others' certificates must lead to, as PEM, and when the first of them expires."""

    certificates: bytes
    expires: float


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this side is, and whom it trusts; either may be absent."""

    pair: KeyPair | None
    authorities: Authorities | None

    @property
    def expires(self) -> float:
        """When the first of its certificates ends, in seconds since 1970."""
        return min(part.expires for part in (self.pair, self.authorities) if part is not None)


def read_key_pair(cert: str, key: str, cert_option: str = "tls_cert", key_option: str = "tls_key") -> KeyPair:
    """Returns the certificate and the key of two PEM files.

    Raises:
        ConfigError: one cannot be read or is no such PEM, they do not fit, or the certificate is out of date.
    """
    chain, key_pem = read_file(cert, cert_option), read_file(key, key_option)
    certificates = _certificates(chain, cert, cert_option)
    try:
        private = load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError):  # what the parser says may quote the file, so it is not passed on
        raise ConfigError(
            f"{key} ({_variable(key_option)}) holds no private key without a password, in PEM; "
            "openssl pkey -in FILE -out KEY takes the password off"
        ) from None
    if _public(certificates[0]) != private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo):
        raise ConfigError(
            f"the key in {key} ({_variable(key_option)}) is not that of the first certificate in {cert} "
            f"({_variable(cert_option)}); give the two that were issued together, the server's own certificate first"
        )
    expires = _expiry(certificates)
    if expires <= time.time():
        raise ConfigError(f"{cert} ({_variable(cert_option)}) expired on {_day(expires)}; have it issued anew")
    return KeyPair(chain, key_pem, expires)


def read_authorities(path: str, option: str) -> Authorities:
    """Returns the certificates of a PEM file of authorities.

    Raises:
        ConfigError: it cannot be read, or holds none.
    """
    pem = read_file(path, option)
    return Authorities(pem, _expiry(_certificates(pem, path, option)))


class FollowedIdentity:
    """An identity whose files are followed, and whose end is told: by a metric, and in the log as it comes near."""

    def __init__(self, pair: tuple[str, str], ca: str, metrics: Metrics, side: str, *, every_s: float = 0.0) -> None:
        """Reads the files: those of `pair` (certificate and key) and `ca`, of which `""` stands for none.

        side: `tls` or `peer`, as the options and the metric's labels begin.

        Raises:
            ConfigError: a file is missing or wrong.
        """
        self._side = side
        self._warned = -_REPEAT_S
        ca_option = "tls_client_ca" if side == "tls" else "peer_ca"

        def read() -> Identity:
            return Identity(
                read_key_pair(*pair, f"{side}_cert", f"{side}_key") if pair[0] else None,
                read_authorities(ca, ca_option) if ca else None,
            )

        self._files = Followed([path for path in (*pair, ca) if path], read, every_s=every_s)
        for option, part in ((f"{side}_cert", "pair"), (ca_option, "authorities")):
            if getattr(self._files.current(), part) is not None:
                metrics.certificate_expiry.labels(option).set_function(functools.partial(self._expiry, part))

    def _expiry(self, part: str) -> float:
        return float(getattr(self.current(), part).expires)

    def current(self) -> Identity:
        """Returns what the files say now; the same object until they change."""
        identity = self._files.current()
        now = time.monotonic()
        if now - self._warned >= _REPEAT_S and identity.expires - time.time() < _WARN_S:
            self._warned = now
            facts = {"side": self._side, "expires": _day(identity.expires)}
            _log.warning("a certificate expires soon; have it issued anew", extra={"f": facts})
        return identity


def server_credentials(config: ServerConfig, metrics: Metrics) -> grpc.ServerCredentials | None:
    """Returns what a server's port is opened with; None where the configuration has no certificate.

    Every handshake looks whether the files have changed, so new connections get what they say now, and those that are
    open stay. With `tls_client_ca`, a client must show a certificate that leads to it.

    Raises:
        ConfigError: a file is missing or wrong.
    """
    if not config.tls_cert:
        return None
    identity = FollowedIdentity((config.tls_cert, config.tls_key), config.tls_client_ca, metrics, "tls")
    shown = identity.current()

    def changed() -> grpc.ServerCertificateConfiguration | None:  # called by gRPC's core, from a thread of its own
        nonlocal shown
        now = identity.current()
        if now is shown:
            return None
        shown = now
        return _certificate_configuration(shown)

    return grpc.dynamic_ssl_server_credentials(
        _certificate_configuration(shown),
        changed,  # type: ignore[arg-type]  # stub: None, for what did not change, is missing in it
        require_client_authentication=bool(config.tls_client_ca),
    )


def channel_credentials(identity: Identity) -> grpc.ChannelCredentials:
    """Returns what a channel to a peer is opened with: whom it trusts and, where there is one, who it is."""
    roots = identity.authorities.certificates if identity.authorities else None
    key, chain = (identity.pair.key, identity.pair.chain) if identity.pair else (None, None)
    return grpc.ssl_channel_credentials(roots, key, chain)


def _certificate_configuration(identity: Identity) -> grpc.ServerCertificateConfiguration:
    assert identity.pair is not None, "a server always has one"
    roots = identity.authorities.certificates if identity.authorities else None
    return grpc.ssl_server_certificate_configuration([(identity.pair.key, identity.pair.chain)], roots)


def _certificates(pem: bytes, path: str, option: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise ConfigError(
            f"{path} ({_variable(option)}) holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"
        ) from None


def _public(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _expiry(certificates: Sequence[x509.Certificate]) -> float:
    return min(certificate.not_valid_after_utc for certificate in certificates).timestamp()


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _variable(option: str) -> str:
    return f"SENSORIUM_{option.upper()}"
