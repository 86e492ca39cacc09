"""Who calls: callers, what verifies their tokens, and the tokens of a file."""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sensorium.errors import Unauthenticated
from shared.serving.config import ConfigError
from shared.serving.files import Followed, read_file

ROLES = ("user", "admin")
_TENANT = re.compile(r"[!-~]{1,128}")
MAX_TOKEN = 8192  # characters; gRPC takes headers of 16 KiB together


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a token stands for.

    expires: when the token ends, in seconds since 1970; infinite for one of a file.
    """

    tenant: str
    is_admin: bool = False
    expires: float = math.inf


class Verifier(Protocol):
    """Knows one kind of token."""

    async def verify(self, token: str) -> Caller | None:
        """Returns whom a token stands for; None where it is of another kind.

        Raises:
            Unauthenticated: it is of this kind, and bad.
            Unavailable: whether it is good cannot be known now.
        """


class FileTokens:
    """The tokens of a file, which holds their SHA-256 alone: whoever reads it cannot call."""

    def __init__(self, path: str) -> None:
        """Reads the file, which is followed.

        Raises:
            ConfigError: it cannot be read, or a line is no entry.
        """
        self._entries = Followed([path], lambda: read_tokens(path))

    async def verify(self, token: str) -> Caller | None:
        """Returns whom a token of the file stands for; None for any other.

        What a search of digests takes tells nothing of the token, whose digest nobody can steer; the digests are
        compared in constant time all the same.
        """
        digest = hashlib.sha256(token.encode()).digest()
        found = self._entries.current().get(digest)
        return found[1] if found is not None and hmac.compare_digest(found[0], digest) else None


def read_tokens(path: str) -> Mapping[bytes, tuple[bytes, Caller]]:
    """Returns the entries of a file of tokens, by digest.

    A line is `<tenant> <role> <sha256 of the token, in hex>`; empty lines and those that start with # say nothing. A
    file that starts with [ is JSON: a list of {"tenant": …, "role": …, "sha256": …}, where role may be left out.

    Raises:
        ConfigError: an entry is wrong; the message names its place, and quotes nothing that could be a token.
    """
    text = read_file(path, "tokens").decode(errors="replace")
    entries = _from_json(text, path) if text.lstrip().startswith("[") else _from_lines(text)
    found: dict[bytes, tuple[bytes, Caller]] = {}
    for place, parts in entries:
        fault = _fault(parts)
        if fault:
            raise ConfigError(f"{path} (SENSORIUM_TOKENS), {place}: {fault}; `sensorium token new` writes one")
        tenant, role, digest = parts
        found[bytes.fromhex(digest)] = (bytes.fromhex(digest), Caller(tenant, role == "admin"))
    return found


def _from_lines(text: str) -> list[tuple[str, Sequence[str]]]:
    lines = [(f"line {number}", line.split()) for number, line in enumerate(text.splitlines(), 1)]
    return [(place, parts) for place, parts in lines if parts and not parts[0].startswith("#")]


def _from_json(text: str, path: str) -> list[tuple[str, Sequence[str]]]:
    try:
        entries = json.loads(text)
    except ValueError as fault:
        raise ConfigError(f"{path} (SENSORIUM_TOKENS) starts with [ and is no JSON: {fault}") from None
    found: list[tuple[str, Sequence[str]]] = []
    for index, entry in enumerate(entries):
        values = entry if isinstance(entry, dict) else {}
        parts = [str(values.get("tenant", "")), str(values.get("role", "user")), str(values.get("sha256", ""))]
        found.append((f"entry {index}", parts))
    return found


def _fault(parts: Sequence[str]) -> str:
    if len(parts) != 3:
        return "is not <tenant> <role> <sha256>"
    tenant, role, digest = parts
    if not is_tenant(tenant):
        return "the tenant is not 1 to 128 visible ASCII characters"
    if role not in ROLES:
        return f"the role is not one of {', '.join(ROLES)}"
    if not re.fullmatch("[0-9a-f]{64}", digest):
        return "the third part is not the SHA-256 of a token, 64 characters of 0-9 and a-f"
    return ""


def is_tenant(name: object) -> bool:
    """Whether something may name a tenant: 1 to 128 visible ASCII characters."""
    return isinstance(name, str) and _TENANT.fullmatch(name) is not None


def refusal(problem: str, cause: str) -> Unauthenticated:
    """Returns the error of a token that is not good; `cause` is one word for programs."""
    return Unauthenticated(problem, field="authorization", metadata={"cause": cause})


def peer_token(path: str) -> Callable[[], Sequence[tuple[str, str]]]:
    """Returns what gives the metadata of calls of one's own: the token of a file, which is followed; none for "".

    Raises:
        ConfigError: the file cannot be read, or holds no token.
    """
    if not path:
        return tuple

    def read() -> str:
        token = read_file(path, "peer_token", MAX_TOKEN).decode(errors="replace").strip()
        if not re.fullmatch("[!-~]+", token):
            raise ConfigError(f"{path} (SENSORIUM_PEER_TOKEN) is not one token on one line")
        return token

    token = Followed([path], read)
    return lambda: (("authorization", f"Bearer {token.current()}"),)
