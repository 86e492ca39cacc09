"""Mutated and odd requests through the running services, over gRPC, as bytes: protobuf that is none is sent too."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message

from sensorium.channel import open_channel
from sensorium.cli.mesh import Mesh
from sensorium.v1 import (
    audio_pb2,
    embedding_pb2,
    fusion_pb2,
    model_pb2,
    orchestrator_pb2,
    text_pb2,
    vision_pb2,
)
from tests.fuzz.corpus import Corpus
from tests.fuzz.findings import Finding, Tally
from tests.fuzz.messages import Oddity, type_of
from tests.fuzz.mutate import mutated

_FILES = (text_pb2, vision_pb2, audio_pb2, fusion_pb2, orchestrator_pb2, model_pb2)
_PROCESS = {
    "TextEncoderService": "text",
    "VisionEncoderService": "vision",
    "AudioEncoderService": "audio",
    "FusionService": "fusion",
    "OrchestratorService": "orchestrator",
}
_UNASKED = ("UnloadModel",)  # which would, rightly, take away what the canary asks for

_CALL_S = 30.0  # an answer may take; a call that reaches it counts as one that hangs
# What grpc.aio's client says in place of the status of a stream that the server ended while it was sending.
_LOCAL = "Internal error from Core"
_FORBIDDEN = {
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNIMPLEMENTED,
}
_FORBIDDEN_IN_ITEMS = {code.value[0] for code in _FORBIDDEN}


@dataclass(frozen=True, slots=True)
class Method:
    """One rpc of one service, with the process that it is asked of."""

    path: str
    process: str
    request: type[Message]
    response: type[Message]
    is_stream: bool


def methods() -> list[Method]:
    """Returns every rpc of the contract but those that would stop the canary; `ModelService` is asked everywhere."""
    found = []
    for service in (each for file in _FILES for each in file.DESCRIPTOR.services_by_name.values()):
        for rpc in service.methods:
            if rpc.name in _UNASKED:
                continue
            processes = [_PROCESS[service.name]] if service.name in _PROCESS else ["text", "vision", "audio", "fusion"]
            for process in processes:
                kinds = type_of(rpc.input_type), type_of(rpc.output_type)
                found.append(Method(f"/{service.full_name}/{rpc.name}", process, *kinds, rpc.client_streaming))
    return found


class Services:
    """The services of a mesh as targets."""

    def __init__(self, mesh: Mesh, channels: Mapping[str, grpc.aio.Channel], corpus: Corpus, tally: Tally) -> None:
        """Takes a channel for each process of the mesh."""
        self._mesh, self._channels, self._corpus, self._tally = mesh, channels, corpus, tally
        self._methods = methods()

    async def call(self, rng: Random, number: int) -> None:
        """Sends the request of a number and counts how the call ended."""
        method = rng.choice(self._methods)
        messages = [self._request(method, rng) for _ in range(rng.randint(1, 4) if method.is_stream else 1)]
        try:
            answers = await self._answers(method, messages)
        except grpc.aio.AioRpcError as error:
            is_local = error.details() == _LOCAL
            outcome = "ended while it was sent to" if is_local else error.code().name
            said = f"{outcome}: {error.details()}" if error.code() in _FORBIDDEN and not is_local else ""
        else:
            said = "".join(map(_fault, answers))
            outcome = "OK" if not said else "item error that is ours"
        self._tally.add(method.path, outcome)
        if said:
            data = b"".join(len(each).to_bytes(4, "big") + each for each in messages)
            self._tally.findings.append(Finding(f"{method.process}{method.path}", number, said, data))

    async def check(self, number: int) -> None:
        """Finds that every process still runs and gives what it gave at first."""
        for service in self._mesh.services:
            if not service.is_running:
                self._tally.findings.append(Finding(service.name, number, f"{service.name} ended", b""))
        canary = self._corpus.requests["/sensorium.v1.OrchestratorService/Embed"]
        request = orchestrator_pb2.EmbedRequest.FromString(canary)
        response = await self._channels["orchestrator"].unary_unary(
            "/sensorium.v1.OrchestratorService/Embed",
            request_serializer=orchestrator_pb2.EmbedRequest.SerializeToString,
            response_deserializer=orchestrator_pb2.EmbedResponse.FromString,
        )(request, timeout=_CALL_S)
        seen = b"".join(result.SerializeToString(deterministic=True) for result in response.results)
        if any(result.HasField("error") for result in response.results):
            self._tally.findings.append(Finding("canary", number, f"is refused: {response.results}"[:500], canary))
        self._tally.canary = self._tally.canary or seen
        if seen != self._tally.canary:
            self._tally.findings.append(Finding("canary", number, "has another vector than at first", canary))

    def _request(self, method: Method, rng: Random) -> bytes:
        """Returns the seed of the method, mutated, or a message that is valid and odd, or that, mutated."""
        corpus = self._corpus
        seed = corpus.requests[method.path]
        kind = rng.random()
        if kind < 0.4:
            return mutated(seed, rng, list(corpus.requests.values()))

        def from_all(files: Any) -> bytes:
            """Any: a sequence of seeds."""
            data: bytes = rng.choice(files)
            return mutated(data, rng, files) if rng.random() < 0.7 else data

        odd = Oddity(
            rng,
            lambda: from_all(corpus.images),
            lambda: from_all(corpus.sounds),
            lambda: from_all(corpus.texts),
        )
        data = odd.message(method.request).SerializeToString()
        return data if kind < 0.9 else mutated(data, rng, [seed])

    async def _answers(self, method: Method, messages: list[bytes]) -> list[Message]:
        """Returns the answers; raises AioRpcError where the call fails. Any: calls that take bytes."""
        channel = self._channels[method.process]
        if not method.is_stream:
            one: Any = channel.unary_unary(method.path, response_deserializer=method.response.FromString)
            return [await one(messages[0], timeout=_CALL_S)]
        many: Any = channel.stream_stream(method.path, response_deserializer=method.response.FromString)

        async def requests() -> AsyncIterator[bytes]:
            for message in messages:
                yield message

        return [answer async for answer in many(requests(), timeout=_CALL_S)]


def _fault(answer: Message) -> str:
    """Returns which item of an answer has an error that is not the caller's, or a vector that is none."""
    said = ""
    for field, value in answer.ListFields():
        if field.message_type is None:
            continue
        for each in value if field.is_repeated else [value]:
            if field.message_type.full_name == "google.rpc.Status":
                said += f"{each.code} {each.message}; " if each.code in _FORBIDDEN_IN_ITEMS else ""
            elif isinstance(each, embedding_pb2.Embedding):
                said += "a vector with NaN; " if any(number != number for number in each.values) else ""
            elif isinstance(each, Message):
                said += _fault(each)
    return said


@contextlib.asynccontextmanager
async def services(mesh: Mesh, corpus: Corpus, tally: Tally) -> AsyncIterator[Services]:
    """Gives the services of a mesh as targets."""
    async with contextlib.AsyncExitStack() as stack:
        channels = {service.name: open_channel(service.address) for service in mesh.services}
        for channel in channels.values():
            stack.push_async_callback(channel.close)
        yield Services(mesh, channels, corpus, tally)


async def each_of(targets: Services, seed: int, numbers: range, at_once: int, canary_every: int) -> None:
    """Sends the requests of some numbers, so many at once, and the canary in between."""
    waiting = iter(numbers)

    async def sender() -> None:
        for number in waiting:
            await targets.call(Random(f"{seed}/services/{number}"), number)  # to be made again
            if number % canary_every == 0:
                await targets.check(number)

    await targets.check(numbers.start)
    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(sender())
    await targets.check(numbers.stop)
