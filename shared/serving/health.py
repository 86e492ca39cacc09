"""Health: what `grpc.health.v1` says of this process, and the same over HTTP beside the metrics."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from grpc_health.v1 import health, health_pb2
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from shared.serving.metrics import Metrics

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """The health of one server: `""` is the process (alive), each service name says whether calls can be answered."""

    def __init__(self, services: Sequence[str], metrics: Metrics) -> None:
        """Starts with the process SERVING and every service NOT_SERVING."""
        self.servicer = health.aio.HealthServicer()
        self._metrics = metrics
        self._is_serving = dict.fromkeys(services, False)
        self._is_draining = False
        for service in services:
            metrics.serving.labels(service).set(0)

    @property
    def is_ready(self) -> bool:
        """Whether every service can answer calls."""
        return not self._is_draining and all(self._is_serving.values())

    async def open(self) -> None:
        """Publishes the first states."""
        await self.servicer.set("", _SERVING)
        for service in self._is_serving:
            await self.servicer.set(service, _NOT_SERVING)

    async def set_serving(self, is_serving: bool) -> None:
        """Says whether the services of this server can answer; watchers hear at once. A draining one never can."""
        if self._is_draining:
            return
        for service in self._is_serving:
            if self._is_serving[service] != is_serving:
                self._is_serving[service] = is_serving
                self._metrics.serving.labels(service).set(int(is_serving))
                await self.servicer.set(service, _SERVING if is_serving else _NOT_SERVING)

    async def drain(self) -> None:
        """Reports NOT_SERVING for good, the process included, before the listeners close."""
        await self.set_serving(False)
        self._is_draining = True
        await self.servicer.enter_graceful_shutdown()


class HttpEndpoint:
    """Serves `/metrics`, `/healthz` (alive) and `/readyz` (can answer) from a thread of its own."""

    def __init__(self, host: str, port: int, metrics: Metrics, health: Health) -> None:
        """Binds the port; 0 takes a free one.

        Raises:
            OSError: the port is taken.
        """
        self._server = ThreadingHTTPServer((host.strip("[]"), port), _handler(metrics, health))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self.port: int = self._server.server_address[1]
        self._thread.start()

    def close(self) -> None:
        """Stops answering and frees the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(metrics: Metrics, health: Health) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # seconds a client may take to send its request

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(HTTPStatus.OK, generate_latest(metrics.registry), CONTENT_TYPE_LATEST)
            elif self.path == "/healthz":
                self._answer(HTTPStatus.OK, b"alive\n")
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
