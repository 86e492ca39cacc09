"""What files of pictures say beside their pixels: which side is up, how deep they are, where they end."""

from __future__ import annotations

import re
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

_ORIENTATION = 0x0112  # tag of EXIF 2.32 and of TIFF 6.0
_DEPTHS, _PLANAR, _APART = 258, 284, 2  # two tags of TIFF 6.0, and a value of the second
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0  # a tag of TIFF 6.0, and a value of it
# As an attribute or an element, whichever quotes and spaces an XMP writer likes.
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([1-8])")
# How much may stand behind the end of a file: padding, a signature.
_TAIL_BYTES = 1 << 16


def orientation(picture: Image.Image) -> int:
    """Returns how a picture is stored, 1 to 8 (EXIF 2.32, tag 0x0112): of all formats read in one way.

    EXIF goes before XMP. Both are looked for in a segment or chunk of their own, in a PNG's raw profiles, in a TIFF's
    tags. What is damaged or out of range counts as upright.
    """
    try:
        stated = picture.getexif().get(_ORIENTATION)
    except Exception:  # noqa: BLE001  # damaged EXIF raises whatever its parser met
        stated = None
    if stated is None:
        stated = _profile_orientation(picture)
    if stated is None:
        xmp = (
            picture.info.get("xmp")
            or picture.info.get("XML:com.adobe.xmp")
            or _raw_profile(picture, "xmp")
            or _raw_profile(picture, "APP1")
        )
        stated = xmp_orientation(xmp if isinstance(xmp, bytes) else str(xmp).encode())
    return stated if isinstance(stated, int) and 1 <= stated <= 8 else 1


def _raw_profile(picture: Image.Image, name: str) -> bytes:
    """Returns what ImageMagick wrote as text into a PNG: a name, a length, and hexadecimal digits; b"" if damaged."""
    lines = str(picture.info.get(f"Raw profile type {name}", "")).strip().split("\n")
    try:
        return bytes.fromhex("".join(lines[2:]))
    except ValueError:
        return b""


def _profile_orientation(picture: Image.Image) -> int | None:
    """Returns the orientation of EXIF in a PNG's profile "APP1", which Pillow does not look into; None of any other."""
    profile = _raw_profile(picture, "APP1")
    if not profile.startswith(b"Exif\0\0"):
        return None
    exif = Image.Exif()
    try:
        exif.load(profile)
        stated = exif.get(_ORIENTATION)
    except Exception:  # noqa: BLE001  # damaged EXIF raises whatever its parser met
        return None
    return stated if isinstance(stated, int) else None


def xmp_orientation(data: bytes) -> int:
    """Returns the first orientation that XMP states somewhere in these bytes; 1 where none does."""
    found = _XMP_ORIENTATION.search(data)
    return int(found[1]) if found else 1


