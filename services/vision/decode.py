"""From the bytes of an encoded picture to RGB pixels, within limits that are checked before anything is decoded."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import cv2
import imagesize
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from sensorium.errors import InvalidInput, Reason

# The formats of the contract by their first bytes. OpenCV knows more; what nobody asked for is not let near a codec.
_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
}
_SUPPORTED = "JPEG, PNG, WebP, BMP, TIFF or GIF"

# EXIF orientation to the turn that shows the picture upright (EXIF 2.32, tag 0x0112); 2, 4, 5 and 7 are mirrored too.
_QUARTER_TURNS = {3: 2, 4: 2, 5: 3, 6: 3, 7: 1, 8: 1}
_MIRRORED = (2, 4, 5, 7)


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """The largest file in bytes and the largest picture in pixels that are decoded."""

    max_bytes: int
    max_pixels: int


def decode(data: bytes, limits: ImageLimits) -> NDArray[np.uint8]:
    """Returns (h, w, 3) uint8 RGB: upright by its EXIF orientation, alpha composited on white, 16 bits cut to 8.

    Raises:
        InvalidInput: of the field `data`: MEDIA_UNDECODABLE, MEDIA_TRUNCATED or MEDIA_TOO_LARGE.
    """
    kind = _recognized(data)
    if len(data) > limits.max_bytes:
        raise _too_large(len(data), limits.max_bytes, "bytes")
    info = _header(data, kind)
    if info.width * info.height > limits.max_pixels:
        raise _too_large(info.width * info.height, limits.max_pixels, f"pixels ({info.width} x {info.height})")
    pixels = _cmyk(data) if kind == "JPEG" and info.channels == 4 else _decoded(data, kind, info)
    if pixels is None:
        raise InvalidInput(
            f"is a {kind} file that ends early or is damaged; send the whole file",
            reason=Reason.MEDIA_TRUNCATED,
            field="data",
            metadata={"format": kind},
        )
    return pixels


def _decoded(data: bytes, kind: str, info: imagesize.ImageInfo) -> NDArray[np.uint8] | None:
    """Returns (h, w, 3) uint8; None where the file is damaged."""
    buffer = np.frombuffer(data, np.uint8)
    has_alpha = kind in ("GIF", "TIFF", "WebP") or (kind == "PNG" and (info.channels in (2, 4) or b"tRNS" in data))
    try:
        if has_alpha:
            pixels = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
            if pixels is not None and pixels.ndim == 3 and pixels.shape[2] == 4:
                return np.ascontiguousarray(_upright(_on_white(pixels), info.rotation))
        pixels = cv2.imdecode(buffer, cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if pixels is None else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)


def _cmyk(data: bytes) -> NDArray[np.uint8] | None:
    """Returns (h, w, 3) uint8 of a JPEG of four colours, whose conversion by OpenCV is a level off the reference's."""
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    except (OSError, ValueError, SyntaxError):  # Pillow's words for damage
        return None


def _header(data: bytes, kind: str) -> imagesize.ImageInfo:
    try:
        info = imagesize.get_info(io.BytesIO(data))
    except Exception:  # noqa: BLE001  # damaged files raise ValueError, struct.error, TypeError …
        info = None
    if info is None or info.width < 1 or info.height < 1:
        raise _undecodable(f"is a {kind} file whose header cannot be read; send the whole file")
    return info


def _recognized(data: bytes) -> str:
    if not data:
        raise _undecodable(f"is empty; send the bytes of a {_SUPPORTED} file")
    for signature, kind in _SIGNATURES.items():
        if data.startswith(signature):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    raise _undecodable(f"is no picture that is known here; send a {_SUPPORTED} file")


def _on_white(bgra: NDArray[Any]) -> NDArray[np.uint8]:
    """Returns (h, w, 3) uint8 RGB: round((s * a + 255 * (255 - a)) / 255), as Pillow's alpha_composite on white.

    Any: OpenCV gives uint8, or uint16 for a 16-bit file.
    """
    if bgra.dtype == np.uint16:
        bgra = bgra >> 8
    rgba = cv2.cvtColor(bgra.astype(np.uint8), cv2.COLOR_BGRA2RGBA).astype(np.uint32)
    alpha = rgba[:, :, 3:]
    return ((rgba[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _upright(rgb: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    turned = np.rot90(rgb, _QUARTER_TURNS.get(orientation, 0))
    return turned[:, ::-1] if orientation in _MIRRORED else turned


def _undecodable(problem: str) -> InvalidInput:
    return InvalidInput(problem, reason=Reason.MEDIA_UNDECODABLE, field="data")


def _too_large(size: int, limit: int, unit: str) -> InvalidInput:
    return InvalidInput(
        f"has {size} {unit}, over the limit of {limit}; send a smaller one",
        reason=Reason.MEDIA_TOO_LARGE,
        field="data",
        metadata={"limit": str(limit), "size": str(size), "unit": unit.split()[0]},
    )
