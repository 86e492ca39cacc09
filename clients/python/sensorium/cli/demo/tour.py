"""Takes the tour: one question after the other, each kept with what the models said, right or wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from sensorium import Client, SensoriumError
from sensorium.cli.demo.asking import ask, contents
from sensorium.cli.demo.fusion import fuse, spoil
from sensorium.cli.demo.labels import classify, learn
from sensorium.cli.demo.results import Call, Grid, Step, Tour, means_the_same
from sensorium.cli.demo.samples import Thing, vector
from sensorium.cli.demo.search import find, match

STEPS: Sequence[Callable[[Client, Sequence[Thing]], Step]] = (find, classify, match, learn, fuse, spoil)


_Found = TypeVar("_Found")


class StepFailed(Exception):
    """A step of the tour got no answer; the message says which, and why. error: what the mesh said."""

    def __init__(self, what: str, error: SensoriumError) -> None:
        super().__init__(f"{what} failed: {error}")
        self.error = error


def take_tour(client: Client, samples: Sequence[Thing], on_step: Callable[[int, Step], None]) -> Tour:
    """Returns all that the tour saw; calls `on_step` after each step, numbered from 1.

    Raises:
        StepFailed: the mesh refused a call, or an item of one that is good.
        SamplesError: a sample that the tour needs is not there.
    """
    steps = []
    for number, ask_step in enumerate(STEPS, 1):
        step = _answered(f"step {number} ({ask_step.__name__})", partial(ask_step, client, samples))
        on_step(number, step)
        steps.append(step)
    matrix, calls = _answered("the matrix of all samples", lambda: _everything(client, samples))
    return Tour(samples, steps, matrix, calls)


def _everything(client: Client, samples: Sequence[Thing]) -> tuple[Grid, Sequence[Call]]:
    """Returns every sample against every sample: embedded once, then compared as vectors."""
    ordered = _by_meaning(samples)
    embedded, embed_call = ask("Embed", lambda: client.embed(contents(ordered)))
    embedded.raise_for_errors()
    rows = [vector(thing.name, row, embedded.space) for thing, row in zip(ordered, embedded.vectors, strict=True)]
    compared, compare_call = ask("Compare", lambda: client.compare(contents(rows), contents(rows)))
    compared.raise_for_errors()
    return Grid(ordered, ordered, compared.scores, means_the_same(ordered, ordered)), [embed_call, compare_call]


def _by_meaning(samples: Sequence[Thing]) -> list[Thing]:
    """Returns samples of one meaning side by side, so that they show as squares along the diagonal."""
    meanings = list(dict.fromkeys(sample.meaning for sample in samples))
    return sorted(samples, key=lambda sample: meanings.index(sample.meaning))


def _answered(what: str, question: Callable[[], _Found]) -> _Found:
    try:
        return question()
    except SensoriumError as error:
        raise StepFailed(what, error) from None
