"""`inference.GRPCInferenceService`: the protocol in, one call of a service's own, the protocol out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from importlib.metadata import version

from sensorium.errors import DeadlineExceeded, InvalidInput, NotFound, Reason
from sensorium.oip import open_inference_pb2 as oip
from sensorium.oip import open_inference_pb2_grpc
from shared.serving.call import Call, current_call, enter_call
from shared.serving.health import Health
from shared.serving.open_inference.models import Asked, Context, Inferred, Models, Served, Tensor
from shared.serving.open_inference.parameters import adjusted, read_options
from shared.serving.open_inference.tensors import raw_contents, read_inputs
from shared.serving.statuses import as_error
from shared.serving.streams import answers, patiently


class OpenInferenceServicer(open_inference_pb2_grpc.GRPCInferenceServiceServicer):
    """See `open_inference.proto`."""

    def __init__(self, service: str, models: Models, health: Health) -> None:
        """Takes the name of the service, what it serves, and its health."""
        self._service = service
        self._models = models
        self._health = health
        self._version = version("sensorium")

    async def ServerLive(self, request: oip.ServerLiveRequest, context: Context) -> oip.ServerLiveResponse:
        """Returns that the process answers."""
        return oip.ServerLiveResponse(live=True)

    async def ServerReady(self, request: oip.ServerReadyRequest, context: Context) -> oip.ServerReadyResponse:
        """Returns what the health says."""
        return oip.ServerReadyResponse(ready=self._health.is_ready)

    async def ModelReady(self, request: oip.ModelReadyRequest, context: Context) -> oip.ModelReadyResponse:
        """Returns whether a model answers."""
        served = _matching(await self._models.served(), _named(request.name, "name"), request.version)
        return oip.ModelReadyResponse(ready=bool(served) and served[0].is_ready)

    async def ServerMetadata(self, request: oip.ServerMetadataRequest, context: Context) -> oip.ServerMetadataResponse:
        """Returns what this server is."""
        name = f"sensorium-{self._service}"
        return oip.ServerMetadataResponse(name=name, version=self._version, extensions=["model_repository"])

    async def ModelMetadata(self, request: oip.ModelMetadataRequest, context: Context) -> oip.ModelMetadataResponse:
        """Returns a model's tensors."""
        every = await self._models.served()
        model = _chosen(every, _named(request.name, "name"), request.version, "name")
        return oip.ModelMetadataResponse(
            name=model.name,
            versions=[each.version for each in every if each.name == model.name],
            platform=model.platform,
            inputs=[_metadata(each) for each in model.inputs],
            outputs=[_metadata(each) for each in model.outputs],
        )

    async def ModelInfer(self, request: oip.ModelInferRequest, context: Context) -> oip.ModelInferResponse:
        """Runs a model."""
        return await self._infer(request, context, current_call())

    async def ModelStreamInfer(
        self, requests: AsyncIterator[oip.ModelInferRequest], context: Context
    ) -> AsyncIterator[oip.ModelStreamInferResponse]:
        """Answers the requests of a stream in their order, many at a time, so that they fill batches."""
        call = current_call()
        async for response in answers(
            requests,
            lambda request: self._answer(request, context, call),
            byte_count=lambda request: request.ByteSize(),
            in_order=True,
        ):
            yield response

    async def RepositoryIndex(
        self, request: oip.RepositoryIndexRequest, context: Context
    ) -> oip.RepositoryIndexResponse:
        """Lists what is loaded."""
        _check_repository(request.repository_name)
        models = sorted(await self._models.served(), key=lambda each: (each.name, each.version))
        return oip.RepositoryIndexResponse(
            models=[
                oip.RepositoryIndexResponse.ModelIndex(
                    name=each.name,
                    version=each.version,
                    state="READY" if each.is_ready else "UNAVAILABLE",
                    reason="" if each.is_ready else "it does not answer",
                )
                for each in models
                if each.is_ready or not request.ready
            ]
        )

    async def RepositoryModelLoad(
        self, request: oip.RepositoryModelLoadRequest, context: Context
    ) -> oip.RepositoryModelLoadResponse:
        """Loads a model of the folder."""
        _check_repository(request.repository_name)
        if request.parameters:
            raise InvalidInput("is not empty; a model is what its package says", field="parameters")
        await self._models.load(_named(request.model_name, "model_name"), context)
        return oip.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(
        self, request: oip.RepositoryModelUnloadRequest, context: Context
    ) -> oip.RepositoryModelUnloadResponse:
        """Lets a model go."""
        _check_repository(request.repository_name)
        await self._models.unload(_named(request.model_name, "model_name"), context)
        return oip.RepositoryModelUnloadResponse()

    async def _answer(
        self, request: oip.ModelInferRequest, context: Context, call: Call
    ) -> oip.ModelStreamInferResponse:
        try:
            call = adjusted(call, request.parameters)  # here too: the time of a request counts from its arrival
            inferred = await patiently(lambda: self._infer(request, context, call), call.item_deadline())
        except Exception as cause:  # noqa: BLE001  # whatever it is, it is the error of this request alone
            nothing = oip.ModelInferResponse(id=request.id, model_name=request.model_name)
            return oip.ModelStreamInferResponse(error_message=str(as_error(cause, call)), infer_response=nothing)
        return oip.ModelStreamInferResponse(infer_response=inferred)

    async def _infer(self, request: oip.ModelInferRequest, context: Context, call: Call) -> oip.ModelInferResponse:
        name = _named(request.model_name, "model_name")
        model = _chosen(await self._models.served(), name, request.model_version, "model_name")
        options = read_options(request.parameters, f"{model.name}@{model.version}")
        places = {each.name: place for place, each in enumerate(request.inputs)}
        wanted = _wanted(request, model)
        call = adjusted(call, request.parameters)
        enter_call(call)  # what is called below reads its deadline and its priority there
        try:
            async with asyncio.timeout(call.remaining_s()):
                inferred = await self._models.infer(Asked(read_inputs(request), places, options), context)
        except TimeoutError:
            raise DeadlineExceeded("the deadline passed; what was still waiting was not computed") from None
        return _response(request, model, inferred, wanted)


