"""`TextEncoderService`: protobuf in, encoder, protobuf out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from sensorium.errors import SensoriumError
from sensorium.v1 import embedding_pb2, text_pb2, text_pb2_grpc
from services.text.preprocess import Text, TextPreprocessor, prompt_of
from shared.hosting import results
from shared.hosting.repository import Repository
from shared.serving.call import Call, current_call
from shared.serving.items import failed_item
from shared.serving.streams import answers, patiently

if TYPE_CHECKING:
    import grpc.aio

    _Context = grpc.aio.ServicerContext[Any, Any]  # Any: of whatever message; nothing here looks into it


class TextServicer(text_pb2_grpc.TextEncoderServiceServicer):
    """See `text.proto`."""

    def __init__(self, repository: Repository[Text], max_items: int) -> None:
        """Takes the loaded models and the most items of a call."""
        self._repository = repository
        self._max_items = max_items

    async def EncodeText(self, request: text_pb2.EncodeTextRequest, context: _Context) -> text_pb2.EncodeTextResponse:
        """Returns one result a text."""
        results.check_count(len(request.texts), self._max_items, "texts")
        fields = [f"texts[{place}]" for place in range(len(request.texts))]
        call = current_call()
        items, receipt = await self._encode(request.texts, fields, request.options, request.prompt_name, call.deadline)
        return text_pb2.EncodeTextResponse(results=items, receipt=receipt)

    async def EncodeTextStream(
        self, requests: AsyncIterator[text_pb2.EncodeTextStreamRequest], context: _Context
    ) -> AsyncIterator[text_pb2.EncodeTextStreamResponse]:
        """Answers each text of a stream."""
        call = current_call()
        async for response in answers(
            requests, lambda request: self._answer(request, call), byte_count=lambda request: request.ByteSize()
        ):
            yield response

    async def Tokenize(self, request: text_pb2.TokenizeRequest, context: _Context) -> text_pb2.TokenizeResponse:
        """Returns each text's tokens."""
        started = time.perf_counter_ns()
        results.check_count(len(request.texts), self._max_items, "texts")
        encoder = self._repository.get(request.model, "encode")
        prompt = prompt_of(encoder.package.manifest, request.prompt_name)
        truncate = request.truncate if request.HasField("truncate") else True
        texts = [Text(text, prompt, truncate) for text in request.texts]
        preprocessor = encoder.prepare
        assert isinstance(preprocessor, TextPreprocessor), "every encoder of this service is opened with one"
        call = current_call()
        found = await encoder.prepare_with(
            partial(_tokenized, preprocessor), texts, deadline=call.deadline, priority=call.priority
        )
        return await asyncio.to_thread(_tokenize_response, found, results.receipt(encoder.package, (), started))

    async def _answer(self, request: text_pb2.EncodeTextStreamRequest, call: Call) -> text_pb2.EncodeTextStreamResponse:
        deadline = call.item_deadline()
        try:
            (item,), receipt = await patiently(
                lambda: self._encode([request.text], ["text"], request.options, request.prompt_name, deadline), deadline
            )
        except SensoriumError as error:
            result = embedding_pb2.ItemResult(error=failed_item(error))
            return text_pb2.EncodeTextStreamResponse(id=request.id, result=result)
        return text_pb2.EncodeTextStreamResponse(id=request.id, result=item, receipt=receipt)

    async def _encode(
        self,
        texts: Sequence[str],
        fields: Sequence[str],
        options: embedding_pb2.EncodeOptions,
        prompt_name: str,
        deadline: float,
    ) -> tuple[list[embedding_pb2.ItemResult], embedding_pb2.Receipt]:
        started = time.perf_counter_ns()
        encoder = self._repository.get(options.model, "encode", "options.model")
        manifest = encoder.package.manifest
        wanted = results.read_options(options, manifest)
        prompt = prompt_of(manifest, prompt_name)
        encoded = await encoder.encode(
            [Text(text, prompt, wanted.truncate) for text in texts], deadline=deadline, priority=current_call().priority
        )
        items = [
            results.item_result(
                each.under(field) if isinstance(each, SensoriumError) else each.vectors[0], wanted, manifest.space
            )
            for each, field in zip(encoded, fields, strict=True)
        ]
        return items, results.receipt(encoder.package, encoded, started)


def _tokenized(read_by: TextPreprocessor, text: Text) -> text_pb2.TokenizeResult:
    """Returns the whole answer to one text: with many tokens, to write them down takes as long as to find them."""
    tokens = read_by.tokens(text)
    ids = tokens.encoding.ids
    message = text_pb2.Tokens(ids=ids, pieces=read_by.pieces(ids), is_truncated=tokens.is_cut)
    return text_pb2.TokenizeResult(tokens=message)


def _tokenize_response(
    found: Sequence[text_pb2.TokenizeResult | SensoriumError], receipt: embedding_pb2.Receipt
) -> text_pb2.TokenizeResponse:
    """Joins the answers one by one: others run between two copies."""
    response = text_pb2.TokenizeResponse(receipt=receipt)
    for place, each in enumerate(found):
        if isinstance(each, SensoriumError):
            response.results.add(error=failed_item(each.under(f"texts[{place}]")))
        else:
            response.results.append(each)
            response.receipt.token_count += len(each.tokens.ids)
    return response
