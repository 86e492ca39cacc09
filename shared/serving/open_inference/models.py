"""What a service gives the protocol to serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import grpc.aio
import numpy as np
from numpy.typing import NDArray

from sensorium.errors import SensoriumError
from sensorium.oip import open_inference_pb2
from sensorium.v1 import embedding_pb2

SERVICE = open_inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
INFER = f"/{SERVICE}/ModelInfer"
OPEN_METHODS = (f"/{SERVICE}/ServerLive", f"/{SERVICE}/ServerReady")  # what a probe asks
ADMIN_METHODS = (f"/{SERVICE}/RepositoryModelLoad", f"/{SERVICE}/RepositoryModelUnload")

Context = grpc.aio.ServicerContext[Any, Any]  # Any: of whatever messages; nothing here looks into it
Elements = Sequence[bytes] | NDArray[Any]  # of BYTES, or of numbers of any datatype


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output of a model. shape: -1 stands for any number."""

    name: str
    datatype: str
    shape: Sequence[int]


@dataclass(frozen=True, slots=True)
class Served:
    """One model as the protocol sees it."""

    name: str
    version: str
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    is_ready: bool = True
    platform: str = "onnxruntime_onnx"


@dataclass(frozen=True, slots=True)
class Asked:
    """One ModelInfer after reading.

    inputs: by name, each with at least one element; arrays have the batch as their first axis.
    places: the place of each input in the request, for errors.
    options: with the model, as the native calls take them.
    """

    inputs: Mapping[str, Elements]
    places: Mapping[str, int]
    options: embedding_pb2.EncodeOptions

    def field(self, name: str, item: int | None = None) -> str:
        """Returns the path of an input, or of one of its elements, in the request."""
        path = f"inputs[{self.places[name]}].contents"
        return path if item is None else f"{path}[{item}]"


@dataclass(frozen=True, slots=True)
class Inferred:
    """What a model gave: each output (n, dim) float32 by name, and what made it."""

    outputs: Mapping[str, NDArray[np.float32]]
    receipt: embedding_pb2.Receipt
    space: str


def renamed(error: SensoriumError, names: Mapping[str, str]) -> SensoriumError:
    """Returns an error of a native call with its field as the caller of the protocol knows it.

    names: what the fields of the native request are called here; those of its options are parameters.
    """
    if error.field.startswith("options."):
        return error.at(f"parameters[{error.field.removeprefix('options.')}]")
    return error.at(names.get(error.field, error.field))


class Models(Protocol):
    """The models of one service."""

    async def served(self) -> Sequence[Served]:
        """Returns those that are loaded, the newest version of each name first."""

    async def infer(self, asked: Asked, context: Context) -> Inferred:
        """Runs one.

        Raises:
            SensoriumError: the whole call is refused; the field is of the request of the protocol.
        """

    async def load(self, model: str, context: Context) -> None:
        """Loads a model of the folder."""

    async def unload(self, model: str, context: Context) -> None:
        """Lets a model go."""
