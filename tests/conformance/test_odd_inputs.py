"""Odd files give the reference's vectors, or an answer that is written down here."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from sensorium.errors import Reason
from sensorium.status import from_status
from services.vision.decode import ImageLimits, decode
from services.vision.preprocess import ImageNumbers, resize_and_crop
from shared.inference.package import open_package
from tests.conformance.exports import EXACT, HERE, add, files, goldens
from tests.conformance.serving import embed_audios, embed_images, rows_of

ODD = HERE / "inputs" / "odd"


@pytest.mark.parametrize("family", ["clip", "siglip"])
async def test_odd_pictures_have_the_vectors_of_the_reference(tmp_path: Path, family: str) -> None:
    name, pictures = add(tmp_path, family), files("odd", "images")
    rows = rows_of(await embed_images(tmp_path, f"{name}-vision", pictures))
    off = np.abs(rows - goldens("odd")[f"{family}_embeds"]).max(1)
    assert {file.name for file, each in zip(pictures, off, strict=True) if each > EXACT} == set()


@pytest.mark.parametrize("family", ["clip", "siglip"])
@pytest.mark.parametrize("mode", ["torchvision", "pil"])
def test_odd_pictures_have_every_pixel_of_the_reference(tmp_path: Path, family: str, mode: str) -> None:
    name = add(tmp_path, family, "--resize", mode)
    numbers = ImageNumbers.of(open_package(tmp_path / f"{name}-vision" / "1").manifest.preprocess)
    expected = goldens("odd")[f"{family}_pixel_u8_crc32{'' if mode == 'torchvision' else '_pil'}"]
    other = set()
    for file, crc in zip(files("odd", "images"), expected, strict=True):
        pixels = resize_and_crop(decode(file.read_bytes(), ImageLimits(1 << 20, 1 << 24)), numbers)
        if zlib.crc32(np.ascontiguousarray(pixels.transpose(2, 0, 1)).tobytes()) != crc:
            other.add(file.name)
    assert other == set()


@pytest.mark.parametrize("family", ["whisper", "clap", "clap_fused"])
async def test_odd_sounds_have_the_vectors_of_the_reference(tmp_path: Path, family: str) -> None:
    name = add(tmp_path, family)
    sounds = files("odd", "audios")
    rows = rows_of(await embed_audios(tmp_path, f"{name}-audio" if "clap" in family else name, sounds))
    off = np.abs(rows - goldens("odd")[f"{family}_embeds"]).max(1)
    assert {file.name for file, each in zip(sounds, off, strict=True) if each > EXACT} == set()


@pytest.mark.parametrize("family", ["whisper", "wav2vec2", "ast", "clap"])
async def test_a_clip_without_samples_is_refused_by_its_own_item(tmp_path: Path, family: str) -> None:
    name = add(tmp_path, family)
    name = f"{name}-audio" if family == "clap" else name
    empty, silence = await embed_audios(tmp_path, name, [ODD / "empty.wav", ODD / "silence_8k.wav"])
    assert silence.HasField("embedding"), "silence is a sound"
    error = from_status(empty.error)
    assert error is not None
    assert error.reason is Reason.MEDIA_UNDECODABLE
    assert str(error) == "audios[0].data: has no samples; send a clip of at least one"


@pytest.mark.parametrize("family", ["wav2vec2", "hubert", "ast"])
async def test_a_clip_too_short_for_one_frame_is_refused_with_the_least(tmp_path: Path, family: str) -> None:
    (short,) = await embed_audios(tmp_path, add(tmp_path, family), [ODD / "one_sample_16k.wav"])
    error = from_status(short.error)
    assert error is not None
    assert (error.reason, error.metadata["limit"]) == (Reason.MEDIA_TOO_SHORT, "400")
    assert "has 1 samples at 16000 Hz; the model takes at least 400 (25 ms)" in str(error)
