"""The models of the whole mesh: listed from all peers, loaded and unloaded where they belong."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from sensorium.errors import (
    FailedPrecondition,
    InvalidInput,
    NotFound,
    Reason,
    SensoriumError,
    Unavailable,
)
from sensorium.v1 import model_pb2
from sensorium.v1.model_pb2 import (
    GetModelRequest,
    GetModelResponse,
    ListModelsRequest,
    ListModelsResponse,
    LoadModelRequest,
    LoadModelResponse,
    Model,
    SetDefaultModelRequest,
    SetDefaultModelResponse,
    UnloadModelRequest,
    UnloadModelResponse,
)
from sensorium.versions import VersionKey, version_key
from services.orchestrator.concurrency import run_all
from services.orchestrator.mesh import Mesh
from services.orchestrator.peers import Peer
from services.orchestrator.spaces import MODALITIES, model_id, preference

_DEFAULT_PAGE_SIZE = 100  # these two are of the contract: see ListModelsRequest
_MAX_PAGE_SIZE = 1000

_Response = TypeVar("_Response")
_Key = tuple[str, VersionKey]


async def list_models(request: ListModelsRequest, mesh: Mesh) -> ListModelsResponse:
    """Returns a page of the models of all peers, by name and version; those of a peer that does not answer are FAILED.

    Raises:
        InvalidInput: the page's size or token is none.
    """
    size = _page_size(request)
    after = _read_token(request.page_token)
    models = sorted(await _all_models(mesh), key=_key)
    rest = [model for model in models if after is None or _key(model) > after]
    token = model_id(rest[size - 1]) if len(rest) > size else ""
    return ListModelsResponse(models=rest[:size], next_page_token=token)


async def get_model(request: GetModelRequest, mesh: Mesh) -> GetModelResponse:
    """Returns one model of any peer; without a name, the text model of the default space, or else its first.

    Raises:
        NotFound: no peer has it.
        Unavailable: a peer that was never seen may have it.
    """
    models = await _all_models(mesh)
    if request.model:
        return GetModelResponse(model=_chosen(request.model, models, mesh))
    routes = mesh.space("").routes
    first = next((routes[modality].model for modality in MODALITIES if modality in routes), None)
    if first is None:  # a fusion model may have a space that no encoder has
        unseen = next((peer for peer in mesh.peers if not peer.is_known), None)
        if unseen is not None:
            raise unseen.unavailable()
        first = min(models, key=preference)
    return GetModelResponse(model=first)


async def load_model(request: LoadModelRequest, mesh: Mesh) -> LoadModelResponse:
    """Loads a model at the peer that has one of that name, or else at the first peer that takes it.

    Raises:
        SensoriumError: no peer takes it; of their refusals the one that says most.
    """
    return await _at_its_peer(request.model, lambda peer: peer.ask(peer.model_service.LoadModel, request), mesh)


async def unload_model(request: UnloadModelRequest, mesh: Mesh) -> UnloadModelResponse:
    """Unloads a model at the peer that has it.

    Raises:
        SensoriumError: no peer has it, or that peer refuses.
    """
    _check_named(request.model)
    chosen = _chosen(request.model, await _all_models(mesh), mesh)
    owner = next(peer for peer in mesh.peers if any(model_id(model) == model_id(chosen) for model in peer.models))
    response = await owner.ask(owner.model_service.UnloadModel, request)
    await _refresh(owner, mesh)
    return response


async def set_default_model(request: SetDefaultModelRequest, mesh: Mesh) -> SetDefaultModelResponse:
    """Makes a model the default one at the peer that has it, or else at the first peer whose folder does.

    Raises:
        SensoriumError: no peer takes it; of their refusals the one that says most.
    """
    return await _at_its_peer(request.model, lambda peer: peer.ask(peer.model_service.SetDefaultModel, request), mesh)


async def _at_its_peer(model: str, ask: Callable[[Peer], Awaitable[_Response]], mesh: Mesh) -> _Response:
    """Returns what the peer answers that has a model of this name, or else the first one that takes it."""
    _check_named(model)
    name = model.partition("@")[0]
    owners = [peer for peer in mesh.peers if any(known.name == name for known in peer.models)]
    refusals: list[SensoriumError] = []
    for peer in owners or mesh.peers:  # one after the other, so that it is loaded once
        try:
            response = await ask(peer)
        except (NotFound, FailedPrecondition, InvalidInput, Unavailable) as refusal:
            refusals.append(refusal)
        else:
            await _refresh(peer, mesh)
            return response
    raise min(refusals, key=_reticence)


async def _all_models(mesh: Mesh) -> Sequence[Model]:
    """Returns the models of all peers, asked anew side by side."""
    answered = await run_all(*(_refreshed(peer) for peer in mesh.peers))
    mesh.read()
    return [
        model if has_answered else _failed(model)
        for peer, has_answered in zip(mesh.peers, answered, strict=True)
        for model in peer.models
    ]


async def _refreshed(peer: Peer) -> bool:
    if not peer.is_serving:
        return False  # one that starts may list nothing yet, and what is known of it must stay
    try:
        await peer.refresh()
    except SensoriumError:
        return False
    return True


async def _refresh(peer: Peer, mesh: Mesh) -> None:
    with contextlib.suppress(SensoriumError):  # what was asked for is done; the peer is asked again soon
        await peer.refresh()
    mesh.read()


def _failed(model: Model) -> Model:
    copy = Model()
    copy.CopyFrom(model)
    copy.state = model_pb2.MODEL_STATE_FAILED
    return copy


def _chosen(name: str, models: Iterable[Model], mesh: Mesh) -> Model:
    """Returns the model that a name or `name@version` stands for."""
    models = sorted(models, key=preference)
    for model in models:
        if name in (model.name, model_id(model)):
            return model
    unseen = next((peer for peer in mesh.peers if not peer.is_known), None)
    if unseen is not None:
        raise unseen.unavailable()
    available = ", ".join(sorted(model_id(model) for model in models))
    raise NotFound(
        f"is {name[:80]!r}, which no service of the mesh has; there are {available or 'none'}",
        field="model",
        metadata={"model": name[:80], "available": available},
    )


def _check_named(name: str) -> None:
    if not name:
        raise InvalidInput("is empty; give name or name@version", reason=Reason.FIELD_MISSING, field="model")


def _reticence(refusal: SensoriumError) -> int:
    """Returns how little a refusal says: a package that fails a check, a peer that is down, a package nobody has."""
    kinds = (FailedPrecondition, Unavailable, InvalidInput, NotFound)
    return next(rank for rank, kind in enumerate(kinds) if isinstance(refusal, kind))


def _page_size(request: ListModelsRequest) -> int:
    if not 0 <= request.page_size <= _MAX_PAGE_SIZE:
        raise InvalidInput(
            f"is {request.page_size}; give 1 to {_MAX_PAGE_SIZE}, or 0 for {_DEFAULT_PAGE_SIZE}", field="page_size"
        )
    return request.page_size or _DEFAULT_PAGE_SIZE


def _key(model: Model) -> _Key:
    return model.name, version_key(model.version)


def _read_token(token: str) -> _Key | None:
    """Returns the place in the order after which a page starts; a token is the `name@version` that ended the last."""
    if not token:
        return None
    name, at, version = token.rpartition("@")
    if not at:
        raise InvalidInput("is no token of an earlier page", field="page_token")
    return name, version_key(version)
