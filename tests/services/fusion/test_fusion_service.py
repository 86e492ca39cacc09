"""The fusion service, over gRPC: the models that ship, and a bridge made here."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sensorium import vectors
from sensorium.channel import call
from sensorium.errors import FailedPrecondition, InvalidInput, NotFound, Reason
from sensorium.status import from_status
from sensorium.v1 import content_pb2, fusion_pb2_grpc, model_pb2, model_pb2_grpc
from sensorium.v1.embedding_pb2 import Embedding
from sensorium.v1.fusion_pb2 import FusionItem, FusionPart, FusionServiceFuseRequest, PredictRequest, ProjectRequest
from services.fusion.app import serving
from services.fusion.config import Config
from shared.hosting.config import HostingConfig
from tests.packages import bridge
from tests.running import running

DIM = 128
MODELS = Path(__file__).parents[3] / "models"
TEXT, IMAGE, AUDIO = content_pb2.MODALITY_TEXT, content_pb2.MODALITY_IMAGE, content_pb2.MODALITY_AUDIO


def unit(seed: int, dim: int = DIM) -> NDArray[np.float32]:
    vector = np.random.default_rng(seed).standard_normal(dim)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def part(seed: int, modality: content_pb2.Modality.ValueType, **fields: float) -> FusionPart:
    return FusionPart(embedding=Embedding(values=unit(seed), space="tiny@1"), modality=modality, **fields)


async def test_any_subset_of_modalities_fuses_and_padding_changes_nothing() -> None:
    items = [
        FusionItem(parts=[part(1, TEXT)]),
        FusionItem(parts=[part(1, TEXT), part(2, IMAGE), part(3, AUDIO), part(4, AUDIO)]),
        FusionItem(parts=[part(2, IMAGE), part(3, AUDIO)]),
    ]
    async with running(serving, Config) as (channel, _):
        stub = fusion_pb2_grpc.FusionServiceStub(channel)
        together = (await call(stub.Fuse, FusionServiceFuseRequest(items=items), timeout_s=10)).results
        for item, result in zip(items, together, strict=True):
            single = (await call(stub.Fuse, FusionServiceFuseRequest(items=[item]), timeout_s=10)).results[0]
            vector = vectors.read(result.embedding)
            assert np.abs(vector - vectors.read(single.embedding)).max() < 1e-5
            assert abs(np.linalg.norm(vector) - 1) < 1e-6
            assert result.embedding.space == "tiny@1"


async def test_a_part_of_weight_zero_is_left_out_and_a_heavy_one_counts_more() -> None:
    async with running(serving, Config) as (channel, _):
        stub = fusion_pb2_grpc.FusionServiceStub(channel)
        items = [
            FusionItem(parts=[part(1, TEXT), part(2, IMAGE, weight=0)]),
            FusionItem(parts=[part(1, TEXT)]),
            FusionItem(parts=[part(1, TEXT), part(2, IMAGE, weight=1000)]),
        ]
        response = await call(stub.Fuse, FusionServiceFuseRequest(items=items), timeout_s=10)
        without, alone, heavy = (vectors.read(result.embedding) for result in response.results)
        assert np.abs(without - alone).max() < 1e-5
        assert heavy @ unit(2) > heavy @ unit(1)


@pytest.mark.parametrize(
    ("item", "reason", "field"),
    [
        (FusionItem(), Reason.EMPTY_REQUEST, "parts"),
        (FusionItem(parts=[part(1, TEXT)] * 17), Reason.TOO_MANY_ITEMS, "parts"),
        (FusionItem(parts=[part(1, TEXT, weight=0)]), Reason.FIELD_INVALID, "parts"),
        (FusionItem(parts=[part(1, TEXT, weight=-1)]), Reason.FIELD_INVALID, "parts[0].weight"),
        (FusionItem(parts=[part(1, TEXT, weight=float("nan"))]), Reason.FIELD_INVALID, "parts[0].weight"),
        (FusionItem(parts=[part(1, content_pb2.MODALITY_UNSPECIFIED)]), Reason.FIELD_INVALID, "parts[0].modality"),
        (
            FusionItem(parts=[FusionPart(embedding=Embedding(values=[float("nan")] * DIM), modality=TEXT)]),
            Reason.EMBEDDING_INVALID,
            "parts[0].embedding.values",
        ),
        (
            FusionItem(parts=[FusionPart(embedding=Embedding(values=[1.0] * 7), modality=TEXT)]),
            Reason.EMBEDDING_INVALID,
            "parts[0].embedding.values",
        ),
        (
            FusionItem(parts=[FusionPart(embedding=Embedding(values=unit(1), space="clip@1"), modality=TEXT)]),
            Reason.SPACES_DIFFER,
            "parts[0].embedding.space",
        ),
    ],
)
async def test_a_bad_item_fails_alone_and_names_its_field(item: FusionItem, reason: Reason, field: str) -> None:
    async with running(serving, Config) as (channel, _):
        stub = fusion_pb2_grpc.FusionServiceStub(channel)
        request = FusionServiceFuseRequest(items=[FusionItem(parts=[part(1, TEXT)]), item])
        good, bad = (await call(stub.Fuse, request, timeout_s=10)).results
        assert good.HasField("embedding")
        error = from_status(bad.error)
        assert (error.reason, error.field) == (reason, f"items[1].{field}")


async def test_predictions_are_probabilities_in_order() -> None:
    async with running(serving, Config) as (channel, _):
        stub = fusion_pb2_grpc.FusionServiceStub(channel)
        items = [FusionItem(parts=[part(1, TEXT)]), FusionItem(parts=[part(1, TEXT), part(2, IMAGE)]), FusionItem()]
        whole = await call(stub.Predict, PredictRequest(items=items), timeout_s=10)
        for result in whole.results[:2]:
            probabilities = [each.probability for each in result.prediction.classes]
            assert abs(sum(probabilities) - 1) < 1e-5
            assert probabilities == sorted(probabilities, reverse=True)
        assert from_status(whole.results[2].error).field == "items[2].parts"
        top = await call(stub.Predict, PredictRequest(items=items[:1], top_k=3), timeout_s=10)
        assert list(top.results[0].prediction.classes) == list(whole.results[0].prediction.classes[:3])
        with pytest.raises(InvalidInput):
            await call(stub.Predict, PredictRequest(items=items, top_k=-1), timeout_s=10)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The shipped fusion models and a bridge from another space."""
    for name in ("tiny-fusion", "tiny-concepts"):
        shutil.copytree(MODELS / name, tmp_path / name)
    weights = np.random.default_rng(0).standard_normal((16, DIM)).astype(np.float32)
    bridge(tmp_path, "small@1", "tiny@1", weights)
    np.save(tmp_path / "weights.npy", weights)
    return tmp_path


