"""The fan-out: contents of any kind to vectors of one space, every encoder in one batched call, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sensorium import vectors
from sensorium.errors import FailedPrecondition, InternalError, InvalidInput, SensoriumError, Unavailable
from sensorium.v1.embedding_pb2 import Embedding, EncodeOptions, Receipt
from services.orchestrator.batches import Outcome, Outcomes, in_batches, vector_of
from services.orchestrator.bridge import carry
from services.orchestrator.concurrency import run_all
from services.orchestrator.contents import Piece, by_call, without_kind
from services.orchestrator.encoders import EncodeResponse
from services.orchestrator.mesh import Mesh
from services.orchestrator.spaces import Route, Space, model_id


async def encode(pieces: Sequence[Piece], space: Space, mesh: Mesh, options: EncodeOptions) -> Outcomes[Embedding]:
    """Returns what became of contents in one space, in order: a vector each, or the error of that content alone.

    Raises:
        DeadlineExceeded: the time of the call is over.
    """
    places = by_call(pieces)
    answers = await run_all(
        *(_encode_alike([pieces[place] for place in ours], space, mesh, options) for ours in places.values())
    )
    outcomes: dict[int, Outcome] = {}
    receipts: list[Receipt] = []
    for ours, answer in zip(places.values(), answers, strict=True):
        outcomes.update(zip(ours, answer.outcomes, strict=True))
        receipts.extend(answer.receipts)
    return Outcomes([outcomes[place] for place in range(len(pieces))], receipts)


@dataclass(frozen=True, slots=True)
class Rows:
    """Contents as the rows of a matrix.

    rows: (n, dim) float32, of length 1, in the order of the contents; NaN where one failed.
    errors: why, by row.
    """

    rows: NDArray[np.float32]
    errors: Mapping[int, SensoriumError]
    receipts: Sequence[Receipt]


async def encode_rows(pieces: Sequence[Piece], space: Space, mesh: Mesh) -> Rows:
    """Returns contents as rows to calculate with.

    Raises:
        DeadlineExceeded: the time of the call is over.
    """
    encoded = await encode(pieces, space, mesh, EncodeOptions())
    rows = np.full((len(pieces), space.dim), np.nan, np.float32)
    errors: dict[int, SensoriumError] = {}
    for place, outcome in enumerate(encoded.outcomes):
        if isinstance(outcome, SensoriumError):
            errors[place] = outcome
            continue
        try:
            rows[place] = vectors.read(outcome)
        except InvalidInput as error:
            errors[place] = InternalError(f"an encoder returned a vector that {error.problem}")
    return Rows(rows, errors, encoded.receipts)


async def _encode_alike(
    pieces: Sequence[Piece], space: Space, mesh: Mesh, options: EncodeOptions
) -> Outcomes[Embedding]:
    """Returns what became of contents of one kind and one prompt."""
    kind = pieces[0].kind
    if not kind:
        return Outcomes([without_kind(piece) for piece in pieces])
    if kind == "embedding":
        return await carry(pieces, space, mesh, options)
    try:
        route = mesh.route(space, pieces[0].modality)
    except FailedPrecondition as error:
        return Outcomes([error.at(piece.path) for piece in pieces])
    except Unavailable as error:
        return Outcomes([error] * len(pieces))
    return await _encode_batches(pieces, route, space, options)


async def _encode_batches(
    pieces: Sequence[Piece], route: Route, space: Space, options: EncodeOptions
) -> Outcomes[Embedding]:
    chosen = EncodeOptions()
    chosen.CopyFrom(options)
    chosen.model = model_id(route.model)

    async def send(batch: Sequence[Piece]) -> EncodeResponse:
        return await route.encoder.encode([piece.content for piece in batch], chosen, pieces[0].prompt)

    answer = await in_batches(pieces, route.model.limits, lambda piece: piece.content.ByteSize(), send, vector_of)
    dim = options.dimensions or space.dim
    return Outcomes(
        [_verified(outcome, piece, route, space, dim) for outcome, piece in zip(answer.outcomes, pieces, strict=True)],
        answer.receipts,
    )


def _verified(outcome: Outcome, piece: Piece, route: Route, space: Space, dim: int) -> Outcome:
    """Returns an encoder's outcome as the caller may see it: no vector of another space, none that is no direction."""
    if isinstance(outcome, SensoriumError):
        return piece.rooted(outcome)
    return wrong_vector(outcome, route, space, dim) or outcome


def wrong_vector(found: Embedding, route: Route, space: Space, dim: int) -> InternalError | None:
    """Returns what is wrong with a vector that an encoder returned; None where nothing is."""
    peer = route.encoder.peer
    if found.space == space.name and found.dim == dim:
        try:
            vectors.read(found)
        except InvalidInput as fault:
            problem = f"a vector that {fault.problem}"
        else:
            return None
    else:
        problem = f"{found.dim} components of the space {found.space!r}, where {dim} of {space.name!r} were asked for"
    return InternalError(
        f"the {peer.name} service returned {problem}", metadata={"service": peer.name, "address": peer.address}
    )
