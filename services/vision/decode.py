"""From the bytes of an encoded picture to RGB pixels, within limits that are checked before anything is decoded."""

from __future__ import annotations

import io
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from sensorium.errors import InvalidInput, Reason
from services.vision.pixels import (
    deep_grey,
    deep_tiff,
    ends_early,
    has_deep_planes,
    orientation,
    scale_transparent_grey,
    tiff_tags,
    transparent_rgb16,
    upright,
    xmp_orientation,
)
from shared.inference.confined import Decode, Empty
from shared.inference.cpu_time import allow

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
# To import one is to make Pillow know its format.
_PLUGINS = (BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin)

Image.MAX_IMAGE_PIXELS = None  # Pillow's own bound only warns; ImageLimits is checked before a picture is decoded
# Where the orientation of a PNG may stand, before its pixels or behind them.
_PNG_MARKS = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")
# What is no picture that is read here, by name where it is a usual one.
_OTHERS = {
    b"ftypheic": "HEIC",
    b"ftypmif1": "HEIF",
    b"ftypavif": "AVIF",
    b"jP  ": "JPEG 2000",
    b"8BPS": "PSD",
    b"\xff\x0a": "JPEG XL",
    b"<svg": "SVG",
    b"%PDF": "PDF",
    b"\x00\x00\x01\x00": "ICO",
}


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """The largest file in bytes and the largest picture in pixels that are decoded."""

    max_bytes: int
    max_pixels: int


def set_up(max_bytes: int, max_pixels: int) -> Decode:
    """Returns `decode` for a process of its own, made ready."""
    quiet()
    limits = ImageLimits(max_bytes, max_pixels)
    return lambda data, empty: (decode(data, limits, empty), 0)


def quiet() -> None:
    """Keeps OpenCV to one thread, and silent: a broken picture is told to its caller, not to the log."""
    cv2.setNumThreads(1)  # the threads of preprocessing are enough; more would fight with the model's
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def decode(data: bytes, limits: ImageLimits, empty: Empty = np.empty) -> NDArray[np.uint8]:
    """Returns (h, w, 3) uint8 RGB: upright, alpha composited on white, the range of all depths that of 8 bits.

    empty: gives the memory of the picture, if it is asked.

    Raises:
        InvalidInput: of the field `data`: MEDIA_UNDECODABLE, MEDIA_TRUNCATED or MEDIA_TOO_LARGE.
        MemoryError: there is not enough memory for it.
    """
    kind = check(data, limits)
    if kind == "TIFF" and (deep := _deep_tiff(data, limits)) is not None:
        return deep
    with _opened(data, kind) as picture:
        _check_pixels(picture.width, picture.height, limits)
        allow(picture.width * picture.height)
        try:
            pixels = _by_opencv(data, picture, empty) if _is_plain(data, kind, picture) else _by_pillow(data, picture)
            return upright(pixels, orientation(picture))
        except MemoryError:
            raise
        except Exception as fault:  # noqa: BLE001  # a damaged file raises whatever its codec met
            raise _unreadable(data, kind, fault) from None


def _deep_tiff(data: bytes, limits: ImageLimits) -> NDArray[np.uint8] | None:
    """Returns what `decode` does of a grey TIFF of 9 to 32 bits, which Pillow knows in some byte orders alone."""
    try:
        tags = tiff_tags(data)
    except EOFError:
        return None
    if tags.get(277, [1]) != [1] or not 8 < tags.get(258, [1])[0] <= 32 or tags.get(339, [1]) != [1]:
        return None  # several samples a pixel, another depth, or signed
    width, height = tags.get(256, [0])[0], tags.get(257, [0])[0]
    _check_pixels(width, height, limits)
    allow(width * height)
    try:
        pixels = deep_tiff(data)
    except cv2.error:
        return None
    # OpenCV turns a TIFF by its tag whatever it is asked.
    return pixels if pixels is None or 274 in tags else upright(pixels, xmp_orientation(data))


