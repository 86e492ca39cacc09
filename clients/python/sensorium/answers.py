"""What a mesh answers, with numpy arrays in place of lists of floats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sensorium import vectors
from sensorium.contents import MODALITY_OF
from sensorium.display import comparison_html, shape_of, vectors_html
from sensorium.errors import SensoriumError
from sensorium.status import from_status
from sensorium.v1 import embedding_pb2, orchestrator_pb2

_NAMES = {modality: name for name, modality in MODALITY_OF.items()}


def raise_first(errors: Mapping[int, SensoriumError]) -> None:
    """Raises the error of the first place, if there is one."""
    for place in sorted(errors):
        raise errors[place]


@dataclass(frozen=True, repr=False)
class Embeddings:
    """One vector a content, in order.

    vectors: (n, dim) float32; the rows of contents that failed are NaN.
    errors: what went wrong, by the content's place.
    """

    vectors: NDArray[np.float32]
    errors: Mapping[int, SensoriumError]
    space: str
    receipt: embedding_pb2.Receipt

    def raise_for_errors(self) -> None:
        """Raises the first error, if there is one."""
        raise_first(self.errors)

    def __repr__(self) -> str:
        return f"Embeddings({shape_of(self.vectors)}, space={self.space!r}, errors={len(self.errors)})"

    def _repr_html_(self) -> str:
        return vectors_html(repr(self), self.vectors, self.errors)


@dataclass(frozen=True, repr=False)
class Comparison:
    """How alike each query is to each candidate.

    scores: (queries, candidates) float32 cosines, NaN where one of the two failed.
    probabilities: of the same shape, or None where no query's model has a calibration.
    """

    scores: NDArray[np.float32]
    probabilities: NDArray[np.float32] | None
    query_errors: Mapping[int, SensoriumError]
    candidate_errors: Mapping[int, SensoriumError]
    space: str
    receipt: embedding_pb2.Receipt

    def raise_for_errors(self) -> None:
        """Raises the first error, if there is one."""
        raise_first(self.query_errors)
        raise_first(self.candidate_errors)

    def __repr__(self) -> str:
        count = len(self.query_errors) + len(self.candidate_errors)
        return f"Comparison({shape_of(self.scores)}, space={self.space!r}, errors={count})"

    def _repr_html_(self) -> str:
        return comparison_html(repr(self), self.scores, self.query_errors, self.candidate_errors)


@dataclass(frozen=True, repr=False)
class Fusion:
    """One joint vector an item.

    vectors: (n, dim) float32; the rows of items that failed are NaN.
    modalities: those that took part in each item.
    errors: why items failed, by their place.
    part_errors: for each item, why parts of it failed, by the part's place.
    """

    vectors: NDArray[np.float32]
    modalities: Sequence[Sequence[str]]
    errors: Mapping[int, SensoriumError]
    part_errors: Sequence[Mapping[int, SensoriumError]]
    space: str
    receipt: embedding_pb2.Receipt

    def raise_for_errors(self) -> None:
        """Raises the first error of an item, if there is one."""
        raise_first(self.errors)

    def __repr__(self) -> str:
        return f"Fusion({shape_of(self.vectors)}, space={self.space!r}, errors={len(self.errors)})"

    def _repr_html_(self) -> str:
        return vectors_html(repr(self), self.vectors, self.errors)


def read_item(result: embedding_pb2.ItemResult) -> NDArray[np.float32] | SensoriumError:
    """Returns the vector (dim,) float32 of one result, or its error."""
    return from_status(result.error) if result.HasField("error") else vectors.read(result.embedding)


def read_embeddings(
    response: orchestrator_pb2.EmbedResponse | orchestrator_pb2.OrchestratorServiceProjectResponse,
) -> Embeddings:
    """Returns the answer to `Embed` or `Project`."""
    rows, errors = _rows([read_item(result) for result in response.results])
    space = next((result.embedding.space for result in response.results if result.HasField("embedding")), "")
    return Embeddings(rows, errors, space, response.receipt)


def read_comparison(response: orchestrator_pb2.CompareResponse) -> Comparison:
    """Returns the answer to `Compare`."""
    shape = (response.query_count, response.candidate_count)
    scores, probabilities = _matrices(response)
    return Comparison(
        scores=scores.reshape(shape),
        probabilities=probabilities.reshape(shape) if response.probabilities else None,
        query_errors=_content_errors(response.query_errors),
        candidate_errors=_content_errors(response.candidate_errors),
        space=response.space,
        receipt=response.receipt,
    )


def _matrices(
    response: orchestrator_pb2.CompareResponse,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns scores and probabilities, each flat, by their form on the wire: see `vectors.floats_of`."""
    kind = orchestrator_pb2.CompareResponse
    wire = response.SerializeToString()
    counts = kind(query_count=response.query_count, candidate_count=response.candidate_count).SerializeToString()
    head = counts + vectors.packed_head(kind.SCORES_FIELD_NUMBER, len(response.scores))
    after = head + wire[len(head) : len(head) + 4 * len(response.scores)]
    second = after + vectors.packed_head(kind.PROBABILITIES_FIELD_NUMBER, len(response.probabilities))
    return (
        vectors.floats_of(response.scores, wire, head),
        vectors.floats_of(response.probabilities, wire, second),
    )


def read_fusion(response: orchestrator_pb2.FuseResponse) -> Fusion:
    """Returns the answer to `Fuse`."""
    results = response.results
    rows, errors = _rows(
        [from_status(each.error) if each.HasField("error") else vectors.read(each.embedding) for each in results]
    )
    return Fusion(
        vectors=rows,
        modalities=[[_NAMES[modality] for modality in each.modalities] for each in results],
        errors=errors,
        part_errors=[_content_errors(each.part_errors) for each in results],
        space=next((each.embedding.space for each in results if each.HasField("embedding")), ""),
        receipt=response.receipt,
    )


def _rows(
    items: Sequence[NDArray[np.float32] | SensoriumError],
) -> tuple[NDArray[np.float32], dict[int, SensoriumError]]:
    """Returns (n, dim) with NaN where an item failed, and the errors by place."""
    errors = {at: item for at, item in enumerate(items) if isinstance(item, SensoriumError)}
    dim = next((item.size for item in items if not isinstance(item, SensoriumError)), 0)
    rows = np.full((len(items), dim), np.nan, np.float32)
    for at, item in enumerate(items):
        if not isinstance(item, SensoriumError):
            rows[at] = item
    return rows, errors


def _content_errors(errors: Iterable[orchestrator_pb2.ContentError]) -> dict[int, SensoriumError]:
    return {each.index: from_status(each.error) for each in errors}
