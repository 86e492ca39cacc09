"""The fusion service's configuration."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.hosting.config import HostingConfig
from shared.serving.config import ServerConfig


@dataclass(frozen=True)
class Config:
    """Serves fusion models, bridges between spaces, and predictors: Fuse, Project, Predict."""

    server: ServerConfig = field(default_factory=ServerConfig)
    hosting: HostingConfig = field(default_factory=HostingConfig)
