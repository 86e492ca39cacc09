"""Streams, priorities and refusals of the Open Inference Protocol, over gRPC with the stubs of our own proto."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from sensorium.channel import call
from sensorium.errors import InvalidInput, Overloaded, PermissionDenied, SensoriumError, Unauthenticated
from sensorium.oip import open_inference_pb2 as oip
from sensorium.oip import open_inference_pb2_grpc
from services.fusion.app import serving as serving_fusion
from services.fusion.config import Config as FusionConfig
from services.text.app import serving
from services.text.config import Config
from shared.hosting.config import HostingConfig
from shared.serving.quotas import item_count
from tests.running import metric, running, server_config

Tensor = oip.ModelInferRequest.InferInputTensor


def asked(*texts: str, id: str = "", model_name: str = "tiny-text") -> oip.ModelInferRequest:  # noqa: A002  # as the proto
    tensor = Tensor(name="text", datatype="BYTES", shape=[len(texts)])
    tensor.contents.bytes_contents.extend(text.encode() for text in texts)
    return oip.ModelInferRequest(id=id, model_name=model_name, inputs=[tensor])


async def test_a_stream_answers_in_order_many_at_a_time_and_outlasts_errors() -> None:
    count = 200
    requests = [asked(f"text number {at} " + "of many " * 12, id=str(at)) for at in range(count)]
    requests[7] = asked("", id="7")
    requests[9] = asked("a", id="9", model_name="none-such")

    async def sent() -> AsyncIterator[oip.ModelInferRequest]:
        for request in requests:
            yield request

    async with running(serving, Config) as (channel, service):
        stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        async with asyncio.timeout(30):
            answers = [each async for each in stub.ModelStreamInfer(sent())]
        assert [each.infer_response.id for each in answers] == [str(at) for at in range(count)]
        failed = {at: each.error_message for at, each in enumerate(answers) if each.error_message}
        assert failed.keys() == {7, 9}
        assert "contents[0]" in failed[7]
        assert "tiny-text@1" in failed[9]
        assert metric(service, "sensorium_batches_total") < count - len(failed)  # one at a time, each has its own


async def test_a_time_that_is_over_ends_one_request_of_a_stream() -> None:
    late = asked("a text")
    late.parameters["timeout"].int64_param = 1

    async def sent() -> AsyncIterator[oip.ModelInferRequest]:
        yield late
        yield asked("a text")

    async with running(serving, Config) as (channel, _):
        stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        async with asyncio.timeout(30):
            first, second = [each async for each in stub.ModelStreamInfer(sent())]
        assert "deadline" in first.error_message
        assert second.infer_response.raw_output_contents


async def test_all_but_live_and_ready_need_a_token_and_loading_needs_an_admin(tmp_path: Path) -> None:
    lines = [f"{name} {name} {hashlib.sha256(name.encode()).hexdigest()}\n" for name in ("user", "admin")]
    (tmp_path / "tokens").write_text("".join(lines))
    async with running(serving, Config, server_config(tokens=str(tmp_path / "tokens"))) as (channel, _):
        stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        assert (await call(stub.ServerLive, oip.ServerLiveRequest(), timeout_s=5)).live
        assert (await call(stub.ServerReady, oip.ServerReadyRequest(), timeout_s=5)).ready
        load = oip.RepositoryModelLoadRequest(model_name="tiny-text")
        for method, request in (
            (stub.ModelInfer, asked("a")),
            (stub.ModelMetadata, oip.ModelMetadataRequest(name="tiny-text")),
            (stub.ModelReady, oip.ModelReadyRequest(name="tiny-text")),
            (stub.RepositoryIndex, oip.RepositoryIndexRequest()),
            (stub.RepositoryModelLoad, load),
        ):
            assert isinstance(await _refusal(method, request), Unauthenticated)
        assert await _refusal(stub.ModelInfer, asked("a"), "user") is None
        assert isinstance(await _refusal(stub.RepositoryModelLoad, load, "user"), PermissionDenied)
        unload = oip.RepositoryModelUnloadRequest(model_name="tiny-text")
        assert isinstance(await _refusal(stub.RepositoryModelUnload, unload, "user"), PermissionDenied)
        assert await _refusal(stub.RepositoryModelLoad, load, "admin") is None


async def _refusal(method: object, request: object, token: str = "") -> SensoriumError | None:
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    try:
        await call(method, request, timeout_s=10, metadata=metadata)  # type: ignore[type-var, arg-type]
    except SensoriumError as error:
        return error
    return None


@pytest.mark.parametrize(("shape", "count"), [([3], 3), ([3, 1], 3), ([], 1), ([-5], 1), ([0], 1)])
def test_a_call_counts_as_many_items_as_its_shapes_say(shape: list[int], count: int) -> None:
    request = asked("a", "b", "c")
    request.inputs[0].shape[:] = shape
    assert item_count(request) == count


def test_a_shape_that_lies_costs_no_more_than_its_bytes() -> None:
    request = asked("a")
    request.inputs[0].shape[:] = [2**62]
    assert item_count(request) <= request.ByteSize()


async def test_a_joint_vector_is_whole_and_of_length_one() -> None:
    rows = np.eye(2, 128, dtype=np.float32)
    request = oip.ModelInferRequest(
        model_name="tiny-fusion",
        inputs=[Tensor(name=name, datatype="FP32", shape=rows.shape) for name in ("text", "audio")],
        raw_input_contents=[rows.tobytes(), rows[::-1].tobytes()],
    )
    async with running(serving_fusion, FusionConfig) as (channel, _):
        stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        answer = await call(stub.ModelInfer, request, timeout_s=10)
        joint = np.frombuffer(answer.raw_output_contents[0], "<f4").reshape(answer.outputs[0].shape)
        assert joint.shape == (2, 128)
        np.testing.assert_allclose(np.linalg.norm(joint, axis=1), 1, atol=1e-6)
        request.parameters["dimensions"].int64_param = 4
        with pytest.raises(InvalidInput, match="priority and timeout"):
            await call(stub.ModelInfer, request, timeout_s=10)
        del request.parameters["dimensions"]
        request.raw_input_contents[0] = rows[:1].tobytes()
        request.inputs[0].shape[0] = 1
        with pytest.raises(InvalidInput, match="different sizes"):
            await call(stub.ModelInfer, request, timeout_s=10)


async def test_a_call_that_finds_no_room_is_told_when_to_come_back() -> None:
    async with running(serving, Config, hosting=HostingConfig(max_queue_batches=1, cache_mb=0)) as (channel, _):
        stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        requests = [asked(*(f"{at} {each} " + "long " * 60 for each in range(200))) for at in range(40)]
        for request in requests:
            request.parameters["priority"].string_param = "batch"
        answers = await asyncio.gather(
            *(call(stub.ModelInfer, each, timeout_s=20) for each in requests), return_exceptions=True
        )
        refused = [each for each in answers if isinstance(each, Overloaded)]
        assert refused
        assert all(each.retry_after_s for each in refused)
        assert [each for each in answers if isinstance(each, oip.ModelInferResponse)]
