"""Which fusion model a call gets."""

from __future__ import annotations

from sensorium.errors import FailedPrecondition, NotFound, Reason
from sensorium.v1.model_pb2 import Model
from services.orchestrator.mesh import Fusion, Mesh
from services.orchestrator.spaces import Space, model_id, preference


def choose_fuser(name: str, space: Space, mesh: Mesh) -> tuple[Fusion, Model]:
    """Returns the fusion model of a call and the service that has it: the one named, or the default one of the space.

    Raises:
        FailedPrecondition: the space has none, or the one named is of another space.
        NotFound: there is none of that name.
        Unavailable: the fusion service was never seen.
    """
    if mesh.fusion is not None and not mesh.fusion.peer.is_known:
        raise mesh.fusion.peer.unavailable()
    if mesh.fusion is None or not (name or space.fusers):
        raise FailedPrecondition(
            f"no fusion model of the space {space.name} is loaded",
            reason=Reason.MODEL_NOT_FOUND,
            metadata={"space": space.name},
        )
    return mesh.fusion, _named(name, space, mesh) if name else space.fusers[0]


def _named(name: str, space: Space, mesh: Mesh) -> Model:
    models = sorted((model for other in mesh.spaces.values() for model in other.fusers), key=preference)
    chosen = next((model for model in models if name in (model.name, model_id(model))), None)
    if chosen is None:
        available = ", ".join(model_id(model) for model in models)
        raise NotFound(
            f"is {name[:80]!r}; the fusion models are {available or 'none'}",
            field="model",
            metadata={"model": name[:80], "available": available},
        )
    if chosen.space != space.name:
        raise FailedPrecondition(
            f"is {model_id(chosen)} of the space {chosen.space!r}, but the call is in {space.name!r}",
            reason=Reason.SPACES_DIFFER,
            field="model",
            metadata={"from_space": space.name, "to_space": chosen.space},
        )
    return chosen
