"""Pictures by the Open Inference Protocol."""

from __future__ import annotations

from collections.abc import Sequence

from sensorium.v1.content_pb2 import Image
from sensorium.v1.embedding_pb2 import EncodeOptions
from sensorium.v1.vision_pb2 import EncodeImageRequest
from services.vision.servicer import VisionServicer
from shared.hosting.open_inference import Answer, Native, one_input
from shared.hosting.open_rows import own_rows
from shared.hosting.repository import Repository
from shared.serving.open_inference.models import Context


def native(repository: Repository[bytes], max_items: int) -> Native:
    """Returns the call behind the protocol: a tensor `image` of whole files, or tensors as the graph takes them."""
    servicer = VisionServicer(repository, max_items)

    async def encode(files: Sequence[bytes], options: EncodeOptions, context: Context) -> Answer:
        request = EncodeImageRequest(images=[Image(data=file) for file in files], options=options)
        response = await servicer.EncodeImage(request, context)
        return response.results, response.receipt

    return one_input("image", "images", encode, own_rows(repository, max_items))
