"""Asks a mesh and reads its answers into the shapes that the demo shows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from sensorium import ScoredLabel
from sensorium.cli.demo.results import Bar, Call, Grid, Ranking
from sensorium.cli.demo.samples import Thing
from sensorium.v1.content_pb2 import Content
from sensorium.v1.embedding_pb2 import Receipt


class _Answer(Protocol):
    @property
    def receipt(self) -> Receipt: ...


_AnswerT = TypeVar("_AnswerT", bound=_Answer)


def ask(method: str, question: Callable[[], _AnswerT]) -> tuple[_AnswerT, Call]:
    """Returns the answer of one call of the SDK, and what it cost."""
    started = time.perf_counter()
    answer = question()
    return answer, Call(method, 1000 * (time.perf_counter() - started), answer.receipt)


def contents(things: Iterable[Thing]) -> list[Content]:
    """Returns things as the SDK takes them."""
    return [thing.content for thing in things]


def ranked(query: Thing, bars: Iterable[Bar], top: int) -> Ranking:
    """Returns the best of a query's candidates, the best first."""
    return Ranking(query, sorted(bars, key=lambda bar: -bar.score)[:top])


def ranking(
    query: Thing, labels: Sequence[Thing], scored: Iterable[ScoredLabel], meaning: str, heading: str = ""
) -> Ranking:
    """Returns the labels that a content got; the expected one is the one that means `meaning`."""
    bars = [Bar(labels[one.index], one.score, one.probability, labels[one.index].meaning == meaning) for one in scored]
    return Ranking(query, bars, heading)


def agreement(rankings: Sequence[Ranking]) -> str:
    """Returns how often the first answer was the one that the captions say."""
    right = sum(bool(found.bars) and found.bars[0].is_expected for found in rankings)
    return f"The first answer is the one that the captions say in {right} of {len(rankings)}."


def grid_agreement(grid: Grid) -> str:
    """Returns how often the highest number of a row was one that the captions say."""
    right = sum(bool(grid.expected[row, grid.numbers[row].argmax()]) for row in range(len(grid.rows)))
    return f"The highest of the row is one that the captions say in {right} of {len(grid.rows)}."
