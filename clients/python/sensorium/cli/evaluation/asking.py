"""Puts many inputs to a mesh, a few at a time, and keeps of the answers what the numbers need."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import typer
from numpy.typing import NDArray

from sensorium import Client
from sensorium.answers import Embeddings
from sensorium.cli.evaluation.retrieval import Places, Vectors
from sensorium.cli.failures import code_of, say
from sensorium.cli.inputs import Input
from sensorium.cli.loading import Part, ask_in_chunks
from sensorium.cli.output import error_facts, named, shown_as_it_goes
from sensorium.errors import SensoriumError, Unavailable
from sensorium.rankings import Classification
from sensorium.v1.embedding_pb2 import Receipt

_UNKNOWN = {"[UNK]", "<unk>", "<|unk|>", "UNK"}  # as vocabularies of WordPiece, SentencePiece and BPE call it
_MOST_SHOWN = 5

# Before an item that was unavailable is tried again: a replica that restarts is back after a few seconds (a guess).
_WAITS_S = (0.5, 2.0, 5.0)

_Answer = TypeVar("_Answer", Classification, Embeddings)


@dataclass(frozen=True)
class Verdicts:
    """What a mesh takes each of n inputs for.

    is_answered: (n,) False for inputs that failed; their rows below say nothing.
    order: (n, labels) int16 places of labels, the best first; the contract allows 1000 labels.
    score: (n,) float64 cosine of the best label.
    probability: (n,) float64 of the best label, NaN where the model has no calibration.
    """

    is_answered: NDArray[np.bool_]
    order: NDArray[np.int16]
    score: NDArray[np.float64]
    probability: NDArray[np.float64]

    def ranks(self, truth: Places) -> Places:
        """Returns (n,) how many labels come before the true one."""
        ranks: Places = (self.order == truth[:, None]).argmax(axis=1).astype(np.int64)
        return ranks


class Mesh:
    """A running mesh, as an evaluation asks it.

    most_errors: how many inputs may fail before the evaluation is given up.
    """

    def __init__(self, client: Client, space: str, templates: Sequence[str], most_errors: int) -> None:
        self._client, self._asked_space, self._templates = client, space, templates
        self._most_errors = most_errors
        self._errors: dict[Input, SensoriumError] = {}
        self.space = ""
        self.models: dict[str, str] = {}

    @property
    def errors(self) -> Mapping[Input, SensoriumError]:
        """What went wrong, by the input; an input that is used twice and fails twice stands here once."""
        return self._errors

    def classify(self, inputs: Sequence[Input], names: Sequence[str], what: str) -> Verdicts:
        """Returns what each input is taken for, by `Classify` with all names at once: as users ask.

        what: said beside the bar of progress.

        Raises:
            SensoriumError: the first call failed.
            typer.Exit: more inputs failed than may.
        """
        count = len(inputs)
        found = Verdicts(
            is_answered=np.zeros(count, np.bool_),
            order=np.zeros((count, len(names)), np.int16),
            score=np.full(count, np.nan),
            probability=np.full(count, np.nan),
        )
        for places, answer in self._answers(inputs, self._classify(names), what):
            for at, ranking in zip(places, answer.rankings, strict=True):
                if not ranking:  # it failed
                    continue
                found.is_answered[at] = True
                found.order[at] = [label.index for label in ranking]
                found.score[at] = ranking[0].score
                found.probability[at] = np.nan if ranking[0].probability is None else ranking[0].probability
        return found

    def warn_of_unknown(self, names: Sequence[str]) -> None:
        """Says which names have tokens that the text model does not know, as their vectors say little."""
        try:
            found = self._client.tokenize(names, space=self._asked_space)
        except SensoriumError:  # a mesh without texts, or one that does not tokenize: `classify` says what matters
            return
        unknown = [name for name, tokens in zip(names, found.tokens, strict=True) if _UNKNOWN & set(tokens.pieces)]
        if unknown:
            shown = ", ".join(map(repr, unknown[:_MOST_SHOWN])) + (", …" if len(unknown) > _MOST_SHOWN else "")
            say(f"the text model does not know (all of) {shown}; give names that it knows by --names")

    def embed(self, inputs: Sequence[Input], what: str) -> Vectors:
        """Returns (n, dim) float32; the rows of inputs that failed are NaN.

        Raises:
            SensoriumError: the first call failed.
            typer.Exit: more inputs failed than may.
        """
        rows = np.full((len(inputs), 0), np.nan, np.float32)
        for places, answer in self._answers(inputs, self._embed, what):
            if not rows.shape[1]:
                rows = np.full((len(inputs), answer.vectors.shape[1]), np.nan, np.float32)
            if answer.vectors.shape[1]:  # else all of the chunk failed
                rows[places] = answer.vectors
        return rows

    def _embed(self, contents: Sequence[Any]) -> Embeddings:
        return self._client.embed(contents, space=self._asked_space, priority="batch")

    def _classify(self, names: Sequence[str]) -> Callable[[Sequence[Any]], Classification]:
        return lambda contents: self._client.classify(
            contents, names, templates=self._templates, space=self._asked_space, priority="batch"
        )

    def _answers(
        self, inputs: Sequence[Input], ask: Callable[[Sequence[Any]], _Answer], what: str
    ) -> Iterator[tuple[list[int], _Answer]]:
        """Yields the places of inputs, and the answers to them, chunk by chunk; keeps errors and who answered."""
        parts: Iterator[Part[_Answer]] = ask_in_chunks(inputs, lambda contents: _patiently(ask, contents))
        for part in shown_as_it_goes(parts, len(inputs), lambda part: len(part.inputs), what):
            failed: Mapping[int, SensoriumError] = {}
            for at, answer in _with_second_tries(part, ask):
                failed = {**{place: error for place, error in failed.items() if place not in at},
                          **{at[place]: error for place, error in answer.errors.items()}}  # fmt: skip
                self.space = self.space or answer.space
                self.models |= _models(answer.receipt)
                yield [part.offset + part.loaded.places[place] for place in at], answer
            self._note(inputs, part.loaded.at_inputs(failed, part.offset))

    def _note(self, inputs: Sequence[Input], errors: Mapping[int, SensoriumError]) -> None:
        for at, error in errors.items():
            if inputs[at] in self._errors:
                continue
            self._errors[inputs[at]] = error
            say(f"{named(inputs[at])}: {error.problem}")
            if len(self._errors) > self._most_errors:
                say(f"gave up, as more than {self._most_errors} items failed; --max-errors lets more fail")
                raise typer.Exit(code_of(error))


def _patiently(ask: Callable[[Sequence[Any]], _Answer], contents: Sequence[Any]) -> _Answer:
    """Returns the answer; asks again where the mesh is away for a moment. Any: contents of calls."""
    for wait_s in _WAITS_S:
        try:
            return ask(contents)
        except Unavailable as error:
            time.sleep(max(wait_s, error.retry_after_s or 0.0))
    return ask(contents)


def _with_second_tries(
    part: Part[_Answer], ask: Callable[[Sequence[Any]], _Answer]
) -> Iterator[tuple[Sequence[int], _Answer]]:
    """Yields the answer to a part, and those to what was unavailable in it, each with the places of its contents."""
    answer, at = part.answer, list(range(len(part.loaded.contents)))
    for wait_s in (*_WAITS_S, None):
        if answer is None:
            return
        yield at, answer
        again = [place for place, error in answer.errors.items() if isinstance(error, Unavailable)]
        if not again or wait_s is None:
            return
        time.sleep(wait_s)
        at = [at[place] for place in again]
        answer = _patiently(ask, [part.loaded.contents[place] for place in at])


def error_list(mesh: Mesh) -> list[dict[str, Any]]:
    """Returns the inputs that failed. Any: JSON."""
    return [{"name": each.name, "kind": each.kind, "error": error_facts(error)} for each, error in mesh.errors.items()]


def _models(receipt: Receipt) -> dict[str, str]:
    """Returns the fingerprints of the models that answered, by name/version."""
    found = {f"{receipt.model}/{receipt.version}": receipt.fingerprint} if receipt.model else {}
    for part in receipt.parts:
        found |= _models(part)
    return found
