"""`ModelService` of a server of models: its repository in protobuf."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sensorium.contents import MODALITY_OF
from sensorium.errors import InvalidInput, Reason
from sensorium.v1 import content_pb2, model_pb2, model_pb2_grpc
from sensorium.versions import version_key
from shared.hosting.repository import Repository
from shared.inference.encoder import Encoder
from shared.inference.manifest import CalibrationNumbers

if TYPE_CHECKING:
    import grpc.aio

    # Any: these methods answer for encoders of whatever input, in contexts of whatever message.
    _Context = grpc.aio.ServicerContext[Any, Any]

_TASKS = {
    "encode": model_pb2.MODEL_TASK_ENCODE,
    "fuse": model_pb2.MODEL_TASK_FUSE,
    "project": model_pb2.MODEL_TASK_PROJECT,
    "predict": model_pb2.MODEL_TASK_PREDICT,
}
_ACTIVATIONS = {"softmax": model_pb2.ACTIVATION_SOFTMAX, "sigmoid": model_pb2.ACTIVATION_SIGMOID}


class ModelServicer(model_pb2_grpc.ModelServiceServicer):
    """Lists, loads and unloads; see `model.proto`."""

    def __init__(self, repository: Repository[Any], limits: model_pb2.Limits) -> None:
        """Takes the models and the limits that are the same for all of them."""
        self._repository = repository
        self._limits = limits

    async def ListModels(self, request: model_pb2.ListModelsRequest, context: _Context) -> model_pb2.ListModelsResponse:
        """Returns one page of models, ordered by name and version."""
        models = sorted(
            (self.describe(each) for each in self._repository.encoders),
            key=lambda each: (each.name, version_key(each.version)),
        )
        return page_of(models, request)

    async def GetModel(self, request: model_pb2.GetModelRequest, context: _Context) -> model_pb2.GetModelResponse:
        """Returns one model."""
        return model_pb2.GetModelResponse(model=self.describe(self._repository.get(request.model)))

    async def LoadModel(self, request: model_pb2.LoadModelRequest, context: _Context) -> model_pb2.LoadModelResponse:
        """Loads a package of the model folder."""
        return model_pb2.LoadModelResponse(model=self.describe(await self._repository.load(_named(request.model))))

    async def UnloadModel(
        self, request: model_pb2.UnloadModelRequest, context: _Context
    ) -> model_pb2.UnloadModelResponse:
        """Lets a model go."""
        gone = await self._repository.unload(_named(request.model))
        return model_pb2.UnloadModelResponse(model=self.describe(gone, loaded=False))

    async def SetDefaultModel(
        self, request: model_pb2.SetDefaultModelRequest, context: _Context
    ) -> model_pb2.SetDefaultModelResponse:
        """Makes a model the default of its task."""
        chosen = await self._repository.set_default(_named(request.model))
        return model_pb2.SetDefaultModelResponse(model=self.describe(chosen))

    def describe(self, encoder: Encoder[Any], *, loaded: bool = True) -> model_pb2.Model:
        """Returns the message that describes a model."""
        package, manifest = encoder.package, encoder.package.manifest
        limits = model_pb2.Limits()
        limits.CopyFrom(self._limits)
        if manifest.modality == "text":  # whose numbers were checked when it was opened
            limits.max_tokens = manifest.preprocess["max_tokens"]
        return model_pb2.Model(
            name=manifest.name,
            version=manifest.version,
            task=_TASKS[manifest.task],
            modality=MODALITY_OF.get(manifest.modality, content_pb2.MODALITY_UNSPECIFIED),
            space=manifest.space,
            source_space=manifest.source_space,
            dim=manifest.dim,
            labels=manifest.labels,
            prompt_names=sorted(manifest.prompts),
            templates=manifest.templates,
            calibration=_calibration(manifest.calibration),
            limits=limits,
            state=model_pb2.MODEL_STATE_FAILED if encoder.failure.is_set() else model_pb2.MODEL_STATE_READY,
            fingerprint=package.fingerprint,
            precision=package.precision,
            provider=package.provider,
            quantized_cosine=encoder.quantized_cosine,
            licence=manifest.licence,
            source=manifest.source,
            is_default=loaded and self._repository.is_default(manifest),
        )


def page_of(models: list[model_pb2.Model], request: model_pb2.ListModelsRequest) -> model_pb2.ListModelsResponse:
    """Returns the page of an ordered list that a request asks for; a token is the place of the page's first model.

    Raises:
        InvalidInput: the size is out of its range, or the token is none of ours.
    """
    if not 0 <= request.page_size <= 1000:
        raise InvalidInput(f"is {request.page_size}; give 0 to 1000", field="page_size")
    if request.page_token and not (request.page_token.isascii() and request.page_token.isdigit()):
        raise InvalidInput(
            "is no token of this server; give the next_page_token of the page before", field="page_token"
        )
    start = int(request.page_token[:9] or 0)
    end = start + (request.page_size or 100)
    return model_pb2.ListModelsResponse(models=models[start:end], next_page_token=str(end) if end < len(models) else "")


def _named(model: str) -> str:
    if not model:
        raise InvalidInput("is empty; give name or name@version", reason=Reason.FIELD_MISSING, field="model")
    return model


def _calibration(numbers: CalibrationNumbers | None) -> model_pb2.Calibration | None:
    if numbers is None:
        return None
    return model_pb2.Calibration(
        logit_scale=numbers.logit_scale,
        logit_bias=numbers.logit_bias,
        activation=_ACTIVATIONS[numbers.activation],
        none_cosine=numbers.none_cosine,
    )
