"""Writes how a reader asks the same: as a command line, and as a Python program."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence

from sensorium.cli.demo.samples import Thing

_ADDRESS = "localhost:8001"
_MOST_CHARACTERS = 80  # of a command or a list that stays in one line


def shell(command: str, *arguments: str | Thing) -> str:
    """Returns a command line, quoted as a POSIX shell reads it; a long one goes on in the next line at every option."""
    line = " ".join(["sensorium", command, *(_argument(argument) for argument in arguments)])
    return line if len(line) <= _MOST_CHARACTERS else line.replace(" --", " \\\n    --")


def python(names: str, *lines: str) -> str:
    """Returns a whole program around the lines that use `client`; names: what it imports beside the client."""
    head = [
        "from pathlib import Path",
        f"from sensorium import Client, {names}",
        "",
        f'with Client("{_ADDRESS}") as client:',
    ]
    return "\n".join([*head, *(f"    {line}" for line in lines)])


def expressions(things: Iterable[Thing]) -> str:
    """Returns things as a Python list, one a line where they are many."""
    return _listed([_expression(thing) for thing in things])


def strings(words: Iterable[str]) -> str:
    """Returns words as a Python list of strings."""
    return _listed([_string(word) for word in words])


def _listed(items: Sequence[str]) -> str:
    line = ", ".join(items)
    if len(line) <= _MOST_CHARACTERS:
        return f"[{line}]"
    lines = "".join(f"        {item},\n" for item in items)
    return f"[\n{lines}    ]"


def _argument(argument: str | Thing) -> str:
    return shlex.quote(argument.path or argument.name if isinstance(argument, Thing) else argument)


def _expression(thing: Thing) -> str:
    return f"{thing.kind}(Path({_string(thing.path)}))" if thing.path else f"text({_string(thing.name)})"


def _string(words: str) -> str:
    return json.dumps(words, ensure_ascii=False)
