"""The audio service's configuration."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.hosting.config import HostingConfig
from shared.hosting.decoding import DecodingConfig
from shared.serving.config import ServerConfig, option


@dataclass(frozen=True)
class Config:
    """Serves audio encoders: EncodeAudio, EncodeAudioStream."""

    server: ServerConfig = field(default_factory=ServerConfig)
    hosting: HostingConfig = field(default_factory=HostingConfig)
    decoding: DecodingConfig = field(default_factory=DecodingConfig)
    max_audio_bytes: int = option(48 << 20, "largest encoded clip in bytes", low=1)
    max_audio_ms: int = option(300_000, "longest clip in milliseconds", low=1)
    max_audio_samples: int = option(
        64_000_000, "most samples of one clip, all channels counted; each takes 4 bytes once decoded", low=1
    )
