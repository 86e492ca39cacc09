"""Builds HTML from values: everything that is not `Html` already is escaped."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_VOID = frozenset({"br", "img", "link", "meta", "source"})
# The first bytes of the files that the services read, and what a browser calls them. RIFF is told apart by its form.
_MAGIC = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"\xff\xf3", "audio/mpeg"),
)
_RIFF = {b"WAVE": "audio/wav", b"WEBP": "image/webp"}
_WAVEFORM_BARS = 17


@dataclass(frozen=True, slots=True)
class Html:
    """Markup that is safe to show as it is."""

    text: str


Inside = Html | str | Iterable[Html | str]


def tag(name: str, *inside: Inside, **attributes: str | bool) -> Html:
    """Returns an element.

    attributes: `class_` is class, `data_plays` is data-plays; True is an attribute without a value, False is none.
    """
    opening = name + "".join(_attribute(key.strip("_").replace("_", "-"), value) for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{opening}>")
    return Html(f"<{opening}>{join(*inside).text}</{name}>")


def join(*inside: Inside) -> Html:
    """Returns several pieces, one after the other."""
    return Html("".join(_piece(piece) for piece in inside))


def data_uri(data: bytes) -> str:
    """Returns a file as a URI that holds it."""
    return f"data:{media_type(data)};base64,{base64.b64encode(data).decode()}"


def media_type(data: bytes) -> str:
    """Returns the media type of an encoded picture or sound by its first bytes."""
    if data[:4] == b"RIFF":
        return _RIFF.get(data[8:12], "application/octet-stream")
    return next((kind for magic, kind in _MAGIC if data.startswith(magic)), "application/octet-stream")


def waveform(data: bytes) -> Html:
    """Returns a small drawing of a sound's loudness over time."""
    heights = np.maximum(_loudness(data), 0.08) * 13
    paths = "".join(f"M{3 + 2 * i} {16 - h:.1f}v{2 * h:.1f}" for i, h in enumerate(heights))
    return tag(
        "svg", tag("path", d=paths), viewBox=f"0 0 {4 + 2 * _WAVEFORM_BARS} 32", aria_hidden="true", class_="wave"
    )


def _loudness(data: bytes) -> NDArray[np.float32]:
    """Returns (_WAVEFORM_BARS,) peaks from 0 to 1; all alike where the file cannot be read here."""
    unknown = np.full(_WAVEFORM_BARS, 0.5, np.float32)
    try:
        import soundfile  # there where the audio service can run; the SDK alone does without
    except ImportError:
        return unknown
    try:
        samples = np.abs(soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0]).max(axis=1)
    except soundfile.LibsndfileError:
        return unknown
    if samples.size < _WAVEFORM_BARS or not samples.any():
        return unknown
    starts = np.linspace(0, samples.size, _WAVEFORM_BARS, endpoint=False, dtype=int)
    peaks = np.maximum.reduceat(samples, starts)
    return np.asarray(peaks / peaks.max(), np.float32)


def _attribute(name: str, value: str | bool) -> str:
    if isinstance(value, bool):
        return f" {name}" if value else ""
    return f' {name}="{html.escape(value)}"'


def _piece(piece: Inside) -> str:
    if isinstance(piece, Html):
        return piece.text
    if isinstance(piece, str):
        return html.escape(piece)
    return "".join(_piece(part) for part in piece)
