"""Which model of the fusion service a call gets."""

from __future__ import annotations

from collections.abc import Sequence

from sensorium.errors import FailedPrecondition, NotFound, Reason
from sensorium.v1 import model_pb2
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
    return _chosen(name, space.name, "fusion model", model_pb2.MODEL_TASK_FUSE, mesh)


def choose_predictor(name: str, space_name: str, mesh: Mesh) -> tuple[Fusion, Model]:
    """Returns the predictor of a call and the service that has it: the one named, or the default one of the space.

    space_name: the space of the call; empty means the mesh's default, and any where a model is named.

    Raises:
        FailedPrecondition: the space has none, or the one named is of another space.
        NotFound: there is no model of that name, or no such space.
        Unavailable: the fusion service was never seen.
    """
    wanted = mesh.space(space_name).name if space_name or not name else ""
    return _chosen(name, wanted, "predictor", model_pb2.MODEL_TASK_PREDICT, mesh)


def _chosen(name: str, space: str, what: str, task: model_pb2.ModelTask.ValueType, mesh: Mesh) -> tuple[Fusion, Model]:
    if mesh.fusion is not None and not mesh.fusion.peer.is_known:
        raise mesh.fusion.peer.unavailable()
    models = _models(task, mesh)
    fitting = [model for model in models if model.space == space]
    if mesh.fusion is None or not (name or fitting):
        where = f" of the space {space}" if space else ""
        raise FailedPrecondition(
            f"no {what}{where} is loaded", reason=Reason.MODEL_NOT_FOUND, metadata={"space": space}
        )
    return mesh.fusion, _named(name, space, what, models) if name else fitting[0]


def _models(task: model_pb2.ModelTask.ValueType, mesh: Mesh) -> Sequence[Model]:
    models = mesh.fusion.peer.models if mesh.fusion is not None else ()
    return sorted((model for model in models if model.task == task), key=preference)


def _named(name: str, space: str, what: str, models: Sequence[Model]) -> Model:
    chosen = next((model for model in models if name in (model.name, model_id(model))), None)
    if chosen is None:
        available = ", ".join(model_id(model) for model in models)
        raise NotFound(
            f"is {name[:80]!r}; the {what}s are {available or 'none'}",
            field="model",
            metadata={"model": name[:80], "available": available},
        )
    if space and chosen.space != space:
        raise FailedPrecondition(
            f"is {model_id(chosen)} of the space {chosen.space!r}, but the call is in {space!r}",
            reason=Reason.SPACES_DIFFER,
            field="model",
            metadata={"from_space": space, "to_space": chosen.space},
        )
    return chosen
