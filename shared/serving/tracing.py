"""OpenTelemetry traces, off unless the environment names an exporter's endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class Tracing:
    """The tracer of one service and the exporter behind it.

    `close` sends what is left. Without an endpoint the tracer makes spans that cost next to nothing and go nowhere.
    """

    def __init__(self, service: str, environ: Mapping[str, str]) -> None:
        """Opens the exporter where the environment names one; the OTEL_* variables mean what they mean everywhere."""
        self._provider: TracerProvider | None = None
        self.tracer: trace.Tracer = trace.NoOpTracer()
        if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or not any(environ.get(name) for name in _ENDPOINTS):
            return
        # Imported here: the exporter costs every service 100 ms of its start, and few of them trace.
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        name = environ.get("OTEL_SERVICE_NAME", f"sensorium-{service}")
        resource = Resource.create({"service.name": name, "service.version": version("sensorium")})
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self.tracer = self._provider.get_tracer("sensorium", version("sensorium"))

    def close(self) -> None:
        """Sends the spans that are left and stops the exporter."""
        if self._provider is not None:
            self._provider.shutdown()
