"""Reads a service's configuration, once, at its start: defaults, then `SENSORIUM_*`, then flags of the same names.

A configuration is a frozen dataclass, which may hold further ones; their fields share one flat set of names. A field
`port` is the variable `SENSORIUM_PORT` and the flag `--port`.
"""

from __future__ import annotations

import argparse
import dataclasses
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sensorium.channel import MAX_MESSAGE_BYTES

_T = TypeVar("_T")


def option(default: Any, help: str, *, low: float | None = None, high: float | None = None) -> Any:  # noqa: A002  # argparse's word
    """Returns a dataclass field with its help and, for numbers, its inclusive range. Any: of whatever type."""
    return field(default=default, metadata={"help": help, "low": low, "high": high})


@dataclass(frozen=True)
class ServerConfig:
    """What every server can be told."""

    host: str = option("127.0.0.1", "address to listen on; 0.0.0.0 or [::] for every interface")
    port: int = option(8001, "gRPC port; 0 takes a free one", low=0, high=65535)
    metrics_port: int = option(
        8002, "HTTP port of /metrics, /healthz and /readyz; 0 takes a free one", low=0, high=65535
    )
    max_message_bytes: int = option(MAX_MESSAGE_BYTES, "largest request and response in bytes", low=1024, high=1 << 30)
    max_items: int = option(256, "most items in one call", low=1, high=100_000)
    default_deadline_s: float = option(30.0, "seconds that a call gets which sets no deadline", low=0.001)
    drain_delay_s: float = option(
        0.0,
        "seconds between reporting NOT_SERVING and refusing new calls at shutdown, for load balancers to notice",
        low=0,
    )
    drain_grace_s: float = option(25.0, "seconds that running calls get to end at shutdown", low=0)
    max_connection_age_s: float = option(
        300.0,
        "seconds after which clients are asked to connect anew, so that they find new replicas; 0 for ever",
        low=0,
    )
    max_connection_age_grace_s: float = option(
        0.0, "seconds that the calls of such an old connection get to end; 0 as long as they take", low=0
    )
    max_concurrent_streams: int = option(
        1024, "most calls at once on one connection; a client holds further ones back", low=1, high=1_000_000
    )
    max_metadata_bytes: int = option(16 * 1024, "most bytes of headers that a call may carry", low=1024, high=1 << 20)
    max_connections: int = option(
        4096, "most connections at once; further ones are closed as they come", low=1, high=1_000_000
    )
    max_streams: int = option(1024, "most streams that are open at once; further ones are refused", low=1)
    tls_cert: str = option("", "PEM file of this server's certificate and its chain; empty: plain text")
    tls_key: str = option("", "PEM file of its key")
    tls_client_ca: str = option(
        "", "PEM file of the authorities that clients' certificates must lead to; set: clients must show one"
    )
    tokens: str = option("", "file of tokens that callers may send (see sensorium token new); empty: none")
    jwks: str = option("", "keys that sign callers' JWTs, as a JWK set: an https URL or a file; empty: none")
    jwt_issuer: str = option("", "issuer (iss) that JWTs must name")
    jwt_audience: str = option("", "audience (aud) that JWTs must name")
    jwt_tenant_claim: str = option("sub", "claim of a JWT that names the tenant")
    jwt_role_claim: str = option("roles", "claim of a JWT that lists roles; realm_access.roles is one inside another")
    jwt_admin_role: str = option("sensorium-admin", "role in that claim which may load and unload models")
    jwt_leeway_s: float = option(30.0, "seconds that the clock of the JWTs' issuer may be off", low=0, high=300)
    quotas: str = option("", "file of what tenants may use, TOML or JSON; empty: no bounds")
    reflection: bool = option(default=True, help="serve gRPC reflection")
    log_level: str = option("info", "debug, info, warning or error")

    def __post_init__(self) -> None:
        """Refuses options that need others which are not there."""
        check_pair("tls_cert", self.tls_cert, "tls_key", self.tls_key)
        if self.tls_client_ca and not self.tls_cert:
            raise ConfigError(
                "SENSORIUM_TLS_CLIENT_CA is set and SENSORIUM_TLS_CERT is not; clients show certificates over TLS "
                "only, so give the server's too (--tls-cert, --tls-key)"
            )
        if self.jwks and not (self.jwt_issuer and self.jwt_audience):
            raise ConfigError(
                "SENSORIUM_JWKS is set without SENSORIUM_JWT_ISSUER and SENSORIUM_JWT_AUDIENCE; without both, tokens "
                "that were made for others would open this mesh (--jwt-issuer, --jwt-audience)"
            )
        if (self.jwt_issuer or self.jwt_audience) and not self.jwks:
            raise ConfigError(
                "SENSORIUM_JWT_ISSUER or SENSORIUM_JWT_AUDIENCE is set and SENSORIUM_JWKS is not; give the issuer's "
                "keys, or every token would be refused (--jwks, its jwks_uri)"
            )
        if self.quotas and not (self.tokens or self.jwks):
            raise ConfigError(
                "SENSORIUM_QUOTAS is set, and neither SENSORIUM_TOKENS nor SENSORIUM_JWKS is; who calls is known by "
                "tokens only (--tokens, --jwks)"
            )


