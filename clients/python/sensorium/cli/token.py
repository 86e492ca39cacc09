"""`sensorium token`: tokens of callers, and the lines that let them in."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli import options
from sensorium.cli.failures import UsageFault, say

EPILOG = options.examples(
    "sensorium token new --tenant acme --file tokens   (prints the token, adds its line to the file)",
    "sensorium token new --tenant ops --role admin",
    "sensorium serve orchestrator --tokens tokens …   (lets in who sends one)",
)

app = typer.Typer(name="token", help="Tokens that callers send to a mesh.", no_args_is_help=True)

_PREFIX = "sensorium_"  # so that scanners for leaked secrets know one
_BYTES = 32  # 256 bits: nobody guesses one, and a plain SHA-256 of it is safe to keep


class Role(StrEnum):
    """What a token allows."""

    USER = "user"
    ADMIN = "admin"


@app.command("new", epilog=EPILOG)
def new(
    tenant: Annotated[str, typer.Option(help="Whom the token stands for; quotas and logs go by this name.")],
    role: Annotated[Role, typer.Option(help="admin may also load and unload models.")] = Role.USER,
    file: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Add the line to this file, which a server's --tokens names.")
    ] = None,
) -> None:
    """Make a token. It is printed this once; what a server keeps is its SHA-256, from which nobody gets it back."""
    if not re.fullmatch("[!-~]{1,128}", tenant) or tenant.startswith("#"):
        raise UsageFault(f"--tenant {tenant!r}: give 1 to 128 visible ASCII characters, without # in front")
    token, line = made(tenant, role)
    if file is None:
        say("the token is below; the line for the server's file of tokens is:")
        say(line)
    else:
        append(file, line)
    print(token)


def made(tenant: str, role: Role) -> tuple[str, str]:
    """Returns a new token, and the line of a server's file that lets in who sends it."""
    token = _PREFIX + secrets.token_urlsafe(_BYTES)
    return token, f"{tenant} {role} {hashlib.sha256(token.encode()).hexdigest()}"


def append(file: Path, line: str) -> None:
    """Adds a line to a file, which is made for its owner alone."""
    try:
        with os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+", encoding="utf-8") as opened:
            text = opened.read()
            opened.write(f"{line}\n" if not text or text.endswith("\n") else f"\n{line}\n")
    except OSError as fault:
        raise UsageFault(f"--file {file} cannot be written: {fault.strerror}") from None
