"""Reads a service's configuration, once, at its start: defaults, then `SENSORIUM_*`, then flags of the same names.

A configuration is a frozen dataclass, which may hold further ones; their fields share one flat set of names. A field
`port` is the variable `SENSORIUM_PORT` and the flag `--port`.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sensorium.channel import MAX_MESSAGE_BYTES
from shared.serving import checks
from shared.serving.variables import unknown_variables

_T = TypeVar("_T")


def option(
    default: Any,
    help: str,  # noqa: A002  # argparse's word
    *,
    low: float | None = None,
    high: float | None = None,
    check: checks.Check | None = None,
) -> Any:
    """Returns a dataclass field with its help. Any: of whatever type.

    low, high: the inclusive range of a number.
    check: of what else is wrong with a value, once it is read from outside; it is not asked about an empty one.
    """
    return field(default=default, metadata={"help": help, "low": low, "high": high, "check": check})


@dataclass(frozen=True)
class ServerConfig:
    """What every server can be told."""

    host: str = option("127.0.0.1", "address to listen on; 0.0.0.0 or [::] for every interface", check=checks.host)
    port: int = option(8001, "gRPC port; 0 takes a free one", low=0, high=65535)
    metrics_port: int = option(
        8002, "HTTP port of /metrics, /healthz and /readyz; 0 takes a free one", low=0, high=65535
    )
    max_message_bytes: int = option(MAX_MESSAGE_BYTES, "largest request and response in bytes", low=1024, high=1 << 30)
    max_inflight_bytes: int = option(
        4 * MAX_MESSAGE_BYTES,
        "bytes of all requests that are answered at once; further ones are refused with RESOURCE_EXHAUSTED. One "
        "always comes in",
        low=1024,
        high=1 << 40,
    )
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
    max_connections_of_one: int = option(
        0,
        "most connections of one address, beyond which those of it that never made a call are closed (Linux); 0: a "
        "quarter of max_connections",
        low=0,
        high=1_000_000,
    )
    max_streams: int = option(1024, "most streams that are open at once; further ones are refused", low=1)
    tls_cert: str = option(
        "", "PEM file of this server's certificate and its chain; empty: plain text", check=checks.file
    )
    tls_key: str = option("", "PEM file of its key", check=checks.file)
    tls_client_ca: str = option(
        "",
        "PEM file of the authorities that clients' certificates must lead to; set: clients must show one",
        check=checks.file,
    )
    tls_client_names: str = option(
        "",
        "names of the clients whose calls are taken, DNS names or URIs of their certificates, comma-separated; empty: "
        "all that tls_client_ca lets in, as it is for health",
    )
    tokens: str = option(
        "", "file of tokens that callers may send (see sensorium token new); empty: none", check=checks.file
    )
    jwks: str = option(
        "", "keys that sign callers' JWTs, as a JWK set: an https URL or a file; empty: none", check=checks.file_or_url
    )
    jwt_issuer: str = option("", "issuer (iss) that JWTs must name")
    jwt_audience: str = option("", "audience (aud) that JWTs must name")
    jwt_tenant_claim: str = option("sub", "claim of a JWT that names the tenant")
    jwt_role_claim: str = option("roles", "claim of a JWT that lists roles; realm_access.roles is one inside another")
    jwt_admin_role: str = option("sensorium-admin", "role in that claim which may load and unload models")
    jwt_leeway_s: float = option(30.0, "seconds that the clock of the JWTs' issuer may be off", low=0, high=300)
    quotas: str = option("", "file of what tenants may use, TOML or JSON; empty: no bounds", check=checks.file)
    reflection: bool = option(default=True, help="serve gRPC reflection")
    log_level: str = option(
        "info", "debug, info, warning or error", check=checks.one_of("debug", "info", "warning", "error")
    )

    def __post_init__(self) -> None:
        """Refuses options that contradict each other, or need others which are not there."""
        is_judged = bool(self.jwt_issuer and self.jwt_audience)
        refuse(
            pair_fault("tls_cert", self.tls_cert, "tls_key", self.tls_key),
            self.tls_client_ca
            and not self.tls_cert
            and "SENSORIUM_TLS_CLIENT_CA is set and SENSORIUM_TLS_CERT is not; clients show certificates over TLS "
            "only, so give the server's too (--tls-cert, --tls-key)",
            self.tls_client_names
            and not self.tls_client_ca
            and "SENSORIUM_TLS_CLIENT_NAMES is set and SENSORIUM_TLS_CLIENT_CA is not; clients without certificates "
            "have no names (--tls-client-ca)",
            self.jwks
            and not is_judged
            and "SENSORIUM_JWKS is set without SENSORIUM_JWT_ISSUER and SENSORIUM_JWT_AUDIENCE; without both, tokens "
            "that were made for others would open this mesh (--jwt-issuer, --jwt-audience)",
            (self.jwt_issuer or self.jwt_audience)
            and not self.jwks
            and "SENSORIUM_JWT_ISSUER or SENSORIUM_JWT_AUDIENCE is set and SENSORIUM_JWKS is not; give the issuer's "
            "keys, or every token would be refused (--jwks, its jwks_uri)",
            self.quotas
            and not (self.tokens or self.jwks)
            and "SENSORIUM_QUOTAS is set, and neither SENSORIUM_TOKENS nor SENSORIUM_JWKS is; who calls is known by "
            "tokens only (--tokens, --jwks)",
            self.port != 0
            and self.port == self.metrics_port
            and f"SENSORIUM_PORT and SENSORIUM_METRICS_PORT are both {self.port}; give them different ones, or 0",
        )


class ConfigError(Exception):
    """The configuration is wrong; the message lists every fault, and so does `faults`."""

    def __init__(self, *faults: str) -> None:
        """Takes one sentence for each fault."""
        super().__init__("\n".join(faults))
        self.faults = faults


def refuse(*faults: str | bool) -> None:
    """Refuses a configuration in which something is wrong.

    faults: a sentence where it is, False or "" where not.

    Raises:
        ConfigError: with all of the sentences.
    """
    if found := [fault for fault in faults if isinstance(fault, str) and fault]:
        raise ConfigError(*found)


def pair_fault(first: str, first_value: str, second: str, second_value: str) -> str:
    """Returns what is wrong where one of two options is set without the other, else an empty text."""
    if bool(first_value) == bool(second_value):
        return ""
    there, missing = (first, second) if first_value else (second, first)
    return (
        f"SENSORIUM_{there.upper()} is set and SENSORIUM_{missing.upper()} is not; give both, or neither "
        f"(--{missing.replace('_', '-')})"
    )


def load(kind: type[_T], argv: Sequence[str], environ: Mapping[str, str], prog: str) -> _T:
    """Returns the configuration from defaults, the environment and flags; `--help` prints the flags and exits.

    Raises:
        ConfigError: a value is of the wrong type, out of its range or of no use, or contradicts another; all faults
            are listed, each with its name, and with them the variables that nobody reads.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description=(kind.__doc__ or "").strip(),
        epilog="Each flag is also a variable: --port is SENSORIUM_PORT.",
    )
    for spec in _fields(kind):
        shown = "off" if spec.default is False else "on" if spec.default is True else spec.default
        flag = f"--{spec.name.replace('_', '-')}"
        told = f"{spec.metadata['help']} (default: {shown})".replace("%", "%%")  # argparse formats it
        parser.add_argument(flag, dest=spec.name, metavar="VALUE", help=told)
    flags = {name: text for name, text in vars(_parsed_flags(parser, kind, argv)).items() if text is not None}
    variables = {
        spec.name: environ[f"SENSORIUM_{spec.name.upper()}"]
        for spec in _fields(kind)
        if environ.get(f"SENSORIUM_{spec.name.upper()}")
    }
    faults: list[str] = []
    config = _build(kind, {**variables, **flags}, faults)
    if faults or config is None:
        faults += unknown_variables(option_names(kind), environ)
        raise ConfigError("the configuration is wrong:", *(f"  {fault}" for fault in faults))
    return config


