"""`VisionEncoderService`: protobuf in, encoder, protobuf out."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from sensorium.errors import SensoriumError
from sensorium.v1 import content_pb2, embedding_pb2, vision_pb2, vision_pb2_grpc
from shared.hosting import results
from shared.hosting.repository import Repository
from shared.serving.call import Call, current_call
from shared.serving.items import failed_item
from shared.serving.streams import answers, patiently

if TYPE_CHECKING:
    import grpc.aio

    _Context = grpc.aio.ServicerContext[Any, Any]  # Any: of whatever message; nothing here looks into it


class VisionServicer(vision_pb2_grpc.VisionEncoderServiceServicer):
    """See `vision.proto`."""

    def __init__(self, repository: Repository[bytes], max_items: int) -> None:
        """Takes the loaded models and the most items of a call."""
        self._repository = repository
        self._max_items = max_items

    async def EncodeImage(
        self, request: vision_pb2.EncodeImageRequest, context: _Context
    ) -> vision_pb2.EncodeImageResponse:
        """Returns one result a picture."""
        results.check_count(len(request.images), self._max_items, "images")
        fields = [f"images[{place}]" for place in range(len(request.images))]
        items, receipt = await self._encode(request.images, fields, request.options, current_call().deadline)
        return vision_pb2.EncodeImageResponse(results=items, receipt=receipt)

    async def EncodeImageStream(
        self, requests: AsyncIterator[vision_pb2.EncodeImageStreamRequest], context: _Context
    ) -> AsyncIterator[vision_pb2.EncodeImageStreamResponse]:
        """Answers each picture of a stream."""
        call = current_call()
        async for response in answers(
            requests, lambda request: self._answer(request, call), byte_count=lambda request: request.ByteSize()
        ):
            yield response

    async def _answer(
        self, request: vision_pb2.EncodeImageStreamRequest, call: Call
    ) -> vision_pb2.EncodeImageStreamResponse:
        deadline = call.item_deadline()
        try:
            (item,), receipt = await patiently(
                lambda: self._encode([request.image], ["image"], request.options, deadline), deadline
            )
        except SensoriumError as error:
            result = embedding_pb2.ItemResult(error=failed_item(error))
            return vision_pb2.EncodeImageStreamResponse(id=request.id, result=result)
        return vision_pb2.EncodeImageStreamResponse(id=request.id, result=item, receipt=receipt)

    async def _encode(
        self,
        images: Sequence[content_pb2.Image],
        fields: Sequence[str],
        options: embedding_pb2.EncodeOptions,
        deadline: float,
    ) -> tuple[list[embedding_pb2.ItemResult], embedding_pb2.Receipt]:
        started = time.perf_counter_ns()
        encoder = self._repository.get(options.model, "encode", "options.model")
        wanted = results.read_options(options, encoder.package.manifest)
        files = [image.data for image in images]
        encoded = await encoder.encode(files, deadline=deadline, priority=current_call().priority)
        space = encoder.package.manifest.space
        items = [
            results.item_result(
                each.under(field) if isinstance(each, SensoriumError) else each.vectors[0], wanted, space
            )
            for each, field in zip(encoded, fields, strict=True)
        ]
        return items, results.receipt(encoder.package, encoded, started)
