"""Runs a package outside of a server, as its service would: to try it before it is trusted, or to check it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensorium.errors import FailedPrecondition, Reason, SensoriumError
from sensorium.v1 import content_pb2
from shared.hosting import results
from shared.hosting.host import Host
from shared.importing.exact import vouch
from shared.inference.encoder import Encoder, Pools
from shared.inference.fair import FairPool
from shared.inference.manifest import read_numbers
from shared.inference.model import Model
from shared.inference.package import Package, open_package
from shared.inference.providers import Execution
from shared.serving.metrics import Metrics

_TIMEOUT_S = 600.0
_MAX_QUEUE_BATCHES = 1_000
_SENTENCES = (
    "A cat sleeps on the warm roof of an old car.",
    "How do I change the password of my account?",
    "Prices rose by 3.5 percent in the second quarter, the bank said on Tuesday.",
)

# Any: each modality has an input of its own, which `make` turns a text or the path of a file into.
_Opened = tuple[Encoder[Any], Callable[[str | Path], Any]]


def probe(package: Package) -> None:
    """Opens the package in the service of its modality, which warms it up; an int8 one is vouched for (see `vouch`).

    Raises:
        FailedPrecondition: PACKAGE_INVALID; the graph does not fit the manifest or preprocessing.
    """
    with ThreadPoolExecutor(1) as pool:
        if package.manifest.task != "encode":
            from services.fusion.app import open_encoder as open_fusion

            open_fusion(package, _host(pool))
        else:
            encoder, _ = _open(package, pool)
            if vouch(package, _samples(package, encoder)) is not package:
                _open(open_package(package.folder), pool)  # so that one whose answers are wrong here is refused


def encode(package: Package, inputs: Sequence[str | Path], prompt_name: str = "") -> NDArray[np.float32]:
    """Returns (n, dim) float32 rows of length 1 of texts, or of the files of pictures or sounds, in their order.

    prompt_name: of the prompt that goes before texts; empty for the package's default one, or none.

    Raises:
        SensoriumError: the package or one of the inputs cannot be used.
        OSError: a file cannot be read.
    """
    with ThreadPoolExecutor(1) as pool:
        encoder, make = _open(package, pool, prompt_name)
        return asyncio.run(_encoded(encoder, [make(each) for each in inputs]))


def feeds(
    package: Package, inputs: Sequence[str | Path], prompt_name: str = ""
) -> Iterator[Sequence[Mapping[str, NDArray[Any]]]]:
    """Yields for each input what the package's graph is given for it, one batch for each of its rows; see `encode`.

    Raises:
        SensoriumError: the package or one of the inputs cannot be used.
        OSError: a file cannot be read.
    """
    with ThreadPoolExecutor(1) as pool:
        encoder, make = _open(package, pool, prompt_name)
        model = _model(package)
        for place, each in enumerate(inputs):
            try:
                prepared = encoder.prepare(make(each))
            except SensoriumError as error:
                raise error.under(f"items[{place}]") from None
            yield [model.feeds([row]) for row in prepared.rows]


def _samples(package: Package, encoder: Encoder[Any]) -> Sequence[Mapping[str, NDArray[Any]]]:
    """Returns what an encoder's graph is given for a few inputs of no user."""
    if package.manifest.modality == "text":
        return [each for batches in feeds(package, _SENTENCES) for each in batches]
    return [_model(package).feeds([encoder.sample])]


async def _encoded(encoder: Encoder[Any], inputs: Sequence[Any]) -> NDArray[np.float32]:
    deadline = time.monotonic() + _TIMEOUT_S
    rows = []
    for place, item in enumerate(await encoder.encode(inputs, deadline=deadline, priority="batch")):
        if isinstance(item, SensoriumError):
            raise item.under(f"items[{place}]")
        rows.append(results.unit(results.whole_clip(item.vectors)))
    await encoder.close()
    return np.stack(rows)


def _model(package: Package) -> Model:
    if package.manifest.modality != "text":
        return Model(package)
    from services.text.app import open_model
    from services.text.preprocess import TextNumbers

    return open_model(package, read_numbers(package.manifest, TextNumbers.of), Execution())


def _host(pool: ThreadPoolExecutor) -> Host:
    return Host(Pools(FairPool(pool, 1), pool, 1), Metrics("trial"), _MAX_QUEUE_BATCHES)


def _open(package: Package, pool: ThreadPoolExecutor, prompt_name: str = "") -> _Opened:
    host = _host(pool)
    modality = package.manifest.modality
    if modality == "text":
        from services.text.app import open_encoder as open_text
        from services.text.config import Config as TextConfig
        from services.text.preprocess import Text, prompt_of

        prompt = prompt_of(package.manifest, prompt_name)
        return open_text(package, TextConfig(), host), lambda given: Text(str(given), prompt)
    if modality == "image":
        from services.vision.app import open_encoder as open_vision
        from services.vision.config import Config as VisionConfig

        return open_vision(package, VisionConfig(), host), lambda given: Path(given).read_bytes()
    if modality == "audio":
        from services.audio.app import open_encoder as open_audio
        from services.audio.clips import Clip
        from services.audio.config import Config as AudioConfig

        return (
            open_audio(package, AudioConfig(), host),
            lambda given: Clip(content_pb2.Audio(data=Path(given).read_bytes())),
        )
    raise FailedPrecondition(
        f"{package.manifest.id} is no encoder: its task is {package.manifest.task}", reason=Reason.MODALITY_UNSUPPORTED
    )