def upright(pixels: NDArray[np.uint8], stored: int) -> NDArray[np.uint8]:
    """Returns pixels (h, w, 3) as they are to be seen, of a picture that is stored in one of eight ways."""
    if stored >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if stored in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if stored in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def deep_grey(picture: Image.Image) -> NDArray[np.uint8]:
    """Returns (h, w, 3) uint8 of a loaded grey picture of 16 bits, transparent pixels white.

    Raises:
        NotImplementedError: its samples are signed or floats, whose range nobody knows.
    """
    if not picture.mode.startswith("I;16"):
        raise NotImplementedError("its samples are signed numbers or floats; send whole numbers of 1 to 32 bits")
    values: NDArray[np.uint16] = np.asarray(picture, np.uint16)
    grey = (values // 256).astype(np.uint8)
    transparent = picture.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return np.repeat(grey[:, :, None], 3, axis=2)


def has_deep_planes(picture: Image.Image) -> bool:
    """Whether a TIFF keeps each channel of more than 8 bits in a plane of its own, which none here reads rightly."""
    tags = picture.tag_v2  # type: ignore[attr-defined]  # of a TIFF
    return tags.get(_PLANAR) == _APART and len(tags.get(_DEPTHS, ())) > 1 and max(tags[_DEPTHS]) > 8


def scale_transparent_grey(picture: Image.Image, depth: int) -> None:
    """Gives the transparent grey of a PNG of 1, 2 or 4 bits the range of 8, which Pillow gives its pixels alone."""
    transparent = picture.info.get("transparency")
    if picture.mode == "L" and depth < 8 and isinstance(transparent, int):
        picture.info["transparency"] = transparent * 255 // ((1 << depth) - 1)


def transparent_rgb16(data: bytes) -> NDArray[np.uint8]:
    """Returns (h, w, 3) uint8 of a PNG of 16 bits a channel, one of whose colours is transparent, on white.

    Pillow keeps 8 bits of each pixel, which cannot be told from the colour's 16; OpenCV keeps all.
    """
    deep = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if deep is None or deep.shape[2:] != (4,):
        raise ValueError("no picture with a transparent colour")
    colours = (np.asarray(deep[:, :, 2::-1], np.uint16) // 256).astype(np.uint8)
    return np.where(deep[:, :, 3:] == 0, np.uint8(255), colours)


def ends_early(data: bytes, kind: str) -> bool:
    """Whether a file lacks its end, as far as its format has one; `kind` is Pillow's name of the format."""
    tail = data[-_TAIL_BYTES:]
    if kind == "JPEG":
        return data.rfind(b"\xff\xd9") < _scan_of_jpeg(data)
    if kind == "PNG":
        return b"IEND" not in tail
    if kind == "GIF":
        return b";" not in tail[-16:]
    if kind == "WEBP":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if kind == "BMP":
        return int.from_bytes(data[2:6], "little") > len(data)
    return _tiff_ends_early(data)


def _scan_of_jpeg(data: bytes) -> int:
    """Returns where the first scan of a JPEG begins, or the file ends: a thumbnail before it has an end of its own."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:  # SOS (ITU T.81, table B.1)
        is_fill = data[at + 1] == 0xFF
        at += 1 if is_fill else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at


def tiff_tags(data: bytes) -> dict[int, list[int]]:
    """Returns the whole numbers among the tags of a TIFF's first page (TIFF 6.0, section 2).

    Raises:
        EOFError: they are not all in the file.
    """
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"

    def number(at: int, size: int) -> int:
        if at + size > len(data):
            raise EOFError
        return int.from_bytes(data[at : at + size], order)

    first = number(4, 4)
    tags: dict[int, list[int]] = {}
    for entry in range(first + 2, first + 2 + 12 * number(first, 2), 12):
        tag, kind, count = number(entry, 2), number(entry + 2, 2), number(entry + 4, 4)
        size = {3: 2, 4: 4}.get(kind, 0)  # shorts and longs
        if not size:
            continue
        place = entry + 8 if count * size <= 4 else number(entry + 8, 4)
        if count * size > len(data):
            raise EOFError
        tags[tag] = [number(place + each * size, size) for each in range(count)]
    return tags


def deep_tiff(data: bytes) -> NDArray[np.uint8] | None:
    """Returns (h, w, 3) uint8 of a grey TIFF of a depth that OpenCV knows and Pillow does not; None of any other.

    OpenCV gives 10, 12 and 14 bits as the upper ones of 16, and leaves white as it is stored.
    """
    deep = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if deep is None or deep.ndim != 2 or deep.dtype not in (np.uint16, np.uint32):
        return None
    grey = np.asarray(np.right_shift(deep, 8 * deep.dtype.itemsize - 8), np.uint8)
    if tiff_tags(data).get(_PHOTOMETRIC) == [_WHITE_IS_ZERO]:
        grey = 255 - grey
    return np.repeat(grey[:, :, None], 3, axis=2)


def _tiff_ends_early(data: bytes) -> bool:
    """Whether the strips or tiles of a TIFF's first page, or its list of tags, lie beyond the end of the file."""
    try:
        tags = tiff_tags(data)
    except EOFError:
        return True
    places, lengths = tags.get(273, tags.get(324, [])), tags.get(279, tags.get(325, []))
    return any(start + length > len(data) for start, length in zip(places, lengths, strict=False))
