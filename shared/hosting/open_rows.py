"""Rows that their caller preprocessed himself, as the graph takes them: through the same queue as all others."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sensorium.errors import InvalidInput, SensoriumError
from sensorium.v1 import embedding_pb2
from shared.hosting import results
from shared.hosting.repository import Repository
from shared.inference.encoder import Encoder
from shared.inference.features import Features, Prepared
from shared.serving.call import current_call

_Input = TypeVar("_Input")
_Answer = tuple[Sequence[embedding_pb2.ItemResult], embedding_pb2.Receipt]
Arrays = Mapping[str, NDArray[Any]]  # by the names of the graph's inputs, the batch first


def read_rows(encoder: Encoder[Any], arrays: Arrays) -> Sequence[Prepared]:
    """Returns the rows (Any: of an encoder of whatever input) of a model whose rows all have one shape.

    Raises:
        InvalidInput: another array than the graph's is there or one is missing, or it has another type or shape, or
            NaN or infinity.
    """
    sample = encoder.sample
    check_names(arrays, sample)
    for name, array in arrays.items():
        wanted = sample.arrays[name]
        if array.shape[1:] != wanted.shape or not np.can_cast(array.dtype, wanted.dtype):
            raise InvalidInput(
                f"has {name} of {array.dtype} {list(array.shape)}; the model takes {wanted.dtype} "
                f"{[-1, *wanted.shape]}",
                field="inputs",
            )
        if not np.isfinite(array).all():
            raise InvalidInput(f"has {name} with NaN or infinity; every number must be finite", field="inputs")
    cast = {name: array.astype(sample.arrays[name].dtype, copy=False) for name, array in arrays.items()}
    (count,) = {len(array) for array in cast.values()}
    rows = ({name: array[at] for name, array in cast.items()} for at in range(count))
    return [Prepared([Features(row, sample.length, sample.cost)], sample.cost) for row in rows]


def check_names(arrays: Arrays, sample: Features, optional: Sequence[str] = ()) -> None:
    """Refuses arrays that are not the graph's, or do not have as many rows as each other.

    Raises:
        InvalidInput: so it is.
    """
    known = [*sample.arrays]
    if not {*known} - {*optional} <= {*arrays} <= {*known}:
        raise InvalidInput(f"has {', '.join(sorted(arrays))[:200]}; the model takes {', '.join(known)}", field="inputs")
    if len({len(array) for array in arrays.values()}) != 1:
        raise InvalidInput("have batches of different sizes; row i of each is item i", field="inputs")


def own_rows(
    repository: Repository[_Input],
    max_items: int,
    read: Callable[[Encoder[_Input], Arrays], Sequence[Prepared]] = read_rows,
) -> Callable[[Arrays, embedding_pb2.EncodeOptions], Awaitable[_Answer]]:
    """Returns what answers for arrays as the native call does for raw inputs; `read` makes rows of them."""

    async def encode(arrays: Arrays, options: embedding_pb2.EncodeOptions) -> _Answer:
        encoder = repository.get(options.model, "encode", "options.model")
        return await _encode_rows(encoder, read(encoder, arrays), options, max_items)

    return encode


async def _encode_rows(
    encoder: Encoder[Any], rows: Sequence[Prepared], options: embedding_pb2.EncodeOptions, max_items: int
) -> _Answer:
    started = time.perf_counter_ns()
    call, manifest = current_call(), encoder.package.manifest
    results.check_count(len(rows), max_items, "inputs")
    wanted = results.read_options(options, manifest)
    encoded = await encoder.encode_prepared(rows, deadline=call.deadline, priority=call.priority)
    items = [
        results.item_result(each if isinstance(each, SensoriumError) else each.vectors[0], wanted, manifest.space)
        for each in encoded
    ]
    return items, results.receipt(encoder.package, encoded, started)
