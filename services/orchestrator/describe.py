"""Describe: what the mesh is made of, and how it fares."""

from __future__ import annotations

from collections.abc import Sequence

from sensorium.v1 import model_pb2, orchestrator_pb2
from sensorium.v1.model_pb2 import Limits, Model
from sensorium.v1.orchestrator_pb2 import DescribeResponse, ServiceDescription, SpaceDescription
from services.orchestrator.mesh import Mesh
from services.orchestrator.peers import Peer
from services.orchestrator.spaces import MODALITIES, Space
from shared.serving.config import ServerConfig


def describe(mesh: Mesh, config: ServerConfig, version: str) -> DescribeResponse:
    """Returns the mesh as it was last seen; nobody is asked. `version` is that of Sensorium."""
    return DescribeResponse(
        version=version,
        services=[*(_peer(peer) for peer in mesh.peers), _orchestrator(mesh)],
        spaces=described_spaces(mesh),
        limits=Limits(
            max_message_bytes=config.max_message_bytes,
            max_items=config.max_items,
            max_inflight_bytes=config.max_inflight_bytes,
        ),
        default_deadline_ms=round(config.default_deadline_s * 1000),
    )


def described_spaces(mesh: Mesh) -> Sequence[SpaceDescription]:
    """Returns the spaces that the mesh can embed in, the default one first, the others by name."""
    default = mesh.default_space_name
    embeddable = sorted((space for space in mesh.spaces.values() if space.routes), key=lambda space: space.name)
    embeddable.sort(key=lambda space: space.name != default)
    return [_space(space, mesh) for space in embeddable]


def _peer(peer: Peer) -> ServiceDescription:
    state, problem = peer.state, peer.problem
    if peer.is_serving and peer.breaker.problem:  # its health says that it serves, calls find that it does not
        state, problem = orchestrator_pb2.SERVICE_STATE_UNREACHABLE, peer.breaker.problem
    return ServiceDescription(name=peer.name, address=peer.address, state=state, problem=problem, models=peer.models)


def _orchestrator(mesh: Mesh) -> ServiceDescription:
    if mesh.is_serving:
        return ServiceDescription(name="orchestrator", state=orchestrator_pb2.SERVICE_STATE_SERVING)
    return ServiceDescription(
        name="orchestrator", state=orchestrator_pb2.SERVICE_STATE_NOT_SERVING, problem="no encoder serves"
    )


def _space(space: Space, mesh: Mesh) -> SpaceDescription:
    modalities = [
        modality
        for modality in MODALITIES
        if (route := space.routes.get(modality)) is not None and _is_usable(route.model, route.encoder.peer)
    ]
    can_fuse = mesh.fusion is not None and any(_is_usable(model, mesh.fusion.peer) for model in space.fusers)
    return SpaceDescription(name=space.name, dim=space.dim, modalities=modalities, can_fuse=can_fuse)


def _is_usable(model: Model, peer: Peer) -> bool:
    return peer.is_serving and model.state == model_pb2.MODEL_STATE_READY
