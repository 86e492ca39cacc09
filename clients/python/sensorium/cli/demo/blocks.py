"""Shows what the demo found as pieces of a page: rankings as bars, grids as heat maps, items as rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sensorium.cli.demo.markup import Html, data_uri, join, tag, waveform
from sensorium.cli.demo.results import Bar, Block, Definitions, Grid, Items, Ranking
from sensorium.cli.demo.samples import Thing
from sensorium.errors import SensoriumError

_CHINESE = ("\u4e00", "\u9fff")
_KEY = "Outlined: the highest of its row. Underlined: row and column mean the same, by their captions."
_LARGE = 12
_SHADES = 10  # heat map: h0 to h9 for 0 to 1, n1 to n3 below 0; see page.css


class Media:
    """Shows things, and knows which sounds the page can play."""

    def __init__(self, samples: Sequence[Thing]) -> None:
        self._players = {id(sample): f"sound-{i}" for i, sample in enumerate(samples) if sample.kind == "audio"}

    def player_id(self, thing: Thing) -> str:
        """Returns the id of the audio element that plays a sample; empty for what cannot be played."""
        return self._players.get(id(thing), "")

    def thumb(self, thing: Thing) -> Html:
        """Returns a small square for a thing: its picture, a button that plays it, or a sign of its kind."""
        if thing.kind == "image" and thing.path:
            return tag("img", src=data_uri(thing.media), alt="", class_="thumb")
        player = self.player_id(thing)
        if player:
            wave = waveform(thing.media)
            label = f"Play “{thing.name}”"
            return tag(
                "a", wave, href=f"#{player}", data_plays=player, class_="thumb play", aria_label=label, title=label
            )
        sign = {"text": "Aa", "vector": "[…]", "image": "▧", "audio": "♪"}[thing.kind]
        return tag("span", sign, class_="thumb sign", aria_hidden="true")

    def named(self, thing: Thing) -> Html:
        """Returns a thing with its name beside it."""
        return tag("span", self.thumb(thing), name(thing), class_="thing")


def name(thing: Thing) -> Html:
    """Returns a thing's name: quoted where it is a text, with its kind where it is not."""
    words = f"“{thing.name}”" if thing.kind == "text" else thing.name
    kind = {"text": "", "image": "picture", "audio": "sound", "vector": "vector"}[thing.kind]
    return tag("span", spoken(words), tag("small", kind) if kind else "", class_="name")


def spoken(words: str) -> Html | str:
    """Returns words, marked as Chinese where they are, so that they are set and read aloud as such."""
    is_chinese = any(_CHINESE[0] <= letter <= _CHINESE[1] for letter in words)
    return tag("span", words, lang="zh") if is_chinese else words


def block(found: Block, media: Media) -> Html:
    """Returns one block of a step."""
    if isinstance(found, Ranking):
        return _ranking(found, media)
    if isinstance(found, Grid):
        return heat_map(found, media)
    if isinstance(found, Definitions):
        return _definitions(found, media)
    return _items(found, media)


def _ranking(ranking: Ranking, media: Media) -> Html:
    heading = tag("p", ranking.heading, class_="heading") if ranking.heading else ""
    query = tag("figcaption", heading, media.named(ranking.query))
    # Probabilities share the bar's full length; cosines are from -1 to 1, and what is below 0 has no bar.
    return tag("figure", query, tag("ol", [_bar(bar, media) for bar in ranking.bars], class_="bars"), class_="panel")


def _bar(bar: Bar, media: Media) -> Html:
    number = bar.score if bar.probability is None else bar.probability
    shown = _cosine(number) if bar.probability is None else f"{number:.0%}"
    mark = tag("span", "✓", class_="mark", title="the caption says so", role="img", aria_label="as the caption says")
    fill = tag("span", style=f"width:{100 * max(0.0, min(1.0, number)):.1f}%", class_="fill")
    return tag(
        "li",
        tag("span", media.thumb(bar.thing) if bar.thing.kind != "text" else "", name(bar.thing), class_="thing"),
        mark if bar.is_expected else "",
        tag("span", shown, class_="number", title=f"cosine {bar.score:.4f}"),
        tag("span", fill, class_="track", aria_hidden="true"),
        class_="expected" if bar.is_expected else "",
    )


