"""The orchestrator's gRPC services: each rpc is one function of its own file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from importlib.metadata import version

import grpc
import grpc.aio

from sensorium.v1 import model_pb2, model_pb2_grpc, orchestrator_pb2, orchestrator_pb2_grpc
from services.orchestrator.classify import classify
from services.orchestrator.compare import compare
from services.orchestrator.describe import describe
from services.orchestrator.embed import embed
from services.orchestrator.embed_stream import embed_stream
from services.orchestrator.fuse import fuse
from services.orchestrator.limiter import Limiter
from services.orchestrator.mesh import Mesh
from services.orchestrator.models import get_model, list_models, load_model, set_default_model, unload_model
from services.orchestrator.predict import predict
from services.orchestrator.project import project
from services.orchestrator.tokenize import tokenize
from services.orchestrator.windows import embed_windows
from shared.serving.config import ServerConfig


class OrchestratorServicer(orchestrator_pb2_grpc.OrchestratorServiceServicer):
    """Answers the calls that users make."""

    def __init__(self, mesh: Mesh, config: ServerConfig, limiter: Limiter) -> None:
        """Takes the mesh to compose, the limits to hold callers to, and who bounds how many there are at once."""
        self._mesh = mesh
        self._config = config
        self._limiter = limiter
        self._version = version("sensorium")

    async def Embed(
        self, request: orchestrator_pb2.EmbedRequest, context: grpc.ServicerContext
    ) -> orchestrator_pb2.EmbedResponse:
        """See `embed.py`."""
        with self._limiter.entered():
            return await embed(request, self._mesh, self._config.max_items)

    async def EmbedStream(
        self,
        request_iterator: AsyncIterator[orchestrator_pb2.EmbedStreamRequest],
        context: grpc.aio.ServicerContext[orchestrator_pb2.EmbedStreamRequest, orchestrator_pb2.EmbedStreamResponse],
    ) -> AsyncIterator[orchestrator_pb2.EmbedStreamResponse]:
        """See `embed_stream.py`."""
        # Written, not yielded: a cancellation does not reach a generator that is suspended at a yield, and the batches
        # on their way would outlive the call.
        await embed_stream(request_iterator, context.write, self._mesh)
        nothing: Sequence[orchestrator_pb2.EmbedStreamResponse] = ()
        for response in nothing:
            yield response

    async def EmbedWindows(
        self, request: orchestrator_pb2.EmbedWindowsRequest, context: grpc.ServicerContext
    ) -> orchestrator_pb2.EmbedWindowsResponse:
        """See `windows.py`."""
        with self._limiter.entered():
            return await embed_windows(request, self._mesh, self._config.max_items)

    async def Compare(
        self, request: orchestrator_pb2.CompareRequest, context: grpc.ServicerContext
    ) -> orchestrator_pb2.CompareResponse:
        """See `compare.py`."""
        with self._limiter.entered():
            return await compare(request, self._mesh, self._config.max_items)

    async def Classify(
        self, request: orchestrator_pb2.ClassifyRequest, context: grpc.ServicerContext
    ) -> orchestrator_pb2.ClassifyResponse:
        """See `classify.py`."""
        with self._limiter.entered():
            return await classify(request, self._mesh, self._config.max_items)

    async def Fuse(
        self, request: orchestrator_pb2.FuseRequest, context: grpc.ServicerContext
    ) -> orchestrator_pb2.FuseResponse:
        """See `fuse.py`."""
        with self._limiter.entered():
            return await fuse(request, self._mesh, self._config.max_items)

    async def Predict(
        self, request: orchestrator_pb2.OrchestratorServicePredictRequest, context: grpc.ServicerContext
    ) -> orchestrator_pb2.OrchestratorServicePredictResponse:
        """See `predict.py`."""
        with self._limiter.entered():
            return await predict(request, self._mesh, self._config.max_items)

    async def Project(
        self, request: orchestrator_pb2.OrchestratorServiceProjectRequest, context: grpc.ServicerContext
    ) -> orchestrator_pb2.OrchestratorServiceProjectResponse:
        """See `project.py`."""
        with self._limiter.entered():
            return await project(request, self._mesh, self._config.max_items)

    async def Tokenize(
        self, request: orchestrator_pb2.OrchestratorServiceTokenizeRequest, context: grpc.ServicerContext
    ) -> orchestrator_pb2.OrchestratorServiceTokenizeResponse:
        """See `tokenize.py`."""
        with self._limiter.entered():
            return await tokenize(request, self._mesh, self._config.max_items)

    async def Describe(
        self, request: orchestrator_pb2.DescribeRequest, context: grpc.ServicerContext
    ) -> orchestrator_pb2.DescribeResponse:
        """See `describe.py`."""
        return describe(self._mesh, self._config, self._version)


class ModelServicer(model_pb2_grpc.ModelServiceServicer):
    """Answers for the models of all peers; see `models.py`."""

    def __init__(self, mesh: Mesh) -> None:
        """Takes the mesh whose models these are."""
        self._mesh = mesh

    async def ListModels(
        self, request: model_pb2.ListModelsRequest, context: grpc.ServicerContext
    ) -> model_pb2.ListModelsResponse:
        """Returns a page of models."""
        return await list_models(request, self._mesh)

    async def GetModel(
        self, request: model_pb2.GetModelRequest, context: grpc.ServicerContext
    ) -> model_pb2.GetModelResponse:
        """Returns one model."""
        return await get_model(request, self._mesh)

    async def LoadModel(
        self, request: model_pb2.LoadModelRequest, context: grpc.ServicerContext
    ) -> model_pb2.LoadModelResponse:
        """Loads a model at the peer where it belongs."""
        return await load_model(request, self._mesh)

    async def SetDefaultModel(
        self, request: model_pb2.SetDefaultModelRequest, context: grpc.ServicerContext
    ) -> model_pb2.SetDefaultModelResponse:
        """Makes a model the default at the peer where it belongs."""
        return await set_default_model(request, self._mesh)

    async def UnloadModel(
        self, request: model_pb2.UnloadModelRequest, context: grpc.ServicerContext
    ) -> model_pb2.UnloadModelResponse:
        """Unloads a model at the peer that has it."""
        return await unload_model(request, self._mesh)
