"""Vectors that callers bring: checked, carried to the space of the call, and made as the options say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sensorium import vectors
from sensorium.errors import FailedPrecondition, InvalidInput, Reason, SensoriumError
from sensorium.v1.embedding_pb2 import Embedding, EncodeOptions
from sensorium.v1.fusion_pb2 import ProjectRequest, ProjectResponse
from services.orchestrator.batches import Outcome, Outcomes, in_batches, vector_of
from services.orchestrator.contents import Piece
from services.orchestrator.mesh import Fusion, Mesh
from services.orchestrator.spaces import Space


async def carry(pieces: Sequence[Piece], space: Space, mesh: Mesh, options: EncodeOptions) -> Outcomes[Embedding]:
    """Returns the vectors of embeddings in one space, in order; a vector that names no space is in this one.

    Raises:
        DeadlineExceeded: the time of the call is over.
    """
    outcomes: list[Outcome] = [_checked(piece, space, mesh) for piece in pieces]
    foreign = [
        place
        for place, outcome in enumerate(outcomes)
        if isinstance(outcome, Embedding) and outcome.space != space.name
    ]
    carried = await _projected([pieces[place] for place in foreign], space, mesh)
    for place, outcome in zip(foreign, carried.outcomes, strict=True):
        outcomes[place] = outcome
    finished = [_finished(outcome, piece, space, options) for outcome, piece in zip(outcomes, pieces, strict=True)]
    return Outcomes(finished, carried.receipts)


def _checked(piece: Piece, space: Space, mesh: Mesh) -> Outcome:
    """Returns the caller's vector with its space, or what is wrong with it."""
    given = piece.content.embedding
    try:
        vector = vectors.read(given)
        source = given.space or space.name
        if source != space.name:
            _bridge(source, space, mesh)
        elif vector.size != space.dim:
            raise InvalidInput(
                f"has {vector.size} components; vectors of the space {space.name} have {space.dim}",
                reason=Reason.EMBEDDING_INVALID,
                field="packed" if given.packed else "values",
            )
    except SensoriumError as error:
        return error.under(piece.path)
    return vectors.write(vector, source)


def _bridge(source: str, space: Space, mesh: Mesh) -> Fusion:
    """Returns the service that has a model from one space to the other.

    Raises:
        FailedPrecondition: there is none.
        Unavailable: the fusion service was never seen.
    """
    if mesh.fusion is not None:
        if source in space.bridges:
            return mesh.fusion
        if not mesh.fusion.peer.is_known:
            raise mesh.fusion.peer.unavailable()
    raise FailedPrecondition(
        f"is {source!r}, the call compares in {space.name!r}, and no bridge between the two is loaded",
        reason=Reason.SPACES_DIFFER,
        field="space",
        metadata={"from_space": source, "to_space": space.name},
    )


async def _projected(pieces: Sequence[Piece], space: Space, mesh: Mesh) -> Outcomes[Embedding]:
    """Returns vectors of other spaces, all of which have a bridge, in this one."""
    if not pieces or mesh.fusion is None:
        return Outcomes([])
    fusion = mesh.fusion

    async def send(batch: Sequence[Piece]) -> ProjectResponse:
        request = ProjectRequest(embeddings=[piece.content.embedding for piece in batch], to_space=space.name)
        return await fusion.peer.compute(fusion.stub.Project, request)

    limits = space.bridges[pieces[0].content.embedding.space].limits
    carried = await in_batches(pieces, limits, lambda piece: piece.content.ByteSize(), send, vector_of)
    return Outcomes(
        [
            piece.rooted(outcome) if isinstance(outcome, SensoriumError) else outcome
            for piece, outcome in zip(pieces, carried.outcomes, strict=True)
        ],
        carried.receipts,
    )


def _finished(outcome: Outcome, piece: Piece, space: Space, options: EncodeOptions) -> Outcome:
    if isinstance(outcome, SensoriumError):
        return outcome
    try:
        vector = _shaped(vectors.read(outcome), options)
    except SensoriumError as error:
        return error.under(piece.path)
    return vectors.write(vector, space.name, options.encoding)


def _shaped(vector: NDArray[np.float32], options: EncodeOptions) -> NDArray[np.float32]:
    """Returns a (dim,) vector with as many components and the length that the options ask for."""
    kept = vector[: options.dimensions or None]
    if options.HasField("normalize") and not options.normalize:
        return kept
    length = float(np.linalg.norm(kept.astype(np.float64)))  # squares of small components vanish in float32
    if length == 0:
        raise InvalidInput(
            f"has only zeros in its first {options.dimensions} components",
            reason=Reason.EMBEDDING_INVALID,
            field="values",
        )
    return kept / np.float32(length)
