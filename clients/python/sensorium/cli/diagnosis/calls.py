"""Checks what a mesh says of itself over gRPC: health, tokens, peers, models, spaces, versions, limits."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sensorium.channel import MAX_MESSAGE_BYTES, Metadata, call
from sensorium.cli.diagnosis.finding import Finding
from sensorium.cli.messages import enum_name
from sensorium.cli.processes import GRPC_SERVICES
from sensorium.errors import NotFound, PermissionDenied, SensoriumError, Unauthenticated
from sensorium.v1 import model_pb2, orchestrator_pb2, orchestrator_pb2_grpc
from sensorium.v1.content_pb2 import Modality
from sensorium.v1.orchestrator_pb2 import SERVICE_STATE_SERVING, DescribeResponse, ServiceDescription, ServiceState

if TYPE_CHECKING:
    _Check = grpc.aio.UnaryUnaryMultiCallable[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]

_FIXES = {
    ServiceState.SERVICE_STATE_UNREACHABLE: "is it running, and does SENSORIUM_{NAME}_ADDR of the orchestrator lead to "
    "it? Run `sensorium doctor` where the orchestrator runs, with that address",
    ServiceState.SERVICE_STATE_NOT_SERVING: "it loads, drains, or its model does not answer: see the {name} service's "
    "log and its /readyz",
}


async def check_health(channel: grpc.aio.Channel, timeout_s: float) -> tuple[list[Finding], bool]:
    """Returns the health of the process and of the orchestrator in it, and whether that is there to be asked more."""
    check: _Check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]  # not in its stub file
    findings: list[Finding] = []
    for title, service in (("process", ""), ("orchestrator", GRPC_SERVICES["orchestrator"])):
        started = time.perf_counter()
        try:
            answer = await call(check, health_pb2.HealthCheckRequest(service=service), timeout_s=timeout_s)
        except NotFound:
            others = await _others(check, timeout_s)
            found = f"no orchestrator here{f', but the {others} service' if others else ''}"
            return [*findings, Finding(title, "failed", found, "give the address of the orchestrator")], False
        except SensoriumError as error:
            fix = "does a Sensorium server listen there, in the same way, plain or TLS (--ca)?"
            return [*findings, Finding(title, "failed", error.problem, fix)], False
        else:
            name = enum_name(health_pb2.HealthCheckResponse.ServingStatus.DESCRIPTOR, answer.status)
            is_serving = answer.status == health_pb2.HealthCheckResponse.SERVING
            fix = "" if is_serving else "it waits for an encoder, or drains; the rows below and its log say more"
            findings.append(Finding(title, "ok" if is_serving else "failed", name, fix, _ms(started)))
    return findings, True


async def _others(check: _Check, timeout_s: float) -> str:
    """Returns the name of the service that is here instead; empty where it is none of ours."""
    for name, service in GRPC_SERVICES.items():
        try:
            await call(check, health_pb2.HealthCheckRequest(service=service), timeout_s=timeout_s)
        except SensoriumError:
            continue
        return name
    return ""


async def check_token(
    channel: grpc.aio.Channel, metadata: Metadata, timeout_s: float
) -> tuple[Finding, DescribeResponse | None]:
    """Returns whether calls are let in, and what the mesh says of itself."""
    stub = orchestrator_pb2_grpc.OrchestratorServiceStub(channel)
    started = time.perf_counter()
    try:
        mesh = await call(stub.Describe, orchestrator_pb2.DescribeRequest(), timeout_s=timeout_s, metadata=metadata)
    except (Unauthenticated, PermissionDenied) as error:
        fix = (
            "is it the mesh's own, in date, and are the clocks right?" if metadata else "give --token, or --token @FILE"
        )
        return Finding("token", "failed", error.problem, fix), None
    except SensoriumError as error:
        return Finding("describe", "failed", error.problem, "see the orchestrator's log"), None
    found = "accepted" if metadata else "none sent, none wanted"
    return Finding("token", "ok", found, ms=_ms(started)), mesh


def check_mesh(mesh: DescribeResponse, sdk_version: str) -> Iterator[Finding]:
    """Yields what is to be said of a mesh's description."""
    is_same = mesh.version == sdk_version
    found = f"orchestrator {mesh.version}, this SDK {sdk_version}"
    fix = "" if is_same else "calls that both know still work; bring the older one up to date"
    yield Finding("version", "ok" if is_same else "warning", found, fix)
    for service in mesh.services:
        if service.name != "orchestrator":
            yield _peer(service)
    if not mesh.spaces:
        yield Finding("spaces", "failed", "none: no model of an encoder is ready", "see the services above")
    else:
        yield from _spaces(mesh)
    limits = mesh.limits
    found = f"{limits.max_items} items and {limits.max_message_bytes / 2**20:g} MiB a call, "
    found += f"{mesh.default_deadline_ms / 1000:g} s where none is set"
    is_within = limits.max_message_bytes <= MAX_MESSAGE_BYTES
    fix = "" if is_within else f"the SDK sends and takes up to {MAX_MESSAGE_BYTES >> 20} MiB"
    yield Finding("limits", "ok" if is_within else "warning", found, fix)


def _peer(service: ServiceDescription) -> Finding:
    check = f"{service.name} service"
    if service.state != SERVICE_STATE_SERVING:
        fix = _FIXES.get(service.state, "see its log").format(name=service.name, NAME=service.name.upper())
        problem = f"{enum_name(ServiceState.DESCRIPTOR, service.state)} at {service.address}: {service.problem}"
        return Finding(check, "failed", problem, fix)
    ready = [f"{model.name}@{model.version}" for model in service.models if _is_ready(model)]
    others = [f"{model.name}@{model.version}" for model in service.models if not _is_ready(model)]
    if others or not ready:
        found = f"not ready: {', '.join(others) or 'it lists no model'}"
        return Finding(check, "warning", found, "see its log; `sensorium models list` says in which state each is")
    return Finding(check, "ok", f"{service.address} serves {', '.join(ready)}")


def _spaces(mesh: DescribeResponse) -> Iterator[Finding]:
    """Yields the spaces, and whether what the encoders take can be compared."""
    for space in mesh.spaces:
        takes = _names(space.modalities)
        found = f"{takes or 'nothing, for now'}; {space.dim} components{'; fuses' if space.can_fuse else ''}"
        yield Finding(f"space {space.name}", "ok" if takes else "warning", found, "" if takes else "see above")
    everything = {modality for space in mesh.spaces for modality in space.modalities}
    if any(everything <= set(space.modalities) for space in mesh.spaces):
        yield Finding("one space", "ok", f"{_names(sorted(everything))} can be compared with one another")
        return
    bridges = [
        f"{model.source_space} to {model.space}"
        for service in mesh.services
        for model in service.models
        if model.task == model_pb2.MODEL_TASK_PROJECT and _is_ready(model)
    ]
    found = "no space takes all of the modalities" + (f"; bridges: {', '.join(bridges)}" if bridges else "")
    fix = "load encoders of one space" + ("" if bridges else ", or a bridge between theirs")
    yield Finding("one space", "warning", found, f"to compare across them, {fix}")


def _names(modalities: Sequence[Modality.ValueType]) -> str:
    return ", ".join(enum_name(Modality.DESCRIPTOR, modality) for modality in modalities)


def _is_ready(model: model_pb2.Model) -> bool:
    return model.state == model_pb2.MODEL_STATE_READY


def _ms(started: float) -> float:
    return (time.perf_counter() - started) * 1000
