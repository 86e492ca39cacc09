"""What a text model sees of texts: their tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sensorium.answers import raise_first
from sensorium.errors import SensoriumError
from sensorium.status import from_status
from sensorium.v1 import embedding_pb2, orchestrator_pb2


@dataclass(frozen=True)
class Tokens:
    """The tokens of one text, special ones included: as numbers, and as strings of the vocabulary.

    is_truncated: whether the text was longer than the model's limit.
    """

    ids: Sequence[int]
    pieces: Sequence[str]
    is_truncated: bool


@dataclass(frozen=True)
class Tokenization:
    """The tokens of each text, in order; of one that failed there are none, and `errors` says why, by its place."""

    tokens: Sequence[Tokens]
    errors: Mapping[int, SensoriumError]
    receipt: embedding_pb2.Receipt

    def raise_for_errors(self) -> None:
        """Raises the first error, if there is one."""
        raise_first(self.errors)


def read_tokenization(response: orchestrator_pb2.OrchestratorServiceTokenizeResponse) -> Tokenization:
    """Returns the answer to `Tokenize`."""
    errors = {at: from_status(each.error) for at, each in enumerate(response.results) if each.HasField("error")}
    tokens = [
        Tokens(list(each.tokens.ids), list(each.tokens.pieces), each.tokens.is_truncated) for each in response.results
    ]
    return Tokenization(tokens, errors, response.receipt)
