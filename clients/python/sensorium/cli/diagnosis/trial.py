"""Embeds something tiny of each modality, to see whether it works and how long it takes."""

from __future__ import annotations

import io
import time
import wave
from collections.abc import Mapping

import numpy as np

import sensorium
from sensorium.cli.diagnosis.finding import Finding
from sensorium.cli.messages import enum_name
from sensorium.errors import Overloaded, SensoriumError, Unavailable
from sensorium.v1.content_pb2 import MODALITY_AUDIO, MODALITY_IMAGE, MODALITY_TEXT, Content, Modality

_SIDE_PX = 64
_RATE_HZ = 16_000
_TRIES = 2  # the first opens the connection and warms caches; the second is what calls take


def a_picture() -> Content:
    """Returns a small picture with a gradient, as PNG."""
    ramp = np.linspace(0, 255, _SIDE_PX).astype(np.uint8)
    return sensorium.image(np.stack([np.tile(ramp, (_SIDE_PX, 1)), np.tile(ramp[:, None], (1, _SIDE_PX)),
                                     np.full((_SIDE_PX, _SIDE_PX), 128, np.uint8)], axis=2))  # fmt: skip


def a_sound() -> Content:
    """Returns a second of a tone, as WAV."""
    tone = (8000 * np.sin(np.arange(_RATE_HZ) * (2 * np.pi * 440 / _RATE_HZ))).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(_RATE_HZ)
        sound.writeframes(tone.tobytes())
    return sensorium.audio(file.getvalue())


async def check_modalities(
    client: sensorium.AsyncClient, spaces: Mapping[Modality.ValueType, str], timeout_s: float
) -> list[Finding]:
    """Returns for each modality whether something of it is embedded in its space, and how long that took."""
    made = {MODALITY_TEXT: lambda: sensorium.text("one two three"), MODALITY_IMAGE: a_picture, MODALITY_AUDIO: a_sound}
    findings = []
    for modality, make in made.items():
        check = f"embed {enum_name(Modality.DESCRIPTOR, modality)}"
        if modality not in spaces:
            findings.append(Finding(check, "skipped", "no model that is ready takes it"))
            continue
        findings.append(await _embed(client, check, make(), spaces[modality], timeout_s))
    return findings


async def _embed(client: sensorium.AsyncClient, check: str, content: Content, space: str, timeout_s: float) -> Finding:
    ms = 0.0
    for _ in range(_TRIES):
        started = time.perf_counter()
        try:
            answer = await client.embed([content], space=space, timeout_s=timeout_s)
            answer.raise_for_errors()
        except (Overloaded, Unavailable) as error:
            return Finding(check, "failed", error.problem, "try again; if it stays so, add replicas, or see the log")
        except SensoriumError as error:
            return Finding(check, "failed", error.problem, "see the log of the service; its lines name the request")
        ms = (time.perf_counter() - started) * 1000
    vector = answer.vectors[0]
    if not np.isfinite(vector).all() or abs(float(np.linalg.norm(vector)) - 1) > 1e-3:
        return Finding(check, "failed", "the vector is not of length 1", "is the model package right? models verify")
    return Finding(check, "ok", f"{vector.size} components in {answer.space}", ms=ms)
