"""Exports added by one command, and served, give the reference's vectors and logits from raw inputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sensorium import vectors
from sensorium.channel import call
from sensorium.cli import main
from sensorium.v1 import audio_pb2, audio_pb2_grpc, content_pb2, text_pb2, text_pb2_grpc, vision_pb2, vision_pb2_grpc
from services.audio.app import serving as serving_audio
from services.audio.config import Config as AudioConfig
from services.text.app import serving as serving_text
from services.text.config import Config as TextConfig
from services.vision.app import serving as serving_vision
from services.vision.config import Config as VisionConfig
from shared.hosting.config import HostingConfig
from tests.running import running

HERE = Path(__file__).parent
EXACT = 1e-5  # absolute, of rows of length 1

Rows = NDArray[np.float32]


def facts(family: str) -> dict[str, Any]:
    """What was asked of the reference. Any: JSON."""
    found: dict[str, Any] = json.loads((HERE / family / "meta.json").read_text(encoding="utf-8"))
    return found


def golden(family: str, name: str) -> Rows:
    with np.load(HERE / family / "golden.npz") as archive:
        return np.asarray(archive[name])


def added(models: Path, family: str, layout: str = "model", *options: str) -> Path:
    """Adds an export by its one command, and returns the folder of packages."""
    command = ["models", "add", str(HERE / family / layout), "--name", family.replace("_", "-"), *options]
    assert main([*command, "--models", str(models)]) == 0
    return models


async def texts_of(models: Path, texts: list[str]) -> Rows:
    async with running(serving_text, TextConfig, hosting=HostingConfig(models=models)) as (channel, _):
        stub = text_pb2_grpc.TextEncoderServiceStub(channel)
        answer = await call(stub.EncodeText, text_pb2.EncodeTextRequest(texts=texts), timeout_s=20)
        return np.stack([vectors.read(each.embedding) for each in answer.results])


async def images_of(models: Path, names: list[str]) -> Rows:
    async with running(serving_vision, VisionConfig, hosting=HostingConfig(models=models)) as (channel, _):
        stub = vision_pb2_grpc.VisionEncoderServiceStub(channel)
        files = [content_pb2.Image(data=(HERE / "inputs" / name).read_bytes()) for name in names]
        answer = await call(stub.EncodeImage, vision_pb2.EncodeImageRequest(images=files), timeout_s=20)
        return np.stack([vectors.read(each.embedding) for each in answer.results])


async def audios_of(models: Path, names: list[str]) -> Rows:
    async with running(serving_audio, AudioConfig, hosting=HostingConfig(models=models)) as (channel, _):
        stub = audio_pb2_grpc.AudioEncoderServiceStub(channel)
        files = [content_pb2.Audio(data=(HERE / "inputs" / name).read_bytes()) for name in names]
        answer = await call(stub.EncodeAudio, audio_pb2.EncodeAudioRequest(audios=files), timeout_s=25)
        return np.stack([vectors.read(each.embedding) for each in answer.results])


@pytest.mark.parametrize(
    ("family", "layout"),
    [("clip", "model"), ("siglip", "model"), ("clap", "model"), ("st_bert_mean", "model"),
     ("st_bert_mean", "model_classic")],
)  # fmt: skip
async def test_texts_have_the_vectors_of_the_reference(tmp_path: Path, family: str, layout: str) -> None:
    rows = await texts_of(added(tmp_path, family, layout), facts(family)["texts"])
    assert np.abs(rows - golden(family, "text_embeds")).max() < EXACT


@pytest.mark.parametrize("family", ["clip", "siglip"])
async def test_pictures_have_the_vectors_of_the_reference(tmp_path: Path, family: str) -> None:
    names = [Path(name).name for name in facts(family)["images"]]
    expected = golden(family, "image_embeds")
    expected[names.index("rgba.png")] = golden(family, "on_white_embeds")  # the contract: alpha on white
    rows = await images_of(added(tmp_path, family), names)
    assert np.abs(rows - expected).max() < EXACT


async def test_sounds_have_the_vectors_of_whisper(tmp_path: Path) -> None:
    names = [Path(name).name for name in facts("whisper")["audios"]]
    rows = await audios_of(added(tmp_path, "whisper"), names)
    assert np.abs(rows - golden("whisper", "audio_embeds")).max() < EXACT


async def test_sounds_have_the_vectors_of_clap_with_the_centre_of_long_clips(tmp_path: Path) -> None:
    names = [Path(name).name for name in facts("clap")["audios"]]
    expected = golden("clap", "audio_embeds")
    expected[names.index("long_16k.flac")] = golden("clap", "long_clip_embeds_center_10s")
    rows = await audios_of(added(tmp_path, "clap"), names)
    assert np.abs(rows - expected).max() < EXACT


@pytest.mark.parametrize("family", ["clip", "siglip"])
async def test_the_scale_that_is_given_makes_the_logits_of_the_reference(tmp_path: Path, family: str) -> None:
    known = facts(family)
    scale, bias = known["logit_scale"], known.get("logit_bias") or 0.0
    models = added(tmp_path, family, "model", "--logit-scale", str(scale), "--logit-bias", str(bias))
    manifest = json.loads((models / f"{family}-vision" / "1" / "manifest.json").read_text())
    stated = manifest["calibration"]
    assert stated["activation"] == ("sigmoid" if family == "siglip" else "softmax")
    names = [Path(name).name for name in known["images"] if "rgba" not in name]
    kept = [place for place, name in enumerate(known["images"]) if "rgba" not in name]
    pictures, texts = await images_of(models, names), await texts_of(models, known["texts"])
    logits = stated["logit_scale"] * pictures @ texts.T + stated["logit_bias"]
    expected = golden(family, "logits_per_image")[kept]
    assert np.abs(logits - expected).max() < 1e-4 * np.abs(expected).max()
