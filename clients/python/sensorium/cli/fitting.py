"""A table that never breaks a word: a narrow terminal gets fewer columns, a file or pipe one row a line."""

from __future__ import annotations

import copy
from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text


class FittingTable(Table):
    """A table whose last columns are left out, and named below it, where their longest words find no room."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yields the table with what fits in the width."""
        if not self.columns:
            return
        gap = self.padding[1] + self.padding[3]
        ranges = [_range(console, options, column) for column in self.columns]
        count, used = 1, ranges[0].minimum + gap
        for each in ranges[1:]:
            used += each.minimum + gap
            if used > options.max_width:
                break
            count += 1
        shown = copy.copy(self)
        widths = _widths(ranges[:count], options.max_width - gap * count)
        shown.columns = [_of_width(*each) for each in zip(self.columns, widths, strict=False)]
        yield from Table.__rich_console__(shown, console, options)
        hidden = ", ".join(str(column.header) for column in self.columns[count:] if column.header)
        if hidden:
            yield Text(f"(a wider terminal also shows: {hidden})", style="dim")


def _range(console: Console, options: ConsoleOptions, column: Column) -> Measurement:
    """Returns the widths of the longest word and of the longest cell."""
    wide = options.update(max_width=1_000_000)
    found = [Measurement.get(console, wide, each) for each in (column.header, *column.cells)]
    return Measurement(max(each.minimum for each in found), max(each.maximum for each in found))


def _widths(ranges: list[Measurement], room: int) -> Iterator[int]:
    """Yields a width for each column: that of its longest word, and the first ones get what else there is."""
    spare = max(0, room - sum(each.minimum for each in ranges))
    for each in ranges:
        more = min(spare, each.maximum - each.minimum)
        spare -= more
        yield min(each.minimum + more, max(room, 1))


def _of_width(column: Column, width: int) -> Column:
    made = copy.copy(column)
    made.width = width
    return made
