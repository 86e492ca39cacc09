"""What the orchestrator can be told: how to serve, and where its peers are."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.serving import checks
from shared.serving.config import ServerConfig, option, pair_fault, refuse


@dataclass(frozen=True)
class Config:
    """Serves Embed, Compare, Classify, Fuse and Describe over the encoders and the fusion service of a mesh.

    Raises:
        ConfigError: none of the three encoders has an address, or of the certificate and key there is one.
    """

    server: ServerConfig = field(default_factory=ServerConfig)
    text_addr: str = option(
        "", "gRPC target of the text service, such as dns:///text:8001; empty where there is none", check=checks.target
    )
    vision_addr: str = option("", "gRPC target of the vision service; empty where there is none", check=checks.target)
    audio_addr: str = option("", "gRPC target of the audio service; empty where there is none", check=checks.target)
    fusion_addr: str = option("", "gRPC target of the fusion service; empty where there is none", check=checks.target)
    peer_ca: str = option(
        "",
        "PEM file of the authorities that peers' certificates must lead to; set: TLS to every peer; empty: none",
        check=checks.file,
    )
    peer_cert: str = option(
        "", "PEM file of the certificate that is shown to peers which ask for one", check=checks.file
    )
    peer_key: str = option("", "PEM file of its key", check=checks.file)
    peer_token: str = option(
        "",
        "file with the token of the orchestrator's own calls, which list models, for peers that want one",
        check=checks.file,
    )
    max_concurrency: int = option(
        0,
        "calls answered at once, more are refused; 0: as many as are answered in half of a call's time, 256 to 1024",
        low=0,
        high=100_000,
    )
    leave_draining: bool = option(
        default=True,
        help="watch every replica's health and call none that drains; off where a proxy or sidecar spreads the calls",
    )
    breaker_failures: int = option(
        10, "calls in a row, over a second at least, that must fail for a peer to be left alone; 0: never", low=0
    )
    hedge_ratio: float = option(
        0.0,
        "share of interactive encodes that may be sent a second time when they take longer than 95 % of them do, such "
        "as 0.05; 0 sends none; only services with replicas gain from it",
        low=0,
        high=0.5,
    )
    default_space: str = option("", "embedding space of calls that name none; empty takes the one of most modalities")

    def __post_init__(self) -> None:
        """Refuses a mesh that could embed nothing, and half an identity."""
        refuse(
            pair_fault("peer_cert", self.peer_cert, "peer_key", self.peer_key),
            self.peer_cert
            and not self.peer_ca
            and "SENSORIUM_PEER_CERT is set and SENSORIUM_PEER_CA is not; a certificate is shown over TLS only, so "
            "give the authorities of the peers' certificates too (--peer-ca)",
            not (self.text_addr or self.vision_addr or self.audio_addr)
            and "the orchestrator has no encoder; set at least one of "
            "SENSORIUM_TEXT_ADDR, SENSORIUM_VISION_ADDR, SENSORIUM_AUDIO_ADDR (--text-addr …)",
        )
