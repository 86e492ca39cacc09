"""Shows what the demo found in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from sensorium.cli.demo.blocks import code_name
from sensorium.cli.demo.results import Block, Call, Definitions, Grid, Items, Ranking, Step
from sensorium.cli.demo.samples import Thing

_SIGNS = {"text": "“", "image": "▧ ", "audio": "♪ ", "vector": "[] "}
_TOP = 3  # of a ranking; the page shows more
_BAR_WIDTH = 20
_NAME_WIDTH = 40


def show_step(console: Console, number: int, step: Step) -> None:
    """Prints one step: its question, what came back, and what that cost."""
    console.print()
    console.print(f"[bold cyan]{number}[/]  [bold]{escape(step.title)}[/]")
    console.print(Text(step.explanation, style="dim"))
    for found in step.blocks:
        console.print(_block(found))
    if step.outcome:
        console.print(Text(step.outcome))
    console.print(Text(_costs(step.calls), style="dim"))


def label(thing: Thing) -> str:
    """Returns a thing's name with a sign of its kind."""
    return f"{_SIGNS[thing.kind]}{thing.name}" + ("”" if thing.kind == "text" else "")


def _block(found: Block) -> RenderableType:
    if isinstance(found, Ranking):
        return _ranking(found)
    if isinstance(found, Grid):
        return _grid(found)
    if isinstance(found, Definitions):
        return _definitions(found)
    return _items(found)


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in titles:
        table.add_column(escape(title), overflow="fold")
    return table


def _ranking(ranking: Ranking) -> RenderableType:
    heading = f"{ranking.heading}: " if ranking.heading else ""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    table.add_column(escape(f"{heading}{label(ranking.query)}"), width=_NAME_WIDTH)
    table.add_column(width=_BAR_WIDTH)
    table.add_column(justify="right", width=4)
    table.add_column(width=1)
    for bar in ranking.bars[:_TOP]:
        number = bar.score if bar.probability is None else bar.probability
        shown = f"{number:z.2f}" if bar.probability is None else f"{number:.0%}"
        filled = "━" * max(0, min(_BAR_WIDTH, round(_BAR_WIDTH * number)))
        style = "green" if bar.is_expected else "blue"
        table.add_row(Text(f"  {label(bar.thing)}"), Text(filled, style=style), shown, "✓" if bar.is_expected else "")
    return table


def _grid(grid: Grid) -> RenderableType:
    """Shows the best column of each row: the whole grid is for the page."""
    table = _table("", "best", "", "", "of the one meant")
    for row, thing in enumerate(grid.rows):
        numbers = grid.numbers[row]
        best = max(range(len(grid.columns)), key=lambda column: numbers[column])
        meant = [numbers[column] for column in range(len(grid.columns)) if grid.expected[row, column]]
        is_right = bool(grid.expected[row, best])
        table.add_row(
            Text(label(thing)),
            Text(label(grid.columns[best]), style="green" if is_right else ""),
            _number(numbers[best], grid),
            "✓" if is_right else "",
            ", ".join(_number(number, grid) for number in meant),
        )
    return table


def _number(number: float, grid: Grid) -> str:
    return f"{number:.0%}" if grid.are_probabilities else f"{number:z.2f}"


def _definitions(definitions: Definitions) -> RenderableType:
    table = _table("label", "examples")
    for name, examples in definitions.labels:
        table.add_row(Text(name), Text(", ".join(label(example) for example in examples)))
    return table


def _items(items: Items) -> RenderableType:
    table = _table("", "sent", "came back")
    for place, thing, outcome in items.rows:
        came_back = (outcome, "green") if isinstance(outcome, str) else (f"{code_name(outcome)} {outcome}", "red")
        table.add_row(Text(place), Text(label(thing)), Text(*came_back))
    return table


def _costs(calls: Sequence[Call]) -> str:
    return "; ".join(
        f"{call.method} {call.wall_ms:.1f} ms, in the server {call.receipt.total_ns / 1e6:.1f} ms" for call in calls
    )
