"""A whole mesh of added exports gives the reference's logits: through Compare, and through Classify."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sensorium.channel import open_channel
from sensorium.v1 import content_pb2, model_pb2, orchestrator_pb2, orchestrator_pb2_grpc
from sensorium.v1.content_pb2 import Audio, Content, Image
from services.audio.app import serving as serving_audio
from services.audio.config import Config as AudioConfig
from services.orchestrator.app import serving as serving_orchestrator
from services.orchestrator.config import Config as OrchestratorConfig
from services.text.app import serving as serving_text
from services.text.config import Config as TextConfig
from services.vision.app import serving as serving_vision
from services.vision.config import Config as VisionConfig
from shared.hosting.config import HostingConfig
from tests.conformance.exports import Rows, add, facts, files, goldens, texts
from tests.running import running, server_config

if TYPE_CHECKING:
    from sensorium.v1.orchestrator_pb2_grpc import OrchestratorServiceAsyncStub

IMAGES = ["clip", "chinese_clip", "clip_joint", "siglip", "siglip2", "siglip_joint"]
SOUNDS = ["clap", "clap_fused", "clap_joint"]
CLOSE = 1e-4  # of the largest logit
EXACT_PROBABILITY = 2e-4  # where logits of 100 are off by 1e-6 of it


@dataclass(frozen=True)
class Case:
    """The queries of a family, its texts, and the reference's logits and probabilities for them (q, t)."""

    queries: Sequence[Content]
    logits: Rows
    is_sigmoid: bool

    @property
    def probabilities(self) -> Rows:
        if self.is_sigmoid:
            return np.asarray(1 / (1 + np.exp(-self.logits.astype(np.float64))), np.float32)
        powers = np.exp(self.logits.astype(np.float64) - self.logits.max(1, keepdims=True))
        return np.asarray(powers / powers.sum(1, keepdims=True), np.float32)


def case_of(family: str) -> Case:
    kind = "audios" if family in SOUNDS else "images"
    inputs, logits = files(family, kind), goldens(family)[f"logits_per_{kind[:-1]}"]
    # Two rows are of another input than the contract's: alpha dropped, and a piece drawn at random.
    left_out = {"rgba.png", "long_16k.flac"} if family == "clap" else {"rgba.png"}
    kept = [place for place, file in enumerate(inputs) if file.name not in left_out]
    contents = [
        Content(image=Image(data=inputs[place].read_bytes()))
        if kind == "images"
        else Content(audio=Audio(data=inputs[place].read_bytes()))
        for place in kept
    ]
    return Case(contents, logits[kept], "logit_bias" in facts(family) and facts(family)["logit_bias"] is not None)


def scales(family: str) -> list[str]:
    """The options that give what no exported file holds; a joint graph holds it."""
    known, options = facts(family), []
    if "joint" in family:
        return []
    for option, key in (
        ("--logit-scale", "logit_scale"),
        ("--logit-scale", "logit_scale_a"),
        ("--text-logit-scale", "logit_scale_t"),
        ("--logit-bias", "logit_bias"),
    ):
        if known.get(key) is not None:
            options += [option, str(known[key])]
    return options


@contextlib.asynccontextmanager
async def mesh(models: Path, family: str) -> AsyncIterator[OrchestratorServiceAsyncStub]:
    """The text service, the one of the other modality and the orchestrator, serving what is in the folder."""
    hosting = HostingConfig(models=models)
    # Any: of two kinds of configuration.
    other: tuple[Any, Any] = (serving_audio, AudioConfig) if family in SOUNDS else (serving_vision, VisionConfig)
    async with (
        running(serving_text, TextConfig, hosting=hosting) as (_, text),
        running(other[0], other[1], hosting=hosting) as (_, second),
    ):
        name = "audio_addr" if family in SOUNDS else "vision_addr"
        peers: dict[str, Any] = {"text_addr": f"127.0.0.1:{text.port}", name: f"127.0.0.1:{second.port}"}
        config = OrchestratorConfig(server=server_config(), **peers)
        async with (
            serving_orchestrator(config) as orchestrator,
            open_channel(f"127.0.0.1:{orchestrator.port}") as channel,
        ):
            stub = orchestrator_pb2_grpc.OrchestratorServiceStub(channel)
            seen = 0
            while seen < 2:  # bounded by the time of the test
                seen = sum(len(each.models) for each in (await stub.Describe(_DESCRIBE)).services)
            yield stub