async def test_a_bridge_carries_vectors_and_what_is_there_already_stays(models: Path) -> None:
    weights = np.load(models / "weights.npy")
    foreign, own, lost = unit(5, 16), unit(6), unit(7)
    async with running(serving, Config, hosting=HostingConfig(models=models)) as (channel, _):
        stub = fusion_pb2_grpc.FusionServiceStub(channel)
        embeddings = [
            Embedding(values=own, space="tiny@1"),
            Embedding(values=foreign, space="small@1"),
            Embedding(values=lost, space="nowhere@1"),
        ]
        request = ProjectRequest(embeddings=embeddings, to_space="tiny@1")
        stays, carried, stranded = (await call(stub.Project, request, timeout_s=10)).results
        assert np.allclose(vectors.read(stays.embedding), own, atol=1e-6)
        expected = foreign @ weights
        assert np.allclose(vectors.read(carried.embedding), expected / np.linalg.norm(expected), atol=1e-5)
        error = from_status(stranded.error)
        assert isinstance(error, FailedPrecondition)
        assert error.metadata == {"from_space": "nowhere@1", "to_space": "tiny@1"}
        assert error.field == "embeddings[2].space"


async def test_models_are_listed_loaded_and_unloaded(models: Path) -> None:
    hosting = HostingConfig(models=models, load_models="tiny-fusion,tiny-concepts")
    async with running(serving, Config, hosting=hosting) as (channel, _):
        stub = model_pb2_grpc.ModelServiceStub(channel)
        listed = (await call(stub.ListModels, model_pb2.ListModelsRequest(page_size=1), timeout_s=10)).next_page_token
        request = model_pb2.ListModelsRequest(page_token=listed)
        assert [model.name for model in (await call(stub.ListModels, request, timeout_s=10)).models] == ["tiny-fusion"]
        name = "bridge-small-tiny"
        loaded = (await call(stub.LoadModel, model_pb2.LoadModelRequest(model=name), timeout_s=10)).model
        assert (loaded.source_space, loaded.space, loaded.state) == ("small@1", "tiny@1", model_pb2.MODEL_STATE_READY)
        with pytest.raises(FailedPrecondition, match="default model"):
            await call(stub.UnloadModel, model_pb2.UnloadModelRequest(model="tiny-fusion"), timeout_s=10)
        with pytest.raises(NotFound, match="no model package 'nothing'"):
            await call(stub.LoadModel, model_pb2.LoadModelRequest(model="nothing"), timeout_s=10)
