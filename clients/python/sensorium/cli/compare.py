"""`sensorium compare`: how alike things are, whatever their kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

from sensorium.answers import Comparison
from sensorium.cli import options
from sensorium.cli.connection import connected
from sensorium.cli.failures import UsageFault, code_of_items
from sensorium.cli.inputs import Input, read_inputs
from sensorium.cli.loading import Loaded, load, readable
from sensorium.cli.output import (
    Format,
    console,
    error_facts,
    input_facts,
    named,
    number,
    numbers,
    receipt_facts,
    say_failures,
    table,
)
from sensorium.errors import SensoriumError

_MOST_COLUMNS = 6  # what fits side by side; more candidates are listed, the best first

EPILOG = options.examples(
    'sensorium compare "a red circle" --with red.png --with blue.png',
    "sensorium compare seven.wav --with 'digits/*.png' --top-k 3   (quote globs: the shell would split them)",
    'sensorium compare "a dog" "a cat" --with-image photo.jpg --with-audio bark.wav',
    "sensorium compare 'samples/*'   (everything with everything)",
    'sensorium compare "who wrote it?" --with - --query-prompt query --candidate-prompt document < texts.txt',
)

_With = Annotated[
    list[str] | None,
    typer.Option("--with", "-c", metavar="INPUT", help="A candidate: file, quoted glob, `-` or text. Repeatable."),
]
_WithText = Annotated[list[str] | None, typer.Option(metavar="TEXT", help="A text as candidate. Repeatable.")]
_WithImage = Annotated[list[str] | None, typer.Option(metavar="PATH", help="Pictures as candidates. Repeatable.")]
_WithAudio = Annotated[list[str] | None, typer.Option(metavar="PATH", help="Sounds as candidates. Repeatable.")]
_QueryPrompt = Annotated[
    str,
    typer.Option(metavar="NAME", help="What the text model puts before the texts among the queries, such as query."),
]
_CandidatePrompt = Annotated[
    str, typer.Option(metavar="NAME", help="What it puts before those among the candidates, such as document.")
]


def compare(
    queries: options.Mixed = None,
    text: options.Texts = None,
    image: options.Images = None,
    audio: options.Sounds = None,
    candidates: _With = None,
    with_text: _WithText = None,
    with_image: _WithImage = None,
    with_audio: _WithAudio = None,
    top_k: Annotated[int, typer.Option(min=0, help="Show the best so many candidates of each query.")] = 0,
    as_json: options.AsJson = False,
    as_lines: options.AsLines = False,
    npy: options.Npy = None,
    query_prompt: _QueryPrompt = "",
    candidate_prompt: _CandidatePrompt = "",
    space: options.Space = "",
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
) -> None:
    """Compare each query with each candidate: cosines, and probabilities where the model is calibrated.

    Queries are the arguments, -t, -i and -a; candidates come after --with. Without candidates, everything that is given
    is compared with everything.
    """
    form = Format(as_json, as_lines, npy)
    rows = read_inputs(queries, text, image, audio)
    columns = read_inputs(candidates, with_text, with_image, with_audio) or rows
    if not rows or (columns is rows and len(rows) < 2):
        raise UsageFault("nothing to compare; give queries, and candidates after --with (see sensorium compare --help)")
    left = load(rows)
    right = left if columns is rows else load(columns)
    with connected(address, timeout) as client:
        answer = client.compare(
            readable(rows, left),
            readable(columns, right),
            space=space,
            query_prompt=query_prompt,
            candidate_prompt=candidate_prompt,
        )
    found = _Matrix(rows, columns, left, right, answer)
    found.show(form, top_k)
    errors = [*found.row_errors.values(), *found.column_errors.values()]
    raise typer.Exit(code_of_items(len(rows) + len(columns), errors))


class _Matrix:
    """The scores of all inputs that were given, NaN where one of a pair failed."""

    def __init__(
        self, rows: Sequence[Input], columns: Sequence[Input], left: Loaded, right: Loaded, answer: Comparison
    ) -> None:
        self._rows, self._columns, self._answer = rows, columns, answer
        self.row_errors = left.at_inputs(answer.query_errors)
        self.column_errors = right.at_inputs(answer.candidate_errors)
        shape, places = (len(rows), len(columns)), np.ix_(left.places, right.places)
        self.scores = np.full(shape, np.nan, np.float32)
        self.scores[places] = answer.scores
        self.probabilities: NDArray[np.float32] | None = None
        if answer.probabilities is not None:
            self.probabilities = np.full(shape, np.nan, np.float32)
            self.probabilities[places] = answer.probabilities

    def show(self, form: Format, top_k: int) -> None:
        """Prints the answer as it is wanted."""
        say_failures(self._rows, self.row_errors)
        if self._columns is not self._rows:
            say_failures(self._columns, self.column_errors)
        form.emit(self._facts(), (self._line(at, top_k) for at in range(len(self._rows))))
        form.save(self.scores)
        if form.wants_table:
            is_wide = len(self._columns) > _MOST_COLUMNS or top_k > 0
            console().print(self._lists(top_k or 5) if is_wide else self._grid())
            console().print(f"cosines in the space {self._answer.space}; in brackets, which candidate is meant")

    def _facts(self) -> dict[str, Any]:
        """Returns everything. Any: JSON."""
        return {
            "space": self._answer.space,
            "queries": _inputs(self._rows, self.row_errors),
            "candidates": _inputs(self._columns, self.column_errors),
            "scores": numbers(self.scores),
            "probabilities": None if self.probabilities is None else numbers(self.probabilities),
            "receipt": receipt_facts(self._answer.receipt),
        }

    def _line(self, row: int, top_k: int) -> dict[str, Any]:
        """Returns one query with its candidates, the best first. Any: JSON."""
        line = _inputs(self._rows, self.row_errors)[row]
        found = [
            {
                **input_facts(at, self._columns[at]),
                "score": number(self.scores[row, at]),
                "probability": self._meant(row, at),
            }
            for at in self._ranked(row)[: top_k or None]
        ]
        return {**line, "space": self._answer.space, "candidates": found}

    def _meant(self, row: int, column: int) -> float | None:
        return None if self.probabilities is None else number(self.probabilities[row, column])

    def _ranked(self, row: int) -> list[int]:
        """Returns the candidates that have a score, the best first."""
        scored = [at for at in range(len(self._columns)) if not np.isnan(self.scores[row, at])]
        return sorted(scored, key=lambda at: -self.scores[row, at])

    def _cell(self, row: int, column: int) -> str:
        if np.isnan(self.scores[row, column]):
            return "failed"
        meant = self._meant(row, column)
        return f"{self.scores[row, column]:+.3f}" + ("" if meant is None else f" ({meant:.0%})")

    def _grid(self) -> Table:
        shown = table("", *(f"{at + 1}#" for at in range(len(self._columns))))
        for column, each in zip(shown.columns[1:], self._columns, strict=True):
            column.header = named(each, 24)
        for row, each in enumerate(self._rows):
            ranked = self._ranked(row)
            cells = [
                Text(self._cell(row, at), style="bold green" if ranked[:1] == [at] else "")
                for at in range(len(self._columns))
            ]
            shown.add_row(named(each, 32), *cells)
        return shown

    def _lists(self, most: int) -> Table:
        shown = table("query", "rank#", "candidate", "score#")
        for row, each in enumerate(self._rows):
            ranked = self._ranked(row)[:most]
            for rank, at in enumerate(ranked):
                name = named(each, 32) if rank == 0 else Text("")
                shown.add_row(name, str(rank + 1), named(self._columns[at]), self._cell(row, at))
            if not ranked:
                shown.add_row(named(each, 32), "", Text("failed", style="red"), "")
        return shown


def _inputs(inputs: Sequence[Input], errors: Mapping[int, SensoriumError]) -> list[dict[str, Any]]:
    """Returns the inputs with their errors. Any: JSON."""
    return [
        {**input_facts(at, each), **({"error": error_facts(errors[at])} if at in errors else {})}
        for at, each in enumerate(inputs)
    ]
