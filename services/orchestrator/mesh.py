"""The mesh as the orchestrator sees it: its peers, and the spaces that their models make."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sensorium.channel import open_channel
from sensorium.errors import FailedPrecondition, NotFound, Reason, Unavailable
from sensorium.v1 import audio_pb2, content_pb2, fusion_pb2, fusion_pb2_grpc, text_pb2, vision_pb2
from services.orchestrator.breaker import Breaker
from services.orchestrator.concurrency import background, run_all
from services.orchestrator.config import Config
from services.orchestrator.encoders import Encoder, audio_encoder, text_encoder, vision_encoder
from services.orchestrator.hedge import Hedging
from services.orchestrator.peer_metrics import PeerMetrics
from services.orchestrator.peers import Peer
from services.orchestrator.spaces import Route, Space, default_space, read_spaces
from shared.serving.auth import peer_token
from shared.serving.metrics import Metrics
from shared.serving.peer_channel import PeerChannel
from shared.serving.tls import FollowedIdentity

if TYPE_CHECKING:
    from sensorium.v1.fusion_pb2_grpc import FusionServiceAsyncStub

SetServing = Callable[[bool], Awaitable[None]]

_TEXT = text_pb2.DESCRIPTOR.services_by_name["TextEncoderService"].full_name
_VISION = vision_pb2.DESCRIPTOR.services_by_name["VisionEncoderService"].full_name
_AUDIO = audio_pb2.DESCRIPTOR.services_by_name["AudioEncoderService"].full_name
_FUSION = fusion_pb2.DESCRIPTOR.services_by_name["FusionService"].full_name


@dataclass(frozen=True, slots=True)
class Fusion:
    """The fusion service: a peer and its calls."""

    peer: Peer
    stub: FusionServiceAsyncStub


class Mesh:
    """The peers, and the spaces as they were last seen; the spaces follow the peers while `watched`."""

    def __init__(self, encoders: Sequence[Encoder], fusion: Fusion | None, default_space_name: str = "") -> None:
        """Takes the peers; nothing is known of them before they are watched."""
        self.encoders = encoders
        self.fusion = fusion
        self.peers = [encoder.peer for encoder in encoders] + ([fusion.peer] if fusion is not None else [])
        self.spaces: Mapping[str, Space] = {}
        self._default_space_name = default_space_name

    @property
    def default_space_name(self) -> str:
        """The space of calls that name none; empty while no encoder was seen."""
        return self._default_space_name or default_space(self.spaces)

    @property
    def is_serving(self) -> bool:
        """Whether at least one encoder serves, and of every peer it is known whether it does."""
        return all(peer.is_settled for peer in self.peers) and any(
            encoder.peer.is_serving and encoder.peer.is_known for encoder in self.encoders
        )

    def read(self) -> None:
        """Reads the spaces anew from what is known of the peers."""
        self.spaces = read_spaces(self.encoders, self.fusion.peer.models if self.fusion is not None else ())

    @contextlib.asynccontextmanager
    async def watched(self, set_serving: SetServing) -> AsyncIterator[None]:
        """Follows all peers while the block runs; `set_serving` hears whether the mesh can embed anything."""

        async def on_change() -> None:
            self.read()
            await set_serving(self.is_serving)

        async with background(run_all(*(peer.watch(on_change) for peer in self.peers))):
            yield

    def space(self, name: str) -> Space:
        """Returns the space that a call names, or the default one where the name is empty.

        Raises:
            NotFound: no model has that space.
            FailedPrecondition: its models disagree on the width of its vectors.
            Unavailable: an encoder that was never seen may have it.
        """
        name = name or self.default_space_name
        space = self.spaces.get(name)
        if space is not None and space.is_consistent:
            return space
        if space is not None:
            raise _inconsistent(space)
        raise _unseen(encoder.peer for encoder in self.encoders) or NotFound(
            f"is {name!r}, which no loaded model has; this mesh has {', '.join(sorted(self.spaces)) or 'none'}",
            reason=Reason.SPACE_NOT_FOUND,
            field="space",
            metadata={"space": name, "available": ", ".join(sorted(self.spaces))},
        )

    def route(self, space: Space, modality: content_pb2.Modality.ValueType) -> Route:
        """Returns the way of a modality into a space.

        Raises:
            Unavailable: the encoder of the modality was never seen.
            FailedPrecondition: no model of the space takes the modality.
        """
        route = space.routes.get(modality)
        if route is not None:
            return route
        name = content_pb2.Modality.Name(modality).removeprefix("MODALITY_").lower()
        raise _unseen(encoder.peer for encoder in self.encoders if encoder.modality == modality) or FailedPrecondition(
            f"is {name}, and no loaded model of the space {space.name} takes {name}",
            reason=Reason.MODALITY_UNSUPPORTED,
            metadata={"modality": name, "space": space.name},
        )


def _inconsistent(space: Space) -> FailedPrecondition:
    stated = ", ".join(f"{model} has {dim}" for model, dim in sorted(space.dims.items()))
    return FailedPrecondition(
        f"is {space.name!r}, whose models give vectors of different widths: {stated}; unload those that are wrong",
        reason=Reason.PACKAGE_INVALID,
        field="space",
        metadata={"space": space.name, "dims": stated},
    )


def _unseen(peers: Iterable[Peer]) -> Unavailable | None:
    """Returns why nothing can be said yet, where one of the peers was never seen."""
    return next((peer.unavailable() for peer in peers if not peer.is_known), None)


@contextlib.asynccontextmanager
async def open_mesh(config: Config, metrics: Metrics) -> AsyncIterator[Mesh]:
    """Opens a channel to each peer that has an address; closes them at the end of the block. Waits for none.

    Raises:
        ConfigError: a file of `peer_ca`, `peer_cert`, `peer_key` or `peer_token` cannot be used.
    """
    identity = None
    if config.peer_ca:
        identity = FollowedIdentity((config.peer_cert, config.peer_key), config.peer_ca, metrics, "peer", every_s=1.0)
    token = peer_token(config.peer_token)
    async with contextlib.AsyncExitStack() as channels:

        async def peer(name: str, address: str, service: str, hedge_ratio: float = config.hedge_ratio) -> Peer:
            told = PeerMetrics(metrics, name)
            breaker = Breaker(config.breaker_failures, told)
            hedging = Hedging(hedge_ratio, told) if hedge_ratio else None
            leave = config.leave_draining
            opened = (
                open_channel(address, leave_draining=leave)
                if identity is None
                else PeerChannel(address, identity, leave_draining=leave)
            )
            channel = await channels.enter_async_context(opened)
            return Peer(name, address, service, channel, breaker, hedging, token)

        encoders = []
        if config.text_addr:
            encoders.append(text_encoder(await peer("text", config.text_addr, _TEXT)))
        if config.vision_addr:
            encoders.append(vision_encoder(await peer("vision", config.vision_addr, _VISION)))
        if config.audio_addr:
            encoders.append(audio_encoder(await peer("audio", config.audio_addr, _AUDIO)))
        fusion = None
        if config.fusion_addr:
            fusing = await peer("fusion", config.fusion_addr, _FUSION, hedge_ratio=0)
            fusion = Fusion(fusing, fusion_pb2_grpc.FusionServiceStub(fusing.channel))
        yield Mesh(encoders, fusion, config.default_space)
