"""`sensorium predict`: which class of a trained head each input is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer
from rich.text import Text

from sensorium import ClassProbability, Predictions
from sensorium.cli import options
from sensorium.cli.connection import connected
from sensorium.cli.failures import UsageFault, code_of_items
from sensorium.cli.found import Found
from sensorium.cli.inputs import read_inputs
from sensorium.cli.loading import ask_in_chunks
from sensorium.cli.output import Format, console, named, shown_as_it_goes, table
from sensorium.v1.content_pb2 import Content

_SHOWN = 3  # classes of each input in a table, where --top-k says nothing
_ITEM = re.compile(r"^items\[(\d+)\]\.parts\[0\]\.content")  # each input is an item of one part
_Classes = Sequence[ClassProbability]

EPILOG = options.examples(
    "sensorium predict 7.png seven.wav",
    "sensorium predict 'inbox/*.wav' --model tiny-concepts --top-k 1 --jsonl",
)


def predict(
    inputs: options.Mixed = None,
    text: options.Texts = None,
    image: options.Images = None,
    audio: options.Sounds = None,
    model: Annotated[str, typer.Option(help="The predictor, name or name@version; empty: the default.")] = "",
    top_k: Annotated[int, typer.Option(min=0, help="How many classes to return for each input; 0 for all.")] = 0,
    as_json: options.AsJson = False,
    as_lines: options.AsLines = False,
    prompt: options.Prompt = "",
    space: options.Space = "",
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
) -> None:
    """Predict the class of texts, pictures and sounds by a head that was trained on their vectors.

    Its classes are fixed; `sensorium classify` takes any labels.
    """
    form = Format(as_json, as_lines)
    given = read_inputs(inputs, text, image, audio)
    if not given:
        raise UsageFault("nothing to predict from; give texts or files (see sensorium predict --help)")
    found: Found[_Classes] = Found(given, form, _facts)
    with connected(address, timeout) as client:

        def ask(contents: Sequence[Content]) -> Predictions:
            items = [[each] for each in contents]
            answer = client.predict(items, model=model, top_k=top_k, space=space, prompt=prompt)
            errors = {at: error.at(_ITEM.sub(r"contents[\1]", error.field)) for at, error in answer.errors.items()}
            return replace(answer, errors=errors)

        parts = ask_in_chunks(given, ask)
        for part in shown_as_it_goes(parts, len(given), lambda part: len(part.inputs), "Predicting"):
            found.add(part, lambda answer: answer.predictions)
    found.show()
    if form.wants_table:
        _show_table(found, top_k or _SHOWN)
    raise typer.Exit(code_of_items(len(given), found.errors.values()))


def _facts(classes: _Classes) -> dict[str, Any]:
    """Returns an input's classes. Any: JSON."""
    return {"classes": [{"label": c.label, "index": c.index, "probability": c.probability} for c in classes]}


def _show_table(found: Found[_Classes], most: int) -> None:
    rows = table("input", "rank#", "class", "probability#")
    for at, each in enumerate(found.inputs):
        for rank, one in enumerate(found.items.get(at, ())[:most]):
            label = Text(one.label, style="bold green" if rank == 0 else "")
            rows.add_row(named(each) if rank == 0 else "", str(rank + 1), label, f"{one.probability:.1%}")
        if at in found.errors:
            rows.add_row(named(each), "", Text("failed", style="red"), "")
    console().print(rows)
