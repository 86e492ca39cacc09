"""Joint vectors by the Open Inference Protocol: what was embedded of each modality, row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sensorium import vectors
from sensorium.contents import MODALITY_OF
from sensorium.errors import InvalidInput
from sensorium.v1 import model_pb2
from sensorium.v1.embedding_pb2 import EncodeOptions
from sensorium.v1.fusion_pb2 import FusionItem, FusionPart, FusionServiceFuseRequest
from services.fusion.preprocess import Parts
from services.fusion.servicer import FusionServicer
from shared.hosting.open_inference import Answer, Native
from shared.hosting.repository import Repository
from shared.serving.open_inference.models import Context, Elements, Tensor


def native(servicer: FusionServicer, repository: Repository[Parts]) -> Native:
    """Returns the call behind the protocol: tensors `text`, `image`, `audio`, FP32 [n, dim], any left out."""

    async def fuse(inputs: Mapping[str, Elements], options: EncodeOptions, context: Context) -> Answer:
        _check_options(options)
        space = repository.get(options.model, "fuse").package.manifest.space
        parts = [_parts(name, elements, space) for name, elements in inputs.items()]
        if len({len(each) for each in parts}) > 1:
            raise InvalidInput("have batches of different sizes; row i of each is item i", field="inputs")
        items = [FusionItem(parts=each) for each in zip(*parts, strict=True)]
        response = await servicer.Fuse(FusionServiceFuseRequest(items=items, model=options.model), context)
        return response.results, response.receipt

    return Native("fuse", "items", _tensors, fuse)


def _check_options(options: EncodeOptions) -> None:
    is_scaled = options.normalize or not options.HasField("normalize")
    if options.dimensions or options.HasField("truncate") or not is_scaled:
        raise InvalidInput("has more than priority and timeout; joint vectors are whole, and unit", field="parameters")


def _tensors(model: model_pb2.Model) -> Sequence[Tensor]:
    return [Tensor(name, "FP32", [-1, model.dim]) for name in MODALITY_OF]


def _parts(name: str, rows: Elements, space: str) -> Sequence[FusionPart]:
    if name not in MODALITY_OF or not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.dtype != np.float32:
        raise InvalidInput(f"has {name[:80]!r}; give {', '.join(MODALITY_OF)} as FP32 [n, dim]", field="inputs")
    return [FusionPart(embedding=vectors.write(row, space), modality=MODALITY_OF[name]) for row in rows]
