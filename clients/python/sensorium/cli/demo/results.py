"""What the demo found, in the few shapes that the terminal and the page both show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sensorium.cli.demo.samples import Thing
from sensorium.errors import SensoriumError
from sensorium.v1.embedding_pb2 import Receipt


@dataclass(frozen=True, slots=True)
class Bar:
    """One candidate of a ranking. is_expected: it means the same as the query, by the captions of the samples."""

    thing: Thing
    score: float
    probability: float | None = None
    is_expected: bool = False


@dataclass(frozen=True, slots=True)
class Ranking:
    """What one query found, the best first. heading: what was asked, where the query does not say it."""

    query: Thing
    bars: Sequence[Bar] = ()
    heading: str = ""


@dataclass(frozen=True, slots=True)
class Grid:
    """Numbers of rows against columns; NaN where one of the two failed.

    numbers: (rows, columns) float32, cosines or probabilities.
    expected: (rows, columns) bool, where row and column mean the same.
    """

    rows: Sequence[Thing]
    columns: Sequence[Thing]
    numbers: NDArray[np.float32]
    expected: NDArray[np.bool_]
    are_probabilities: bool = False


@dataclass(frozen=True, slots=True)
class Definitions:
    """Labels that are defined by examples."""

    labels: Sequence[tuple[str, Sequence[Thing]]]


@dataclass(frozen=True, slots=True)
class Items:
    """What became of the items of a batch: for each, its place in the request, and a short answer or its error."""

    rows: Sequence[tuple[str, Thing, str | SensoriumError]]


Block = Ranking | Grid | Definitions | Items


@dataclass(frozen=True, slots=True)
class Call:
    """One call that was made. wall_ms: from sending to the answer in hand, as the client saw it."""

    method: str
    wall_ms: float
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Step:
    """One stop of the tour.

    explanation: what is asked, in one or two sentences.
    shell, python: how a reader asks the same.
    outcome: what came out, counted; no judgement.
    """

    title: str
    explanation: str
    shell: str
    python: str
    blocks: Sequence[Block]
    calls: Sequence[Call]
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Tour:
    """All that was seen. matrix: every sample against every sample."""

    samples: Sequence[Thing]
    steps: Sequence[Step]
    matrix: Grid
    calls: Sequence[Call] = field(default=())


def means_the_same(rows: Sequence[Thing], columns: Sequence[Thing]) -> NDArray[np.bool_]:
    """Returns (rows, columns) bool: whether both have one meaning, by the captions."""
    return np.array([[bool(row.meaning) and row.meaning == column.meaning for column in columns] for row in rows])
