"""Sounds by the Open Inference Protocol."""

from __future__ import annotations

from collections.abc import Sequence

from sensorium.v1.audio_pb2 import EncodeAudioRequest
from sensorium.v1.content_pb2 import Audio
from sensorium.v1.embedding_pb2 import EncodeOptions
from services.audio.clips import Clip
from services.audio.servicer import AudioServicer
from shared.hosting.open_inference import Answer, Native, one_input
from shared.hosting.open_rows import own_rows
from shared.hosting.repository import Repository
from shared.serving.open_inference.models import Context


def native(repository: Repository[Clip], max_items: int) -> Native:
    """Returns the call behind the protocol: a tensor `audio` of whole files, or tensors as the graph takes them."""
    servicer = AudioServicer(repository, max_items)

    async def encode(files: Sequence[bytes], options: EncodeOptions, context: Context) -> Answer:
        request = EncodeAudioRequest(audios=[Audio(data=file) for file in files], options=options)
        response = await servicer.EncodeAudio(request, context)
        return response.results, response.receipt

    return one_input("audio", "audios", encode, own_rows(repository, max_items))
