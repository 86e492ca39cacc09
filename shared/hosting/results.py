"""From what an encoder answers to what the contract says: options, item results, receipts."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sensorium import vectors
from sensorium.errors import InvalidInput, Reason, SensoriumError
from sensorium.v1 import embedding_pb2
from shared.hosting.stages import trace_stages
from shared.inference.encoded import Encoded
from shared.inference.manifest import Manifest
from shared.inference.package import Package
from shared.serving.items import failed_item

_ENCODINGS = frozenset(embedding_pb2.VectorEncoding.values())
_SHORTEST = 1e-12  # the length below which a vector has no direction that means anything


@dataclass(frozen=True, slots=True)
class Wanted:
    """`EncodeOptions` after checking: how vectors are finished and packed, and whether texts are cut."""

    normalize: bool
    dimensions: int
    encoding: embedding_pb2.VectorEncoding.ValueType
    truncate: bool


def read_options(options: embedding_pb2.EncodeOptions, manifest: Manifest) -> Wanted:
    """Returns the options with their defaults.

    Raises:
        InvalidInput: dimensions out of 0..dim, or an unknown encoding.
    """
    if not 0 <= options.dimensions <= manifest.dim:
        raise InvalidInput(
            f"is {options.dimensions}; {manifest.id} has {manifest.dim}, so give 1 to {manifest.dim}, or 0 for all",
            field="options.dimensions",
        )
    if options.encoding not in _ENCODINGS:
        known = ", ".join(embedding_pb2.VectorEncoding.keys())
        raise InvalidInput(f"is {options.encoding}, which is none of {known}", field="options.encoding")
    return Wanted(
        normalize=options.normalize if options.HasField("normalize") else True,
        dimensions=options.dimensions or manifest.dim,
        encoding=options.encoding,
        truncate=options.truncate if options.HasField("truncate") else True,
    )


def check_count(count: int, limit: int, field: str) -> None:
    """Refuses a call without items, or with more than `limit`.

    Raises:
        InvalidInput: EMPTY_REQUEST or TOO_MANY_ITEMS.
    """
    if count == 0:
        raise InvalidInput(f"is empty; give 1 to {limit}", reason=Reason.EMPTY_REQUEST, field=field)
    if count > limit:
        raise InvalidInput(
            f"has {count} items; give at most {limit} in a call",
            reason=Reason.TOO_MANY_ITEMS,
            field=field,
            metadata={"limit": str(limit), "count": str(count)},
        )


def embedded(vector: NDArray[np.float32], wanted: Wanted, space: str) -> embedding_pb2.Embedding:
    """Returns the first `dimensions` components, of length 1 where that is wanted, packed."""
    vector = vector[: wanted.dimensions]
    if not wanted.normalize:
        return vectors.write(vector, space, wanted.encoding)
    exact = vector.astype(np.float64)
    norm = math.sqrt(exact.dot(exact))
    message = vectors.write((exact / max(norm, _SHORTEST)).astype(np.float32), space, wanted.encoding)
    message.norm = norm
    return message


def whole_clip(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the vector (dim,) of a clip's windows (n, dim): the mean of their directions, as long as they are."""
    if len(rows) == 1:
        return np.asarray(rows[0])
    lengths = np.sqrt(np.square(rows, dtype=np.float64).sum(-1))
    return np.asarray(unit(unit(rows).mean(axis=0)) * lengths.mean(), np.float32)


def unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns vectors (…, dim) float32 scaled to length 1; the norm is taken in float64."""
    norm = np.sqrt(np.square(vector, dtype=np.float64).sum(-1, keepdims=True))
    return np.asarray(vector / np.maximum(norm, _SHORTEST), np.float32)


def item_result(vector: NDArray[np.float32] | SensoriumError, wanted: Wanted, space: str) -> embedding_pb2.ItemResult:
    """Returns the result of one item: its vector finished and packed, or its error."""
    if isinstance(vector, SensoriumError):
        return embedding_pb2.ItemResult(error=failed_item(vector))
    return embedding_pb2.ItemResult(embedding=embedded(vector, wanted, space))


def receipt(package: Package, answers: Sequence[Encoded | SensoriumError], started_ns: int) -> embedding_pb2.Receipt:
    """Returns what a call cost, which its trace shows too; `started_ns` is its arrival by `time.perf_counter_ns`."""
    manifest = package.manifest
    trace_stages(manifest.id, answers)
    good = [answer for answer in answers if isinstance(answer, Encoded)]
    units = sum(answer.unit_count for answer in good)
    return embedding_pb2.Receipt(
        model=manifest.name,
        version=manifest.version,
        fingerprint=package.fingerprint,
        preprocess_ns=sum(answer.preprocess_ns for answer in good),
        queue_ns=max((answer.queue_ns for answer in good), default=0),
        inference_ns=max((answer.inference_ns for answer in good), default=0),
        total_ns=time.perf_counter_ns() - started_ns,
        token_count=units if manifest.modality == "text" else 0,
        pixel_count=units if manifest.modality == "image" else 0,
        audio_ms=units if manifest.modality == "audio" else 0,
        batch_size=max((answer.batch_size for answer in good), default=0),
        cache_hit_count=sum(answer.is_cached for answer in good),
    )
