"""Our services: called directly, with 32 items a call, by a stream, and through the orchestrator."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.load.calls import Target
from bench.systems.system import Calls, Command, Commands, Place, Setting, System, Vector
from sensorium.v1 import audio_pb2, content_pb2, embedding_pb2, orchestrator_pb2, text_pb2, vision_pb2

_TEXTS = frozenset({"short", "mixed"})
_ALL = frozenset({"short", "mixed", "image", "audio"})
_SERVICES = {"short": "text", "mixed": "text", "image": "vision", "audio": "audio"}
_MODELS = {"text": "minilm", "vision": "vit", "audio": "tiny-audio"}
_PATHS = {
    "text": "/sensorium.v1.TextEncoderService/EncodeText",
    "vision": "/sensorium.v1.VisionEncoderService/EncodeImage",
    "audio": "/sensorium.v1.AudioEncoderService/EncodeAudio",
}
_STREAM = "/sensorium.v1.TextEncoderService/EncodeTextStream"
_EMBED = "/sensorium.v1.OrchestratorService/Embed"
# Of pictures: what differs from the reference by Pillow is the resize of torchvision.
_LEAST_COSINE = 0.995
_BATCH = 32
# Same precision as the peers, and every input computed: the bench repeats its inputs.
_PLAIN = {"SENSORIUM_PRECISION": "fp32", "SENSORIUM_CACHE_MB": "0"}


def ours(
    name: str = "sensorium",
    environ: Mapping[str, str] | None = None,
    python: Path | None = None,
    least_cosine: float = _LEAST_COSINE,
) -> Sequence[System]:
    """Returns our systems.

    environ: further `SENSORIUM_*` of the services; fp32 unless it says otherwise.
    python: the interpreter of an environment with another onnxruntime.
    """
    direct = partial(_direct, {**_PLAIN, **(environ or {})}, python)
    meshed = partial(_meshed, {**_PLAIN, **(environ or {})}, python)

    def system(suffix: str, kinds: frozenset[str], commands: Commands, target: Calls, vector: Vector) -> System:
        return System(name + suffix, kinds, [{}], commands, target, vector, has_metrics=True, has_deadlines=True,
                      least_cosine=least_cosine)  # fmt: skip

    return [
        system("", _ALL, direct, partial(_calls, 1), _first),
        system(", 32 a call", _TEXTS, direct, partial(_calls, _BATCH), _first),
        system(", stream", _TEXTS, direct, _messages, _streamed),
        system(", orchestrator", _ALL, meshed, _embeds, _first),
    ]


def _direct(
    environ: Mapping[str, str], python: Path | None, place: Place, setting: Setting, kind: str
) -> Sequence[Command]:
    return [_service(_SERVICES[kind], place.port, place.other_ports[0], environ, python, place)]


def _meshed(
    environ: Mapping[str, str], python: Path | None, place: Place, setting: Setting, kind: str
) -> Sequence[Command]:
    name, port = _SERVICES[kind], place.other_ports[1]
    encoder = _service(name, port, place.other_ports[0], environ, python, place)
    peer = {**environ, f"SENSORIUM_{name.upper()}_ADDR": f"127.0.0.1:{port}"}
    return [encoder, _service("orchestrator", place.port, place.other_ports[2], peer, python, place)]


def _service(
    name: str, port: int, metrics_port: int, environ: Mapping[str, str], python: Path | None, place: Place
) -> Command:
    where = {
        "SENSORIUM_PORT": str(port),
        "SENSORIUM_METRICS_PORT": str(metrics_port),
        "SENSORIUM_MODELS": str(place.models.packages),
        "SENSORIUM_LOAD_MODELS": _MODELS.get(name, ""),
    }
    return Command([str(python or sys.executable), "-m", f"services.{name}"], {**where, **environ})


def _calls(count: int, port: int, kind: str, payloads: Sequence[bytes]) -> Target:
    service = _SERVICES[kind]
    groups = [payloads[start : start + count] for start in range(0, len(payloads) - count + 1, count)]
    return Target("grpc", port, _PATHS[service], tuple(_request(service, group) for group in groups), count)


def _request(service: str, group: Sequence[bytes]) -> bytes:
    if service == "text":
        return text_pb2.EncodeTextRequest(texts=[each.decode() for each in group]).SerializeToString()
    if service == "vision":
        images = [content_pb2.Image(data=each) for each in group]
        return vision_pb2.EncodeImageRequest(images=images).SerializeToString()
    clips = [content_pb2.Audio(data=each) for each in group]
    return audio_pb2.EncodeAudioRequest(audios=clips).SerializeToString()


def _messages(port: int, kind: str, payloads: Sequence[bytes]) -> Target:
    bodies = tuple(text_pb2.EncodeTextStreamRequest(text=each.decode()).SerializeToString() for each in payloads)
    return Target("grpc-stream", port, _STREAM, bodies, callers_per_connection=1_000)


def _embeds(port: int, kind: str, payloads: Sequence[bytes]) -> Target:
    return Target("grpc", port, _EMBED, tuple(_embed(kind, each) for each in payloads))


def _embed(kind: str, payload: bytes) -> bytes:
    if kind == "image":
        content = content_pb2.Content(image=content_pb2.Image(data=payload))
    elif kind == "audio":
        content = content_pb2.Content(audio=content_pb2.Audio(data=payload))
    else:
        content = content_pb2.Content(text=payload.decode())
    return orchestrator_pb2.EmbedRequest(contents=[content]).SerializeToString()


def _first(body: bytes) -> NDArray[np.float32]:
    """Returns the first vector; the answers of all unary calls have their results in field 1."""
    return _values(text_pb2.EncodeTextResponse.FromString(body).results[0])


def _streamed(body: bytes) -> NDArray[np.float32]:
    return _values(text_pb2.EncodeTextStreamResponse.FromString(body).result)


def _values(result: embedding_pb2.ItemResult) -> NDArray[np.float32]:
    return np.asarray(result.embedding.values, np.float32)
