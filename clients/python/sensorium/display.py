"""Shows answers in notebooks: small tables, of which everything that came from outside is escaped."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sensorium.errors import SensoriumError

MOST_ROWS = 10
_MOST_COLUMNS = 10
_MOST_LABELS = 3  # of a ranking
_MOST_NUMBERS = 4  # of a vector
_MOST_LETTERS = 80

_Scored = tuple[str, float, float | None]  # name, score, probability


def shape_of(array: NDArray[np.float32]) -> str:
    """Returns a shape as people write it: `3 x 128`."""
    return " x ".join(map(str, array.shape))


def vectors_html(title: str, vectors: NDArray[np.float32], errors: Mapping[int, SensoriumError]) -> str:
    """Returns the first components of the first rows of (n, dim)."""
    rows = (
        [str(at), _problem(errors[at]) if at in errors else _numbers(vectors[at])]
        for at in range(min(len(vectors), MOST_ROWS))
    )
    return _table(title, ["", "vector"], rows, len(vectors) - MOST_ROWS)


def comparison_html(
    title: str,
    scores: NDArray[np.float32],
    query_errors: Mapping[int, SensoriumError],
    candidate_errors: Mapping[int, SensoriumError],
) -> str:
    """Returns the top left of (queries, candidates), queries down, candidates across; and what failed."""
    shown = scores[:MOST_ROWS, :_MOST_COLUMNS]
    more = ["…"] if scores.shape[1] > _MOST_COLUMNS else []
    head = ["query \\ candidate", *map(str, range(shown.shape[1])), *more]
    rows = [[str(at), *(f"{score:.3f}" for score in row), *more] for at, row in enumerate(shown)]
    failed = [*_failed("query", query_errors), *_failed("candidate", candidate_errors)]
    return _table(title, head, [*rows, *failed], len(scores) - MOST_ROWS)


def rankings_html(
    title: str,
    rankings: Sequence[Sequence[_Scored]],
    errors: Mapping[int, SensoriumError],
    unsure: Collection[int] = (),
) -> str:
    """Returns the best labels of the first contents; before those of the `unsure` ones, by place, that none may fit."""

    def cell(at: int) -> str:
        if at in errors:
            return _problem(errors[at])
        labels = ", ".join(map(_label, rankings[at][:_MOST_LABELS]))
        return f"probably none of these: {labels}" if at in unsure else labels

    rows = ([str(at), cell(at)] for at in range(min(len(rankings), MOST_ROWS)))
    return _table(title, ["", "best labels"], rows, len(rankings) - MOST_ROWS)


def _label(label: _Scored) -> str:
    name, score, probability = label
    return f"{_short(name)} ({score:.3f})" if probability is None else f"{_short(name)} ({100 * probability:.1f} %)"


def _numbers(vector: NDArray[np.float32]) -> str:
    more = " …" if vector.size > _MOST_NUMBERS else ""
    return " ".join(f"{each:.3f}" for each in vector[:_MOST_NUMBERS]) + more


def _failed(what: str, errors: Mapping[int, SensoriumError]) -> list[list[str]]:
    return [[f"{what} {at}", _problem(errors[at])] for at in sorted(errors)[:MOST_ROWS]]


def _problem(error: SensoriumError) -> str:
    return _short(f"{type(error).__name__}: {error}")


def _short(text: str) -> str:
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}…"


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]], left_out: int) -> str:
    def line(cells: Sequence[str], kind: str) -> str:
        return "<tr>" + "".join(f"<{kind}>{html.escape(cell)}</{kind}>" for cell in cells) + "</tr>"

    caption = f"<caption>{html.escape(title)}</caption>"
    more = f"<p>… and {left_out} more</p>" if left_out > 0 else ""
    return f"<table>{caption}{line(head, 'th')}{''.join(line(row, 'td') for row in rows)}</table>{more}"
