"""`sensorium classify`: which of the labels fits, by words, by examples, or both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.text import Text

import sensorium
from sensorium import Client, Ranking
from sensorium.cli import options
from sensorium.cli.connection import connected
from sensorium.cli.failures import UsageFault, code_of_items
from sensorium.cli.inputs import Input, read_files, read_inputs
from sensorium.cli.loading import Part, ask_in_chunks
from sensorium.cli.output import (
    Format,
    console,
    error_facts,
    input_facts,
    named,
    print_json,
    receipt_facts,
    say_failures,
    shown_as_it_goes,
    table,
)
from sensorium.errors import InvalidInput, SensoriumError
from sensorium.rankings import Classification
from sensorium.v1.orchestrator_pb2 import Label

_SHOWN = 3  # labels of each input in a table, where --top-k says nothing

EPILOG = options.examples(
    "sensorium classify photo.jpg --label cat --label dog",
    "sensorium classify 'inbox/*.wav' -l dog -l rooster --top-k 1 --jsonl",
    "sensorium classify 7.png --label three=3a.png,3b.png --label seven='sevens/*.png'   (words and examples)",
    "sensorium classify part.png --tag ok='good/*.png' --tag scratched='bad/*.png'   (examples alone)",
    'sensorium classify scene.png -l "a red circle" -l "a blue square" --template "a picture of {}"',
)

_Labels = Annotated[
    list[str] | None,
    typer.Option("--label", "-l", metavar="NAME", help="A class: NAME, or NAME=FILE,FILE with examples. Repeatable."),
]
_Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="NAME=FILE,…", help="A class that its examples alone define. Repeatable."),
]
_Templates = Annotated[
    list[str] | None,
    typer.Option("--template", metavar="TEXT", help="A sentence with {} for the name. Repeatable; else the model's."),
]
_Multi = Annotated[bool, typer.Option("--multi-label", help="Judge each label by itself: several may fit, or none.")]
_LabelPrompt = Annotated[str, typer.Option(metavar="NAME", help="The same, before the texts that define the labels.")]


def classify(
    inputs: options.Mixed = None,
    text: options.Texts = None,
    image: options.Images = None,
    audio: options.Sounds = None,
    label: _Labels = None,
    tag: _Tags = None,
    template: _Templates = None,
    top_k: Annotated[int, typer.Option(min=0, help="How many labels to return for each input; 0 for all.")] = 0,
    multi_label: _Multi = False,
    as_json: options.AsJson = False,
    as_lines: options.AsLines = False,
    prompt: options.Prompt = "",
    label_prompt: _LabelPrompt = "",
    space: options.Space = "",
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
) -> None:
    """Classify texts, pictures and sounds by labels that are named, shown by examples, or both.

    “Probably none of these” stands where the best label's score is below what off-topic inputs of that kind reach, by
    the model's calibration; probabilities cannot say so, since they share 100% among the labels.
    """
    form = Format(as_json, as_lines)
    given = read_inputs(inputs, text, image, audio)
    labels = [_label(each, is_tag=False) for each in label or ()] + [_label(each, is_tag=True) for each in tag or ()]
    if not given or not labels:
        raise UsageFault("give inputs, and labels with --label or --tag (see sensorium classify --help)")

    def ask(client: Client) -> Iterator[Part[Classification]]:
        return ask_in_chunks(
            given,
            lambda contents: client.classify(
                contents,
                labels,
                templates=template or (),
                top_k=top_k,
                multi_label=multi_label,
                space=space,
                prompt=prompt,
                label_prompt=label_prompt,
            ),
        )

    found = _Found(given, form)
    with connected(address, timeout) as client:
        for part in shown_as_it_goes(ask(client), len(given), lambda part: len(part.inputs), "Classifying"):
            found.add(part)
    found.show(top_k or _SHOWN)
    raise typer.Exit(code_of_items(len(given), found.errors.values()))


class _Found:
    """What came back so far: rankings by the place of their input, and errors."""

    def __init__(self, inputs: list[Input], form: Format) -> None:
        self._inputs, self._form, self._space = inputs, form, ""
        self._rankings: dict[int, Ranking] = {}
        self._receipts: list[dict[str, Any]] = []  # Any: JSON
        self.errors: dict[int, SensoriumError] = {}

    def add(self, part: Part[Classification]) -> None:
        """Takes the answer to a chunk, and prints its lines if lines are wanted."""
        answer = part.answer
        errors = part.loaded.at_inputs(answer.errors if answer else {}, part.offset)
        self.errors |= errors
        if answer is not None:
            self._space = answer.space
            self._receipts.append(receipt_facts(answer.receipt))
            places = [part.offset + place for place in part.loaded.places]
            self._rankings |= dict(zip(places, answer.rankings, strict=True))
        for at in range(part.offset, part.offset + len(part.inputs)) if self._form.as_lines else ():
            print_json({**self._facts(at), "space": self._space})
        say_failures(self._inputs, errors)

    def show(self, most: int) -> None:
        """Prints what is printed at the end."""
        if self._form.as_json:
            items = [self._facts(at) for at in range(len(self._inputs))]
            print_json({"space": self._space, "items": items, "receipts": self._receipts})
        if self._form.wants_table:
            rows = table("input", "rank#", "label", "score#", "probability#")
            for at, each in enumerate(self._inputs):
                ranking = self._rankings.get(at, Ranking(()))
                if ranking.is_unsure:
                    rows.add_row(named(each), "", Text("probably none of these", style="bold yellow"), "", "")
                for rank, fit in enumerate(ranking[:most]):
                    name = named(each) if rank == 0 and not ranking.is_unsure else Text("")
                    chance = "" if fit.probability is None else f"{fit.probability:.1%}"
                    style = "bold green" if rank == 0 and not ranking.is_unsure else ""
                    rows.add_row(name, str(rank + 1), Text(fit.name, style=style), f"{fit.score:+.3f}", chance)
                if at in self.errors:
                    rows.add_row(named(each), "", Text("failed", style="red"), "", "")
            console().print(rows)

    def _facts(self, at: int) -> dict[str, Any]:
        """Returns one item. Any: JSON."""
        facts = input_facts(at, self._inputs[at])
        if at in self.errors:
            return {**facts, "error": error_facts(self.errors[at])}
        ranking = self._rankings[at]
        labels = [
            {"name": fit.name, "index": fit.index, "score": fit.score, "probability": fit.probability}
            for fit in ranking
        ]
        return {**facts, "labels": labels, "is_unsure": ranking.is_unsure, "none_cosine": ranking.none_cosine}


def _label(given: str, *, is_tag: bool) -> Label:
    """Returns the label of `name` or `name=file,file`.

    Raises:
        UsageFault: an example is no picture or sound that can be read, or a tag has none.
    """
    name, _, files = given.partition("=")
    examples = [each for file in files.split(",") if file for each in read_files(file)]
    if not name or (("=" in given or is_tag) and not examples):
        option, wanted = ("--tag", "NAME=FILE,…") if is_tag else ("--label", "NAME or NAME=FILE,…")
        raise UsageFault(f"{option} {given!r}: write {wanted}")
    try:
        return sensorium.label(name, [each.content() for each in examples], is_tag=is_tag)
    except InvalidInput as error:
        raise UsageFault(f"the examples of {name!r}: {error.problem}") from None
