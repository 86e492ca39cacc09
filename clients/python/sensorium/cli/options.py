"""The arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_INPUTS = "Inputs, in this order: the arguments, then -t, -i, -a"

Mixed = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT...",
        help="Files and globs (their kind is known by their bytes), `-` for stdin (a file, or a text a line), "
        "and texts: whatever is not a file.",
        show_default=False,
    ),
]
Texts = Annotated[
    list[str] | None,
    typer.Option("--text", "-t", metavar="TEXT", help="A text, whatever it looks like. Repeatable."),
]
Images = Annotated[
    list[str] | None,
    typer.Option("--image", "-i", metavar="PATH", help="A picture: a file, a quoted glob, or `-`. Repeatable."),
]
Sounds = Annotated[
    list[str] | None,
    typer.Option("--audio", "-a", metavar="PATH", help="A sound: a file, a quoted glob, or `-`. Repeatable."),
]
Address = Annotated[
    str,
    typer.Option("--address", envvar="SENSORIUM_ADDR", metavar="HOST:PORT", help="Where the mesh answers."),
]
Space = Annotated[
    str,
    typer.Option("--space", metavar="NAME", help="The embedding space, such as tiny@1; empty: the mesh's default."),
]
Prompt = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="What the text model puts before every text, such as query; `sensorium models show` lists the names.",
    ),
]
Timeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=0.001, help="How long one call may take.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value instead of a table.")]
AsLines = Annotated[bool, typer.Option("--jsonl", help="Print one JSON value a line, as they come.")]
Npy = Annotated[
    Path | None,
    typer.Option("--npy", metavar="FILE", dir_okay=False, help="Write the numbers to FILE, as numpy reads them."),
]

ADDRESS = "localhost:8001"
TIMEOUT_S = 30.0


def examples(*lines: str) -> str:
    """Returns the end of a command's help: examples, each on its line, and the exit codes."""
    from sensorium.cli.failures import EXIT_CODES

    return "\n\n".join(["[bold]Examples[/bold]", *(f"  {line}" for line in lines), EXIT_CODES])
