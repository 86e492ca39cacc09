"""Channels to peers over TLS whose certificates are rotated: new calls go over a channel opened with the new ones.

gRPC's Python has credentials for servers that are read anew, but none for channels.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from sensorium.channel import open_channel
from shared.serving.tls import FollowedIdentity, Identity, channel_credentials

# How long calls that run when the certificates change may go on; the default deadline of a call is 30 s. A watch of a
# peer's health, which has no end, is then cancelled, and made anew over the new channel.
_GRACE_S = 60.0

# Any below: gRPC's multicallables are generic over messages that nothing here looks into.
_Open = Callable[[grpc.aio.Channel], Any]


class PeerChannel(grpc.aio.Channel):
    """A channel that follows the files of its identity. Stubs made from it need not know."""

    def __init__(self, address: str, identity: FollowedIdentity, *, leave_draining: bool = False) -> None:
        """Opens a channel, which connects when it is first used; `close` closes it.

        leave_draining: as `open_channel` has it.
        """
        self._address = address
        self._leave_draining = leave_draining
        self._identity = identity
        self._used: Identity = identity.current()
        self._channel = self._opened()
        self._ending: dict[grpc.aio.Channel, asyncio.Task[None]] = {}

    def current(self) -> grpc.aio.Channel:
        """Returns the channel for a call that starts now."""
        identity = self._identity.current()
        if identity is not self._used:
            old = self._channel
            self._ending[old] = asyncio.create_task(old.close(_GRACE_S))
            self._ending[old].add_done_callback(lambda _: self._ending.pop(old, None))
            self._used = identity
            self._channel = self._opened()
        return self._channel

    def _opened(self) -> grpc.aio.Channel:
        credentials = channel_credentials(self._used)
        return open_channel(self._address, credentials=credentials, leave_draining=self._leave_draining)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Closes the channel, and those that earlier certificates opened; calls get `grace` seconds to end."""
        ending = dict(self._ending)
        await asyncio.gather(self._channel.close(grace), *(channel.close() for channel in ending))
        await asyncio.gather(*ending.values())  # their calls are cancelled now, so they end

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # as gRPC has it
        """Returns the state of the channel for new calls."""
        return self.current().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Waits until the state is another."""
        await self.current().wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Waits until the channel is connected."""
        await self.current().channel_ready()

    def unary_unary(self, *args: Any, **options: Any) -> Any:
        """See `grpc.aio.Channel`, as for the three below."""
        return _Method(self, lambda channel: channel.unary_unary(*args, **options))

    def unary_stream(self, *args: Any, **options: Any) -> Any:
        """See there."""
        return _Method(self, lambda channel: channel.unary_stream(*args, **options))

    def stream_unary(self, *args: Any, **options: Any) -> Any:
        """See there."""
        return _Method(self, lambda channel: channel.stream_unary(*args, **options))

    def stream_stream(self, *args: Any, **options: Any) -> Any:
        """See there."""
        return _Method(self, lambda channel: channel.stream_stream(*args, **options))


class _Method:
    """One method of a peer, over whichever channel is the current one."""

    def __init__(self, channel: PeerChannel, bind: _Open) -> None:
        self._channel = channel
        self._bind = bind
        self._bound_to: grpc.aio.Channel | None = None
        self._bound: Any = None

    def __call__(self, *args: Any, **options: Any) -> Any:
        channel = self._channel.current()
        if channel is not self._bound_to:
            self._bound_to, self._bound = channel, self._bind(channel)
        return self._bound(*args, **options)
