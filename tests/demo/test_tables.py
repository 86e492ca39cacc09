"""What the demo prints: every shape of answer, whatever the captions say."""

from __future__ import annotations

import io

from rich.console import Console

from sensorium.cli.demo.results import Grid, Step
from sensorium.cli.demo.tables import show_step
from tests.demo.tours import tour


def _printed(step: Step) -> str:
    file = io.StringIO()
    show_step(Console(file=file, width=120), 1, step)
    return file.getvalue()


def test_a_step_shows_its_question_its_answers_and_its_cost() -> None:
    found = tour()

    printed = _printed(found.steps[0])

    assert "1  About two red circles" in printed
    assert "128 numbers" in printed
    assert "INVALID_ARGUMENT contents[1].image.data" in printed
    assert "Compare 12.5 ms, in the server 8.8 ms" in printed


def test_a_caption_that_looks_like_markup_is_printed_as_it_is() -> None:
    printed = _printed(tour("[red]one[/red]", "[/]two").steps[0])

    assert "[red]one[/red]" in printed
    assert "[/]two" in printed


def test_a_grid_shows_the_best_column_of_each_row() -> None:
    found = tour("a dot", "a line")
    rows = Grid(found.samples[2:], found.samples[:2], found.matrix.numbers[2:, :2], found.matrix.expected[2:, :2])
    step = Step("Grid", "", "", "", [rows], [])

    lines = [line.split() for line in _printed(step).splitlines() if line.startswith("♪")]

    assert lines[0] == ["♪", "a", "dot", "▧", "a", "dot", "0.80", "✓", "0.80"]
