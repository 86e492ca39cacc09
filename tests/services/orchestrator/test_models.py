"""ModelService: the models of all peers, and each change where it belongs."""

from __future__ import annotations

import pytest

from sensorium.errors import FailedPrecondition, InvalidInput, NotFound, Reason, Unavailable
from sensorium.v1 import model_pb2
from sensorium.v1.model_pb2 import (
    GetModelRequest,
    ListModelsRequest,
    LoadModelRequest,
    SetDefaultModelRequest,
    UnloadModelRequest,
)
from sensorium.v1.orchestrator_pb2 import DescribeRequest, EmbedRequest
from tests.services.orchestrator.fakes import audio_peer, fusion_peer, started, text_peer, vision_peer
from tests.services.orchestrator.harness import TEXT, orchestrating, refused, text
from tests.services.orchestrator.toys import SPACE, model


async def test_all_models_come_in_pages_by_name_and_version() -> None:
    peers = text_peer(), vision_peer(), fusion_peer()
    peers[0].models += [model("toy-text", TEXT, version=version) for version in ("10", "9")]
    names: list[str] = []
    token = ""
    async with started(*peers), orchestrating(*peers) as mesh:
        for _ in range(3):
            page = await mesh.models.ListModels(ListModelsRequest(page_size=2, page_token=token))
            names += [f"{each.name}@{each.version}" for each in page.models]
            token = page.next_page_token
        everything = await mesh.models.ListModels(ListModelsRequest())
    assert token == ""
    assert names == ["toy-bridge@1", "toy-fusion@1", "toy-text@1", "toy-text@9", "toy-text@10", "toy-vision@1"]
    assert len(everything.models) == 6


async def test_the_models_of_a_peer_that_is_down_have_failed() -> None:
    peers = text_peer(), vision_peer()
    async with started(*peers), orchestrating(*peers) as mesh:
        await peers[1].stop()
        response = await mesh.models.ListModels(ListModelsRequest())
    states = {each.name: each.state for each in response.models}
    assert states == {"toy-text": model_pb2.MODEL_STATE_READY, "toy-vision": model_pb2.MODEL_STATE_FAILED}


@pytest.mark.parametrize("request_", [ListModelsRequest(page_size=-1), ListModelsRequest(page_size=1001)])
async def test_a_page_has_a_size_in_range(request_: ListModelsRequest) -> None:
    peer = text_peer()
    async with started(peer), orchestrating(peer) as mesh:
        error = await refused(mesh.models.ListModels(request_))
        bad_token = await refused(mesh.models.ListModels(ListModelsRequest(page_token="7")))
    assert (type(error), error.field) == (InvalidInput, "page_size")
    assert (type(bad_token), bad_token.field) == (InvalidInput, "page_token")


async def test_one_model_is_found_by_name_by_version_or_as_the_default() -> None:
    peers = text_peer(), vision_peer()
    peers[0].models.append(model("toy-text", TEXT, version="2"))
    peers[0].models[1].is_default = False
    async with started(*peers), orchestrating(*peers) as mesh:
        by_name = await mesh.models.GetModel(GetModelRequest(model="toy-text"))
        by_version = await mesh.models.GetModel(GetModelRequest(model="toy-text@2"))
        default = await mesh.models.GetModel(GetModelRequest())
        unknown = await refused(mesh.models.GetModel(GetModelRequest(model="none")))
    assert (by_name.model.version, by_version.model.version) == ("1", "2")
    assert (default.model.name, default.model.space) == ("toy-text", SPACE)
    assert (type(unknown), unknown.reason) == (NotFound, Reason.MODEL_NOT_FOUND)
    assert unknown.metadata["available"] == "toy-text@1, toy-text@2, toy-vision@1"


async def test_where_only_fusion_was_seen_nobody_knows_the_default_model_yet() -> None:
    fusion, silent = fusion_peer(), text_peer()
    async with started(fusion), orchestrating(fusion, silent) as mesh:
        error = await refused(mesh.models.GetModel(GetModelRequest()))
        assert (type(error), error.metadata["service"]) == (Unavailable, "text")


