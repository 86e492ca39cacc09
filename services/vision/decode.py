"""From the bytes of an encoded picture to RGB pixels, within limits that are checked before anything is decoded."""

from __future__ import annotations

import io
from dataclasses import dataclass

import cv2
import imagesize
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from sensorium.errors import InvalidInput, Reason
from shared.inference.confined import Decode, Empty

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

Image.MAX_IMAGE_PIXELS = None  # Pillow's own bound only warns; ImageLimits is checked before a picture is decoded
_DEEP_MODES = ("I;16", "I;16B", "I;16L", "I;16N")  # Pillow's names of 16-bit grey, of which 8 are kept


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """The largest file in bytes and the largest picture in pixels that are decoded."""

    max_bytes: int
    max_pixels: int


def set_up(max_bytes: int, max_pixels: int) -> Decode:
    """Returns `decode` for a process of its own, made ready."""
    quiet()
    Image.init()  # all plugins now, since each decoder is a copy of what is ready here
    limits = ImageLimits(max_bytes, max_pixels)
    return lambda data, empty: (decode(data, limits, empty), 0)


def quiet() -> None:
    """Keeps OpenCV to one thread, and silent: a broken picture is told to its caller, not to the log."""
    cv2.setNumThreads(1)  # the threads of preprocessing are enough; more would fight with the model's
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def decode(data: bytes, limits: ImageLimits, empty: Empty = np.empty) -> NDArray[np.uint8]:
    """Returns (h, w, 3) uint8 RGB: upright by its EXIF orientation, alpha composited on white, 16 bits cut to 8.

    empty: gives the memory of the picture, if it is asked.

    Raises:
        InvalidInput: of the field `data`: MEDIA_UNDECODABLE, MEDIA_TRUNCATED or MEDIA_TOO_LARGE.
        MemoryError: there is not enough memory for it.
    """
    kind = check(data, limits)
    info = _header(data, kind)
    _check_pixels(info.width, info.height, limits)
    pixels = _by_opencv(data, empty) if _is_plain(data, kind, info) else _by_pillow(data, kind, limits)
    if pixels is None:
        raise InvalidInput(
            f"is a {kind} file that ends early or is damaged; send the whole file",
            reason=Reason.MEDIA_TRUNCATED,
            field="data",
            metadata={"format": kind},
        )
    return pixels


def check(data: bytes, limits: ImageLimits) -> str:
    """Returns the format that a file says it has; raises InvalidInput as `decode` where it need not be looked into."""
    kind = _recognized(data)
    if len(data) > limits.max_bytes:
        raise _too_large(len(data), limits.max_bytes, "bytes")
    return kind


def _is_plain(data: bytes, kind: str, info: imagesize.ImageInfo) -> bool:
    """Whether OpenCV, which is faster, gives the reference's pixels: of a JPEG in RGB or grey, and of an opaque PNG."""
    if kind == "JPEG":
        return bool(info.channels != 4)  # of CMYK it is a level off
    return kind == "PNG" and info.channels not in (2, 4) and b"tRNS" not in data


def _by_opencv(data: bytes, empty: Empty) -> NDArray[np.uint8] | None:
    """Returns (h, w, 3) uint8; None where the file is damaged."""
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as fault:
        if fault.code == cv2.Error.STS_NO_MEM:
            raise MemoryError from None
        return None
    if pixels is None:
        return None
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=empty(pixels.shape, np.uint8)), np.uint8)


def _by_pillow(data: bytes, kind: str, limits: ImageLimits) -> NDArray[np.uint8] | None:
    """Returns (h, w, 3) uint8 as the reference makes it, and alpha on white; None where the file is damaged."""
    try:
        with Image.open(io.BytesIO(data), formats=[kind]) as picture:
            _check_pixels(picture.width, picture.height, limits)  # a file may state two sizes
            if picture.mode in _DEEP_MODES:
                grey = np.asarray(ImageOps.exif_transpose(picture)).astype(np.uint16) >> 8
                return np.repeat(grey[:, :, None], 3, axis=2).astype(np.uint8)
            if picture.mode in ("F", "I"):
                raise _undecodable(f"has {kind} pixels of 32 bits; send 8 or 16 bits a channel")
            upright = ImageOps.exif_transpose(picture)
            if not upright.has_transparency_data:
                return np.asarray(upright.convert("RGB"))
            colours = upright.convert("RGBA")
            return np.asarray(Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours).convert("RGB"))
    except (InvalidInput, MemoryError):
        raise
    except Exception:  # noqa: BLE001  # a damaged file raises whatever its codec met
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
        return "WEBP"
    raise _undecodable(f"is no picture that is known here; send a {_SUPPORTED} file")


def _check_pixels(width: int, height: int, limits: ImageLimits) -> None:
    if width * height > limits.max_pixels:
        raise _too_large(width * height, limits.max_pixels, f"pixels ({width} x {height})")


def _undecodable(problem: str) -> InvalidInput:
    return InvalidInput(problem, reason=Reason.MEDIA_UNDECODABLE, field="data")


def _too_large(size: int, limit: int, unit: str) -> InvalidInput:
    return InvalidInput(
        f"has {size} {unit}, over the limit of {limit}; send a smaller one",
        reason=Reason.MEDIA_TOO_LARGE,
        field="data",
        metadata={"limit": str(limit), "size": str(size), "unit": unit.split()[0]},
    )
