"""`sensorium evaluate`: how good a running mesh is on things whose labels are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sensorium.cli import options
from sensorium.cli.connection import connected
from sensorium.cli.evaluation.asking import Mesh, error_list
from sensorium.cli.evaluation.dataset import (
    KINDS,
    Dataset,
    in_order,
    limited,
    read_dataset,
    read_names,
    read_unlabelled,
)
from sensorium.cli.evaluation.picture import check_picture, save_picture
from sensorium.cli.evaluation.results import NAMES, TARGETS, Against, Evaluation
from sensorium.cli.evaluation.tables import show
from sensorium.cli.failures import UsageFault, code_of_items, say
from sensorium.cli.inputs import Input, Kind
from sensorium.cli.output import console, print_json

_MOST_ERRORS = 100  # a folder with so many broken files is another matter (a guess)

EPILOG = options.examples(
    "sensorium evaluate digits   (digits/three/*.png, digits/seven/*.wav, …: each kind → the names of the folders)",
    "sensorium evaluate digits --query image --names chinese.csv --picture confusion.svg",
    "sensorium evaluate animals --query audio --against image   (which pictures does a sound find?)",
    "sensorium evaluate animals --against names --against image --against audio --json > animals.json",
    "sensorium evaluate photos --off-topic scans --limit 200 --seed 7",
)


class _Query(StrEnum):
    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"


class _Target(StrEnum):
    NAMES = "names"
    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"


_Folder = Annotated[
    Path,
    typer.Argument(
        metavar="FOLDER",
        help="A folder for each label, with pictures, sounds and .txt files (a text a line) in it; or a folder with "
        "labels.csv or labels.jsonl: file or text, label, and modality if need be.",
        show_default=False,
    ),
]
_Queries = Annotated[
    list[_Query] | None,
    typer.Option(
        "--query", metavar="KIND", help="Ask about image, audio or text; else about all that is there. Repeatable."
    ),
]
_Targets = Annotated[
    list[_Target] | None,
    typer.Option("--against", metavar="WHAT", help="Names of labels (the default), image, audio or text. Repeatable."),
]
_Names = Annotated[
    Path | None,
    typer.Option("--names", metavar="FILE", help="A .csv with the columns label and name: what to call each."),
]
_Templates = Annotated[
    list[str] | None,
    typer.Option("--template", metavar="TEXT", help="A sentence with {} for the name. Repeatable; else the model's."),
]
_OffTopic = Annotated[
    Path | None, typer.Option("--off-topic", metavar="FOLDER", help="Things of no label: can they be told apart?")
]
_Limit = Annotated[int, typer.Option(min=0, help="Draw at most so many things of each label and kind; 0 for all.")]
_Seed = Annotated[int, typer.Option(min=0, help="What --limit draws depends on it.")]
_MaxErrors = Annotated[int, typer.Option(min=0, help="Give up once more things than this have failed.")]
_Picture = Annotated[
    Path | None, typer.Option("--picture", metavar="FILE", help="Draw the confusion matrices into FILE, an .svg.")
]


def evaluate(
    folder: _Folder,
    query: _Queries = None,
    against: _Targets = None,
    names: _Names = None,
    template: _Templates = None,
    off_topic: _OffTopic = None,
    limit: _Limit = 0,
    seed: _Seed = 0,
    max_errors: _MaxErrors = _MOST_ERRORS,
    picture: _Picture = None,
    as_json: options.AsJson = False,
    space: options.Space = "",
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
) -> None:
    """Measure a running mesh on labelled things: accuracy, F1, R@k, calibration, and what is mistaken for what.

    docs/evaluation.md says what each number is.
    """
    check_picture(picture)
    dataset = limited(read_dataset(folder), limit, seed)
    called = read_names(names, dataset.labels) if names else {label: label for label in dataset.labels}
    dataset = in_order(dataset, list(called))
    queries, targets = _chosen(dataset, query, against)
    others = {kind: some for kind, some in read_unlabelled(off_topic).items() if kind in queries} if off_topic else {}
    if off_topic and (not others or NAMES not in targets):
        raise UsageFault(f"--off-topic: nothing in {off_topic} is of the kind of the queries, or --against lacks names")
    with connected(address, timeout) as client:
        mesh = Mesh(client, space, template or (), max_errors)
        if len(dataset.labels) == 1:
            say(f"there is one label, {dataset.labels[0]!r}: every answer is right, and no number says anything")
        if NAMES in targets:
            mesh.warn_of_unknown(list(called.values()))
        evaluation = Evaluation(mesh, dataset, list(called.values()), others)
        results = [evaluation.result(each, target) for each in queries for target in targets]
    if as_json:
        print_json(
            {**_facts(folder, limit, seed, called, mesh), "results": [each.facts(dataset.labels) for each in results]}
        )
    else:
        show(console(), results, dataset.labels)
        console().print(f"\nin the space {mesh.space}")
    if picture:
        save_picture(picture, results, dataset.labels)
    raise typer.Exit(code_of_items(_asked_count(dataset, queries, targets, others), mesh.errors.values()))


def _chosen(
    dataset: Dataset, query: Sequence[str] | None, against: Sequence[str] | None
) -> tuple[list[Kind], list[Against]]:
    """Returns the kinds of queries, and what they are held against.

    Raises:
        UsageFault: the dataset has nothing of a kind that is asked for.
    """
    queries = [kind for kind in KINDS if kind in (query or dataset.items)]
    targets = [target for target in TARGETS if target in (against or (NAMES,))]
    for option, kinds in (("--query", queries), ("--against", [each for each in targets if each != NAMES])):
        for kind in kinds:
            if kind not in dataset.items:
                raise UsageFault(f"{option} {kind}: the folder has none; it has {' and '.join(dataset.items)}")
    return queries, targets


def _facts(folder: Path, limit: int, seed: int, names: Mapping[str, str], mesh: Mesh) -> dict[str, Any]:
    """Returns what the numbers are of. Any: JSON."""
    return {
        "folder": str(folder),
        "limit": limit,
        "seed": seed,
        "space": mesh.space,
        "models": mesh.models,
        "labels": [{"label": label, "name": name} for label, name in names.items()],
        "errors": error_list(mesh),
    }


def _asked_count(
    dataset: Dataset, queries: Sequence[Kind], targets: Sequence[Against], others: Mapping[Kind, Sequence[Input]]
) -> int:
    """Returns how many things the mesh was asked about."""
    used = {*queries, *(kind for kind in KINDS if kind in targets)}
    return sum(len(dataset.items[kind].inputs) for kind in used) + sum(len(some) for some in others.values())
