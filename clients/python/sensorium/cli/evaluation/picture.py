"""Draws confusion matrices as one SVG picture that needs nothing else."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from sensorium.cli.evaluation.results import Result
from sensorium.cli.failures import UsageFault, say

_MOST_NUMBERED = 30  # classes; of more, the cells are too small to write in
_CELL, _SMALL_CELL = 40, 12  # px
_LETTER = 7.0  # px, of 12 px sans-serif, on average; what is as wide as it is high has two (a guess)
_MOST_LETTERS = 24
_MARGIN, _TITLE = 24, 46  # px
_LEAST_WIDTH = 380  # px, of what stands above a matrix
_DARK = (8, 69, 148)  # of a cell with all of its row: the darkest but one of ColorBrewer's Blues
_STYLE = (
    "text{font:12px system-ui,'Noto Sans CJK SC',sans-serif;fill:#222}"
    ".t{font-size:16px;font-weight:600}.s{fill:#666}.l{fill:#fff}.e{text-anchor:end}.m{text-anchor:middle}"
)


def check_picture(file: Path | None) -> None:
    """Refuses a file that cannot be drawn, before any work is done.

    Raises:
        UsageFault: it is no .svg, or its folder is not there.
    """
    if file is None:
        return
    if file.suffix.lower() != ".svg":
        raise UsageFault(f"--picture: {file.name!r} must end in .svg, the one kind of picture that is drawn here")
    if not file.parent.is_dir():
        raise UsageFault(f"--picture: there is no folder {file.parent}")


def save_picture(file: Path, results: Sequence[Result], labels: Sequence[str]) -> None:
    """Writes the confusion matrices of all results, one below the other.

    Raises:
        UsageFault: the file cannot be written.
    """
    try:
        file.write_text(drawn(results, labels), "utf-8")
    except OSError as fault:
        raise UsageFault(f"--picture: {file} cannot be written: {fault.strerror}") from None
    say(f"wrote {file}")


def drawn(results: Sequence[Result], labels: Sequence[str]) -> str:
    """Returns an SVG document: a matrix a result, each row coloured by its shares, each cell with its count."""
    names = [_shown(label) for label in labels]
    cell = _CELL if len(labels) <= _MOST_NUMBERED else _SMALL_CELL
    side = cell * len(labels)
    beside = max(_width(name) for name in names) + 12
    height = _TITLE + side + beside + _MARGIN  # of one matrix
    width = _MARGIN + beside + max(side, _LEAST_WIDTH) + _MARGIN
    matrices = [
        f'<g transform="translate({_MARGIN + beside:.0f} {_MARGIN + at * height:.0f})">{_matrix(each, names, cell)}</g>'
        for at, each in enumerate(results)
    ]
    size = f"{width:.0f}", f"{_MARGIN + len(results) * height:.0f}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" '
        f'viewBox="0 0 {size[0]} {size[1]}" role="img"><title>Confusion matrices</title><style>{_STYLE}</style>'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(matrices)}</svg>\n'
    )


def _matrix(result: Result, names: Sequence[str], cell: int) -> str:
    side, is_numbered = cell * len(names), cell == _CELL
    about = f"accuracy {_share(result.accuracy)} of {result.item_count:,}; rows are true, columns predicted"
    parts = [
        f'<text class="t" y="14">{escape(result.title)}</text>',
        f'<text class="s" y="33">{about}</text>',
    ]
    for at, name in enumerate(names):
        middle = cell * at + cell / 2
        parts.append(f'<text class="e" x="-6" y="{_TITLE + middle + 4:g}">{escape(name)}</text>')
        place = f"translate({middle + 4:g} {_TITLE + side + 6}) rotate(-90)"
        parts.append(f'<text class="e" transform="{place}">{escape(name)}</text>')
    for row, counts in enumerate(result.counts.tolist()):
        total = sum(counts)
        for column, count in enumerate(counts):
            share = count / total if total else 0.0
            corner = (cell * column, _TITLE + cell * row)
            title = f"{names[row]} taken for {names[column]}: {count} of {total}"
            parts.append(_cell(corner, cell, count if is_numbered else 0, share, title))
    parts.append(f'<rect y="{_TITLE}" width="{side}" height="{side}" fill="none" stroke="#888"/>')
    return "".join(parts)


def _cell(place: tuple[int, int], cell: int, count: int, share: float, title: str) -> str:
    x, y = place
    drawn = f'<rect x="{x}" y="{y}" width="{cell}" height="{cell}" fill="{_colour(share)}" stroke="#e4e8ee">'
    drawn += f"<title>{escape(title)}</title></rect>"
    if not count:
        return drawn
    style = "m l" if share > 0.6 else "m"
    text = f"{count}" if count < 100_000 else f"{count / 1000:.0f}k"
    return f'{drawn}<text class="{style}" x="{x + cell / 2:g}" y="{y + cell / 2 + 4:g}">{text}</text>'


def _colour(share: float) -> str:
    """Returns white for 0, dark blue for 1, and in between what lies there."""
    red, green, blue = (round(255 + (dark - 255) * share) for dark in _DARK)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _shown(label: str) -> str:
    """Returns a label as it is drawn: cut if long, without characters that XML has no place for."""
    clean = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in label)
    return clean if len(clean) <= _MOST_LETTERS else clean[: _MOST_LETTERS - 1] + "…"


def _width(name: str) -> float:
    """Returns about how wide a name is, in px."""
    return sum(_LETTER * (1.8 if unicodedata.east_asian_width(letter) in "WF" else 1.0) for letter in name)


def _share(value: float) -> str:
    return "–" if value != value else f"{value:.1%}"  # NaN
