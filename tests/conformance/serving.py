"""Asks one running service for vectors of raw inputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sensorium import vectors
from sensorium.channel import call
from sensorium.v1 import (
    audio_pb2,
    audio_pb2_grpc,
    content_pb2,
    fusion_pb2,
    fusion_pb2_grpc,
    text_pb2,
    text_pb2_grpc,
    vision_pb2,
    vision_pb2_grpc,
)
from sensorium.v1.embedding_pb2 import Embedding, ItemResult
from services.audio.app import serving as serving_audio
from services.audio.config import Config as AudioConfig
from services.fusion.app import serving as serving_fusion
from services.fusion.config import Config as FusionConfig
from services.text.app import serving as serving_text
from services.text.config import Config as TextConfig
from services.vision.app import serving as serving_vision
from services.vision.config import Config as VisionConfig
from shared.hosting.config import HostingConfig
from tests.conformance.exports import Rows
from tests.running import running

_TIMEOUT_S = 25


def rows_of(results: Sequence[ItemResult]) -> Rows:
    return np.stack([vectors.read(each.embedding) for each in results])


async def embed_texts(models: Path, model: str, texts: Sequence[str], prompt: str = "") -> Sequence[ItemResult]:
    async with running(serving_text, TextConfig, hosting=HostingConfig(models=models, load_models=model)) as (
        channel,
        _,
    ):
        request = text_pb2.EncodeTextRequest(texts=texts, prompt_name=prompt)
        stub = text_pb2_grpc.TextEncoderServiceStub(channel)
        return list((await call(stub.EncodeText, request, timeout_s=_TIMEOUT_S)).results)


async def embed_images(models: Path, model: str, files: Sequence[Path]) -> Sequence[ItemResult]:
    hosting = HostingConfig(models=models, load_models=model)
    async with running(serving_vision, VisionConfig, hosting=hosting) as (channel, _):
        request = vision_pb2.EncodeImageRequest(images=[content_pb2.Image(data=file.read_bytes()) for file in files])
        stub = vision_pb2_grpc.VisionEncoderServiceStub(channel)
        return list((await call(stub.EncodeImage, request, timeout_s=_TIMEOUT_S)).results)


async def embed_audios(models: Path, model: str, files: Sequence[Path]) -> Sequence[ItemResult]:
    hosting = HostingConfig(models=models, load_models=model)
    async with running(serving_audio, AudioConfig, hosting=hosting) as (channel, _):
        request = audio_pb2.EncodeAudioRequest(audios=[content_pb2.Audio(data=file.read_bytes()) for file in files])
        stub = audio_pb2_grpc.AudioEncoderServiceStub(channel)
        return list((await call(stub.EncodeAudio, request, timeout_s=_TIMEOUT_S)).results)


async def predict(
    models: Path, model: str, embeddings: Sequence[Embedding], modality: content_pb2.Modality.ValueType
) -> Rows:
    """Returns (n, labels): the probabilities in the order of the labels."""
    hosting = HostingConfig(models=models, load_models=model)
    async with running(serving_fusion, FusionConfig, hosting=hosting) as (channel, _):
        parts = [fusion_pb2.FusionPart(embedding=each, modality=modality) for each in embeddings]
        request = fusion_pb2.PredictRequest(items=[fusion_pb2.FusionItem(parts=[part]) for part in parts])
        answer = await call(fusion_pb2_grpc.FusionServiceStub(channel).Predict, request, timeout_s=_TIMEOUT_S)
    rows = [{each.index: each.probability for each in result.prediction.classes} for result in answer.results]
    return np.array([[row[place] for place in range(len(row))] for row in rows], np.float32)
