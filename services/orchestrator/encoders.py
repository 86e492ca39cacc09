"""The three encoders as one kind of thing: a peer, its modality, and how its one batched call is made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sensorium.v1 import audio_pb2_grpc, content_pb2, text_pb2_grpc, vision_pb2_grpc
from sensorium.v1.audio_pb2 import EncodeAudioRequest, EncodeAudioResponse
from sensorium.v1.content_pb2 import Content
from sensorium.v1.embedding_pb2 import EncodeOptions
from sensorium.v1.text_pb2 import EncodeTextRequest, EncodeTextResponse
from sensorium.v1.vision_pb2 import EncodeImageRequest, EncodeImageResponse
from services.orchestrator.peers import Peer

if TYPE_CHECKING:
    from sensorium.v1.audio_pb2_grpc import AudioEncoderServiceAsyncStub
    from sensorium.v1.text_pb2_grpc import TextEncoderServiceAsyncStub
    from sensorium.v1.vision_pb2_grpc import VisionEncoderServiceAsyncStub

EncodeResponse = EncodeTextResponse | EncodeImageResponse | EncodeAudioResponse
Encode = Callable[[Sequence[Content], EncodeOptions, str], Awaitable[EncodeResponse]]


@dataclass(frozen=True, slots=True)
class Encoder:
    """A peer that turns one modality into vectors.

    encode: makes one call for contents that are all of that modality, with the name of the prompt that goes before
        them, which texts alone have; raises what `Peer.compute` raises.
    """

    peer: Peer
    modality: content_pb2.Modality.ValueType
    encode: Encode


def text_encoder(peer: Peer) -> Encoder:
    """Returns the encoder of a text service."""
    stub: TextEncoderServiceAsyncStub = text_pb2_grpc.TextEncoderServiceStub(peer.channel)

    async def encode(contents: Sequence[Content], options: EncodeOptions, prompt: str) -> EncodeTextResponse:
        texts = [content.text for content in contents]
        request = EncodeTextRequest(texts=texts, options=options, prompt_name=prompt)
        return await peer.compute(stub.EncodeText, request)

    return Encoder(peer, content_pb2.MODALITY_TEXT, encode)


def vision_encoder(peer: Peer) -> Encoder:
    """Returns the encoder of a vision service."""
    stub: VisionEncoderServiceAsyncStub = vision_pb2_grpc.VisionEncoderServiceStub(peer.channel)

    async def encode(contents: Sequence[Content], options: EncodeOptions, _: str) -> EncodeImageResponse:
        request = EncodeImageRequest(images=[content.image for content in contents], options=options)
        return await peer.compute(stub.EncodeImage, request)

    return Encoder(peer, content_pb2.MODALITY_IMAGE, encode)


def audio_encoder(peer: Peer) -> Encoder:
    """Returns the encoder of an audio service."""
    stub: AudioEncoderServiceAsyncStub = audio_pb2_grpc.AudioEncoderServiceStub(peer.channel)

    async def encode(contents: Sequence[Content], options: EncodeOptions, _: str) -> EncodeAudioResponse:
        request = EncodeAudioRequest(audios=[content.audio for content in contents], options=options)
        return await peer.compute(stub.EncodeAudio, request)

    return Encoder(peer, content_pb2.MODALITY_AUDIO, encode)
