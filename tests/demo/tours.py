"""Small tours for the tests: real PNG and WAV bytes, made-up answers."""

from __future__ import annotations

import io
import struct
import wave
import zlib

import numpy as np

from sensorium.cli.demo.results import Bar, Call, Definitions, Grid, Items, Ranking, Step, Tour, means_the_same
from sensorium.cli.demo.samples import Thing
from sensorium.errors import InvalidInput
from sensorium.v1 import content_pb2, model_pb2, orchestrator_pb2
from sensorium.v1.embedding_pb2 import Receipt
from sensorium.v1.orchestrator_pb2 import DescribeResponse, ServiceDescription, SpaceDescription


def png(shade: int = 0) -> bytes:
    """Returns a picture of one pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes([0, shade]))) + chunk(b"IEND", b"")


def wav(pitch_hz: float = 440.0) -> bytes:
    """Returns a tenth of a second of a tone."""
    samples = np.sin(np.arange(800) / 8000 * 2 * np.pi * pitch_hz) * 20_000
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, 8000, 0, "NONE", ""))
        writer.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def text(words: str, meaning: str = "") -> Thing:
    return Thing(words, "text", content_pb2.Content(text=words), meaning or words)


def picture(caption: str, shade: int = 0) -> Thing:
    content = content_pb2.Content(image=content_pb2.Image(data=png(shade)))
    return Thing(caption, "image", content, caption, f"demo/inputs/{shade}.png")


def sound(caption: str, pitch_hz: float = 440.0) -> Thing:
    content = content_pb2.Content(audio=content_pb2.Audio(data=wav(pitch_hz)))
    return Thing(caption, "audio", content, caption, f"demo/inputs/{pitch_hz:.0f}.wav")


def receipt() -> Receipt:
    part = Receipt(model="tiny-text", version="1", fingerprint="a41b99c0", total_ns=2_300_000)
    return Receipt(total_ns=8_800_000, preprocess_ns=2_100_000, batch_size=8, parts=[part])


def tour(first: str = "two red circles", second: str = "a blue square") -> Tour:
    """Returns a tour of two pictures and two sounds with a step of every shape; the captions are as given."""
    samples = [picture(first, 10), picture(second, 20), sound(first, 300.0), sound(second, 600.0)]
    numbers = np.array(
        [[1, -0.2, 0.8, 0.1], [-0.2, 1, 0.3, np.nan], [0.8, 0.3, 1, 0.6], [0.1, np.nan, 0.6, 1]], np.float32
    )
    matrix = Grid(samples, samples, numbers, means_the_same(samples, samples))
    blocks = (
        Ranking(text(first), [Bar(samples[0], 0.9, is_expected=True), Bar(samples[3], -0.2)]),
        Ranking(samples[1], [Bar(text(second), 0.5, 0.75, is_expected=True)], heading="in words"),
        Definitions([(first, samples[:2])]),
        Items([("contents[1]", samples[1], InvalidInput(f"is {second}", field="contents[1].image.data"))]),
        Items([("contents[0]", samples[0], "128 numbers")]),
    )
    step = Step(f"About {first}", first, f"sensorium embed {first}", f"embed({first!r})", blocks, [call()], second)
    return Tour(samples, [step], matrix)


def call() -> Call:
    return Call("Compare", 12.5, receipt())


def mesh(problem: str = "") -> DescribeResponse:
    model = model_pb2.Model(
        name="tiny-text", version="1", task=model_pb2.MODEL_TASK_ENCODE, modality=content_pb2.MODALITY_TEXT,
        space="tiny@1", licence="Apache-2.0", fingerprint="a41b99c0",
    )  # fmt: skip
    return DescribeResponse(
        version="0.1.0",
        services=[
            ServiceDescription(name="text", state=orchestrator_pb2.SERVICE_STATE_SERVING, models=[model]),
            ServiceDescription(name="audio", state=orchestrator_pb2.SERVICE_STATE_UNREACHABLE, problem=problem),
        ],
        spaces=[SpaceDescription(name="tiny@1", dim=128, modalities=[content_pb2.MODALITY_TEXT])],
    )
