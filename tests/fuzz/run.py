"""Runs the inputs of some numbers."""

from __future__ import annotations

from random import Random

from sensorium.cli.mesh import Mesh
from tests.fuzz.corpus import Corpus
from tests.fuzz.decoders import decoders
from tests.fuzz.findings import Tally
from tests.fuzz.services import each_of, services

_AT_ONCE = 16
_CANARY_EVERY = 100


def run_decoders(corpus: Corpus, seed: int, numbers: range, tally: Tally) -> None:
    """Puts a picture, a sound and a text in turn through their decoders and preprocessing."""
    with decoders(corpus, tally) as targets:
        names = list(targets)
        for number in numbers:
            name = names[number % len(names)]
            targets[name](Random(f"{seed}/{name}/{number}"), number)


async def run_services(mesh: Mesh, corpus: Corpus, seed: int, numbers: range, tally: Tally) -> None:
    """Sends requests to the services of a mesh, some at once."""
    async with services(mesh, corpus, tally) as targets:
        await each_of(targets, seed, numbers, _AT_ONCE, _CANARY_EVERY)