def _opened(data: bytes, kind: str) -> Image.Image:
    """Reads a file's header by the library that decodes it; raises InvalidInput where that cannot."""
    factory, _ = Image.OPEN[kind]
    try:
        picture: Image.Image = factory(io.BytesIO(data), "")
    except MemoryError:
        raise
    except Exception as fault:  # noqa: BLE001  # a plugin raises what it met, which `Image.open` would keep to itself
        raise _unreadable(data, kind, fault, "whose header cannot be read, ") from None
    return picture


def check(data: bytes, limits: ImageLimits) -> str:
    """Returns the format that a file says it has; raises InvalidInput as `decode` where it need not be looked into."""
    kind = _recognized(data)
    if len(data) > limits.max_bytes:
        raise _too_large(len(data), limits.max_bytes, "bytes")
    return kind


def _is_plain(data: bytes, kind: str, picture: Image.Image) -> bool:
    """Whether OpenCV, which is faster, gives the reference's pixels: of a JPEG in RGB or grey, and of an opaque PNG.

    Behind the pixels of a PNG there may be more that matters, which is read with them alone.
    """
    if kind == "JPEG":
        return picture.mode in ("RGB", "L")  # of CMYK it is a level off
    is_opaque = picture.mode in ("RGB", "L", "P", "1") and b"tRNS" not in data
    return kind == "PNG" and is_opaque and not any(mark in data for mark in _PNG_MARKS)


def _by_opencv(data: bytes, picture: Image.Image, empty: Empty) -> NDArray[np.uint8]:
    """Returns (h, w, 3) uint8, as it is stored."""
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as fault:
        if fault.code == cv2.Error.STS_NO_MEM:
            raise MemoryError from None
        raise
    if pixels is None or pixels.shape[:2] != (picture.height, picture.width):
        raise ValueError("a picture of another size than its header says, or none")
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=empty(pixels.shape, np.uint8)), np.uint8)


def _by_pillow(data: bytes, picture: Image.Image) -> NDArray[np.uint8]:
    """Returns (h, w, 3) uint8 as the reference makes it, alpha on white."""
    if picture.format == "TIFF" and has_deep_planes(picture):
        raise NotImplementedError("its channels of 16 bits lie apart; save them pixel by pixel")
    picture.load()
    if picture.format == "PNG":
        scale_transparent_grey(picture, depth=data[24])
    if picture.mode.startswith("I") or picture.mode == "F":
        return deep_grey(picture)
    if picture.mode == "RGB" and isinstance(picture.info.get("transparency"), tuple) and _is_png16(data):
        return transparent_rgb16(data)
    if not picture.has_transparency_data:
        return np.asarray(picture.convert("RGB"))
    colours = picture.convert("RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours).convert("RGB"))


def _is_png16(data: bytes) -> bool:
    return data[24:25] == b"\x10"  # the depth in its first chunk, which is always at the same place


def _unreadable(data: bytes, kind: str, fault: Exception, where: str = "") -> InvalidInput:
    """Returns the error of a file that could not be decoded: it ends early, or it is whole and beyond what is read."""
    is_cut = ends_early(data, kind)
    why = f" ({str(fault)[:80]})" if isinstance(fault, SyntaxError | NotImplementedError) and str(fault) else ""
    problem = (
        f"is a {kind} file {where}that ends early; send the whole file"
        if is_cut
        else f"is a whole {kind} file, {where}of a variety that is not supported here, or damaged{why}; "
        "save it as a plain one"
    )
    reason = Reason.MEDIA_TRUNCATED if is_cut else Reason.MEDIA_UNDECODABLE
    return InvalidInput(problem, reason=reason, field="data", metadata={"format": kind})


def _recognized(data: bytes) -> str:
    if not data:
        raise _undecodable(f"is empty; send the bytes of a {_SUPPORTED} file")
    for signature, kind in _SIGNATURES.items():
        if data.startswith(signature):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    names = (name for mark, name in _OTHERS.items() if data.startswith(mark) or data[4:].startswith(mark))
    other = next(names, "")
    what = f"is a file of the format {other}, which is not supported" if other else "is no picture that is known here"
    raise _undecodable(f"{what}; send a {_SUPPORTED} file")


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