def _response(
    request: oip.ModelInferRequest, model: Served, inferred: Inferred, wanted: Sequence[str]
) -> oip.ModelInferResponse:
    names = [name for name in inferred.outputs if not wanted or name in wanted]
    outputs = [inferred.outputs[name] for name in names]
    facts = {"space": inferred.space, "fingerprint": inferred.receipt.fingerprint}
    return oip.ModelInferResponse(
        model_name=model.name,
        model_version=model.version,
        id=request.id,
        parameters={key: oip.InferParameter(string_param=value) for key, value in facts.items() if value},
        outputs=[
            oip.ModelInferResponse.InferOutputTensor(name=name, datatype="FP32", shape=output.shape)
            for name, output in zip(names, outputs, strict=True)
        ],
        raw_output_contents=raw_contents(outputs),
    )


def _wanted(request: oip.ModelInferRequest, model: Served) -> Sequence[str]:
    names = [each.name for each in request.outputs]
    known = [each.name for each in model.outputs]
    for place, name in enumerate(names):
        if name not in known:
            raise InvalidInput(
                f"is {name[:80]!r}; {model.name} gives {', '.join(known)}", field=f"outputs[{place}].name"
            )
    return names


def _matching(served: Sequence[Served], name: str, wanted: str) -> Sequence[Served]:
    return [each for each in served if each.name == name and wanted in ("", each.version)]


def _chosen(served: Sequence[Served], name: str, wanted: str, field: str) -> Served:
    found = _matching(served, name, wanted)
    if not found:
        available = ", ".join(sorted(f"{each.name}@{each.version}" for each in served))
        raise NotFound(
            f"is {name[:80]!r}{f' of version {wanted[:40]}' if wanted else ''}, which is not loaded here; "
            f"there are {available or 'none'}",
            field=field,
            metadata={"model": name[:80], "available": available},
        )
    return found[0]


def _named(name: str, field: str) -> str:
    if not name:
        raise InvalidInput("is empty; name a model", reason=Reason.FIELD_MISSING, field=field)
    return name


def _check_repository(name: str) -> None:
    if name:
        raise InvalidInput(f"is {name[:80]!r}; there is one repository, without a name", field="repository_name")


def _metadata(tensor: Tensor) -> oip.ModelMetadataResponse.TensorMetadata:
    return oip.ModelMetadataResponse.TensorMetadata(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
