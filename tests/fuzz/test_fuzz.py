"""A short run of the fuzzers; `python -m tests.fuzz --count 100000` is a long one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest

from sensorium.cli.mesh import running_mesh
from tests.fuzz import corpus
from tests.fuzz.decoders import decoders
from tests.fuzz.findings import Tally
from tests.fuzz.mutate import mutated
from tests.fuzz.run import run_decoders, run_services
from tests.fuzz.services import methods

SEED = 20_260  # another one than the long runs': new inputs for nothing
CORPUS = corpus.read()


@pytest.fixture
def tally(tmp_path: Path) -> Tally:
    return Tally()


def told(tally: Tally) -> str:
    """Returns what broke, for the message of a failed test."""
    return "; ".join(f"{count} x {said}" for said, count in tally.kinds())


def test_mutated_files_and_texts_break_no_decoder(tally: Tally) -> None:
    run_decoders(CORPUS, SEED, range(600), tally)
    assert not tally.findings, told(tally)
    assert tally.count == 600
    for target in ("image", "sound", "text"):
        assert tally.outcomes[target, "ok"] > 20, "some must come through to the preprocessing"


def test_mutated_requests_break_no_service(tally: Tally) -> None:
    with running_mesh() as mesh:
        asyncio.run(run_services(mesh, CORPUS, SEED, range(500), tally))
    assert not tally.findings, told(tally)
    assert tally.count == 500
    codes = {code for _, code in tally.outcomes}
    assert {"OK", "INVALID_ARGUMENT", "NOT_FOUND"} <= codes, "some must come through to the models"


@pytest.mark.parametrize("kind", ["image", "sound", "text"])
def test_every_seed_is_one_that_the_decoders_take(kind: str, tally: Tally) -> None:
    seeds = {"image": CORPUS.images, "sound": CORPUS.sounds, "text": CORPUS.texts}[kind]
    with decoders(CORPUS, tally) as targets:
        for number, data in enumerate(seeds):
            targets[kind].unchanged(data, number)
    assert not tally.findings, told(tally)
    assert tally.outcomes[kind, "ok"] >= len(seeds) - 3, "but for blank texts and pixels of 32 bits"


def test_every_method_has_a_seed() -> None:
    assert {method.path for method in methods()} == set(CORPUS.requests)


def test_a_number_is_the_same_input_every_time() -> None:
    for number in range(50):
        first, again = (mutated(CORPUS.images[0], Random(f"1/{number}"), CORPUS.images) for _ in range(2))
        assert first == again
    assert len({mutated(CORPUS.images[0], Random(f"1/{number}"), CORPUS.images) for number in range(50)}) > 45
