"""Reads gRPC targets, the addresses that channels are opened to, and says what is wrong with one."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

# gRPC's own schemes that name a host or addresses; `xds` and `unix` have rules of their own and are let through.
_SCHEMES = ("dns", "ipv4", "ipv6")
_OTHERS = ("unix", "unix-abstract", "vsock", "xds", "google-c2p")
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a channel leads.

    hosts: each a name or an IP address, and its port; none for schemes that have no hosts, such as `unix`.
    """

    scheme: str
    hosts: tuple[tuple[str, int], ...]


def read_target(address: str) -> Target:
    """Returns what a gRPC target says.

    address: `host:port`, `[::1]:port`, `dns:///name:port`, `dns://server:53/name:port`, `ipv4:1.2.3.4:80,1.2.3.5:80` …

    Raises:
        ValueError: it is none; the message says what is wrong, and what to write.
    """
    if re.match(r"(https?|grpcs?)://", address):
        raise ValueError(f"{address!r} is a URL; write host:port, and dns:///host:port for a name with many addresses")
    scheme, colon, rest = address.partition(":")
    if colon and scheme in _OTHERS:
        return Target(scheme, ())
    if not (colon and scheme in _SCHEMES):
        scheme, rest = "dns", address
    elif rest.startswith("//"):  # //authority/endpoint
        _, slash, rest = rest[2:].partition("/")
        if not slash:
            raise ValueError(f"{address!r} needs three slashes: {scheme}:///host:port")
    parts = rest.split(",") if scheme in ("ipv4", "ipv6") else [rest.lstrip("/")]
    return Target(scheme, tuple(_host_and_port(part, address) for part in parts))


def target_fault(address: str) -> str:
    """Returns what is wrong with a gRPC target, an empty text where nothing is."""
    try:
        read_target(address)
    except ValueError as fault:
        return str(fault)
    return ""


def _host_and_port(text: str, address: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        raise ValueError(f"{address!r} has no port; write host:port, such as localhost:8001, and [::1]:8001 for IPv6")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise ValueError(f"{address!r}: {port!r} is no port; it must be from 1 to 65535")
    host = host.removeprefix("[").removesuffix("]")
    if not is_host(host):
        raise ValueError(f"{address!r}: {host!r} is neither a host name nor an IP address")
    return host, int(port)


def is_host(text: str) -> bool:
    """Whether a text is a host name or an IP address."""
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        # What looks like an IPv4 address and is none, such as 10.0.0.300, is no name either.
        return len(text) <= 255 and bool(_NAME.fullmatch(text)) and not re.fullmatch(r"[\d.]+", text)
    return True
