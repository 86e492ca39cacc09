"""Media as they come: each file has the vector of its reference, or is refused for what is wrong with it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import services.audio.app
import services.audio.config
import services.vision.app
import services.vision.config
from sensorium import vectors
from sensorium.channel import open_channel
from sensorium.status import from_status
from sensorium.v1 import orchestrator_pb2_grpc
from sensorium.v1.content_pb2 import Audio, Content
from sensorium.v1.content_pb2 import Image as ImageContent
from sensorium.v1.orchestrator_pb2 import DescribeRequest, EmbedRequest
from services.audio.decode import AudioLimits
from services.audio.decode import decode as decode_sound
from services.orchestrator.app import serving
from services.orchestrator.config import Config
from services.vision.decode import ImageLimits
from services.vision.decode import decode as decode_picture
from tests.running import running, server_config

_FILES = Path(__file__).parent / "files"
_SOUNDS = AudioLimits(1 << 26, 600_000, 1 << 26)
_PICTURES = ImageLimits(1 << 26, 1 << 26)
# By file: its reference, and the least cosine to it: 1 where both are lossless.
_SAME = {
    "id3.wav": ("a_ref.wav", 0.999999),
    "pipe.flac": ("a_ref.wav", 0.999999),
    "data0.wav": ("a_ref.wav", 0.9999),
    "rf64.wav": ("a_ref.wav", 0.999999),
    "vbr_noxing.mp3": ("vbr_source.wav", 0.98),
    "twelve_bit.tif": ("seven_ref.png", 0.999999),
    "miniswhite16.tif": ("seven_ref.png", 0.999999),
    "gray16_trns.png": ("gray8_trns.png", 0.999999),
    "raw_profile_exif6.png": ("seven_ref.png", 0.999999),
    "xmp6.jpg": ("seven_ref.png", 0.999),
    "xmp6.webp": ("seven_ref.png", 0.999),
    "os2core.bmp": ("seven_ref.png", 0.999999),
}
_CUT = ("rf64_cut.wav", "long_cut.ogg", "cut.opus", "cut.mp3")


def _content(name: str) -> Content:
    data = (_FILES / name).read_bytes()
    is_picture = name.endswith((".png", ".jpg", ".webp", ".tif", ".bmp"))
    return Content(image=ImageContent(data=data)) if is_picture else Content(audio=Audio(data=data))


@asynccontextmanager
async def mesh() -> AsyncIterator[orchestrator_pb2_grpc.OrchestratorServiceAsyncStub]:
    async with (
        running(services.vision.app.serving, services.vision.config.Config) as (_, vision),
        running(services.audio.app.serving, services.audio.config.Config) as (_, audio),
        serving(
            Config(
                server=server_config(),
                vision_addr=f"127.0.0.1:{vision.port}",
                audio_addr=f"127.0.0.1:{audio.port}",
            )
        ) as orchestrator,
        open_channel(f"127.0.0.1:{orchestrator.port}") as channel,
    ):
        stub = orchestrator_pb2_grpc.OrchestratorServiceStub(channel)
        seen = await stub.Describe(DescribeRequest())
        while not (seen.spaces and len(seen.spaces[0].modalities) == 2):
            seen = await stub.Describe(DescribeRequest())
        yield stub


async def test_every_file_has_the_vector_of_its_reference_or_is_called_cut() -> None:
    names = sorted({*_SAME, *(reference for reference, _ in _SAME.values()), *_CUT})
    async with mesh() as stub:
        answer = await stub.Embed(EmbedRequest(contents=[_content(name) for name in names]), timeout=60)
    results = dict(zip(names, answer.results, strict=True))
    for name, (reference, least) in _SAME.items():
        assert results[name].HasField("embedding"), f"{name}: {results[name].error.message}"
        cosine = float(vectors.read(results[name].embedding) @ vectors.read(results[reference].embedding))
        assert cosine >= least, f"{name}: {cosine}"
    for name in _CUT:
        assert results[name].HasField("error"), name
        assert from_status(results[name].error).reason.value == "ERROR_REASON_MEDIA_TRUNCATED", name


def _sound(name: str) -> NDArray[np.float32]:
    return decode_sound((_FILES / name).read_bytes(), _SOUNDS)[0]


def test_all_of_a_sound_is_read_however_many_streams_it_has_and_whatever_its_header_guesses() -> None:
    assert len(_sound("vbr_noxing.mp3")) == 80_064
    chained, last = _sound("chained.ogg"), _sound("a_ref.wav")
    assert len(chained) == 34_650
    assert np.corrcoef(chained[-len(last) :], last)[0, 1] > 0.95
    joined, first = _sound("joined.mp3"), _sound("joined_first.mp3")
    assert (len(first), len(joined)) == (78_750, 78_750 + 12_600)
    assert np.array_equal(joined[: len(first)], first)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000, 0xFFFFFFFF - 36])
@pytest.mark.parametrize("kind", [b"RIFF", b"RF64"])
def test_a_wav_from_a_pipe_is_as_long_as_it_is(kind: bytes, size: int) -> None:
    whole = (_FILES / "a_ref.wav").read_bytes()
    wide = b"ds64" + struct.pack("<IQQQI", 28, 0, 0, 0, 0) if kind == b"RF64" else b""
    stated = struct.pack("<I", size)
    made = kind + stated + b"WAVE" + wide + whole[12:40] + stated + whole[44:]
    assert np.array_equal(decode_sound(made, _SOUNDS)[0], _sound("a_ref.wav"))


def test_a_wav_that_says_it_has_no_samples_has_none() -> None:
    with io.BytesIO() as file:
        soundfile.write(file, np.empty((0, 1), np.float32), 16_000, format="WAV")
        empty = file.getvalue()
    with pytest.raises(Exception, match="has no samples"):
        decode_sound(empty, _SOUNDS)


def _file(samples: NDArray[np.float32], kind: str) -> bytes:
    with io.BytesIO() as file:
        soundfile.write(file, samples, 16_000, format=kind)
        return file.getvalue()


@pytest.mark.parametrize("kind", ["FLAC", "WAV"])
def test_files_that_were_joined_are_read_in_order_and_no_more_of_them_than_the_limit(kind: str) -> None:
    first, second = _sound("a_ref.wav"), _sound("a_ref.wav")[::-1]
    joined = _file(first, kind) + _file(second, kind)
    assert np.allclose(decode_sound(joined, _SOUNDS)[0], np.concatenate([first, second]), atol=1e-4)
    many = _file(np.zeros(16_000, np.float32), kind) * 50
    with pytest.raises(Exception, match="has 3000 ms, over the limit of 2500"):
        decode_sound(many, AudioLimits(1 << 26, 2_500, 1 << 26))
    with pytest.raises(Exception, match="has 48000 samples, over the limit of 40000"):
        decode_sound(many, AudioLimits(1 << 26, 600_000, 40_000))


def test_a_sound_of_stated_length_0_is_read_where_the_length_of_the_file_alone_is_right() -> None:
    whole = (_FILES / "a_ref.wav").read_bytes()
    assert np.array_equal(decode_sound(whole[:40] + bytes(4) + whole[44:], _SOUNDS)[0], _sound("a_ref.wav"))


def _tiff(grey: NDArray[np.float64], bits: int, *, is_white_zero: bool, order: str, stored: int = 1) -> bytes:
    """Returns a grey TIFF of one strip, its samples packed as TIFF 6.0 says; `order` is struct's."""
    values = np.round(grey * ((1 << bits) - 1)).astype(np.int64)
    values = (1 << bits) - 1 - values if is_white_zero else values
    if bits in (8, 16, 32):
        raw = values.astype(f"{order}u{bits // 8}").tobytes()
    else:
        rows = ("".join(format(value, f"0{bits}b") for value in row) for row in values.tolist())
        padded = (row + "0" * (-len(row) % 8) for row in rows)
        raw = b"".join(int(row, 2).to_bytes(len(row) // 8, "big") for row in padded)
    height, width = grey.shape
    shorts = {256: width, 257: height, 258: bits, 259: 1, 262: int(not is_white_zero), 274: stored, 277: 1, 278: height}
    longs = {273: 8, 279: len(raw)}
    entries = [struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in shorts.items()]
    entries += [struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in longs.items()]
    entries.sort(key=lambda entry: struct.unpack(f"{order}H", entry[:2]))
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(raw))
    return head + raw + struct.pack(f"{order}H", len(entries)) + b"".join(entries) + bytes(4)


@pytest.mark.parametrize("is_white_zero", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 10, 12, 14, 16, 32])
def test_grey_of_any_depth_and_polarity_has_the_range_of_its_bits(bits: int, is_white_zero: bool) -> None:
    grey = np.linspace(0, 1, 40)[None, :] * np.linspace(0.2, 1, 30)[:, None]
    for order in "<>":
        file = _tiff(grey, bits, is_white_zero=is_white_zero, order=order)
        pixels = decode_picture(file, _PICTURES)
        step = 255 / ((1 << min(bits, 8)) - 1)  # of so few levels as there are
        assert np.abs(pixels[:, :, 0] - 255 * grey).max() <= step / 2 + 1
        with pytest.raises(Exception, match="ends early"):
            decode_picture(file[: len(file) // 2], _PICTURES)


@pytest.mark.parametrize(
    "form", ['tiff:Orientation="6"', "tiff:Orientation = '6'", "<tiff:Orientation>6</tiff:Orientation>"]
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_xmp_says_which_side_is_up_in_every_format(kind: str, form: str) -> None:
    stored = Image.new("RGB", (40, 20))
    stored.paste("white", (0, 0, 20, 20))
    with io.BytesIO() as file:
        if kind == "PNG":
            info = PngInfo()
            info.add_itxt("XML:com.adobe.xmp", form)
            stored.save(file, kind, pnginfo=info)
        elif kind == "TIFF":
            stored.save(file, kind, tiffinfo={700: form.encode()})
        else:
            stored.save(file, kind, xmp=form.encode())
        pixels = decode_picture(file.getvalue(), _PICTURES)
    assert pixels.shape == (40, 20, 3)
    assert pixels[5, 10, 0] > 200 > 50 > pixels[-5, 10, 0]


@pytest.mark.parametrize("stored", range(1, 9))
def test_a_deep_tiff_is_turned_once_as_its_shallow_twin_is(stored: int) -> None:
    grey = np.linspace(0, 1, 40)[None, :] * np.linspace(0.2, 1, 30)[:, None]
    twin = decode_picture(_tiff(grey, 8, is_white_zero=False, order="<", stored=stored), _PICTURES)
    for bits in (12, 16, 32):
        pixels = decode_picture(_tiff(grey, bits, is_white_zero=False, order="<", stored=stored), _PICTURES)
        assert pixels.shape == twin.shape
        assert np.abs(pixels.astype(int) - twin).max() <= 1


def _png(rows: bytes, size: tuple[int, int], bits: int, colour: int, chunks: dict[bytes, bytes]) -> bytes:
    """Returns a PNG of unfiltered rows, with these chunks before its pixels."""
    head = struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0)
    parts = {b"IHDR": head, **chunks, b"IDAT": zlib.compress(rows), b"IEND": b""}
    framed = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts.items()
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_the_transparent_grey_of_a_shallow_png_is_white(bits: int) -> None:
    rows = b"\0" + bytes([1 << 8 - bits])  # one pixel of the level 1, the others 0
    transparent = _png(rows, (8 // bits, 1), bits, 0, {b"tRNS": struct.pack(">H", 0)})
    opaque = decode_picture(_png(rows, (8 // bits, 1), bits, 0, {}), _PICTURES)
    pixels = decode_picture(transparent, _PICTURES)
    assert (pixels[0, 1:] == 255).all()
    assert (pixels[0, 0] == opaque[0, 0]).all()
    shown = _png(rows, (8 // bits, 1), bits, 0, {b"tRNS": struct.pack(">H", 1)})
    assert decode_picture(shown, _PICTURES)[0].tolist() == [[255] * 3] + [[0] * 3] * (8 // bits - 1)


@pytest.mark.parametrize("name", ["exif", "APP1", "xmp"])
def test_every_raw_profile_of_a_png_says_which_side_is_up(name: str) -> None:
    exif = b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    profile = b'<x tiff:Orientation="6"/>' if name == "xmp" else exif
    text = f"Raw profile type {name}\0\n{name}\n{len(profile):8}\n{profile.hex()}\n"
    stored = _png(b"\0\xff\0", (2, 1), 8, 0, {b"tEXt": text.encode()})
    assert decode_picture(stored, _PICTURES)[:, 0, 0].tolist() == [255, 0]


def test_deep_channels_that_lie_apart_are_refused_rather_than_read_wrongly() -> None:
    planes = np.arange(3 * 4 * 4, dtype="<u2").tobytes()
    shorts = {256: 4, 257: 4, 259: 1, 262: 2, 277: 3, 278: 4, 284: 2}
    entries = {tag: struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in shorts.items()}
    at = 8 + len(planes)
    for tag, kind, place in ((258, 3, at), (273, 4, at + 6), (279, 4, at + 18)):
        entries[tag] = struct.pack("<HHII", tag, kind, 3, place)
    lists = struct.pack("<3H6I", 16, 16, 16, 8, 40, 72, 32, 32, 32)
    ifd = struct.pack("<H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + bytes(4)
    made = struct.pack("<2sHI", b"II", 42, at + len(lists)) + planes + lists + ifd
    with pytest.raises(Exception, match="channels of 16 bits lie apart"):
        decode_picture(made, _PICTURES)


def test_a_whole_picture_of_a_variety_that_is_not_supported_is_called_that() -> None:
    with io.BytesIO() as file:
        Image.fromarray(np.zeros((4, 4), np.float32)).save(file, "TIFF")
        floats = file.getvalue()
    with pytest.raises(Exception, match="is a whole TIFF file, of a variety that is not supported"):
        decode_picture(floats, _PICTURES)


def test_a_picture_that_was_cut_is_called_cut_though_its_thumbnail_is_whole() -> None:
    with io.BytesIO() as file:
        Image.effect_noise((200, 200), 50).save(file, "JPEG", comment=b"a thumbnail \xff\xd9")
        whole = file.getvalue()
    with pytest.raises(Exception, match="ends early"):
        decode_picture(whole[: len(whole) // 2], _PICTURES)


def test_a_gif_may_be_wider_than_signed_numbers_of_16_bits() -> None:
    with io.BytesIO() as file:
        Image.new("L", (40_000, 2), 255).save(file, "GIF")
        assert decode_picture(file.getvalue(), _PICTURES).shape == (2, 40_000, 3)
