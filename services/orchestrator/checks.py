"""Checks on requests that several calls share."""

from __future__ import annotations

from sensorium.errors import InvalidInput, Reason
from sensorium.v1 import embedding_pb2
from sensorium.v1.embedding_pb2 import EncodeOptions
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