async def test_a_default_is_set_at_the_peer_that_has_the_model_and_seen_at_once() -> None:
    peers = text_peer(), vision_peer()
    peers[0].models.append(model("toy-text", TEXT, version="2"))
    peers[0].models[1].is_default = False
    async with started(*peers), orchestrating(*peers) as mesh:
        for version in ("2", "1"):
            await mesh.models.SetDefaultModel(SetDefaultModelRequest(model=f"toy-text@{version}"))
            described = await mesh.stub.Describe(DescribeRequest())
            (text_service,) = [each for each in described.services if each.name == "text"]
            assert [each.version for each in text_service.models if each.is_default] == [version]
        unknown = await refused(mesh.models.SetDefaultModel(SetDefaultModelRequest(model="none")))
        assert isinstance(unknown, NotFound)


async def test_a_model_is_loaded_and_unloaded_at_the_peer_that_it_belongs_to() -> None:
    peers = text_peer(), vision_peer(), audio_peer()
    async with started(*peers), orchestrating(*peers) as mesh:
        loaded = await mesh.models.LoadModel(LoadModelRequest(model="toy-vision@2"))
        after_loading = await mesh.models.GetModel(GetModelRequest(model="toy-vision@2"))
        gone = await mesh.models.UnloadModel(UnloadModelRequest(model="toy-vision@2"))
        after_unloading = await refused(mesh.models.GetModel(GetModelRequest(model="toy-vision@2")))
    assert (loaded.model.version, after_loading.model.version, gone.model.version) == ("2", "2", "2")
    assert isinstance(after_unloading, NotFound)
    assert [len(peer.requests) for peer in peers] == [0, 2, 0]


async def test_a_new_model_is_offered_to_one_peer_after_the_other() -> None:
    """The refusal that says most is the answer: here that of the peer whose package is broken."""
    peers = text_peer(), vision_peer()
    async with started(*peers), orchestrating(*peers) as mesh:
        nobody = await refused(mesh.models.LoadModel(LoadModelRequest(model="new@1")))
        peers[0].refusal = FailedPrecondition("model.onnx has another hash", reason=Reason.PACKAGE_INVALID)
        broken = await refused(mesh.models.LoadModel(LoadModelRequest(model="new@1")))
    assert isinstance(nobody, NotFound)
    assert (type(broken), broken.reason) == (FailedPrecondition, Reason.PACKAGE_INVALID)


async def test_a_model_needs_a_name_to_be_loaded_or_unloaded() -> None:
    peer = text_peer()
    async with started(peer), orchestrating(peer) as mesh:
        load = await refused(mesh.models.LoadModel(LoadModelRequest()))
        unload = await refused(mesh.models.UnloadModel(UnloadModelRequest()))
    assert [(type(error), error.field) for error in (load, unload)] == [(InvalidInput, "model")] * 2


async def test_a_model_of_a_peer_never_seen_is_unavailable_not_unknown() -> None:
    peers = text_peer(), vision_peer()
    async with started(peers[1]):
        pass
    async with started(peers[0]), orchestrating(*peers) as mesh:
        error = await refused(mesh.models.GetModel(GetModelRequest(model="toy-vision")))
    assert isinstance(error, Unavailable)
    assert error.metadata["service"] == "vision"


async def test_a_space_that_was_loaded_by_hand_is_there_at_once() -> None:
    peer = text_peer()
    async with started(peer), orchestrating(peer) as mesh:
        peer.models.append(model("far-text", TEXT, space="far@1", is_default=False))
        await mesh.models.ListModels(ListModelsRequest())
        response = await mesh.stub.Embed(EmbedRequest(contents=[text("a")], space="far@1"))
    assert response.results[0].embedding.space == "far@1"
    assert peer.requests[0].options.model == "far-text@1"


async def test_a_space_whose_models_disagree_on_the_width_is_refused_by_name_and_dims() -> None:
    peers = text_peer(), vision_peer()
    peers[1].models[0].dim = 5
    async with started(*peers), orchestrating(*peers) as mesh:
        error = await refused(mesh.stub.Embed(EmbedRequest(contents=[text("seven")])))
    assert (type(error), error.reason, error.field) == (FailedPrecondition, Reason.PACKAGE_INVALID, "space")
    assert error.metadata["dims"] == "toy-text@1 has 8, toy-vision@1 has 5"
    assert "unload those that are wrong" in str(error)
