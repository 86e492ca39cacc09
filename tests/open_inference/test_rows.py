"""Tensors that their caller preprocessed himself, and typed contents, over gRPC with the stubs of our own proto."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sensorium import vectors
from sensorium.channel import call
from sensorium.errors import InvalidInput, NotFound
from sensorium.oip import open_inference_pb2 as oip
from sensorium.oip import open_inference_pb2_grpc
from sensorium.v1 import text_pb2_grpc, vision_pb2_grpc
from sensorium.v1.content_pb2 import Image
from sensorium.v1.text_pb2 import EncodeTextRequest, TokenizeRequest
from sensorium.v1.vision_pb2 import EncodeImageRequest
from services.text.app import serving as serving_text
from services.text.config import Config as TextConfig
from services.vision.app import serving as serving_vision
from services.vision.config import Config as VisionConfig
from services.vision.decode import ImageLimits, decode
from services.vision.preprocess import ImageNumbers, preprocess
from shared.inference.manifest import read_manifest
from tests.running import metric, running

ROOT = Path(__file__).parents[2]
PICTURE = (ROOT / "demo" / "inputs" / "digit-7-13.png").read_bytes()
TEXTS = ["three", "two small red circles", "a dog"]
Tensor = oip.ModelInferRequest.InferInputTensor
DATATYPES = {"f4": "FP32", "f2": "FP16", "i8": "INT64", "i4": "INT32"}


def asked(model: str, arrays: Mapping[str, NDArray[Any]], **fields: Any) -> oip.ModelInferRequest:
    """Returns a request with raw contents. Any: numbers of any type, and fields of the request."""
    return oip.ModelInferRequest(
        model_name=model,
        inputs=[
            Tensor(name=name, datatype=DATATYPES[each.dtype.str[1:]], shape=each.shape) for name, each in arrays.items()
        ],
        raw_input_contents=[each.tobytes() for each in arrays.values()],
        **fields,
    )


def rows_of(answer: oip.ModelInferResponse) -> NDArray[np.float32]:
    return np.frombuffer(answer.raw_output_contents[0], "<f4").reshape(answer.outputs[0].shape)


def padded(ids: list[list[int]]) -> dict[str, NDArray[np.int64]]:
    longest = max(map(len, ids))
    return {
        "input_ids": np.array([each + [0] * (longest - len(each)) for each in ids], np.int64),
        "attention_mask": np.array([[1] * len(each) + [0] * (longest - len(each)) for each in ids], np.int64),
    }


async def test_tokens_give_the_vectors_of_their_texts_whatever_their_padding() -> None:
    async with running(serving_text, TextConfig) as (channel, service):
        native, stub = (
            text_pb2_grpc.TextEncoderServiceStub(channel),
            open_inference_pb2_grpc.GRPCInferenceServiceStub(channel),
        )
        tokens = (await call(native.Tokenize, TokenizeRequest(texts=TEXTS), timeout_s=10)).results
        ids = [list(each.tokens.ids) for each in tokens]
        answer = await call(stub.ModelInfer, asked("tiny-text", padded(ids), id="mine"), timeout_s=10)
        assert answer.id == "mine"
        computed = metric(service, "sensorium_batch_items_sum")
        assert computed >= len(TEXTS)
        results = (await call(native.EncodeText, EncodeTextRequest(texts=TEXTS), timeout_s=10)).results
        wanted = np.stack([vectors.read(each.embedding) for each in results])
        np.testing.assert_allclose(rows_of(answer), wanted, atol=1e-6)
        assert metric(service, "sensorium_batch_items_sum") == computed  # the same rows, from the same cache
        alone = await call(stub.ModelInfer, asked("tiny-text", {"input_ids": np.array(ids[:1])}), timeout_s=10)
        np.testing.assert_allclose(rows_of(alone), wanted[:1], atol=1e-6)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"input_ids": np.array([[1, 10**9]])}, "outside of 0"),
        ({"input_ids": np.array([[1, -1]])}, "outside of 0"),
        ({"input_ids": np.array([[1.0, 2.0]], np.float32)}, "INT64"),
        ({"input_ids": np.array([1, 2])}, r"\[n, tokens\]"),
        ({"input_ids": np.ones((1, 4000), np.int64)}, "4000 tokens"),
        ({"input_ids": np.ones((1, 2), np.int64), "attention_mask": np.array([[0, 1]])}, "ones and then zeros"),
        ({"input_ids": np.ones((1, 2), np.int64), "attention_mask": np.array([[0, 0]])}, "0 to 0 tokens"),
        ({"input_ids": np.ones((1, 2), np.int64), "attention_mask": np.array([[1]])}, r"\[n, tokens\]"),
        ({"attention_mask": np.ones((1, 2), np.int64)}, "takes input_ids"),
        ({"pixels": np.ones((1, 2), np.int64)}, "takes input_ids"),
        ({"input_ids": np.ones((300, 2), np.int64)}, "256"),
    ],
)
async def test_tokens_that_do_not_fit_are_refused(arrays: dict[str, NDArray[Any]], says: str) -> None:
    async with running(serving_text, TextConfig) as (channel, _):
        stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        with pytest.raises(InvalidInput, match=says):
            await call(stub.ModelInfer, asked("tiny-text", arrays), timeout_s=10)


async def test_pixels_give_the_vectors_of_their_picture_and_others_are_refused() -> None:
    manifest = read_manifest((ROOT / "models/tiny-vision/1/manifest.json").read_text(), "tiny-vision/1")
    limits = ImageLimits(VisionConfig().max_image_bytes, VisionConfig().max_pixels)
    (row,) = preprocess(decode(PICTURE, limits), ImageNumbers.of(manifest.preprocess)).rows
    pixels = np.stack([row.arrays["pixel_values"]] * 2).astype(np.float32)
    async with running(serving_vision, VisionConfig) as (channel, _):
        stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = EncodeImageRequest(images=[Image(data=PICTURE)])
        (result,) = (
            await call(vision_pb2_grpc.VisionEncoderServiceStub(channel).EncodeImage, request, timeout_s=10)
        ).results
        answer = await call(stub.ModelInfer, asked("tiny-vision", {"pixel_values": pixels}), timeout_s=10)
        wanted = vectors.read(result.embedding)
        np.testing.assert_allclose(rows_of(answer), [wanted, wanted], atol=1e-6)
        typed = Tensor(name="pixel_values", datatype="FP32", shape=pixels[:1].shape)
        typed.contents.fp32_contents.extend(pixels[:1].ravel().tolist())
        answer = await call(
            stub.ModelInfer, oip.ModelInferRequest(model_name="tiny-vision", inputs=[typed]), timeout_s=10
        )
        np.testing.assert_allclose(rows_of(answer), [wanted], atol=1e-6)
        for wrong, says in ((pixels[:, :, :-1], "the model takes float32"), (pixels * np.nan, "NaN")):
            with pytest.raises(InvalidInput, match=says):
                await call(stub.ModelInfer, asked("tiny-vision", {"pixel_values": wrong}), timeout_s=10)
        with pytest.raises(NotFound, match="tiny-vision@1"):
            await call(stub.ModelInfer, asked("tiny-text", {"pixel_values": pixels}), timeout_s=10)


def _bytes(*elements: bytes, shape: list[int], raw: bytes | None = None) -> oip.ModelInferRequest:
    tensor = Tensor(name="text", datatype="BYTES", shape=shape)
    if raw is None:
        tensor.contents.bytes_contents.extend(elements)
    return oip.ModelInferRequest(
        model_name="tiny-text", inputs=[tensor], raw_input_contents=[] if raw is None else [raw]
    )


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (_bytes(shape=[1], raw=b"\x05\x00\x00\x00abc"), "ends within"),
        (_bytes(shape=[1], raw=b"\x05\x00"), "shape"),
        (_bytes(shape=[2], raw=b"\x01\x00\x00\x00a"), "shape"),
        (_bytes(shape=[1], raw=bytes(4_000_000)), "shape"),
        (_bytes(b"a", b"b", shape=[3]), "shape"),
        (_bytes(b"a", shape=[]), "shape"),
        (_bytes(b"a", shape=[-1]), "shape"),
        (_bytes(b"a", shape=[2**62, 4]), "shape"),
        (_bytes(b"a", b"", shape=[2]), r"contents\[1\]"),
        (oip.ModelInferRequest(model_name="tiny-text"), "inputs"),
    ],
)
async def test_contents_that_are_not_their_shape_are_refused(request_: oip.ModelInferRequest, says: str) -> None:
    async with running(serving_text, TextConfig) as (channel, _):
        stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        with pytest.raises(InvalidInput, match=says):
            await call(stub.ModelInfer, request_, timeout_s=10)
