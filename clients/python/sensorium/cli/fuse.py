"""`sensorium fuse`: one vector of a thing that is seen in several ways."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

import sensorium
from sensorium.answers import Fusion
from sensorium.cli import options
from sensorium.cli.connection import connected
from sensorium.cli.failures import OK, SOME_FAILED, UsageFault, code_of, say
from sensorium.cli.inputs import Input, read_inputs
from sensorium.cli.loading import Loaded, load, readable
from sensorium.cli.output import (
    Format,
    console,
    error_facts,
    input_facts,
    named,
    numbers,
    receipt_facts,
    say_failures,
    shortened,
    table,
)
from sensorium.errors import SensoriumError

EPILOG = options.examples(
    'sensorium fuse "seven" 7.png seven.wav',
    "sensorium fuse 7.png broken.wav --allow-partial --json",
    'sensorium fuse "a dog" bark.wav --weight text=0.5 --weight audio=2 --npy dog.npy',
)

_Weights = Annotated[
    list[str] | None,
    typer.Option("--weight", metavar="KIND=NUMBER", help="How much text, image or audio counts; else 1. Repeatable."),
]
_Partial = Annotated[bool, typer.Option("--allow-partial", help="Go on without the parts that fail.")]


def fuse(
    inputs: options.Mixed = None,
    text: options.Texts = None,
    image: options.Images = None,
    audio: options.Sounds = None,
    allow_partial: _Partial = False,
    weight: _Weights = None,
    model: Annotated[str, typer.Option(help="The fusion model, name or name@version; empty: the default.")] = "",
    as_json: options.AsJson = False,
    as_lines: options.AsLines = False,
    npy: options.Npy = None,
    prompt: options.Prompt = "",
    space: options.Space = "",
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
) -> None:
    """Fuse all inputs, views of one thing, into one joint vector."""
    form = Format(as_json, as_lines, npy)
    given = read_inputs(inputs, text, image, audio)
    weights = _weights(weight or ())
    if not given:
        raise UsageFault("nothing to fuse; give the views of one thing (see sensorium fuse --help)")
    loaded = load(given)
    for error in loaded.at_inputs({}).values() if not allow_partial else ():
        raise error
    kinds = [given[place].kind for place in loaded.places]
    contents = readable(given, loaded)
    parts = [sensorium.part(each, weights.get(kind, 1.0)) for each, kind in zip(contents, kinds, strict=True)]
    with connected(address, timeout) as client:
        answer = client.fuse([parts], allow_partial=allow_partial, space=space, model=model, prompt=prompt)
    raise typer.Exit(_show(form, given, loaded, answer))


def _show(form: Format, given: Sequence[Input], loaded: Loaded, answer: Fusion) -> int:
    """Prints the answer as it is wanted, and returns the exit code."""
    errors = loaded.at_inputs(answer.part_errors[0])
    failure = answer.errors.get(0)
    facts = _facts(given, answer, errors, failure)
    form.emit(facts, [facts])
    form.save(answer.vectors)
    say_failures(given, errors)
    if failure is not None:
        part = re.match(r"items\[0\]\.parts\[(\d+)\]", failure.field)
        say(f"{named(given[loaded.places[int(part[1])]])}: {failure.problem}" if part else failure)
        return code_of(failure)
    if form.wants_table:
        rows = table("part", "kind", "")
        for at, each in enumerate(given):
            rows.add_row(named(each), each.kind, "[red]failed[/red]" if at in errors else "[green]took part[/green]")
        console().print(rows)
        vector = answer.vectors[0]
        made_of = " + ".join(answer.modalities[0])
        console().print(f"{made_of}: {shortened(vector)}   ({vector.size} components in the space {answer.space})")
    return SOME_FAILED if errors else OK


def _facts(
    given: Sequence[Input], answer: Fusion, errors: Mapping[int, SensoriumError], failure: SensoriumError | None
) -> dict[str, Any]:
    """Returns the answer. Any: JSON."""
    parts = [
        {**input_facts(at, each), **({"error": error_facts(errors[at])} if at in errors else {})}
        for at, each in enumerate(given)
    ]
    outcome = {"error": error_facts(failure)} if failure else {"vector": numbers(answer.vectors[0])}
    return {
        "space": answer.space,
        "modalities": list(answer.modalities[0]),
        "parts": parts,
        **outcome,
        "receipt": receipt_facts(answer.receipt),
    }


def _weights(given: Sequence[str]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for each in given:
        kind, _, number = each.partition("=")
        try:
            weights[kind] = float(number)
        except ValueError:
            raise UsageFault(f"--weight {each!r}: write KIND=NUMBER, such as image=0.5") from None
        if kind not in ("text", "image", "audio"):
            raise UsageFault(f"--weight {each!r}: the kind is text, image or audio")
    return weights