def _parsed_flags(parser: argparse.ArgumentParser, kind: type[Any], argv: Sequence[str] | None) -> argparse.Namespace:
    """Returns the flags; ends the process, naming the nearest one, where there is none of a name."""
    found, others = parser.parse_known_args(argv)
    if others:
        known = ["--" + name.replace("_", "-") for name in option_names(kind)]
        near = difflib.get_close_matches(others[0].partition("=")[0], known, 1)
        parser.error(
            f"there is no flag {others[0]}" + (f"; did you mean {near[0]}?" if near else "; --help lists them")
        )
    return found


def option_names(kind: type[Any]) -> Sequence[str]:
    """Returns the names of all options of a configuration."""
    return [spec.name for spec in _fields(kind)]


def _fields(kind: type[Any]) -> Iterator[dataclasses.Field[Any]]:
    hints = typing.get_type_hints(kind)
    for spec in dataclasses.fields(kind):
        if dataclasses.is_dataclass(hints[spec.name]):
            yield from _fields(hints[spec.name])
        else:
            yield spec


def _build(kind: type[_T], texts: Mapping[str, str], faults: list[str]) -> _T | None:
    """Returns the configuration, None where its options contradict each other; adds what is wrong to `faults`."""
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for spec in dataclasses.fields(typing.cast("Any", kind)):  # cast: a type variable cannot be bound to dataclasses
        if dataclasses.is_dataclass(hints[spec.name]):
            nested = _build(hints[spec.name], texts, faults)
            values |= {} if nested is None else {spec.name: nested}
        elif spec.name in texts:
            try:
                values[spec.name] = _parsed(texts[spec.name], hints[spec.name], spec)
            except ValueError as fault:
                faults.append(_named(spec, fault))
        if not dataclasses.is_dataclass(hints[spec.name]):
            value, check = values.get(spec.name, spec.default), spec.metadata.get("check")
            if check is not None and str(value) and (problem := check(str(value))):
                faults.append(_named(spec, problem))
    try:
        return kind(**values)
    except ConfigError as fault:
        faults.extend(fault.faults)
        return None


def _named(spec: dataclasses.Field[Any], fault: object) -> str:
    return f"SENSORIUM_{spec.name.upper()} (--{spec.name.replace('_', '-')}): {fault}"


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
        link = text.startswith("tcp://") and "; Kubernetes sets such values: give the pod enableServiceLinks: false"
        raise ValueError(f"{text!r} is no {'whole number' if kind is int else 'number'}{link or ''}") from None
    low, high = metadata["low"], metadata["high"]
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        raise ValueError(f"{text} is out of range: from {low} to {'any' if high is None else high}")
    return value
