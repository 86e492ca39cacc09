"""Reads and writes the tensors of the protocol: typed lists, or raw bytes."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sensorium import vectors
from sensorium.errors import InvalidInput, Reason, SensoriumError
from sensorium.oip.open_inference_pb2 import InferTensorContents, ModelInferRequest
from sensorium.status import from_status
from sensorium.v1.embedding_pb2 import ItemResult
from shared.serving.open_inference.models import Elements

_Input = ModelInferRequest.InferInputTensor

# Datatypes that our graphs take: how they lie in raw bytes, and in which of the typed lists.
_DTYPES = {
    "BOOL": ("?", "bool_contents"),
    "INT32": ("<i4", "int_contents"),
    "INT64": ("<i8", "int64_contents"),
    "FP32": ("<f4", "fp32_contents"),
    "FP16": ("<f2", ""),
}
_MOST_ELEMENTS = 100_000  # of BYTES; no server can be told to take more items in a call
_LENGTH = struct.Struct("<I")  # before each element of BYTES


def read_inputs(request: ModelInferRequest) -> dict[str, Elements]:
    """Returns the inputs by name: lists of bytes, or arrays of their shapes that share the request's memory.

    Raises:
        InvalidInput: there is none, one is there twice or empty, or its elements are not what it says.
    """
    if not request.inputs:
        raise InvalidInput("is empty; give a tensor", reason=Reason.EMPTY_REQUEST, field="inputs")
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise InvalidInput(
            f"has {len(raw)} entries for {len(request.inputs)} inputs; give one for each", field="raw_input_contents"
        )
    found: dict[str, Elements] = {}
    for place, tensor in enumerate(request.inputs):
        if tensor.name in found:
            raise InvalidInput(f"is {tensor.name[:80]!r}, which is there twice", field=f"inputs[{place}].name")
        try:
            found[tensor.name] = _read(tensor, raw[place] if raw else None)
        except SensoriumError as error:
            raise error.under(f"inputs[{place}]") from None
    return found


def _read(tensor: _Input, raw: bytes | None) -> Elements:
    shape = list(tensor.shape)
    if not shape or min(shape) < 1:
        raise InvalidInput(f"is {shape}; every number must be 1 or more", field="shape")
    count = math.prod(shape)
    if tensor.datatype == "BYTES":
        elements = list(tensor.contents.bytes_contents) if raw is None else _split(raw, count)
        if len(elements) != count or math.prod(shape[1:]) != 1:
            raise InvalidInput(f"is {shape} for {len(elements)} elements; give [n] or [n, 1]", field="shape")
        return elements
    if tensor.datatype not in _DTYPES:
        raise InvalidInput(f"is {tensor.datatype[:20]!r}; give BYTES, {', '.join(_DTYPES)}", field="datatype")
    dtype, _ = _DTYPES[tensor.datatype]
    if raw is None:
        array = _typed(tensor.contents, tensor.datatype)
    elif len(raw) != count * np.dtype(dtype).itemsize:
        raise InvalidInput(
            f"is {shape} of {tensor.datatype}, {count * np.dtype(dtype).itemsize} bytes; there are {len(raw)}",
            field="shape",
        )
    else:
        array = np.frombuffer(raw, dtype)
    if array.size != count:
        raise InvalidInput(f"is {shape} for {array.size} elements", field="shape")
    return array.reshape(shape)


def _typed(contents: InferTensorContents, datatype: str) -> NDArray[np.generic]:
    dtype, name = _DTYPES[datatype]
    if not name:
        raise InvalidInput(f"is {datatype}, which goes in raw_input_contents only", field="datatype")
    return np.asarray(getattr(contents, name), dtype)


def _split(raw: bytes, count: int) -> list[bytes]:
    """Returns the elements of a raw tensor of BYTES: each behind its length, little-endian in 4 bytes."""
    if count > _MOST_ELEMENTS or _LENGTH.size * count > len(raw):
        raise InvalidInput(
            f"says {count} elements, which {len(raw)} bytes do not hold; give [n] or [n, 1]", field="shape"
        )
    elements: list[bytes] = []
    at = 0
    while at < len(raw) and len(elements) <= count:  # one too many is a fault, and megabytes of empty ones take seconds
        start = at + _LENGTH.size
        end = start + _LENGTH.unpack_from(raw, at)[0] if start <= len(raw) else math.inf
        if end > len(raw):
            raise InvalidInput(f"ends within element {len(elements)}; each goes behind its length", field="contents")
        at = int(end)
        elements.append(raw[start:at])
    return elements


def stacked(results: Sequence[ItemResult], fields: Sequence[str]) -> NDArray[np.float32]:
    """Returns vectors as one array (n, dim) float32.

    fields: of each result, where its item is in the request.

    Raises:
        SensoriumError: that of the first item that failed.
    """
    for result, field in zip(results, fields, strict=True):
        if result.HasField("error"):
            raise from_status(result.error).at(field)
    return np.stack([vectors.read(result.embedding) for result in results])


def raw_contents(outputs: Sequence[NDArray[np.float32]]) -> list[bytes]:
    """Returns arrays as the raw bytes of FP32 tensors."""
    return [output.astype("<f4", copy=False).tobytes() for output in outputs]
