"""The page of the demo: valid, whole in itself, and safe whatever the captions say."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from importlib import resources

import pytest

from sensorium.cli.demo.blocks import shade
from sensorium.cli.demo.markup import media_type
from sensorium.cli.demo.page import render
from tests.demo.tours import mesh, png, tour, wav

_VOID = {"img", "meta", "br"}
_HOSTILE = "</p></script><script>alert(1)</script> \"><img src=x onerror='alert(2)'> & <b>"


class _Page(HTMLParser):
    """Reads a page and keeps what the tests ask about; a tag that is not closed in order is a fault."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if len({name for name, _ in attrs}) != len(attrs):
            self.faults.append(f"<{tag}> has an attribute twice")
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes nothing")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data

    def values(self, name: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(name)) is not None]


def _page(*captions: str) -> str:
    return render(
        tour(*captions), mesh(problem=captions[0] if captions else ""), datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    )


@pytest.mark.parametrize("captions", [(), (_HOSTILE, _HOSTILE + "2")], ids=["plain", "hostile"])
def test_every_tag_is_closed_in_order(captions: tuple[str, ...]) -> None:
    page = _Page(_page(*captions))

    assert page.faults == []
    assert page.open == []
    assert [tag for tag, _ in page.tags][:3] == ["html", "head", "meta"]


def test_nothing_is_fetched_from_elsewhere() -> None:
    text = _page()
    page = _Page(text)

    sources = page.values("src") + page.values("href")
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert not re.search(r"https?:|url\(|@import", text)
    assert not {"link", "iframe", "object"} & {tag for tag, _ in page.tags}


def test_pictures_and_sounds_are_in_the_page_as_files() -> None:
    page = _Page(_page())
    samples = tour().samples

    files = {source.partition(",")[2] for source in page.values("src")}
    assert files == {base64.b64encode(sample.media).decode() for sample in samples}
    sounds = [attributes for tag, attributes in page.tags if tag == "audio"]
    assert len(sounds) == 2
    assert all(
        "controls" in attributes and (attributes["src"] or "").startswith("data:audio/wav") for attributes in sounds
    )


def test_a_hostile_caption_is_shown_and_never_run() -> None:
    page = _Page(_page(_HOSTILE, "second"))

    assert _HOSTILE in page.text
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]


def test_links_and_thumbnails_lead_to_something() -> None:
    page = _Page(_page())
    ids = page.values("id")

    assert len(set(ids)) == len(ids)
    assert {link.removeprefix("#") for link in page.values("href")} <= set(ids)
    assert set(page.values("data-plays")) <= set(ids)


def test_the_matrix_has_a_cell_with_its_number_for_every_pair() -> None:
    page = _page()
    matrix = page[page.index('id="matrix"') : page.index('id="receipts"')]

    cells = re.findall(r'<td class="([^"]*)"[^>]*>([^<]*)</td>', matrix)
    assert [text for _, text in cells[1:]] == [
        "1.00", "−.20", ".80", ".10", "−.20", "1.00", ".30", "–",
        ".80", ".30", "1.00", ".60", ".10", "–", ".60", "1.00",
    ]  # fmt: skip
    assert "best expected" in cells[3][0]  # the picture's nearest other sample is the sound of the same caption
    assert "best" not in cells[1][0]  # not itself


def test_errors_receipts_and_the_mesh_are_shown() -> None:
    text = _Page(_page()).text

    assert "INVALID_ARGUMENT contents[1].image.data is a blue square" in text
    assert "unreachable" in text
    assert "tiny-text@1 a41b99c0" in text
    assert "02 January 2026" in text


@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
def test_every_number_of_the_heat_map_can_be_read(is_dark: bool) -> None:
    """Contrast of at least 4.5, as WCAG 2.1 (AA) asks for text."""
    css = resources.files("sensorium.cli.demo").joinpath("page.css").read_text(encoding="utf-8")
    palettes = [
        dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", css, re.S)
    ]
    colours = palettes[is_dark]

    for number in (-1, -0.5, -0.2, 0, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 1):
        cell = shade(number)
        ink = colours["high" if cell in ("h6", "h7", "h8", "h9") else "low"]
        assert _contrast(ink, colours[cell]) >= 4.5, cell
    for ink in ("ink", "soft", "good", "bad", "accent"):
        assert _contrast(colours[ink], colours["card"]) >= 4.5, ink


def test_files_are_known_by_their_first_bytes() -> None:
    assert media_type(png()) == "image/png"
    assert media_type(wav()) == "audio/wav"
    assert media_type(b"fLaC\0") == "audio/flac"
    assert media_type(b"RIFF\0\0\0\0WEBPVP8 ") == "image/webp"
    assert media_type(b"hello") == "application/octet-stream"


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    """Returns the relative luminance of `#rrggbb`: https://www.w3.org/TR/WCAG21/#dfn-relative-luminance."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
