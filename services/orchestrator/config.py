"""What the orchestrator can be told: how to serve, and where its peers are."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.serving.config import ConfigError, ServerConfig, option


@dataclass(frozen=True)
class Config:
    """Serves Embed, Compare, Classify, Fuse and Describe over the encoders and the fusion service of a mesh.

    Raises:
        ConfigError: none of the three encoders has an address.
    """

    server: ServerConfig = field(default_factory=ServerConfig)
    text_addr: str = option("", "gRPC target of the text service, such as dns:///text:8001; empty where there is none")
    vision_addr: str = option("", "gRPC target of the vision service; empty where there is none")
    audio_addr: str = option("", "gRPC target of the audio service; empty where there is none")
    fusion_addr: str = option("", "gRPC target of the fusion service; empty where there is none")
    default_space: str = option("", "embedding space of calls that name none; empty takes the one of most modalities")

    def __post_init__(self) -> None:
        """Refuses a mesh that could embed nothing."""
        if not (self.text_addr or self.vision_addr or self.audio_addr):
            raise ConfigError(
                "the orchestrator has no encoder; set at least one of "
                "SENSORIUM_TEXT_ADDR, SENSORIUM_VISION_ADDR, SENSORIUM_AUDIO_ADDR (--text-addr …)"
            )
