"""One gRPC server with all that ours have in common, from the bound port to the drained exit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TypeVar

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from sensorium.errors import SensoriumError
from sensorium.oip import open_inference_pb2_grpc
from shared.serving.access import open_access
from shared.serving.config import ConfigError, ServerConfig, load, option_names
from shared.serving.connections import guarding
from shared.serving.gate import Gate
from shared.serving.health import Health, HttpEndpoint
from shared.serving.interceptor import CallInterceptor
from shared.serving.logs import set_up_logging
from shared.serving.metrics import Metrics
from shared.serving.open_inference.models import SERVICE as OPEN_INFERENCE
from shared.serving.open_inference.models import Models
from shared.serving.open_inference.servicer import OpenInferenceServicer
from shared.serving.tls import server_credentials
from shared.serving.tracing import Tracing
from shared.serving.variables import unknown_variables

_log = logging.getLogger("sensorium.server")
_Config = TypeVar("_Config")

_FOR_EVER_MS = 2**31 - 1
# Who connects and says nothing takes one of the connections; gRPC's default of 120 s would let few hold them all.
_HANDSHAKE_MS = 10_000


@dataclass(frozen=True, slots=True)
class Running:
    """A server that listens.

    port, metrics_port: the ports that were bound.
    health: where the service says that it can answer, or no longer can.
    """

    port: int
    metrics_port: int
    health: Health


@contextlib.asynccontextmanager
async def listening(
    name: str,
    config: ServerConfig,
    services: Sequence[str],
    add: Callable[[grpc.aio.Server], None],
    metrics: Metrics,
    tracing: Tracing,
    gate: Gate | None = None,
    models: Models | None = None,
) -> AsyncIterator[Running]:
    """Serves until the block is left, then drains: NOT_SERVING first, then no new calls, then the running ones end.

    services: the full names of the gRPC services that `add` registers; health speaks of each, reflection of all.
    gate: what refuses calls before their requests are read; None: all are read.
    models: what the Open Inference Protocol serves; None: it is not there.

    Raises:
        ConfigError: a file that is named cannot be used.
        OSError: a port is taken.
    """
    credentials = server_credentials(config, metrics)
    async with open_access(config, metrics) as access:
        interceptor = CallInterceptor(
            name,
            metrics,
            tracing.tracer,
            default_deadline_s=config.default_deadline_s,
            max_message_bytes=config.max_message_bytes,
            max_inflight_bytes=config.max_inflight_bytes,
            max_streams=config.max_streams,
            gate=gate,
            access=access,
        )
        services = [*services, *([OPEN_INFERENCE] if models is not None else [])]
        health = Health(services, metrics)
        server = grpc.aio.server(interceptors=[interceptor], options=_options(config))
        add(server)
        if models is not None:
            _add_open_inference(name, models, health, server)
        _add_health(health, services, config, server)
        port = _bind(server, config, credentials)
        http = HttpEndpoint(config.host, config.metrics_port, metrics, health)
        try:
            await server.start()
            _log.info("serving", extra={"f": {"port": port, "metrics_port": http.port}})
            most = config.max_connections
            async with guarding(port, most, config.max_connections_of_one or max(1, most // 4)):
                yield Running(port, http.port, health)
        finally:
            await _drain(server, health, interceptor, config)
            http.close()
            await asyncio.to_thread(tracing.close)  # it sends what is left, and waits for that
            _log.info("stopped")


def _add_open_inference(name: str, models: Models, health: Health, server: grpc.aio.Server) -> None:
    servicer = OpenInferenceServicer(name, models, health)
    open_inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)


def _add_health(health: Health, services: Sequence[str], config: ServerConfig, server: grpc.aio.Server) -> None:
    """Adds health, and reflection of all services where that is wanted."""
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    if config.reflection:
        known = [health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME]
        reflection.enable_server_reflection([*services, *known], server)


def _options(config: ServerConfig) -> list[tuple[str, int]]:
    return [
        # Up to twice the limit a message is read, so that the answer can say what is wrong with it.
        ("grpc.max_receive_message_length", 2 * config.max_message_bytes),
        ("grpc.max_send_message_length", 2 * config.max_message_bytes),
        ("grpc.so_reuseport", 0),  # a taken port is an error, not a share of somebody else's calls
        # Our channels ping every second, idle ones too; a client that pings much faster is sent away (too_many_pings).
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 500),
        # Clients look the name up again when a connection ends, and so find replicas that were added. gRPC spreads the
        # age by a tenth, so that they do not all come at once.
        ("grpc.max_connection_age_ms", _ms(config.max_connection_age_s)),
        ("grpc.max_connection_age_grace_ms", _ms(config.max_connection_age_grace_s)),
        ("grpc.max_concurrent_streams", config.max_concurrent_streams),
        ("grpc.max_allowed_incoming_connections", config.max_connections),
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
        ("grpc.max_metadata_size", config.max_metadata_bytes),
        # By default gRPC refuses at random between this limit and the one above.
        ("grpc.absolute_max_metadata_size", config.max_metadata_bytes),
    ]


def _ms(seconds: float) -> int:
    """Returns milliseconds as gRPC takes them, where its largest number means for ever and our 0 does."""
    return min(round(seconds * 1000), _FOR_EVER_MS) if seconds else _FOR_EVER_MS


def _bind(server: grpc.aio.Server, config: ServerConfig, credentials: grpc.ServerCredentials | None) -> int:
    address = f"{config.host}:{config.port}"
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError as cause:
        raise OSError(f"cannot listen on {address}: is the port taken? (SENSORIUM_PORT)") from cause


async def _drain(server: grpc.aio.Server, health: Health, interceptor: CallInterceptor, config: ServerConfig) -> None:
    _log.info("draining")
    await health.drain()
    if config.drain_delay_s:
        await asyncio.sleep(config.drain_delay_s)  # load balancers act on NOT_SERVING; calls are still answered
    ended = asyncio.get_running_loop().time() + config.drain_grace_s
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(ended):
            await interceptor.drained()
    await health.let_go()
    # Returns as soon as nothing runs; at the end of the grace, what still does is cancelled.
    await server.stop(max(0.0, ended - asyncio.get_running_loop().time()))


def run(
    name: str,
    kind: type[_Config],
    serving: Callable[[_Config], AbstractAsyncContextManager[Running]],
    server_of: Callable[[_Config], ServerConfig],
    argv: Sequence[str] | None = None,
) -> int:
    """Runs a service until SIGTERM or SIGINT; returns 0 drained, 1 cannot start, 2 wrong configuration.

    argv: the flags; None takes those of the process.
    """
    try:
        config = load(kind, sys.argv[1:] if argv is None else argv, os.environ, f"sensorium serve {name}")
        set_up_logging(name, server_of(config).log_level)
    except (ConfigError, ValueError) as fault:
        print(f"sensorium {name}: {fault}", file=sys.stderr)
        return 2
    for sentence in unknown_variables(option_names(kind), os.environ):
        _log.warning("%s", sentence)
    try:
        asyncio.run(_until_signalled(serving(config)))
    except ConfigError as fault:
        print(f"sensorium {name}: {fault}", file=sys.stderr)
        return 2
    except (SensoriumError, OSError) as fault:
        _log.error("cannot start: %s", fault)  # the sentence says it all; a traceback would bury it
        return 1
    return 0


async def _until_signalled(serving: AbstractAsyncContextManager[Running]) -> None:
    """Enters the service, waits for a signal, leaves; a second signal ends the drain at once."""
    main = asyncio.current_task()
    assert main is not None
    signalled = asyncio.Event()

    def on_signal() -> None:
        if signalled.is_set():
            main.cancel()
        signalled.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    with contextlib.suppress(asyncio.CancelledError):
        async with serving:
            await signalled.wait()
