"""Starts real services on free ports of 127.0.0.1, with a channel to talk to them."""

from __future__ import annotations

import contextlib
import urllib.request
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
    """Returns the sum of the lines of a service's `/metrics` that start with `text`."""
    return metric_at(service.metrics_port, text)


def metric_at(port: int, text: str, host: str = "127.0.0.1") -> float:
    """Returns the sum of the lines of `/metrics` at a port that start with `text`."""
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=5) as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(text))
