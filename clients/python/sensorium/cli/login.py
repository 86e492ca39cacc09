"""The options of every command that calls a mesh: the token it sends, and whom it trusts."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, TypedDict

import typer

from sensorium.cli.failures import UsageFault

_Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="SENSORIUM_TOKEN",
        show_envvar=True,
        metavar="TOKEN",
        help="The token to send, or @FILE that holds it. On the command line others on this machine can read it.",
    ),
]
_Ca = Annotated[
    str | None,
    typer.Option(
        "--ca", envvar="SENSORIUM_CA", metavar="FILE", help="Speak TLS; trust these authorities, or `system`."
    ),
]
_Cert = Annotated[
    str | None,
    typer.Option(
        "--cert", envvar="SENSORIUM_CERT", metavar="FILE", help="Show this certificate, where it is asked for."
    ),
]
_Key = Annotated[str | None, typer.Option("--key", envvar="SENSORIUM_KEY", metavar="FILE", help="Its key.")]
_Insecure = Annotated[
    bool,
    typer.Option(
        "--insecure-token",
        envvar="SENSORIUM_INSECURE_TOKEN",
        help="Send the token over plain text to another machine too.",
    ),
]
_OPTIONS = {"token": _Token, "ca": _Ca, "cert": _Cert, "key": _Key, "insecure_token": _Insecure}


class Login(TypedDict, total=False):
    """What the options say, as `sensorium.Client` takes it."""

    token: str | None
    ca: str | None
    cert: str | None
    key: str | None
    insecure_token: bool


# One command runs in a process, and what it calls the mesh with is needed where it opens a channel, not in between.
_GIVEN: ContextVar[Login] = ContextVar("sensorium_login")


def current_login() -> Login:
    """Returns what the running command was told; nothing outside of one."""
    return _GIVEN.get(Login())


def with_login(command: Callable[..., None]) -> Callable[..., None]:
    """Returns a command that takes these options too. Any, in what follows: of whatever options a command has."""

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        given: dict[str, Any] = {name: arguments.pop(name) for name in _OPTIONS}
        if given["token"]:
            given["token"] = _read(given["token"])
        _GIVEN.set(Login(**given))  # type: ignore[typeddict-item]  # the same names
        command(**arguments)

    signature = inspect.signature(command, eval_str=True)
    added = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=False if name == "insecure_token" else None,
            annotation=annotation,
        )
        for name, annotation in _OPTIONS.items()
    ]
    full = signature.replace(parameters=[*signature.parameters.values(), *added])
    run.__signature__ = full  # type: ignore[attr-defined]  # what typer reads
    run.__annotations__ = {each.name: each.annotation for each in full.parameters.values()}
    return run


def _read(token: str) -> str:
    """Returns a token that was given itself, or by a file."""
    if not token.startswith("@"):
        return token
    try:
        return Path(token[1:]).read_text().strip()
    except (OSError, UnicodeDecodeError):
        raise UsageFault(f"--token {token} cannot be read; is the file there?") from None
