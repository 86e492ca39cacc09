"""Sensorium: text, pictures and sound understood in one space.

import sensorium
from pathlib import Path

with sensorium.Client("localhost:8001") as client:
    found = client.compare([sensorium.text("seven")], [sensorium.image(Path("seven.png"))])
    print(found.scores)
"""

from importlib.metadata import version as _version

from sensorium.aio import AsyncClient
from sensorium.answers import Comparison, Embeddings, Fusion
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
from sensorium.rankings import Classification, ClassProbability, Predictions, Ranking, ScoredLabel
from sensorium.tokens import Tokenization, Tokens
from sensorium.windows import ClipWindows, Windows

__version__ = _version("sensorium")

__all__ = [
    "AsyncClient",
    "Cancelled",
    "ClassProbability",
    "Classification",
    "Client",
    "ClipWindows",
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
    "Predictions",
    "Progress",
    "Ranking",
    "Reason",
    "ScoredLabel",
    "SensoriumError",
    "Tokenization",
    "Tokens",
    "Unauthenticated",
    "Unavailable",
    "Windows",
    "audio",
    "embedding",
    "image",
    "label",
    "part",
    "text",
]
