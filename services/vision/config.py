"""The vision service's configuration."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.hosting.config import HostingConfig
from shared.hosting.decoding import DecodingConfig
from shared.serving.config import ServerConfig, option


@dataclass(frozen=True)
class Config:
    """Serves image encoders: EncodeImage, EncodeImageStream."""

    server: ServerConfig = field(default_factory=ServerConfig)
    hosting: HostingConfig = field(default_factory=HostingConfig)
    decoding: DecodingConfig = field(default_factory=DecodingConfig)
    max_image_bytes: int = option(32 << 20, "largest encoded picture in bytes", low=1)
    max_pixels: int = option(50_000_000, "most pixels of one picture; each takes 3 bytes once decoded", low=1)
