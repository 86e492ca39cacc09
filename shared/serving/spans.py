"""The spans of one call: the call itself, the calls to peers that it leads to, and its stages.

Where nothing is traced, each of these costs a look at a context variable.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any

import grpc.aio
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

# Calls by which clients and orchestrators look at a server again and again: each is part of a caller's trace, and none
# begins one, or they would be most of what a collector gets.
_POLLED = (
    "/sensorium.v1.ModelService/ListModels",
    "/sensorium.v1.ModelService/GetModel",
    "/sensorium.v1.OrchestratorService/Describe",
)

_NO_SPAN = contextlib.nullcontext(trace.INVALID_SPAN)
# Beside the one for the current call: OpenTelemetry has no way from a span to what made it.
_TRACER: ContextVar[trace.Tracer | None] = ContextVar("sensorium_tracer", default=None)

Attributes = Mapping[str, str | int]


def server_span(
    tracer: trace.Tracer, method: str, context: grpc.aio.ServicerContext[Any, Any]
) -> AbstractContextManager[trace.Span]:
    """Opens the span of a call that a server answers; a child of the caller's, where that sent `traceparent`.

    context: gRPC's (Any: of whatever messages).
    """
    if isinstance(tracer, trace.NoOpTracer):
        return _NO_SPAN
    metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
    if method in _POLLED and "traceparent" not in metadata:
        return _NO_SPAN
    _TRACER.set(tracer)
    return _opened(tracer, method, SpanKind.SERVER, {}, propagate.extract(metadata))


def client_span(method: str, attributes: Attributes) -> AbstractContextManager[trace.Span]:
    """Opens the span of a call to a peer; what is sent within carries it on.

    method: such as `/sensorium.v1.TextEncoderService/EncodeText`.
    """
    tracer = _TRACER.get()
    return _NO_SPAN if tracer is None else _opened(tracer, method, SpanKind.CLIENT, attributes)


def is_traced() -> bool:
    """Whether the running call has a span that somebody will see."""
    return _TRACER.get() is not None and trace.get_current_span().is_recording()


def stage_span(name: str, began_ns: int, ended_ns: int, attributes: Attributes) -> None:
    """Notes a stage of the running call that is over; times are those of `time.perf_counter_ns`."""
    tracer = _TRACER.get()
    if tracer is None:
        return
    since_ns = time.time_ns() - time.perf_counter_ns()
    span = tracer.start_span(name, start_time=since_ns + began_ns, attributes=attributes)
    span.end(since_ns + ended_ns)


@contextlib.contextmanager
def _opened(
    tracer: trace.Tracer,
    method: str,
    kind: SpanKind,
    attributes: Attributes,
    parent: Context | None = None,
) -> Iterator[trace.Span]:
    path = method.strip("/")
    service, _, name = path.partition("/")
    with tracer.start_as_current_span(
        path,
        context=parent,
        kind=kind,
        attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": name, **attributes},
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        yield span
