"""`sensorium tokenize`: what a text model sees of texts."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.text import Text

from sensorium import Tokens
from sensorium.cli import options
from sensorium.cli.connection import connected
from sensorium.cli.failures import UsageFault, code_of_items
from sensorium.cli.found import Found
from sensorium.cli.inputs import read_inputs
from sensorium.cli.loading import ask_in_chunks
from sensorium.cli.output import Format, console, named, shown_as_it_goes, table

EPILOG = options.examples(
    'sensorium tokenize "a red circle" "两个小红色圆"',
    "cat questions.txt | sensorium tokenize - --prompt query --jsonl",
)

_Lines = Annotated[list[str] | None, typer.Argument(metavar="TEXT...", help="Texts; `-` for stdin, one a line.")]


def tokenize(
    texts: _Lines = None,
    as_json: options.AsJson = False,
    as_lines: options.AsLines = False,
    truncate: Annotated[bool, typer.Option(help="Cut texts that are too long, instead of refusing them.")] = True,
    prompt: options.Prompt = "",
    space: options.Space = "",
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
) -> None:
    """Show the tokens that the text model of a space sees, special ones included, without running it."""
    form = Format(as_json, as_lines)
    given = [each for text in texts or () for each in (read_inputs([text]) if text == "-" else read_inputs([], [text]))]
    if not given or any(each.kind != "text" for each in given):
        raise UsageFault("give texts to tokenize (see sensorium tokenize --help)")
    found: Found[Tokens] = Found(given, form, _facts)
    with connected(address, timeout) as client:
        parts = ask_in_chunks(
            given,
            lambda contents: client.tokenize(
                [each.text for each in contents], space=space, prompt=prompt, truncate=truncate
            ),
        )
        for part in shown_as_it_goes(parts, len(given), lambda part: len(part.inputs), "Tokenizing"):
            found.add(part, lambda answer: answer.tokens)
    found.show()
    if form.wants_table:
        _show_table(found)
    raise typer.Exit(code_of_items(len(given), found.errors.values()))


def _facts(tokens: Tokens) -> dict[str, Any]:
    """Returns a text's tokens. Any: JSON."""
    return {"ids": tokens.ids, "pieces": tokens.pieces, "is_truncated": tokens.is_truncated}


def _show_table(found: Found[Tokens]) -> None:
    rows = table("text", "tokens#", "pieces")
    for at, each in enumerate(found.inputs):
        tokens = found.items.get(at)
        if tokens is None:
            rows.add_row(named(each), "", Text("failed", style="red"))
        else:
            cut = " …" if tokens.is_truncated else ""
            rows.add_row(named(each), str(len(tokens.ids)), Text(" ".join(tokens.pieces) + cut))
    console().print(rows)
