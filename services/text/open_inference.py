"""Texts by the Open Inference Protocol."""

from __future__ import annotations

from collections.abc import Sequence

from sensorium.v1.embedding_pb2 import EncodeOptions
from sensorium.v1.text_pb2 import EncodeTextRequest
from services.text.open_rows import read_tokens
from services.text.preprocess import Text
from services.text.servicer import TextServicer
from shared.hosting.open_inference import Answer, Native, one_input
from shared.hosting.open_rows import own_rows
from shared.hosting.repository import Repository
from shared.serving.open_inference.models import Context


def native(repository: Repository[Text], max_items: int) -> Native:
    """Returns the call behind the protocol: a tensor `text` of UTF-8, or tensors as the graph takes them."""
    servicer = TextServicer(repository, max_items)

    async def encode(texts: Sequence[bytes], options: EncodeOptions, context: Context) -> Answer:
        request = EncodeTextRequest(texts=[text.decode() for text in texts], options=options)
        response = await servicer.EncodeText(request, context)
        return response.results, response.receipt

    return one_input("text", "texts", encode, own_rows(repository, max_items, read_tokens))
