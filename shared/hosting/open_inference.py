"""The models of a service for the Open Inference Protocol: named tensors in front of the service's own call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensorium.errors import InvalidInput, SensoriumError
from sensorium.v1 import embedding_pb2, model_pb2
from sensorium.versions import version_key
from shared.hosting.model_service import ModelServicer
from shared.hosting.repository import Repository
from shared.inference.encoder import Encoder
from shared.serving.open_inference.models import Asked, Context, Elements, Inferred, Served, Tensor, renamed
from shared.serving.open_inference.tensors import stacked

OUTPUT = "embedding"

Answer = tuple[Sequence[embedding_pb2.ItemResult], embedding_pb2.Receipt]


@dataclass(frozen=True, slots=True)
class Native:
    """How a service's own call is made of tensors.

    task: of the models that it runs.
    field: the items of its request, whose errors are told of the tensors.
    inputs: the tensors that a model takes.
    call: makes the call: the elements by the name of their input, the options, and the context.
    """

    task: str
    field: str
    inputs: Callable[[model_pb2.Model], Sequence[Tensor]]
    call: Callable[[Mapping[str, Elements], embedding_pb2.EncodeOptions, Context], Awaitable[Answer]]


def one_input(
    name: str,
    field: str,
    call: Callable[[Sequence[bytes], embedding_pb2.EncodeOptions, Context], Awaitable[Answer]],
    rows: Callable[[Mapping[str, NDArray[Any]], embedding_pb2.EncodeOptions], Awaitable[Answer]],
) -> Native:
    """Returns the call of an encoder that takes one tensor of BYTES, whatever its caller named it.

    rows: answers for tensors of numbers, which their caller preprocessed himself.
    """

    async def encode(inputs: Mapping[str, Elements], options: embedding_pb2.EncodeOptions, context: Context) -> Answer:
        arrays = {key: each for key, each in inputs.items() if isinstance(each, np.ndarray)}
        if len(arrays) == len(inputs):
            return await rows(arrays, options)
        (given, elements), *others = inputs.items()
        if others or not isinstance(elements, list):
            raise InvalidInput(f"has {', '.join(inputs)}; give one tensor of BYTES, {name}", field="inputs")
        try:
            return await call(elements, options, context)
        except UnicodeDecodeError:
            raise InvalidInput("has bytes that are no UTF-8", field=f"inputs[0].contents of {given}") from None

    return Native("encode", field, lambda _: [Tensor(name, "BYTES", [-1])], encode)


class HostedModels:
    """The loaded models of one service; see `shared.serving.open_inference.models.Models`."""

    def __init__(self, repository: Repository[Any], service: ModelServicer, native: Native) -> None:
        """Takes the models (Any: of whatever inputs), who describes and loads them, and how they are called."""
        self._repository = repository
        self._service = service
        self._native = native

    async def served(self) -> Sequence[Served]:
        """Returns those that the service's call runs, the newest version of each name first."""
        loaded = [each for each in self._repository.encoders if each.package.manifest.task == self._native.task]
        loaded.sort(key=lambda each: version_key(each.package.manifest.version), reverse=True)
        return [self._served(each) for each in loaded]

    async def infer(self, asked: Asked, context: Context) -> Inferred:
        """Makes the service's own call; one item that fails is the error of the whole."""
        given = next(iter(asked.inputs))
        try:
            results, receipt = await self._native.call(asked.inputs, asked.options, context)
        except SensoriumError as error:
            raise renamed(error, {self._native.field: asked.field(given)}) from None
        fields = [asked.field(given, item) for item in range(len(results))]
        return Inferred({OUTPUT: stacked(results, fields)}, receipt, results[0].embedding.space)

    async def load(self, model: str, context: Context) -> None:
        """Loads a package of the folder."""
        await self._service.LoadModel(model_pb2.LoadModelRequest(model=model), context)

    async def unload(self, model: str, context: Context) -> None:
        """Lets a model go."""
        await self._service.UnloadModel(model_pb2.UnloadModelRequest(model=model), context)

    def _served(self, encoder: Encoder[Any]) -> Served:
        model = self._service.describe(encoder)
        return Served(
            name=model.name,
            version=model.version,
            inputs=self._native.inputs(model),
            outputs=[Tensor(OUTPUT, "FP32", [-1, model.dim])],
            is_ready=model.state == model_pb2.MODEL_STATE_READY,
        )
