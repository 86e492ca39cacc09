"""The text service's configuration."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.hosting.config import HostingConfig
from shared.serving.config import ServerConfig, option


@dataclass(frozen=True)
class Config:
    """Serves text encoders: EncodeText, EncodeTextStream, Tokenize."""

    server: ServerConfig = field(default_factory=ServerConfig)
    hosting: HostingConfig = field(default_factory=HostingConfig)
    max_text_bytes: int = option(1 << 20, "largest text in bytes; longer ones are refused before tokenizing", low=1)
