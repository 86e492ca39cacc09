"""The services of fake peers: each meets its peer's mood first, then answers with toy models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import numpy as np

from sensorium import vectors
from sensorium.errors import InvalidInput, NotFound, Reason, SensoriumError
from sensorium.status import to_status
from sensorium.v1 import (
    audio_pb2,
    audio_pb2_grpc,
    embedding_pb2,
    fusion_pb2,
    fusion_pb2_grpc,
    model_pb2,
    model_pb2_grpc,
    text_pb2,
    text_pb2_grpc,
    vision_pb2,
    vision_pb2_grpc,
)
from tests.services.orchestrator.toys import DIM, direction

if TYPE_CHECKING:
    from tests.services.orchestrator.fakes import FakePeer

# Any: gRPC's contexts are generic over messages that the fakes do not look into.
Context = grpc.aio.ServicerContext[Any, Any]


async def abort(context: Context, error: SensoriumError) -> None:
    status = to_status(error)
    code = next(code for code in grpc.StatusCode if code.value[0] == error.code)
    details = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(code, status.message, details)


def _result(
    key: str | bytes, field: str, chosen: model_pb2.Model, options: embedding_pb2.EncodeOptions
) -> embedding_pb2.ItemResult:
    """A content that starts with `broken` is bad, one that starts with `nan` gives a vector that no model should."""
    raw = key.encode() if isinstance(key, str) else key
    if raw.startswith(b"broken"):
        error = InvalidInput("is broken", reason=Reason.MEDIA_TRUNCATED, field=field)
        return embedding_pb2.ItemResult(error=to_status(error))
    vector = direction(raw)[: options.dimensions or None]
    if raw.startswith(b"nan"):
        vector = np.full(DIM, np.nan, np.float32)
    return embedding_pb2.ItemResult(embedding=vectors.write(vector, chosen.space, options.encoding))


class FakeText(text_pb2_grpc.TextEncoderServiceServicer):
    def __init__(self, peer: FakePeer) -> None:
        self._peer = peer

    async def EncodeText(self, request: text_pb2.EncodeTextRequest, context: Context) -> text_pb2.EncodeTextResponse:
        await self._peer.meet(request, context)
        chosen = await self._peer.chosen(request.options.model, context)
        prompt = f"{request.prompt_name}: " if request.prompt_name else ""
        results = [
            _result(prompt + text, f"texts[{i}]", chosen, request.options) for i, text in enumerate(request.texts)
        ]
        return text_pb2.EncodeTextResponse(results=results, receipt=self._peer.receipt(chosen, len(results)))

    def EncodeTextStream(self, request_iterator: Any, context: Any) -> Any:  # Any: not called
        raise NotImplementedError

    async def Tokenize(self, request: text_pb2.TokenizeRequest, context: Context) -> text_pb2.TokenizeResponse:
        """A token a letter; none for an empty text."""
        await self._peer.meet(request, context)
        chosen = await self._peer.chosen(request.model, context)
        results = [_tokens(text, i) for i, text in enumerate(request.texts)]
        return text_pb2.TokenizeResponse(results=results, receipt=self._peer.receipt(chosen, len(results)))


def _tokens(text: str, place: int) -> text_pb2.TokenizeResult:
    if not text:
        error = InvalidInput("is empty", reason=Reason.TEXT_EMPTY, field=f"texts[{place}]")
        return text_pb2.TokenizeResult(error=to_status(error))
    return text_pb2.TokenizeResult(tokens=text_pb2.Tokens(ids=list(map(ord, text)), pieces=list(text)))


class FakeVision(vision_pb2_grpc.VisionEncoderServiceServicer):
    def __init__(self, peer: FakePeer) -> None:
        self._peer = peer

    async def EncodeImage(
        self, request: vision_pb2.EncodeImageRequest, context: Context
    ) -> vision_pb2.EncodeImageResponse:
        await self._peer.meet(request, context)
        chosen = await self._peer.chosen(request.options.model, context)
        results = [
            _result(image.data, f"images[{i}].data", chosen, request.options) for i, image in enumerate(request.images)
        ]
        return vision_pb2.EncodeImageResponse(results=results, receipt=self._peer.receipt(chosen, len(results)))

    def EncodeImageStream(self, request_iterator: Any, context: Any) -> Any:  # Any: not called
        raise NotImplementedError


class FakeAudio(audio_pb2_grpc.AudioEncoderServiceServicer):
    def __init__(self, peer: FakePeer) -> None:
        self._peer = peer

    async def EncodeAudio(
        self, request: audio_pb2.EncodeAudioRequest, context: Context
    ) -> audio_pb2.EncodeAudioResponse:
        await self._peer.meet(request, context)
        chosen = await self._peer.chosen(request.options.model, context)
        results = [
            _result(audio.data, f"audios[{i}].data", chosen, request.options) for i, audio in enumerate(request.audios)
        ]
        windows = None
        if request.window_ms:
            if request.window_ms < 100:
                await abort(context, InvalidInput(f"is {request.window_ms}", field="window_ms"))
            windows = [_windows(result, request) for result in results]
        receipt = self._peer.receipt(chosen, len(results))
        return audio_pb2.EncodeAudioResponse(results=results, receipt=receipt, windows=windows)

    def EncodeAudioStream(self, request_iterator: Any, context: Any) -> Any:  # Any: not called
        raise NotImplementedError


def _windows(result: embedding_pb2.ItemResult, request: audio_pb2.EncodeAudioRequest) -> audio_pb2.AudioWindows:
    """Returns two windows, whatever the clip."""
    hop_ms = request.hop_ms or request.window_ms
    starts = (0, hop_ms) if result.HasField("embedding") else ()
    return audio_pb2.AudioWindows(
        windows=[
            audio_pb2.AudioWindow(start_ms=at, end_ms=at + request.window_ms, embedding=result.embedding)
            for at in starts
        ]
    )


class FakeFusion(fusion_pb2_grpc.FusionServiceServicer):
    """Fuses by the weighted mean, refusing a weight of 999; projects by turning the components round."""

    def __init__(self, peer: FakePeer) -> None:
        self._peer = peer

    async def Fuse(
        self, request: fusion_pb2.FusionServiceFuseRequest, context: Context
    ) -> fusion_pb2.FusionServiceFuseResponse:
        await self._peer.meet(request, context)
        chosen = await self._peer.chosen(request.model, context)
        results = [self._fused(item, index, chosen) for index, item in enumerate(request.items)]
        return fusion_pb2.FusionServiceFuseResponse(results=results, receipt=self._peer.receipt(chosen, len(results)))

    async def Project(self, request: fusion_pb2.ProjectRequest, context: Context) -> fusion_pb2.ProjectResponse:
        await self._peer.meet(request, context)
        results = []
        for index, embedding in enumerate(request.embeddings):
            vector = np.asarray(list(reversed(embedding.values)), np.float32)
            if vector.size == 1:
                error = InvalidInput("has 1 component", field=f"embeddings[{index}].values")
                results.append(embedding_pb2.ItemResult(error=to_status(error)))
                continue
            unit = np.asarray(vector / np.linalg.norm(vector), np.float32)
            results.append(embedding_pb2.ItemResult(embedding=vectors.write(unit, request.to_space)))
        return fusion_pb2.ProjectResponse(
            results=results, receipt=self._peer.receipt(self._peer.models[-1], len(results))
        )

    async def Predict(self, request: fusion_pb2.PredictRequest, context: Context) -> fusion_pb2.PredictResponse:
        """One class, as probable as the first component of the first part; a negative one is refused."""
        await self._peer.meet(request, context)
        chosen = await self._peer.chosen(request.model, context)
        results = [_predicted(item, index) for index, item in enumerate(request.items)]
        return fusion_pb2.PredictResponse(results=results, receipt=self._peer.receipt(chosen, len(results)))

    def _fused(self, item: fusion_pb2.FusionItem, index: int, chosen: model_pb2.Model) -> embedding_pb2.ItemResult:
        for place, part in enumerate(item.parts):
            if part.weight == 999:
                error = InvalidInput("is unlucky", field=f"items[{index}].parts[{place}].weight")
                return embedding_pb2.ItemResult(error=to_status(error))
        mean = sum(part.weight * vectors.read(part.embedding) for part in item.parts)
        unit = np.asarray(mean / np.linalg.norm(mean), np.float32)
        return embedding_pb2.ItemResult(embedding=vectors.write(unit, chosen.space))


def _predicted(item: fusion_pb2.FusionItem, index: int) -> fusion_pb2.PredictResult:
    first = float(vectors.read(item.parts[0].embedding)[0])
    if first < 0:
        error = InvalidInput("is negative", field=f"items[{index}].parts[0].embedding.values")
        return fusion_pb2.PredictResult(error=to_status(error))
    classes = [fusion_pb2.ClassProbability(label="high", index=0, probability=first)]
    return fusion_pb2.PredictResult(prediction=fusion_pb2.Prediction(classes=classes))


class FakeModels(model_pb2_grpc.ModelServiceServicer):
    """Pages by place; loads `name@version` into a copy of the model of that name, unloads any."""

    def __init__(self, peer: FakePeer) -> None:
        self._peer = peer

    async def ListModels(self, request: model_pb2.ListModelsRequest, context: Context) -> model_pb2.ListModelsResponse:
        start = int(request.page_token or 0)
        end = start + 2  # whatever was asked for: a caller must follow the tokens
        token = str(end) if end < len(self._peer.models) else ""
        return model_pb2.ListModelsResponse(models=self._peer.models[start:end], next_page_token=token)

    async def GetModel(self, request: model_pb2.GetModelRequest, context: Context) -> model_pb2.GetModelResponse:
        return model_pb2.GetModelResponse(model=await self._peer.chosen(request.model, context))

    async def LoadModel(self, request: model_pb2.LoadModelRequest, context: Context) -> model_pb2.LoadModelResponse:
        await self._peer.meet(request, context)
        name, _, version = request.model.partition("@")
        for each in self._peer.models:
            if each.name == name:
                loaded = model_pb2.Model()
                loaded.CopyFrom(each)
                loaded.version, loaded.is_default = version, False
                self._peer.models.append(loaded)
                return model_pb2.LoadModelResponse(model=loaded)
        await abort(context, NotFound(f"is {request.model!r}", field="model"))
        raise AssertionError("abort does not return")

    async def SetDefaultModel(
        self, request: model_pb2.SetDefaultModelRequest, context: Context
    ) -> model_pb2.SetDefaultModelResponse:
        await self._peer.meet(request, context)
        chosen = await self._peer.chosen(request.model, context)
        for each in self._peer.models:
            each.is_default = each is chosen
        return model_pb2.SetDefaultModelResponse(model=chosen)

    async def UnloadModel(
        self, request: model_pb2.UnloadModelRequest, context: Context
    ) -> model_pb2.UnloadModelResponse:
        await self._peer.meet(request, context)
        gone = await self._peer.chosen(request.model, context)
        self._peer.models.remove(gone)
        return model_pb2.UnloadModelResponse(model=gone)
