"""Starts real services on free ports of 127.0.0.1, with a channel to talk to them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import grpc.aio

from sensorium.channel import open_channel
from shared.hosting.config import HostingConfig
from shared.serving.config import ServerConfig
from shared.serving.server import Running

_Config = TypeVar("_Config")


def server_config(**fields: Any) -> ServerConfig:
    """Returns a configuration on free ports. Any: whatever fields a test wants otherwise."""
    return ServerConfig(**{"port": 0, "metrics_port": 0, **fields})


@contextlib.asynccontextmanager
async def running(
    serving: Callable[[_Config], AbstractAsyncContextManager[Running]],
    kind: Callable[..., _Config],
    server: ServerConfig | None = None,
    hosting: HostingConfig | None = None,
    **fields: Any,
) -> AsyncIterator[tuple[grpc.aio.Channel, Running]]:
    """Runs a service for the length of the block. Any: further fields of its configuration."""
    config = kind(server=server or server_config(), hosting=hosting or HostingConfig(), **fields)
    async with serving(config) as service, contextlib.AsyncExitStack() as stack:
        channel = open_channel(f"127.0.0.1:{service.port}")
        stack.push_async_callback(channel.close)
        yield channel, service


def metric(service: Running, text: str) -> float:
    """Returns the value of the first line of `/metrics` that starts with `text`, or 0 where there is none."""
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{service.metrics_port}/metrics", timeout=5) as page:
        lines = page.read().decode().splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(text)), 0.0)
