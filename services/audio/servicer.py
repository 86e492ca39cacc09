"""`AudioEncoderService`: protobuf in, encoder, protobuf out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sensorium.errors import InvalidInput, Reason, SensoriumError
from sensorium.v1 import audio_pb2, audio_pb2_grpc, content_pb2
from services.audio.clips import DEFAULT_STREAM_WINDOW_MS, Clip, check_pcm, pieces, read_windows
from services.audio.live import LiveWindows
from services.audio.preprocess import AudioNumbers
from shared.hosting import results
from shared.hosting.repository import Repository
from shared.inference.encoded import Encoded
from shared.inference.encoder import Encoder
from shared.serving.call import current_call
from shared.serving.items import failed_item
from shared.serving.streams import patiently

if TYPE_CHECKING:
    import grpc.aio

    _Context = grpc.aio.ServicerContext[Any, Any]  # Any: of whatever message; nothing here looks into it

_INLINE_BYTES = 128 << 10  # windows of more samples are packed in a thread


class AudioServicer(audio_pb2_grpc.AudioEncoderServiceServicer):
    """See `audio.proto`."""

    def __init__(self, repository: Repository[Clip], max_items: int) -> None:
        """Takes the loaded models and the most items of a call."""
        self._repository = repository
        self._max_items = max_items

    async def EncodeAudio(
        self, request: audio_pb2.EncodeAudioRequest, context: _Context
    ) -> audio_pb2.EncodeAudioResponse:
        """Returns one result a clip, and on demand the windows of each."""
        started = time.perf_counter_ns()
        results.check_count(len(request.audios), self._max_items, "audios")
        encoder = self._repository.get(request.options.model, "encode", "options.model")
        manifest, call = encoder.package.manifest, current_call()
        wanted = results.read_options(request.options, manifest)
        windows = read_windows(request.window_ms, request.hop_ms, _max_window_ms(encoder))
        clips = [Clip(audio, windows) for audio in request.audios]
        encoded = await encoder.encode(clips, deadline=call.deadline, priority=call.priority)
        items = [
            results.item_result(
                each.under(f"audios[{place}]")
                if isinstance(each, SensoriumError)
                else results.whole_clip(each.vectors),
                wanted,
                manifest.space,
            )
            for place, each in enumerate(encoded)
        ]
        return audio_pb2.EncodeAudioResponse(
            results=items,
            receipt=results.receipt(encoder.package, encoded, started),
            windows=[_windows(each, wanted, manifest.space) for each in encoded] if windows.length_ms else None,
        )

    async def EncodeAudioStream(
        self, requests: AsyncIterator[audio_pb2.EncodeAudioStreamRequest], context: _Context
    ) -> AsyncIterator[audio_pb2.EncodeAudioStreamResponse]:
        """Answers every window of live sound as soon as it is full."""
        stream_format = await _first(requests)
        encoder = self._repository.get(stream_format.options.model, "encode", "format.options.model")
        wanted = results.read_options(stream_format.options, encoder.package.manifest)
        live = _live(stream_format, encoder)
        async for request in requests:
            if request.WhichOneof("payload") != "samples":
                raise InvalidInput("comes once, in the first message; send samples", field="format")
            for piece in pieces(request.samples, stream_format.format, stream_format.channel_count):
                for window in live.push(piece):
                    yield await _answer(window, stream_format, encoder, wanted)
                await asyncio.sleep(0)  # a large message may fill no window: others have their turn all the same
        for window in live.finish():
            yield await _answer(window, stream_format, encoder, wanted)


async def _first(requests: AsyncIterator[audio_pb2.EncodeAudioStreamRequest]) -> audio_pb2.AudioStreamFormat:
    """Returns the format that a stream starts with, checked."""
    async for request in requests:
        if request.WhichOneof("payload") != "format":
            raise InvalidInput(
                "is not set; the first message says the format", reason=Reason.FIELD_MISSING, field="format"
            )
        stated = request.format
        try:
            check_pcm(stated.format, stated.sample_rate_hz, stated.channel_count)
        except InvalidInput as error:
            raise error.under("format") from None
        return stated
    raise InvalidInput("the stream has no message; the first one says the format", reason=Reason.EMPTY_REQUEST)


def _live(stated: audio_pb2.AudioStreamFormat, encoder: Encoder[Clip]) -> LiveWindows:
    window_ms = stated.window_ms or DEFAULT_STREAM_WINDOW_MS
    windows = read_windows(window_ms, stated.hop_ms, _max_window_ms(encoder), "format.")
    return LiveWindows(windows, stated.sample_rate_hz)


async def _answer(
    window: tuple[int, int, NDArray[np.float32]],
    stated: audio_pb2.AudioStreamFormat,
    encoder: Encoder[Clip],
    wanted: results.Wanted,
) -> audio_pb2.EncodeAudioStreamResponse:
    started = time.perf_counter_ns()
    start_ms, end_ms, samples = window
    call = current_call()
    deadline = call.item_deadline()
    is_large = samples.nbytes > _INLINE_BYTES
    clip = await asyncio.to_thread(_clip, samples, stated) if is_large else _clip(samples, stated)
    response = audio_pb2.EncodeAudioStreamResponse(start_ms=start_ms, end_ms=end_ms)
    try:
        (encoded,) = await patiently(
            lambda: encoder.encode([clip], deadline=deadline, priority=call.priority), deadline
        )
        if isinstance(encoded, SensoriumError):
            raise encoded.at("samples")
    except SensoriumError as error:
        response.error.CopyFrom(failed_item(error))
        return response
    vector = results.whole_clip(encoded.vectors)
    response.embedding.CopyFrom(results.embedded(vector, wanted, encoder.package.manifest.space))
    response.receipt.CopyFrom(results.receipt(encoder.package, [encoded], started))
    return response


def _clip(samples: NDArray[np.float32], stated: audio_pb2.AudioStreamFormat) -> Clip:
    pcm = content_pb2.Pcm(
        samples=samples.astype("<f4").tobytes(),
        format=content_pb2.PCM_FORMAT_FLOAT32,
        sample_rate_hz=stated.sample_rate_hz,
        channel_count=samples.shape[1],
    )
    return Clip(content_pb2.Audio(pcm=pcm))


def _windows(encoded: Encoded | SensoriumError, wanted: results.Wanted, space: str) -> audio_pb2.AudioWindows:
    if isinstance(encoded, SensoriumError):
        return audio_pb2.AudioWindows()
    return audio_pb2.AudioWindows(
        windows=[
            audio_pb2.AudioWindow(
                start_ms=start_ms,
                end_ms=end_ms,
                embedding=results.embedded(vector, wanted, space),
            )
            for vector, (start_ms, end_ms) in zip(encoded.vectors, encoded.spans_ms, strict=True)
        ]
    )


def _max_window_ms(encoder: Encoder[Clip]) -> int:
    numbers = AudioNumbers.of(encoder.package.manifest.preprocess)
    return 1000 * numbers.window_samples // numbers.front_end.sample_rate_hz
