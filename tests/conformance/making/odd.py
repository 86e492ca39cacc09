"""Makes odd images and sounds, and what the reference and the older exports of this folder make of them."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import soundfile
from PIL import Image, ImageDraw, ImageOps
from transformers import AutoFeatureExtractor
from transformers.audio_utils import load_audio
from transformers.image_utils import load_image

from tests.conformance.making.clap import CLAP_RATE_HZ, clap_features
from tests.conformance.making.common import HERE, INPUTS, Array, pixels, run, unit, write

ODD: Final = INPUTS / "odd"
ORIENTATION: Final = 0x0112  # the EXIF tag
DEEP: Final = "deep_16_bit.png"
REFUSED: Final = ("empty.wav", "plain_16k.aiff")  # nothing to hear; a format that the API does not name
CLAPS: Final = {"clap": ("input_features",), "clap_fused": ("input_features", "is_longer")}
EXCEPTIONS: Final = {
    DEEP: "Goldens are of the upper 8 bits, which the product keeps; Pillow's RGB would be white nearly everywhere.",
    **dict.fromkeys(
        ("gray_alpha.png", "palette_transparent.png", "rgba.png", "rgb_transparent_color.png"),
        "Goldens are of the picture on white; the reference's load_image drops alpha.",
    ),
}


def _scene(width: int, height: int) -> Image.Image:
    """A picture without symmetry: gradients, a disc and a bar."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    channels = np.stack([200 * x + 40 * y, 230 * y, 120 + 110 * np.sin(5 * x + 3 * y)], axis=-1)
    image = Image.fromarray(channels.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    draw.ellipse((width // 8, height // 6, width // 2, height // 2), fill=(250, 240, 30))
    draw.rectangle((int(width * 0.6), int(height * 0.7), int(width * 0.95), int(height * 0.8)), fill=(10, 20, 160))
    return image


def _alpha(image: Image.Image) -> Image.Image:
    """A ramp from nothing to opaque."""
    ramp = np.linspace(0, 255, image.width)[None].repeat(image.height, axis=0)
    return Image.fromarray(ramp.astype(np.uint8))


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:  # Any: Pillow's options
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def _turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def _images() -> dict[str, bytes]:
    """The odd images by file name."""
    scene = _scene(72, 48)
    gray, alpha, palette = scene.convert("L"), _alpha(scene), scene.quantize(16, dither=Image.Dither.NONE)
    see_through, second = scene.convert("RGBA"), _scene(72, 48).transpose(Image.Transpose.ROTATE_180)
    see_through.putalpha(alpha)
    deep = np.asarray(gray, dtype=np.uint16) * 257 - np.arange(72, dtype=np.uint16)
    return {
        **{f"exif_{each}.jpg": _encoded(scene, "JPEG", exif=_turned(each)) for each in range(1, 9)},
        "exif_6.png": _encoded(scene, "PNG", exif=_turned(6)),
        "exif_6.webp": _encoded(scene, "WEBP", lossless=True, exif=_turned(6)),
        "gray.jpg": _encoded(gray, "JPEG"),
        "gray_alpha.png": _encoded(Image.merge("LA", (gray, alpha)), "PNG"),
        "palette_transparent.png": _encoded(palette, "PNG", transparency=bytes(range(0, 256, 16))),
        "rgba.png": _encoded(see_through, "PNG"),
        "rgb_transparent_color.png": _encoded(scene, "PNG", transparency=scene.getpixel((20, 14))),
        "one_wide.png": _encoded(_scene(40, 40).resize((1, 40)), "PNG"),
        "one_high.png": _encoded(_scene(40, 40).resize((40, 1)), "PNG"),
        "one_pixel.png": _encoded(Image.new("RGB", (1, 1), (200, 90, 30)), "PNG"),
        "panorama.jpg": _encoded(_scene(3000, 200), "JPEG", quality=50),
        "cmyk.jpg": _encoded(scene.convert("CMYK"), "JPEG"),
        "progressive.jpg": _encoded(scene, "JPEG", progressive=True),
        "one_bit.png": _encoded(gray.convert("1", dither=Image.Dither.FLOYDSTEINBERG), "PNG"),
        DEEP: _encoded(Image.fromarray(deep), "PNG"),
        "lossy.webp": _encoded(scene, "WEBP", quality=80),
        "moving.gif": _encoded(palette, "GIF", save_all=True, append_images=[second.quantize(16)], duration=100),
        "plain.bmp": _encoded(scene, "BMP"),
        "plain.tiff": _encoded(scene, "TIFF", compression="tiff_lzw"),
    }


def _seen(name: str) -> Image.Image:
    """An image as the public contract has it: the reference's loading, but alpha on white and the upper 8 bits."""
    image = ImageOps.exif_transpose(Image.open(ODD / name))
    if name == DEEP:
        upper = np.asarray(image).astype(np.uint16) >> 8
        return Image.fromarray(upper.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    loaded: Image.Image = load_image(str(ODD / name))
    return loaded


def _tone(sample_rate_hz: int, duration_s: float, channel_count: int = 1) -> Array:
    """A rising tone in noise, another one in each channel, (frames, channels) float64 within ±0.9."""
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, (round(sample_rate_hz * duration_s), channel_count))
    time = np.arange(len(noise))[:, None] / sample_rate_hz
    first = 220.0 * (1 + np.arange(channel_count))
    waves: Array = 0.7 * np.sin(2 * np.pi * (first * time + 900 * time**2)) + noise
    return waves


def _recorded(rate_hz: int, kind: str, subtype: str, *, duration_s: float = 0.3, channel_count: int = 1,
              gain: float = 1.0) -> bytes:  # fmt: skip
    return _stored(gain * _tone(rate_hz, duration_s, channel_count), rate_hz, kind, subtype)


def _stored(samples: Array, rate_hz: int, kind: str, subtype: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate_hz, format=kind, subtype=subtype)
    return buffer.getvalue()


def _sounds() -> dict[str, bytes]:
    """The odd sounds by file name."""
    return {
        "mu_law_8k.wav": _recorded(8000, "WAV", "ULAW"),
        "a_law_8k.wav": _recorded(8000, "WAV", "ALAW"),
        "unsigned_8_bit_8k.wav": _recorded(8000, "WAV", "PCM_U8"),
        "pcm16_11025.wav": _recorded(11025, "WAV", "PCM_16"),
        "pcm24_16k.wav": _recorded(16000, "WAV", "PCM_24"),
        "float_16k.wav": _recorded(16000, "WAV", "FLOAT"),
        "float_beyond_one_16k.wav": _recorded(16000, "WAV", "FLOAT", gain=3.0),
        "stereo_16k.wav": _recorded(16000, "WAV", "PCM_16", channel_count=2),
        "surround_16k.wav": _recorded(16000, "WAVEX", "PCM_16", duration_s=0.1, channel_count=6),
        "speech.mp3": _recorded(44100, "MP3", "MPEG_LAYER_III"),
        "vorbis.ogg": _recorded(44100, "OGG", "VORBIS"),
        "opus.ogg": _recorded(48000, "OGG", "OPUS"),
        "stereo_32k.flac": _recorded(32000, "FLAC", "PCM_16", duration_s=0.15, channel_count=2),
        "plain_16k.aiff": _recorded(16000, "AIFF", "PCM_16"),
        "fast_96k.flac": _recorded(96000, "FLAC", "PCM_16", duration_s=0.1),
        "one_sample_16k.wav": _stored(np.array([0.5]), 16000, "WAV", "PCM_16"),
        # 1002 frames of CLAP, one more than its window: the last third of the starts is empty.
        "barely_longer_16k.flac": _stored(np.pad(_tone(16000, 0.3)[:, 0], (0, 155_370)), 16000, "FLAC", "PCM_16"),
        "silence_8k.wav": _stored(np.zeros(8000), 8000, "WAV", "PCM_16"),
        "empty.wav": _stored(np.zeros(0), 16000, "WAV", "PCM_16"),
    }


def _image_goldens(family: str, output_file: str, names: Sequence[str]) -> dict[str, Array]:
    """Vectors, and of both backends every fourth pixel and a checksum of all."""
    model = HERE / family / "model"
    images = [_seen(name) for name in names]
    of_both = {"": pixels(model, images), "_pil": pixels(model, images, "pil")}
    found: dict[str, Array] = {}
    for suffix, (bytes_, _) in of_both.items():
        found[f"{family}_pixel_u8_every_4th{suffix}"] = bytes_[:, :, ::4, ::4]
        sums = [zlib.crc32(np.ascontiguousarray(each).tobytes()) for each in bytes_]
        found[f"{family}_pixel_u8_crc32{suffix}"] = np.array(sums, dtype=np.uint32)
    (rows,) = run(model / "onnx" / output_file, {"pixel_values": of_both[""][1].numpy()})
    return {f"{family}_embeds": unit(rows), **found}


def _heard(rate_hz: int, names: Sequence[str]) -> list[Array]:
    return [load_audio(str(ODD / name), sampling_rate=rate_hz, backend="soundfile") for name in names]


def _sound_goldens(names: Sequence[str]) -> dict[str, Array]:
    """The vectors of Whisper's encoder and of both kinds of CLAP, one clip at a time."""
    whisper = HERE / "whisper" / "model"
    extract = AutoFeatureExtractor.from_pretrained(whisper)
    rows: list[Array] = []
    for clip in _heard(16_000, names):
        features = extract(clip, sampling_rate=16_000, return_tensors="np")["input_features"]
        rows.append(run(whisper / "onnx" / "encoder_model.onnx", {"input_features": features})[0].mean(axis=1))
    clips = _heard(CLAP_RATE_HZ, names)
    of_clap = {f"{family}_embeds": _clap_rows(family, inputs, clips) for family, inputs in CLAPS.items()}
    return {"whisper_embeds": unit(np.concatenate(rows)), **of_clap}


def _clap_rows(family: str, inputs: Sequence[str], clips: Sequence[Array]) -> Array:
    """The vectors of one CLAP, rows of length 1; its graph has these inputs."""
    model = HERE / family / "model"
    features = clap_features(AutoFeatureExtractor.from_pretrained(model), clips)
    rows = [
        run(model / "onnx" / "audio_model.onnx", {name: features[name][[place]].numpy() for name in inputs})[0]
        for place in range(len(clips))
    ]
    return unit(np.concatenate(rows))


def odd() -> None:
    """Files that are rare and valid: orientations, colour modes, one pixel, one sample, compressions, rates."""
    images, recordings = _images(), _sounds()
    ODD.mkdir(exist_ok=True)
    for name, content in {**images, **recordings}.items():
        if name not in recordings or not (ODD / name).exists():  # encoders of sound write times and serial numbers
            (ODD / name).write_bytes(content)
    audios = [name for name in recordings if name not in REFUSED]
    golden = {
        **_image_goldens("clip", "vision_model.onnx", list(images)),
        **_image_goldens("siglip", "vision_model.onnx", list(images)),
        **_sound_goldens(audios),
    }
    (HERE / "odd").mkdir(exist_ok=True)
    notes = (
        "Files of inputs/odd, with the models of the folders clip, siglip, whisper, clap and clap_fused through "
        "onnxruntime. *_embeds of images are of the torchvision backend; *_crc32 are of the (3, 96, 96) uint8 pixels, "
        "row by row."
    )
    meta = {"images": list(images), "audios": audios, "refused": list(REFUSED), "exceptions": EXCEPTIONS}
    write("odd", golden, {**meta, "notes": notes})


MAKERS: Final[dict[str, Callable[[], None]]] = {"odd": odd}
