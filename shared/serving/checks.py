"""Checks on the values of options: each returns what is wrong, an empty text where nothing is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from sensorium.targets import is_host, target_fault

Check = Callable[[str], str]


def file(path: str) -> str:
    """Checks the path of a file that is read."""
    if Path(path).is_dir():
        return f"{path} is a folder, where a file is wanted"
    if not Path(path).exists():
        return f"there is no file {path}; is it mounted, and the path right?"
    return "" if os.access(path, os.R_OK) else f"{path} cannot be read by user {os.getuid()}"


def file_or_url(where: str) -> str:
    """Checks what is the path of a file, or a URL."""
    return "" if "://" in where else file(where)


def folder(path: str) -> str:
    """Checks the path of a folder that is read."""
    if Path(path).is_file():
        return f"{path} is a file, where a folder is wanted"
    if not Path(path).exists():
        return f"there is no folder {path}; is it mounted, and the path right?"
    return "" if os.access(path, os.R_OK | os.X_OK) else f"{path} cannot be read by user {os.getuid()}"


def target(address: str) -> str:
    """Checks a gRPC target."""
    return target_fault(address)


def host(text: str) -> str:
    """Checks an address to listen on, which has no port."""
    bare = text.removeprefix("[").removesuffix("]")
    return "" if is_host(bare) else f"{text!r} is no address to listen on; write one without a port, such as 0.0.0.0"


def one_of(*choices: str) -> Check:
    """Returns a check that a text is one of these."""

    def check(text: str) -> str:
        return "" if text.lower() in choices else f"{text!r} is none of {', '.join(choices)}"

    return check
