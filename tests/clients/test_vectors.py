"""Vectors are written and read by their form on the wire, and nobody can tell."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium import vectors
from sensorium.errors import InvalidInput
from sensorium.v1 import embedding_pb2
from sensorium.v1.embedding_pb2 import Embedding


@pytest.mark.parametrize("space", ["", "m@1", "名@2", "x" * 300])
@pytest.mark.parametrize("dim", [1, 31, 32, 127, 4096, 40_000])
def test_a_written_vector_is_the_message_that_protobuf_would_make(space: str, dim: int) -> None:
    vector = np.random.default_rng(dim).standard_normal(dim).astype(np.float32)
    message = vectors.write(vector, space)
    assert message == Embedding(
        space=space, dim=dim, encoding=embedding_pb2.VECTOR_ENCODING_FLOAT32, values=vector.tolist()
    )
    assert (vectors.read(message) == vector).all()


def test_a_vector_that_was_read_may_be_changed() -> None:
    vector = vectors.read(Embedding(space="m@1", values=[1.0, 2.0]))
    vector *= 2
    assert vector.tolist() == [2.0, 4.0]


def test_an_array_of_another_kind_is_written_by_its_values() -> None:
    every_second = np.arange(1, 9, dtype=np.float64)[::2].astype(np.float32)
    assert list(vectors.write(every_second[::-1], "m@1").values) == [7.0, 5.0, 3.0, 1.0]


def test_an_unscaled_vector_is_read_by_its_norm_and_missed_where_it_has_none() -> None:
    scaled = vectors.write(np.array([0.6, 0.8], np.float32), "m@1")
    with pytest.raises(InvalidInput, match="norm: is not set, and the vector has length 1"):
        vectors.read_unscaled(scaled)
    scaled.norm = 5.0
    assert vectors.read_unscaled(scaled).tolist() == pytest.approx([3.0, 4.0])
    assert vectors.read_unscaled(Embedding(values=[3.0, 4.0])).tolist() == [3.0, 4.0]
