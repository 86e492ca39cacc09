"""Reads the vectors of a request and holds them to the model that is to take them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sensorium import vectors
from sensorium.errors import FailedPrecondition, InvalidInput, Reason
from sensorium.v1 import content_pb2, embedding_pb2, fusion_pb2
from services.fusion.preprocess import Parts
from shared.hosting.results import unit

MAX_PARTS, MAX_WEIGHT = 16, 1000.0
_MODALITIES = (content_pb2.MODALITY_TEXT, content_pb2.MODALITY_IMAGE, content_pb2.MODALITY_AUDIO)


def read_item(item: fusion_pb2.FusionItem, space: str, dim: int, *, is_scaled: bool = True) -> Parts:
    """Returns the parts of an item, their vectors scaled to length 1, or unless `is_scaled` as their model gave them.

    Raises:
        InvalidInput: no parts, too many, an unknown modality, a weight out of range, all weights 0, a broken vector.
        FailedPrecondition: SPACES_DIFFER.
    """
    if not 1 <= len(item.parts) <= MAX_PARTS:
        raise InvalidInput(
            f"has {len(item.parts)} parts; give 1 to {MAX_PARTS}",
            reason=Reason.TOO_MANY_ITEMS if item.parts else Reason.EMPTY_REQUEST,
            field="parts",
        )
    rows, weights = [], []
    for place, part in enumerate(item.parts):
        try:
            rows.append(read_vector(part.embedding, space, dim, is_scaled=is_scaled))
        except (InvalidInput, FailedPrecondition) as error:
            raise error.under(f"parts[{place}].embedding") from None
        weights.append(_weight(part, place))
        if part.modality not in _MODALITIES:
            raise InvalidInput(
                f"is {part.modality}; give MODALITY_TEXT, MODALITY_IMAGE or MODALITY_AUDIO",
                field=f"parts[{place}].modality",
            )
    if not any(weights):
        raise InvalidInput("have only weights of 0; at least one part must count", field="parts")
    modalities = np.array([part.modality for part in item.parts], np.int64)
    return Parts(np.stack(rows), modalities, np.array(weights, np.float32))


def read_vector(
    embedding: embedding_pb2.Embedding, space: str, dim: int, *, is_scaled: bool = True
) -> NDArray[np.float32]:
    """Returns (dim,) float32, of length 1 or unless `is_scaled` as the vector's model gave it.

    Raises:
        InvalidInput: EMBEDDING_INVALID.
        FailedPrecondition: SPACES_DIFFER.
    """
    if embedding.space not in ("", space):
        raise FailedPrecondition(
            f"is {embedding.space!r}, but the model's space is {space!r}; project it first, or encode it anew",
            reason=Reason.SPACES_DIFFER,
            field="space",
            metadata={"from_space": embedding.space[:100], "to_space": space},
        )
    vector = vectors.read(embedding) if is_scaled else vectors.read_unscaled(embedding)
    if vector.size != dim:
        raise InvalidInput(
            f"has {vector.size} components; {space} has {dim}",
            reason=Reason.EMBEDDING_INVALID,
            field="packed" if embedding.packed else "values",
            metadata={"expected": str(dim), "size": str(vector.size)},
        )
    return unit(vector) if is_scaled else vector


def _weight(part: fusion_pb2.FusionPart, place: int) -> float:
    weight = part.weight if part.HasField("weight") else 1.0
    if not (math.isfinite(weight) and 0 <= weight <= MAX_WEIGHT):
        raise InvalidInput(f"is {weight}; give 0 to {MAX_WEIGHT:.0f}", field=f"parts[{place}].weight")
    return weight
