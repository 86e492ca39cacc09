"""A server of models says that it serves exactly as long as its models answer."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

from sensorium.channel import call, open_channel
from sensorium.errors import FailedPrecondition, InternalError, NotFound
from sensorium.v1 import embedding_pb2, fusion_pb2, fusion_pb2_grpc, model_pb2, model_pb2_grpc
from services.fusion.preprocess import Parts, alone, prepare_vector
from services.fusion.servicer import FusionServicer
from shared.hosting.config import HostingConfig
from shared.hosting.host import Host, Program, hosting
from shared.inference.encoder import Encoder
from shared.inference.features import Features
from shared.inference.model import Model
from shared.inference.package import Package
from tests.packages import bridge
from tests.running import server_config

SERVICE = "sensorium.v1.FusionService"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class Moody(Model):
    """A real model that a test can break or hang."""

    broken = threading.Event()
    hangs = threading.Event()
    free = threading.Event()

    def compute(self, rows: Sequence[Features], *, is_wide: bool = False) -> NDArray[np.float32]:
        if self.broken.is_set():
            raise RuntimeError("the graph is broken")
        if self.hangs.is_set():
            assert self.free.wait(20)
        return super().compute(rows)


@pytest.fixture
def moody() -> type[Moody]:
    for event in (Moody.broken, Moody.hangs, Moody.free):
        event.clear()
    return Moody


@contextlib.asynccontextmanager
async def serving(models: Path, kind: type[Model] = Model, **hosted: Any) -> AsyncIterator[Any]:
    """Serves bridges with quick canaries. Any: a channel, whose stubs are not typed for health; more configuration."""

    def open_encoder(package: Package, shared: Host) -> Encoder[Parts]:
        return shared.encoder(kind(package), prepare_vector, alone(np.ones(4, np.float32)))

    program = Program(
        name="test",
        service=SERVICE,
        limits=model_pb2.Limits(),
        accepts=lambda manifest: manifest.task == "project",
        open_encoder=open_encoder,
        add=lambda repository, server: fusion_pb2_grpc.add_FusionServiceServicer_to_server(
            FusionServicer(repository, 16), server
        ),
    )
    config = HostingConfig(models=models, canary_interval_s=0.1, canary_timeout_s=0.2, **hosted)
    async with hosting(program, server_config(), config) as running:
        channel = open_channel(f"127.0.0.1:{running.port}")
        yield channel
        await channel.close()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    bridge(tmp_path, "a@1", "b@1", np.eye(4, 3, dtype=np.float32))
    return tmp_path


def watch(channel: Any) -> Any:
    return health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=20)  # type: ignore[attr-defined]  # untyped


def project(channel: Any) -> Any:
    stub = fusion_pb2_grpc.FusionServiceStub(channel)
    vector = embedding_pb2.Embedding(values=[1, 2, 3, 4], space="a@1")
    return call(stub.Project, fusion_pb2.ProjectRequest(embeddings=[vector], to_space="b@1"), timeout_s=5)


async def test_health_falls_when_the_model_fails_and_rises_when_it_answers_again(
    models: Path, moody: type[Moody]
) -> None:
    async with serving(models, moody) as channel:
        states = watch(channel)
        assert (await states.read()).status == SERVING
        moody.broken.set()
        assert (await states.read()).status == NOT_SERVING
        item = (await project(channel)).results[0]
        assert item.error.code == InternalError.code
        assert "broken" not in item.error.message
        moody.broken.clear()
        assert (await states.read()).status == SERVING
        assert (await project(channel)).results[0].HasField("embedding")


async def test_health_falls_when_the_model_hangs(models: Path, moody: type[Moody]) -> None:
    async with serving(models, moody) as channel:
        states = watch(channel)
        assert (await states.read()).status == SERVING
        moody.hangs.set()
        assert (await states.read()).status == NOT_SERVING
        moody.hangs.clear()
        moody.free.set()
        assert (await states.read()).status == SERVING


async def test_a_package_that_fails_a_check_is_not_loaded_and_what_was_served_stays(models: Path) -> None:
    async with serving(models) as channel:
        stub = model_pb2_grpc.ModelServiceStub(channel)
        folder = bridge(models, "c@1", "d@1", np.eye(4, 3, dtype=np.float32))
        with (folder / "model.onnx").open("ab") as stream:
            stream.write(b"x")
        with pytest.raises(FailedPrecondition, match=r"model\.onnx: has the sha256"):
            await call(stub.LoadModel, model_pb2.LoadModelRequest(model=folder.parent.name), timeout_s=5)
        assert (await project(channel)).results[0].HasField("embedding")


async def test_a_model_of_another_width_in_the_same_space_is_not_loaded(models: Path) -> None:
    async with serving(models) as channel:
        stub = model_pb2_grpc.ModelServiceStub(channel)
        name = bridge(models, "c@1", "b@1", np.eye(4, 9, dtype=np.float32)).parent.name
        with pytest.raises(FailedPrecondition, match=r"bridge-c-b@1: field `dim` is 9, but bridge-a-b@1 .* has \d;"):
            await call(stub.LoadModel, model_pb2.LoadModelRequest(model=name), timeout_s=5)
        assert (await project(channel)).results[0].HasField("embedding")


async def test_a_model_comes_and_goes_while_the_server_runs(models: Path) -> None:
    async with serving(models) as channel:
        stub = model_pb2_grpc.ModelServiceStub(channel)
        name = bridge(models, "c@1", "d@1", np.eye(4, 3, dtype=np.float32)).parent.name
        await call(stub.LoadModel, model_pb2.LoadModelRequest(model=name), timeout_s=5)
        listed = await call(stub.ListModels, model_pb2.ListModelsRequest(), timeout_s=5)
        assert [model.name for model in listed.models] == ["bridge-a-b", "bridge-c-d"]
        await call(stub.UnloadModel, model_pb2.UnloadModelRequest(model=f"{name}@1"), timeout_s=5)
        with pytest.raises(NotFound, match="this service has bridge-a-b@1"):
            await call(stub.GetModel, model_pb2.GetModelRequest(model=name), timeout_s=5)


async def test_a_server_whose_package_is_wrong_refuses_to_start(models: Path) -> None:
    (models / "bridge-a-b" / "1" / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(FailedPrecondition, match=r"bridge-a-b/1: model\.onnx"):
        async with serving(models):
            pass


async def test_a_server_without_a_fitting_package_refuses_to_start(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="has no package for this service"):
        async with serving(tmp_path):
            pass


async def test_a_server_keeps_blas_to_one_thread_and_onnxruntime_to_itself(models: Path) -> None:
    async with serving(models):
        threads = {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}
    assert threads == {1}, "its threads would spin beside those that prepare"
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
