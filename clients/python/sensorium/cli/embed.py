"""`sensorium embed`: one vector for each input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from sensorium import Client
from sensorium.answers import Embeddings
from sensorium.cli import options
from sensorium.cli.connection import connected
from sensorium.cli.failures import UsageFault, code_of_items
from sensorium.cli.inputs import Input, read_inputs
from sensorium.cli.loading import Part, ask_in_chunks
from sensorium.cli.output import (
    Format,
    console,
    error_facts,
    input_facts,
    named,
    numbers,
    print_json,
    receipt_facts,
    say_failures,
    shortened,
    shown_as_it_goes,
    table,
)
from sensorium.cli.windows import check_windows, embed_windows
from sensorium.errors import SensoriumError
from sensorium.options import WindowOptions

EPILOG = options.examples(
    'sensorium embed "a red circle" photo.jpg call.wav',
    "sensorium embed 'pictures/*.png' --npy pictures.npy",
    "cat captions.txt | sensorium embed - --jsonl",
    "sensorium embed -t photo.jpg   (the text “photo.jpg”, not the file)",
    "sensorium embed call.wav --window-ms 1000 --hop-ms 500   (what is heard when)",
    "cat questions.txt | sensorium embed - --prompt query --npy questions.npy",
)


def embed(
    inputs: options.Mixed = None,
    text: options.Texts = None,
    image: options.Images = None,
    audio: options.Sounds = None,
    as_json: options.AsJson = False,
    as_lines: options.AsLines = False,
    npy: options.Npy = None,
    dimensions: Annotated[int, typer.Option(min=0, help="Keep the first so many components; 0 keeps all.")] = 0,
    normalize: Annotated[bool, typer.Option(help="Scale vectors to length 1.")] = True,
    truncate: Annotated[bool, typer.Option(help="Cut texts that are too long, instead of refusing them.")] = True,
    prompt: options.Prompt = "",
    window_ms: Annotated[int, typer.Option(min=0, help="A vector for each window of so many ms; sounds alone.")] = 0,
    hop_ms: Annotated[int, typer.Option(min=0, help="From one window to the next, in ms; 0: --window-ms.")] = 0,
    space: options.Space = "",
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
) -> None:
    """Embed texts, pictures and sounds: one vector each, all in one space; or one for each window of sounds."""
    form = Format(as_json, as_lines, npy)
    given = read_inputs(inputs, text, image, audio)
    if not given:
        raise UsageFault("nothing to embed; give texts or files (see sensorium embed --help)")
    check_windows(given, window_ms, hop_ms)
    asked = WindowOptions(space=space, normalize=normalize, dimensions=dimensions, truncate=truncate)
    with connected(address, timeout) as client:
        if window_ms:
            errors = embed_windows(client, given, form, window_ms, hop_ms, asked).errors
        else:
            errors = _embed(client, given, form, prompt, asked).errors
    raise typer.Exit(code_of_items(len(given), errors.values()))


def _embed(client: Client, given: list[Input], form: Format, prompt: str, asked: WindowOptions) -> _Found:
    found = _Found(given, form)
    parts = ask_in_chunks(given, lambda contents: client.embed(contents, prompt=prompt, **asked))
    for part in shown_as_it_goes(parts, len(given), lambda part: len(part.inputs), "Embedding"):
        found.add(part)
    found.show()
    return found


class _Found:
    """What came back so far: vectors by the place of their input, and errors."""

    def __init__(self, inputs: list[Input], form: Format) -> None:
        self._inputs, self._form = inputs, form
        self._vectors: dict[int, NDArray[np.float32]] = {}
        self._receipts: list[dict[str, Any]] = []  # Any: JSON
        self._space = ""
        self.errors: dict[int, SensoriumError] = {}

    def add(self, part: Part[Embeddings]) -> None:
        """Takes the answer to a chunk, and prints its lines if lines are wanted."""
        answer = part.answer
        errors = part.loaded.at_inputs(answer.errors if answer else {}, part.offset)
        self.errors |= errors
        if answer is not None:
            self._space = self._space or answer.space
            self._receipts.append(receipt_facts(answer.receipt))
            places = [part.offset + place for place in part.loaded.places]
            self._vectors |= {at: row for at, row in zip(places, answer.vectors, strict=True) if at not in errors}
        for at in range(part.offset, part.offset + len(part.inputs)) if self._form.as_lines else ():
            print_json({**self._facts(at), "space": self._space})
        say_failures(self._inputs, errors)

    def show(self) -> None:
        """Prints or writes what is printed at the end."""
        if self._form.as_json:
            items = [self._facts(at) for at in range(len(self._inputs))]
            print_json({"space": self._space, "dim": self._dim, "items": items, "receipts": self._receipts})
        self._form.save(_matrix(self._vectors, len(self._inputs), self._dim))
        if self._form.wants_table:
            self._show_table()

    @property
    def _dim(self) -> int:
        return next((row.size for row in self._vectors.values()), 0)

    def _facts(self, at: int) -> dict[str, Any]:
        """Returns one item. Any: JSON."""
        facts = input_facts(at, self._inputs[at])
        if at in self.errors:
            return {**facts, "error": error_facts(self.errors[at])}
        return {**facts, "vector": numbers(self._vectors[at])}

    def _show_table(self) -> None:
        rows = table("input", "kind", "vector")
        for at, each in enumerate(self._inputs):
            vector = "[red]failed[/red]" if at in self.errors else shortened(self._vectors[at])
            rows.add_row(named(each), each.kind, vector)
        console().print(rows)
        if self._vectors:
            console().print(f"{len(self._vectors)} vectors of {self._dim} components in the space {self._space}")


def _matrix(vectors: Mapping[int, NDArray[np.float32]], count: int, dim: int) -> NDArray[np.float32]:
    """Returns (count, dim) float32, NaN in the rows that are not there."""
    rows = np.full((count, dim), np.nan, np.float32)
    for at, vector in vectors.items():
        rows[at] = vector
    return rows
