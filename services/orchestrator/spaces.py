"""The embedding spaces of the mesh: which model of which peer takes what into them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sensorium.v1 import content_pb2, model_pb2
from sensorium.v1.model_pb2 import Calibration, Model
from sensorium.versions import NewestFirst, newest_first
from services.orchestrator.encoders import Encoder

# The order of the proto's enum, in which modalities are listed and preferred.
MODALITIES = (content_pb2.MODALITY_TEXT, content_pb2.MODALITY_IMAGE, content_pb2.MODALITY_AUDIO)


@dataclass(frozen=True, slots=True)
class Route:
    """The way of one modality into a space: a model and the encoder that has it."""

    encoder: Encoder
    model: Model


@dataclass(slots=True)
class Space:
    """One embedding space.

    dim: number of components of its vectors.
    routes: the encoder of each modality that has one.
    dims: what each of its models says that width is; where they differ, nothing of the space can be compared.
    fusers: models that join vectors of the space, the preferred one first.
    bridges: models that carry vectors into the space, by the space that they come from.
    """

    name: str
    dim: int
    dims: dict[str, int] = field(default_factory=dict)
    routes: dict[content_pb2.Modality.ValueType, Route] = field(default_factory=dict)
    fusers: list[Model] = field(default_factory=list)
    bridges: dict[str, Model] = field(default_factory=dict)

    @property
    def is_consistent(self) -> bool:
        """Whether all its models agree on the width of its vectors."""
        return len(set(self.dims.values())) <= 1

    @property
    def templates(self) -> Sequence[str]:
        """Returns the sentences that label names are put through; the name itself where the model has none."""
        text = self.routes.get(content_pb2.MODALITY_TEXT)
        return (text is not None and text.model.templates) or ("{}",)

    def calibration(self, modality: content_pb2.Modality.ValueType) -> Calibration | None:
        """Returns what turns cosines of queries of a modality into probabilities, None where the model has nothing.

        UNSPECIFIED is the modality of a vector that the caller brought: the first calibration of the space counts.
        """
        candidates = MODALITIES if modality == content_pb2.MODALITY_UNSPECIFIED else (modality,)
        for candidate in candidates:
            route = self.routes.get(candidate)
            if route is not None and route.model.HasField("calibration"):
                return route.model.calibration
        return None


def model_id(model: Model) -> str:
    """Returns `name@version`."""
    return f"{model.name}@{model.version}"


def read_spaces(encoders: Iterable[Encoder], others: Iterable[Model]) -> Mapping[str, Space]:
    """Returns the spaces, by name, of what was last seen of the peers.

    others: the models of the fusion service.
    """
    spaces: dict[str, Space] = {}
    for encoder in encoders:
        for model in sorted(encoder.peer.models, key=preference):
            if model.task == model_pb2.MODEL_TASK_ENCODE and model.modality == encoder.modality:
                _space_of(model, spaces).routes.setdefault(encoder.modality, Route(encoder, model))
    for model in sorted(others, key=preference):
        if model.task == model_pb2.MODEL_TASK_FUSE:
            _space_of(model, spaces).fusers.append(model)
        elif model.task == model_pb2.MODEL_TASK_PROJECT:
            _space_of(model, spaces).bridges.setdefault(model.source_space, model)
    return spaces


def preference(model: Model) -> tuple[bool, bool, str, NewestFirst]:
    """Returns the sort key that puts the model first which calls without a model should get.

    A ready one before one that is not, the default one before others, then by name, the highest version first.
    """
    is_ready = model.state == model_pb2.MODEL_STATE_READY
    return (
        not is_ready,
        not model.is_default,
        model.name,
        newest_first(model.version),
    )


def default_space(spaces: Mapping[str, Space]) -> str:
    """Returns the space that most modalities lead to; among equals the one with the most default models of services.

    So another model beside those of a whole mesh changes nothing for calls that name no space.
    """

    def rank(space: Space) -> tuple[int, int]:
        return len(space.routes), sum(route.model.is_default for route in space.routes.values())

    best = max(spaces.values(), key=rank, default=None)
    return best.name if best is not None else ""


def _space_of(model: Model, spaces: dict[str, Space]) -> Space:
    space = spaces.setdefault(model.space, Space(model.space, model.dim))
    space.dims[model_id(model)] = model.dim
    return space
