"""Sensorium: text, pictures and sound understood in one space.

import sensorium
from pathlib import Path

with sensorium.Client("localhost:8001") as client:
    found = client.compare([sensorium.text("seven")], [sensorium.image(Path("seven.png"))])
    print(found.scores)
"""

from importlib.metadata import version as _version

from sensorium.aio import AsyncClient
from sensorium.answers import (
    Classification,
    Comparison,
    Embeddings,
    Fusion,
    ScoredLabel,
)
from sensorium.client import Client
from sensorium.contents import audio, embedding, image, label, part, text
from sensorium.errors import (
    Cancelled,
    DeadlineExceeded,
    FailedPrecondition,
    InternalError,
    InvalidInput,
    NotFound,
    Overloaded,
    PermissionDenied,
    Reason,
    SensoriumError,
    Unauthenticated,
    Unavailable,
)
from sensorium.ingest import Progress

__version__ = _version("sensorium")

__all__ = [
    "AsyncClient",
    "Cancelled",
    "Classification",
    "Client",
    "Comparison",
    "DeadlineExceeded",
    "Embeddings",
    "FailedPrecondition",
    "Fusion",
    "InternalError",
    "InvalidInput",
    "NotFound",
    "Overloaded",
    "PermissionDenied",
    "Progress",
    "Reason",
    "ScoredLabel",
    "SensoriumError",
    "Unauthenticated",
    "Unavailable",
    "audio",
    "embedding",
    "image",
    "label",
    "part",
    "text",
]
