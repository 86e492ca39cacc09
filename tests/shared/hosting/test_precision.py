"""A server says what its models run in, and refuses to start with what it does not have."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sensorium import vectors
from sensorium.channel import call
from sensorium.errors import FailedPrecondition
from sensorium.v1 import model_pb2, model_pb2_grpc, text_pb2, text_pb2_grpc
from services.text.app import serving
from services.text.config import Config
from shared.hosting.config import HostingConfig
from shared.inference.providers import installed_providers
from tests.running import running


async def model_of(hosting: HostingConfig) -> model_pb2.Model:
    async with running(serving, Config, hosting=hosting) as (channel, _):
        stub = model_pb2_grpc.ModelServiceStub(channel)
        answer = await call(stub.GetModel, model_pb2.GetModelRequest(), timeout_s=10)
        return answer.model


async def test_a_model_says_its_precision_and_its_provider() -> None:
    model = await model_of(HostingConfig(precision="fp32"))
    assert (model.precision, model.provider) == ("fp32", "cpu")


@pytest.mark.skipif("openvino" not in installed_providers(), reason="needs onnxruntime-openvino")
async def test_bf16_is_another_fingerprint() -> None:
    exact, model = await model_of(HostingConfig(precision="fp32")), await model_of(HostingConfig(precision="bf16"))
    assert (model.precision, model.provider) == ("bf16", "openvino")
    assert model.fingerprint != exact.fingerprint


async def test_a_server_does_not_start_with_a_provider_that_it_does_not_have() -> None:
    missing = next(name for name in ("cuda", "openvino") if name not in installed_providers())
    with pytest.raises(FailedPrecondition, match=f"SENSORIUM_PROVIDERS: .* not {missing}; install it with"):
        await model_of(HostingConfig(providers=missing))


async def test_a_lone_text_may_have_all_threads_and_has_the_same_vector() -> None:
    async def vector(lone_threads: int) -> NDArray[np.float32]:
        hosting = HostingConfig(lone_threads=lone_threads, cache_mb=0)
        async with running(serving, Config, hosting=hosting) as (channel, _):
            stub = text_pb2_grpc.TextEncoderServiceStub(channel)
            request = text_pb2.EncodeTextRequest(texts=["seven small red circles"])
            answers = [await call(stub.EncodeText, request, timeout_s=5) for _ in range(3)]  # both widths are tried
            rows = [vectors.read(each.results[0].embedding) for each in answers]
            assert np.abs(np.stack(rows) - rows[0]).max() < 1e-6
            return rows[0]

    assert np.abs(await vector(1) - await vector(2)).max() < 1e-6