_DESCRIBE = orchestrator_pb2.DescribeRequest()


@pytest.mark.parametrize("family", [*IMAGES, *SOUNDS])
async def test_compare_gives_the_logits_and_probabilities_of_the_reference(tmp_path: Path, family: str) -> None:
    add(tmp_path, family, *scales(family))
    case = case_of(family)
    candidates = [Content(text=text) for text in texts(family)]
    async with mesh(tmp_path, family) as stub:
        request = orchestrator_pb2.CompareRequest(queries=case.queries, candidates=candidates)
        answer = await stub.Compare(request, timeout=20)
        described = (await stub.Describe(_DESCRIBE)).services
    wanted = content_pb2.MODALITY_AUDIO if family in SOUNDS else content_pb2.MODALITY_IMAGE
    (model,) = [each for service in described for each in service.models if each.modality == wanted]
    assert model.calibration.activation == (
        model_pb2.ACTIVATION_SIGMOID if case.is_sigmoid else model_pb2.ACTIVATION_SOFTMAX
    )
    cosines = np.array(answer.scores, np.float32).reshape(case.logits.shape)
    logits = model.calibration.logit_scale * cosines + model.calibration.logit_bias
    assert np.abs(logits - case.logits).max() < CLOSE * np.abs(case.logits).max()
    probabilities = np.array(answer.probabilities, np.float32).reshape(case.logits.shape)
    assert np.abs(probabilities - case.probabilities).max() < EXACT_PROBABILITY


@pytest.mark.parametrize("family", [*IMAGES, *SOUNDS])
async def test_classify_gives_the_probabilities_of_the_reference(tmp_path: Path, family: str) -> None:
    add(tmp_path, family, *scales(family))
    case = case_of(family)
    kept = [place for place, text in enumerate(texts(family)) if text.strip()]  # a label needs a name
    case = Case(case.queries, case.logits[:, kept], case.is_sigmoid)
    labels = [orchestrator_pb2.Label(name=texts(family)[place]) for place in kept]
    async with mesh(tmp_path, family) as stub:
        request = orchestrator_pb2.ClassifyRequest(
            contents=case.queries, labels=labels, templates=["{}"], multi_label=case.is_sigmoid
        )
        answer = await stub.Classify(request, timeout=20)
    places = {label.name: place for place, label in enumerate(labels)}
    for result, expected in zip(answer.results, case.probabilities, strict=True):
        for each in result.ranking.labels:
            assert each.probability == pytest.approx(expected[places[each.name]], abs=EXACT_PROBABILITY)


async def test_texts_asked_about_sounds_have_a_scale_of_their_own(tmp_path: Path) -> None:
    add(tmp_path, "clap_joint")
    case = case_of("clap_joint")
    queries = [Content(text=text) for text in texts("clap_joint")]
    async with mesh(tmp_path, "clap_joint") as stub:
        request = orchestrator_pb2.CompareRequest(queries=queries, candidates=case.queries)
        answer = await stub.Compare(request, timeout=20)
    expected = goldens("clap_joint")["logits_per_text"]
    cosines = np.array(answer.scores, np.float32).reshape(expected.shape)
    assert np.abs(facts("clap_joint")["logit_scale_t"] * cosines - expected).max() < CLOSE * np.abs(expected).max()
    probabilities = np.array(answer.probabilities, np.float32).reshape(expected.shape)
    assert np.abs(probabilities - Case([], expected, is_sigmoid=False).probabilities).max() < EXACT_PROBABILITY