def heat_map(grid: Grid, media: Media) -> Html:
    """Returns a table of coloured numbers."""
    unit = "probability" if grid.are_probabilities else "cosine"
    size = "large" if len(grid.rows) > _LARGE else ""  # narrow screens show a large one by its thumbnails alone
    corner = tag("td", unit, class_="corner")
    columns = [_column(thing, media) for thing in grid.columns]
    rows = [_heat_row(grid, row, media) for row in range(len(grid.rows))]
    table = tag("table", tag("thead", tag("tr", corner, columns)), tag("tbody", rows), class_=f"heat {size}")
    label = f"{unit} of every row with every column"
    scroll = tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=label)
    return tag("div", scroll, tag("p", _KEY, class_="key"), class_="wide")


def _column(thing: Thing, media: Media) -> Html:
    sign = media.thumb(thing) if thing.kind != "text" else ""
    return tag("th", tag("span", tag("span", spoken(thing.name), class_="name"), sign, class_="upright"), scope="col")


def _heat_row(grid: Grid, row: int, media: Media) -> Html:
    numbers = [float(number) for number in grid.numbers[row]]
    # The best of a row is outlined; a thing held against itself says nothing.
    others = [n for n, column in zip(numbers, grid.columns, strict=True) if column is not grid.rows[row] and n == n]
    best = max(others, default=math.inf)
    cells = [
        _cell(number, f"{grid.rows[row].name} × {column.name}", unit_is_percent=grid.are_probabilities,
              is_best=number == best and column is not grid.rows[row], is_expected=bool(expected))
        for number, column, expected in zip(numbers, grid.columns, grid.expected[row], strict=True)
    ]  # fmt: skip
    return tag("tr", tag("th", media.named(grid.rows[row]), scope="row"), cells)


def _cell(number: float, what: str, *, unit_is_percent: bool, is_best: bool, is_expected: bool) -> Html:
    if number != number:
        return tag("td", "–", class_="none", title=f"{what}: failed")
    shown = f"{number:.0%}" if unit_is_percent else _cosine(number).replace("0.", ".")
    classes = [shade(number), "best" if is_best else "", "expected" if is_expected else ""]
    return tag("td", shown, class_=" ".join(filter(None, classes)), title=f"{what}: {number:.4f}")


def _cosine(number: float) -> str:
    return f"{number:z.2f}".replace("-", "−")  # z: no minus before a rounded 0


def shade(number: float) -> str:
    """Returns the class that colours a number from -1 to 1."""
    if number < -0.05:
        return f"n{min(3, 1 + int(-number * 4))}"
    return f"h{max(0, min(_SHADES - 1, int(number * _SHADES)))}"


def _definitions(definitions: Definitions, media: Media) -> Html:
    rows = [
        tag("div", tag("dt", label), tag("dd", [media.named(example) for example in examples]))
        for label, examples in definitions.labels
    ]
    return tag("dl", rows, class_="panel definitions wide")


def _items(items: Items, media: Media) -> Html:
    rows = [
        tag(
            "tr",
            tag("th", tag("code", place), scope="row"),
            tag("td", media.named(thing)),
            tag("td", _outcome(outcome)),
        )
        for place, thing, outcome in items.rows
    ]
    head = tag("tr", [tag("th", title, scope="col") for title in ("Place", "Sent", "Came back")])
    return tag("div", tag("table", tag("thead", head), tag("tbody", rows), class_="plain"), class_="scroll wide")


def _outcome(outcome: str | SensoriumError) -> Html:
    return tag("span", "✓ ", outcome, class_="good") if isinstance(outcome, str) else error(outcome)


def error(fault: SensoriumError) -> Html:
    """Returns an error with its status, its field and what was wrong."""
    field = join(tag("code", fault.field), " ") if fault.field else ""
    return tag("span", tag("b", code_name(fault)), " ", field, fault.problem, class_="bad")


def code_name(fault: SensoriumError) -> str:
    """Returns the name of an error's status: `InvalidInput` gives `INVALID_ARGUMENT`."""
    from google.rpc import code_pb2

    return str(code_pb2.Code.Name(fault.code))
