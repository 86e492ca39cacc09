"""Checks on requests that several calls share."""

from __future__ import annotations

from collections.abc import Sequence

from sensorium.errors import FailedPrecondition, InvalidInput, NotFound, Reason, Unavailable
from sensorium.v1 import content_pb2, embedding_pb2
from sensorium.v1.embedding_pb2 import EncodeOptions
from services.orchestrator.mesh import Mesh
from services.orchestrator.spaces import Space


def check_count(field: str, count: int, most: int) -> None:
    """Refuses a list that is empty or too long.

    Raises:
        InvalidInput: it is.
    """
    if count == 0:
        raise InvalidInput(f"is empty; give 1 to {most}", reason=Reason.EMPTY_REQUEST, field=field)
    check_most(field, count, most)


def check_most(field: str, count: int, most: int) -> None:
    """Refuses a list that is too long.

    Raises:
        InvalidInput: it is.
    """
    if count > most:
        raise InvalidInput(
            f"has {count} items, over the limit of {most}; send several calls",
            reason=Reason.TOO_MANY_ITEMS,
            field=field,
            metadata={"limit": str(most), "count": str(count)},
        )


def check_options(options: EncodeOptions, space: Space) -> None:
    """Refuses options that cannot be met in a space.

    Raises:
        InvalidInput: a model is named, or dimensions or encoding are out of range.
    """
    if options.model:
        raise InvalidInput(
            f"is {options.model[:80]!r}; the orchestrator chooses models by space, so leave it empty",
            field="options.model",
        )
    if not 0 <= options.dimensions <= space.dim:
        raise InvalidInput(
            f"is {options.dimensions}; give 1 to {space.dim} of the space {space.name}, or 0 for all",
            field="options.dimensions",
        )
    if options.encoding not in embedding_pb2.VectorEncoding.values():
        raise InvalidInput(f"is {options.encoding}, which is no VectorEncoding", field="options.encoding")


def check_prompt(field: str, name: str, space: Space, mesh: Mesh) -> None:
    """Refuses a prompt that the text model of a space does not have; empty is the model's default.

    Raises:
        NotFound: PROMPT_NOT_FOUND; the metadata names those that exist.
    """
    if not name:
        return
    known: Sequence[str] = ()
    try:
        known = mesh.route(space, content_pb2.MODALITY_TEXT).model.prompt_names
    except Unavailable:  # the text service, which was never seen, may have it; texts get that error, each its own
        return
    except FailedPrecondition:
        pass  # a space without texts has none
    if name not in known:
        available = ", ".join(filter(None, known)) or "none"  # one named "" is the default
        raise NotFound(
            f"is {name[:80]!r}; the prompts of the space {space.name} are {available}",
            reason=Reason.PROMPT_NOT_FOUND,
            field=field,
            metadata={"prompt": name[:80], "available": available},
        )
