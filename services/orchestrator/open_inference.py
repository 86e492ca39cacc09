"""The spaces of the mesh by the Open Inference Protocol: a model is a space, with one tensor a modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sensorium.contents import MODALITY_OF
from sensorium.errors import InvalidInput, SensoriumError
from sensorium.v1 import content_pb2, model_pb2
from sensorium.v1.embedding_pb2 import EncodeOptions
from sensorium.v1.orchestrator_pb2 import EmbedRequest, SpaceDescription
from sensorium.versions import version_key
from services.orchestrator.describe import described_spaces
from services.orchestrator.embed import embed
from services.orchestrator.limiter import Limiter
from services.orchestrator.mesh import Mesh
from services.orchestrator.models import load_model, unload_model
from shared.serving.open_inference.models import Asked, Context, Elements, Inferred, Served, Tensor, renamed
from shared.serving.open_inference.tensors import stacked

_NAMES = {modality: name for name, modality in MODALITY_OF.items()}


class Spaces:
    """The spaces that the mesh can embed in; see `shared.serving.open_inference.models.Models`."""

    def __init__(self, mesh: Mesh, max_items: int, limiter: Limiter) -> None:
        """Takes the mesh, the most items of a call, and who bounds how many calls there are at once."""
        self._mesh = mesh
        self._max_items = max_items
        self._limiter = limiter

    async def served(self) -> Sequence[Served]:
        """Returns the spaces, the newest version of each name first."""
        spaces = sorted(
            described_spaces(self._mesh), key=lambda each: version_key(each.name.partition("@")[2]), reverse=True
        )
        return [_served(each) for each in spaces]

    async def infer(self, asked: Asked, context: Context) -> Inferred:
        """Embeds all elements in one call; row i of `X_embedding` is element i of the input `X`."""
        contents: list[content_pb2.Content] = []
        places: list[str] = []
        for name, elements in asked.inputs.items():
            contents += _contents(name, elements, asked)
            places += [asked.field(name, item) for item in range(len(elements))]
        options = EncodeOptions()
        options.CopyFrom(asked.options)
        options.ClearField("model")
        request = EmbedRequest(contents=contents, space=asked.options.model, options=options)
        try:
            with self._limiter.entered():
                response = await embed(request, self._mesh, self._max_items)
        except SensoriumError as error:
            raise renamed(error, {"contents": "inputs", "space": "model_name"}) from None
        rows = stacked(response.results, places)
        return Inferred(_divided(rows, asked.inputs), response.receipt, asked.options.model)

    async def load(self, model: str, context: Context) -> None:
        """Loads a model at the service where it belongs."""
        await load_model(model_pb2.LoadModelRequest(model=model), self._mesh)

    async def unload(self, model: str, context: Context) -> None:
        """Unloads a model at the service that has it."""
        await unload_model(model_pb2.UnloadModelRequest(model=model), self._mesh)


def _served(space: SpaceDescription) -> Served:
    name, _, version = space.name.partition("@")
    names = [_NAMES[modality] for modality in space.modalities]
    return Served(
        name=name,
        version=version,
        inputs=[Tensor(each, "BYTES", [-1]) for each in names],
        outputs=[Tensor(f"{each}_embedding", "FP32", [-1, space.dim]) for each in names],
        is_ready=bool(names),
        platform="ensemble",
    )


def _contents(name: str, elements: Elements, asked: Asked) -> Sequence[content_pb2.Content]:
    if name not in _NAMES.values() or not isinstance(elements, list):
        raise InvalidInput(f"has {name[:80]!r}; give {', '.join(_NAMES.values())} as BYTES", field="inputs")
    if name == "image":
        return [content_pb2.Content(image=content_pb2.Image(data=each)) for each in elements]
    if name == "audio":
        return [content_pb2.Content(audio=content_pb2.Audio(data=each)) for each in elements]
    return [content_pb2.Content(text=_text(each, asked.field(name, item))) for item, each in enumerate(elements)]


def _text(element: bytes, field: str) -> str:
    try:
        return element.decode()
    except UnicodeDecodeError:
        raise InvalidInput("is no UTF-8", field=field) from None


def _divided(rows: NDArray[np.float32], inputs: Mapping[str, Elements]) -> Mapping[str, NDArray[np.float32]]:
    outputs, start = {}, 0
    for name, elements in inputs.items():
        outputs[f"{name}_embedding"] = rows[start : start + len(elements)]
        start += len(elements)
    return outputs
