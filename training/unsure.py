"""Measures the level of cosine below which a best label is probably none of these, for each kind of query.

Every set of names is held against every folder of things that have none of them; each such pair weighs alike. Captions
are no such names, as in `calibration.py`: they are things that have none of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sensorium import Client
from sensorium.cli.evaluation.asking import Mesh
from sensorium.cli.evaluation.dataset import in_order, read_dataset, read_unlabelled
from sensorium.cli.inputs import Input, Kind
from sensorium.cli.mesh import running_mesh
from training.concepts import ANIMAL_LABELS, LABELS, PHOTOGRAPH_LABELS
from training.settings import SPACE

SHARE = 0.95  # of off-topic inputs that lie below the level
_MOST = 500  # items of a pair: more would change nothing but the time
_TIMEOUT_S = 60.0

_DIGITS = LABELS[:10]
_NAMES: Mapping[Kind, Mapping[str, Sequence[str]]] = {
    "image": {"digits": _DIGITS, "photographs": PHOTOGRAPH_LABELS},
    "audio": {"digits": _DIGITS, "animals": ANIMAL_LABELS, "all names": LABELS},
    "text": {"all names": LABELS},
}
# Folders of `held_out.py`, each with the labels that its items may have.
_THINGS: Mapping[Kind, Mapping[str, Sequence[str]]] = {
    "image": {"handwritten": _DIGITS, "typed": _DIGITS, "photographs": PHOTOGRAPH_LABELS, "scenes-unseen": (),
              "pictures-of-nothing": ()},
    "audio": {"spoken": _DIGITS, "animals": ANIMAL_LABELS, "captions": (), "sounds-of-nothing": (),
              "words-of-nothing": ()},
    "text": {"captions": (), "texts-of-nothing": ()},
}  # fmt: skip
# Folders of things that have one of the names.
_KNOWN: Mapping[Kind, Sequence[str]] = {
    "image": ("handwritten", "typed", "photographs"),
    "audio": ("spoken", "animals", "words"),
    "text": ("texts",),
}

_Cosines = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Level:
    """The level of one kind of query, and what it does to things that it was not measured on.

    below: by pair of names and things, the share of off-topic items below the level that the other half of them gives.
    marked: by folder, the share of right answers that are below the level.
    """

    none_cosine: float
    below: Mapping[str, float]
    marked: Mapping[str, float]


def measure_levels(models: Path, folder: Path) -> dict[Kind, Level]:
    """Returns the levels, as a mesh of the packages in `models` gives them for the held-out files in `folder`."""
    with running_mesh(models) as mesh, Client(mesh.address, timeout_s=_TIMEOUT_S) as client:
        asked = Mesh(client, SPACE, (), 0)
        return {kind: _level(kind, asked, folder) for kind in _NAMES}


def level_of(cases: Sequence[_Cosines], share: float = SHARE) -> float:
    """Returns the cosine below which a share of all items lies, each case weighing alike however many it has."""
    weights = np.concatenate([np.full(len(case), 1 / (len(case) * len(cases))) for case in cases])
    cosines = np.concatenate(list(cases))
    order = cosines.argsort(kind="stable")
    place = np.searchsorted(weights[order].cumsum(), share - 1e-9)
    return float(cosines[order][min(int(place), len(cosines) - 1)])


def _level(kind: Kind, asked: Mesh, folder: Path) -> Level:
    cases: dict[str, _Cosines] = {}
    for names, labels in _NAMES[kind].items():
        for things, own in _THINGS[kind].items():
            items = read_unlabelled(folder / things).get(kind, ())
            if items and not set(labels) & set(own):
                cases[f"{names}, against {things}"] = _best(asked, items, labels)
    level = level_of(list(cases.values()))
    levels = [level_of([case[half::2] for case in cases.values()]) for half in (1, 0)]  # each of the other half
    below = {
        pair: float(np.mean([(case[half::2] < other).mean() for half, other in enumerate(levels)]))
        for pair, case in cases.items()
    }
    return Level(level, below, {name: _marked(kind, asked, folder / name, level) for name in _KNOWN[kind]})


def _best(asked: Mesh, items: Sequence[Input], labels: Sequence[str]) -> _Cosines:
    """Returns the (n,) cosines of the best label of each item, of at most `_MOST` of them, evenly taken."""
    chosen = items[:: -(-len(items) // _MOST)]
    return asked.classify(chosen, labels, "off topic").score


def _marked(kind: Kind, asked: Mesh, folder: Path, level: float) -> float:
    """Returns the share of right answers to a labelled folder whose cosine is below the level."""
    dataset = read_dataset(folder)
    dataset = in_order(dataset, [label for label in LABELS if label in dataset.labels])
    items = dataset.items[kind]
    found = asked.classify(items.inputs, dataset.labels, "on topic")
    right = found.score[found.ranks(items.truth) == 0]
    return float((right < level).mean()) if right.size else 0.0
