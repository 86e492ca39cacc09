"""Health: what `grpc.health.v1` says of this process, and the same over HTTP beside the metrics."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from shared.serving.metrics import Metrics

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN

_Context = grpc.aio.ServicerContext[Any, Any]  # Any: of whatever message; nothing here looks into it


class Health(health_pb2_grpc.HealthServicer):
    """`grpc.health.v1.Health` of one server: `""` is the process (alive), each service name whether it can answer.

    grpcio's own servicer keeps its watchers for ever, which would hold up every shutdown until the grace is over; this
    one tells them NOT_SERVING and lets them go once the drain is over. Not before: channels that leave out replicas by
    their health watch again at once where a watch ends.
    """

    def __init__(self, services: Sequence[str], metrics: Metrics) -> None:
        """Starts with the process SERVING and every service NOT_SERVING."""
        self._metrics = metrics
        self._services = tuple(services)
        self._status: dict[str, int] = {"": _SERVING, **dict.fromkeys(services, _NOT_SERVING)}
        self._is_draining = False
        self._is_over = False
        self._changed = asyncio.Condition()
        for service in services:
            metrics.serving.labels(service).set(0)

    @property
    def is_ready(self) -> bool:
        """Whether every service can answer calls."""
        return all(status == _SERVING for status in self._status.values())

    async def Check(self, request: health_pb2.HealthCheckRequest, context: _Context) -> health_pb2.HealthCheckResponse:
        """Returns the status of a service; NOT_FOUND for one that this server does not have."""
        if request.service not in self._status:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service[:100]!r} here")
        return health_pb2.HealthCheckResponse(status=self._status[request.service])

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: _Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Yields the status of a service now and whenever it changes, until the server drains."""
        told = None
        while True:
            status = self._status.get(request.service, _UNKNOWN)
            if status != told:
                told = status
                yield health_pb2.HealthCheckResponse(status=status)
                continue  # it may have changed while the watcher read
            if self._is_over:
                return
            async with self._changed:
                if self._status.get(request.service, _UNKNOWN) == told and not self._is_over:
                    await self._changed.wait()

    async def set_serving(self, is_serving: bool) -> None:
        """Says whether the services of this server can answer; watchers hear at once. A draining one never can."""
        if self._is_draining:
            return
        await self._set(dict.fromkeys(self._services, _SERVING if is_serving else _NOT_SERVING))

    async def drain(self) -> None:
        """Reports NOT_SERVING for good, the process included, before the listeners close."""
        self._is_draining = True
        await self._set(dict.fromkeys(self._status, _NOT_SERVING))

    async def let_go(self) -> None:
        """Ends every watch, now and from now on."""
        self._is_over = True
        await self._set({})

    async def _set(self, status: dict[str, int]) -> None:
        self._status |= status
        for service in self._services:
            self._metrics.serving.labels(service).set(int(self._status[service] == _SERVING))
        async with self._changed:
            self._changed.notify_all()


class _Ipv6Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6  # how the standard library's server is told


_BEAT_S = 3.0  # under the 5 s that the kubelet is told to wait


class HttpEndpoint:
    """Serves `/metrics`, `/healthz` (alive) and `/readyz` (can answer) from a thread of its own."""

    def __init__(self, host: str, port: int, metrics: Metrics, health: Health) -> None:
        """Binds the port; 0 takes a free one. Alive is the event loop that this is called on.

        Raises:
            OSError: the port is taken.
        """
        kind = _Ipv6Server if ":" in host else ThreadingHTTPServer
        self._server = kind((host.strip("[]"), port), _handler(metrics, health, asyncio.get_running_loop()))
        self._server.daemon_threads = True
        # The poll is how long a close takes; the default of half a second would hold up every drain.
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name="metrics", daemon=True
        )
        self.port: int = self._server.server_address[1]
        self._thread.start()

    def close(self) -> None:
        """Stops answering and frees the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _beats(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop does what it is given, in time: a process whose loop is stuck answers no call."""
    beat = threading.Event()
    try:
        loop.call_soon_threadsafe(beat.set)
    except RuntimeError:  # it is closed
        return False
    return beat.wait(_BEAT_S)


def _handler(metrics: Metrics, health: Health, loop: asyncio.AbstractEventLoop) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # seconds a client may take to send its request

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(HTTPStatus.OK, generate_latest(metrics.registry), CONTENT_TYPE_LATEST)
            elif self.path == "/healthz":
                alive = _beats(loop)
                status = HTTPStatus.OK if alive else HTTPStatus.SERVICE_UNAVAILABLE
                self._answer(status, b"alive\n" if alive else b"the event loop is stuck\n")
            elif self.path == "/readyz":
                ready = health.is_ready
                status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
                self._answer(status, b"ready\n" if ready else b"not ready\n")
            else:
                self._answer(HTTPStatus.NOT_FOUND, b"try /metrics, /healthz or /readyz\n")

        def _answer(self, status: HTTPStatus, body: bytes, content_type: str = "text/plain; charset=utf-8") -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Stays silent: probes and scrapes come every few seconds."""

    return Handler
