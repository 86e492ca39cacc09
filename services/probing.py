"""Runs a package once, as its service would: what `sensorium models add` does before it trusts one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from shared.hosting.host import Host
from shared.inference.encoder import Pools
from shared.inference.package import Package
from shared.serving.metrics import Metrics


def probe(package: Package) -> None:
    """Opens the package in the service of its modality, which warms it up.

    Raises:
        FailedPrecondition: PACKAGE_INVALID; the graph does not fit the manifest or preprocessing.
    """
    with ThreadPoolExecutor(1) as pool:
        host = Host(Pools(pool, pool, 1), Metrics("probe"), 1)
        modality = package.manifest.modality
        if modality == "text":
            from services.text.app import open_encoder as open_text
            from services.text.config import Config as TextConfig

            open_text(package, TextConfig(), host)
        elif modality == "image":
            from services.vision.app import open_encoder as open_vision
            from services.vision.config import Config as VisionConfig

            open_vision(package, VisionConfig(), host)
        else:
            from services.audio.app import open_encoder as open_audio
            from services.audio.config import Config as AudioConfig

            open_audio(package, AudioConfig(), host)
