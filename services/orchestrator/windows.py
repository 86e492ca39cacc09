"""EmbedWindows: a vector for each window of each clip."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sensorium.errors import InternalError, InvalidInput, Reason, SensoriumError
from sensorium.status import from_status
from sensorium.v1 import audio_pb2_grpc
from sensorium.v1.audio_pb2 import AudioWindows, EncodeAudioRequest
from sensorium.v1.content_pb2 import MODALITY_AUDIO, Content
from sensorium.v1.embedding_pb2 import EncodeOptions, ItemResult, Receipt
from sensorium.v1.orchestrator_pb2 import EmbedWindowsRequest, EmbedWindowsResponse, EmbedWindowsResult
from services.orchestrator.batches import in_batches
from services.orchestrator.checks import check_count, check_options
from services.orchestrator.contents import Piece
from services.orchestrator.encode import wrong_vector
from services.orchestrator.mesh import Mesh
from services.orchestrator.receipts import receipt
from services.orchestrator.spaces import Route, Space, model_id
from shared.serving.items import failed_item

if TYPE_CHECKING:
    from sensorium.v1.audio_pb2_grpc import AudioEncoderServiceAsyncStub

_OF_THE_CALL = ("window_ms", "hop_ms")  # what is wrong with these is wrong with every clip


@dataclass(frozen=True, slots=True)
class _Batch:
    """An answer of the audio service: for each clip its vector or error, and its windows."""

    results: Sequence[tuple[ItemResult, AudioWindows]]
    receipt: Receipt


async def embed_windows(request: EmbedWindowsRequest, mesh: Mesh, max_items: int) -> EmbedWindowsResponse:
    """Returns one result a clip, in request order: its windows, in order of time.

    Raises:
        SensoriumError: the request as a whole is refused; what is wrong with a clip is that clip's result.
    """
    started = time.perf_counter_ns()
    check_count("audios", len(request.audios), max_items)
    _check_window(request)
    space = mesh.space(request.space)
    check_options(request.options, space)
    route = mesh.route(space, MODALITY_AUDIO)
    peer = route.encoder.peer
    stub: AudioEncoderServiceAsyncStub = audio_pb2_grpc.AudioEncoderServiceStub(peer.channel)
    asked = EncodeAudioRequest(options=request.options, window_ms=request.window_ms, hop_ms=request.hop_ms)
    asked.options.model = model_id(route.model)

    async def send(batch: Sequence[Piece]) -> _Batch:
        clips = EncodeAudioRequest(audios=[piece.content.audio for piece in batch])
        clips.MergeFrom(asked)
        response = await peer.compute(stub.EncodeAudio, clips)
        if len(response.windows) != len(response.results):
            raise InternalError("a peer answered clips without the windows of each")
        return _Batch(list(zip(response.results, response.windows, strict=True)), response.receipt)

    pieces = [Piece(Content(audio=audio), f"audios[{place}]", "audio") for place, audio in enumerate(request.audios)]
    answer = await in_batches(pieces, route.model.limits, lambda piece: piece.content.ByteSize(), send, _windows)
    for outcome in answer.outcomes:
        if isinstance(outcome, InvalidInput) and outcome.field in _OF_THE_CALL:
            raise outcome
    return EmbedWindowsResponse(
        results=[
            _result(outcome, piece, route, space, request.options)
            for outcome, piece in zip(answer.outcomes, pieces, strict=True)
        ],
        receipt=receipt(answer.receipts, time.perf_counter_ns() - started),
    )


def _check_window(request: EmbedWindowsRequest) -> None:
    if not request.window_ms:
        raise InvalidInput(
            "is not set; give the length of a window in milliseconds, at least 100",
            reason=Reason.FIELD_MISSING,
            field="window_ms",
        )


def _windows(result: tuple[ItemResult, AudioWindows]) -> AudioWindows | SensoriumError:
    whole, windows = result
    return from_status(whole.error) if whole.HasField("error") else windows


def _result(
    outcome: AudioWindows | SensoriumError, piece: Piece, route: Route, space: Space, options: EncodeOptions
) -> EmbedWindowsResult:
    if isinstance(outcome, SensoriumError):
        return EmbedWindowsResult(error=failed_item(piece.rooted(outcome)))
    for window in outcome.windows:
        wrong = wrong_vector(window.embedding, route, space, options.dimensions or space.dim)
        if wrong is not None:
            return EmbedWindowsResult(error=failed_item(wrong))
    return EmbedWindowsResult(windows=outcome)