class ConfigError(Exception):
    """The configuration is wrong; the message lists every fault."""


def check_pair(first: str, first_value: str, second: str, second_value: str) -> None:
    """Refuses one of two options without the other.

    Raises:
        ConfigError: one is set, the other is not.
    """
    if bool(first_value) != bool(second_value):
        there, missing = (first, second) if first_value else (second, first)
        raise ConfigError(
            f"SENSORIUM_{there.upper()} is set and SENSORIUM_{missing.upper()} is not; give both, or neither "
            f"(--{missing.replace('_', '-')})"
        )


def load(kind: type[_T], argv: Sequence[str], environ: Mapping[str, str], prog: str) -> _T:
    """Returns the configuration from defaults, the environment and flags; `--help` prints the flags and exits.

    Raises:
        ConfigError: a value is of the wrong type or out of its range; all faults are listed, each with its name.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description=(kind.__doc__ or "").strip(),
        epilog="Each flag is also a variable: --port is SENSORIUM_PORT.",
    )
    for spec in _fields(kind):
        shown = "off" if spec.default is False else "on" if spec.default is True else spec.default
        flag = f"--{spec.name.replace('_', '-')}"
        parser.add_argument(flag, dest=spec.name, metavar="VALUE", help=f"{spec.metadata['help']} (default: {shown})")
    flags = {name: text for name, text in vars(parser.parse_args(argv)).items() if text is not None}
    variables = {
        spec.name: environ[f"SENSORIUM_{spec.name.upper()}"]
        for spec in _fields(kind)
        if environ.get(f"SENSORIUM_{spec.name.upper()}")
    }
    faults: list[str] = []
    config = _build(kind, {**variables, **flags}, faults)
    if faults:
        raise ConfigError("the configuration is wrong:\n" + "\n".join(f"  {fault}" for fault in faults))
    return config


def _fields(kind: type[Any]) -> Iterator[dataclasses.Field[Any]]:
    hints = typing.get_type_hints(kind)
    for spec in dataclasses.fields(kind):
        if dataclasses.is_dataclass(hints[spec.name]):
            yield from _fields(hints[spec.name])
        else:
            yield spec


def _build(kind: type[_T], texts: Mapping[str, str], faults: list[str]) -> _T:
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for spec in dataclasses.fields(typing.cast("Any", kind)):  # cast: a type variable cannot be bound to dataclasses
        if dataclasses.is_dataclass(hints[spec.name]):
            values[spec.name] = _build(hints[spec.name], texts, faults)
        elif spec.name in texts:
            try:
                values[spec.name] = _parsed(texts[spec.name], hints[spec.name], spec)
            except ValueError as fault:
                faults.append(f"SENSORIUM_{spec.name.upper()} (--{spec.name.replace('_', '-')}): {fault}")
    return kind(**values)


_SWITCH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def _parsed(text: str, kind: type[Any], spec: dataclasses.Field[Any]) -> Any:
    if kind is bool:
        if text.lower() not in _SWITCH:
            raise ValueError(f"{text!r} is neither on nor off")
        return _SWITCH[text.lower()]
    if kind in (int, float):
        return _number(text, kind, spec.metadata)
    if kind is Path:
        return Path(text)
    return text


def _number(text: str, kind: type[int] | type[float], metadata: Mapping[str, Any]) -> int | float:
    try:
        value = kind(text)
    except ValueError:
        raise ValueError(f"{text!r} is no {'whole number' if kind is int else 'number'}") from None
    low, high = metadata["low"], metadata["high"]
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        raise ValueError(f"{text} is out of range: from {low} to {'any' if high is None else high}")
    return value
