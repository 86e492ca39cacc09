"""What happens around every call: deadline, request id, span, metrics, log line, and errors turned into statuses."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from opentelemetry import propagate, trace

from sensorium.errors import (
    Cancelled,
    DeadlineExceeded,
    InternalError,
    InvalidInput,
    Overloaded,
    Reason,
    SensoriumError,
    Unavailable,
)
from sensorium.status import to_status
from shared.serving.call import Call, check_call, enter_call, read_call
from shared.serving.gate import Gate
from shared.serving.logs import Thinned
from shared.serving.metrics import CallMetrics, Metrics

_log = logging.getLogger("sensorium.call")

# Calls of these services are not counted as work: probes must neither fill the log nor hold up a drain.
_QUIET = ("/grpc.health.", "/grpc.reflection.")

_QUIET_S = 0.005  # how long no call must come for callers to have let off, and how often that is tried
_QUIET_TRIES = 200

# Any below: gRPC's handlers are generic over messages that the interceptor never looks into.
_Context = grpc.aio.ServicerContext[Any, Any]


_NO_SPAN = contextlib.nullcontext(trace.INVALID_SPAN)


class _Unreadable:
    """Stands in for a request that must not reach a servicer, and says why."""

    def __init__(self, error: SensoriumError) -> None:
        self.error = error


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Surrounds every call of a server; see the module."""

    def __init__(
        self,
        service: str,
        metrics: Metrics,
        tracer: trace.Tracer,
        *,
        default_deadline_s: float,
        max_message_bytes: int,
        gate: Gate | None = None,
    ) -> None:
        """Takes what it reports to, the two limits that it holds calls to, and who knows whether there is room."""
        self._service = service
        self._metrics = metrics
        self._tracer = tracer
        self._default_deadline_s = default_deadline_s
        self._max_message_bytes = max_message_bytes
        self._gate = gate
        # By method, only those that there are; `wary` ones ask the gate before they read.
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._wary: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._refusals = Thinned()
        self._is_draining = False
        self._arrived = 0
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def drained(self) -> None:
        """Refuses new calls from now on and returns once the accepted ones have ended and callers have let off.

        A server that stops cancels what lies unread in gRPC's core. So new calls get an answer, UNAVAILABLE, until
        none has come for a moment; callers who never let off are left to their cancelled calls after a second.
        """
        self._is_draining = True
        await self._idle.wait()
        for _ in range(_QUIET_TRIES):
            arrived = self._arrived
            await asyncio.sleep(_QUIET_S)
            await self._idle.wait()
            if self._arrived == arrived:
                return

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Returns the servicer's handler with all of this around it."""
        method = handler_call_details.method
        known = self._handlers.get(method)
        if known is not None:
            return known if self._gate is None or not self._gate.is_crowded else self._wary.get(method, known)
        handler = await continuation(handler_call_details)
        if handler is None or method.startswith(_QUIET):
            return handler
        self._handlers[method] = wrapped = self._wrapped(method, handler)
        return wrapped

    def _wrapped(self, method: str, handler: grpc.RpcMethodHandler[Any, Any]) -> grpc.RpcMethodHandler[Any, Any]:
        assert handler.request_deserializer is not None, "generated servicers have one"
        read = self._reading(handler.request_deserializer)
        metrics = CallMetrics(self._metrics, method)
        if handler.unary_unary is not None:
            if self._gate is not None and self._gate.guards(method):
                wary = self._wary_unary(method, handler.unary_unary, metrics, self._gate)
                self._wary[method] = grpc.stream_stream_rpc_method_handler(wary, read, handler.response_serializer)
            return grpc.unary_unary_rpc_method_handler(
                self._unary(method, handler.unary_unary, metrics), read, handler.response_serializer
            )
        if handler.stream_stream is not None:
            return grpc.stream_stream_rpc_method_handler(
                self._stream(method, handler.stream_stream, metrics), read, handler.response_serializer
            )
        raise TypeError(f"{method} is neither unary nor bidirectional; no rpc of the contract is")

    def _unary(self, method: str, behaviour: Callable[..., Any], metrics: CallMetrics) -> Callable[..., Any]:
        async def answer(request: Any, context: _Context) -> Any:
            async def work(call: Call) -> Any:
                if isinstance(request, _Unreadable):
                    raise request.error
                async with asyncio.timeout(call.remaining_s()):
                    return await behaviour(request, context)

            call = read_call(method, context, self._default_deadline_s, is_stream=False)
            return await self._around(call, context, metrics, work)

        return answer

    def _wary_unary(
        self, method: str, behaviour: Callable[..., Any], metrics: CallMetrics, gate: Gate
    ) -> Callable[..., Any]:
        """Answers a unary call as a stream of one message each way, which looks the same on the wire."""

        async def answer(requests: AsyncIterator[Any], context: _Context) -> None:
            async def work(call: Call) -> None:
                gate.check(call)
                async with asyncio.timeout(call.remaining_s()):
                    async for request in _readable(requests):
                        await context.write(await behaviour(request, context))
                        return
                raise InvalidInput("the call ended without a request")

            call = read_call(method, context, self._default_deadline_s, is_stream=False)
            await self._around(call, context, metrics, work)

        return answer

    def _stream(self, method: str, behaviour: Callable[..., Any], metrics: CallMetrics) -> Callable[..., Any]:
        # A coroutine that closes the servicer's generator itself: one that is left suspended in a cancelled call would
        # be closed by the garbage collector, in no task of the call.
        async def answer(requests: AsyncIterator[Any], context: _Context) -> None:
            async def work(call: Call) -> None:
                async with contextlib.aclosing(behaviour(_readable(requests), context)) as responses:
                    async for response in responses:
                        await context.write(response)

            call = read_call(method, context, self._default_deadline_s, is_stream=True)
            await self._around(call, context, metrics, work)

        return answer

    def _reading(self, deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        def read(data: bytes) -> Any:
            limit = self._max_message_bytes
            if len(data) > limit:
                return _Unreadable(
                    InvalidInput(
                        f"the request has {len(data)} bytes, over the limit of {limit}; send fewer items in a call",
                        reason=Reason.MESSAGE_TOO_LARGE,
                        metadata={"limit": str(limit), "size": str(len(data))},
                    )
                )
            try:
                return deserialize(data)
            except Exception:  # noqa: BLE001  # protobuf has no common error; whatever it is, the bytes are at fault
                return _Unreadable(
                    InvalidInput("the request is not a message of this method; is the client's proto ours?")
                )

        return read

    async def _around(
        self, call: Call, context: _Context, metrics: CallMetrics, work: Callable[[Call], Awaitable[Any]]
    ) -> Any:
        """Returns what `work` answers, with all that surrounds a call."""
        enter_call(call)
        context.set_trailing_metadata((("x-request-id", call.request_id),))
        started = time.perf_counter()
        error: SensoriumError | None = None
        self._enter(metrics)
        try:
            with self._span(call.method, context) as span:
                try:
                    self._check_open()
                    check_call(call)
                    if call.remaining_s() <= 0:
                        self._metrics.dropped.labels("", "expired").inc()
                        raise DeadlineExceeded("the deadline had passed when the call arrived; give it more time")
                    return await work(call)
                except asyncio.CancelledError:
                    error = _expired() if call.remaining_s() <= 0 else Cancelled("the caller hung up")
                    raise
                except Exception as cause:  # noqa: BLE001  # the border: whatever it is becomes a status
                    error = _as_error(cause, call)
                    _mark(span, error)
                    await _abort(context, error, call)
        finally:
            self._leave(call, metrics, error, time.perf_counter() - started)

    def _span(self, method: str, context: _Context) -> contextlib.AbstractContextManager[trace.Span]:
        if isinstance(self._tracer, trace.NoOpTracer):
            return _NO_SPAN
        carrier = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        service, _, name = method.strip("/").partition("/")
        return self._tracer.start_as_current_span(
            method.strip("/"),
            context=propagate.extract(carrier),
            kind=trace.SpanKind.SERVER,
            attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": name},
            record_exception=False,
            set_status_on_exception=False,
        )

    def _check_open(self) -> None:
        if self._is_draining:
            raise Unavailable(
                f"the {self._service} service is shutting down; try another replica, or again in a second",
                reason=Reason.DRAINING,
                metadata={"service": self._service},
                retry_after_s=1.0,
            )

    def _enter(self, metrics: CallMetrics) -> None:
        self._arrived += 1
        self._running += 1
        self._idle.clear()
        metrics.began()

    def _leave(self, call: Call, metrics: CallMetrics, error: SensoriumError | None, seconds: float) -> None:
        self._running -= 1
        if not self._running:
            self._idle.set()
        code = _code_name(error)
        metrics.ended(code, seconds)
        if not _log.isEnabledFor(logging.INFO):
            return
        facts = {"method": call.method, "request_id": call.request_id, "code": code, "ms": round(seconds * 1000, 2)}
        if error is not None:
            facts |= {"reason": error.reason.value, "field": error.field} | error.metadata
        if isinstance(error, Overloaded):  # thousands a second, when lines are the last thing that there is time for
            unsaid = self._refusals.unsaid(call.method)
            if unsaid is None:
                return
            facts |= {"and_others": unsaid}
        _log.info("call", extra={"f": facts})


async def _readable(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        if isinstance(request, _Unreadable):
            raise request.error
        yield request


def _expired() -> DeadlineExceeded:
    return DeadlineExceeded("the deadline passed; what was still waiting was not computed")


def _as_error(cause: Exception, call: Call) -> SensoriumError:
    if isinstance(cause, SensoriumError):
        return cause
    if isinstance(cause, TimeoutError) and call.remaining_s() <= 0:
        return _expired()
    reference = uuid.uuid4().hex[:12]
    facts = {"reference": reference, "request_id": call.request_id, "method": call.method}
    _log.error("a bug", exc_info=cause, extra={"f": facts})
    return InternalError(f"internal error; its reference is {reference}", metadata={"reference": reference})


def _mark(span: trace.Span, error: SensoriumError) -> None:
    span.set_attribute("rpc.grpc.status_code", error.code)
    if isinstance(error, InternalError):
        span.set_status(trace.StatusCode.ERROR, error.problem)


async def _abort(context: _Context, error: SensoriumError, call: Call) -> None:
    status = to_status(error)
    await context.abort(
        grpc_code(error),
        status.message,
        (("grpc-status-details-bin", status.SerializeToString()), ("x-request-id", call.request_id)),
    )


_CODES = {code.value[0]: code for code in grpc.StatusCode}


def grpc_code(error: SensoriumError) -> grpc.StatusCode:
    """Returns gRPC's name of an error's code."""
    return _CODES[error.code]


def _code_name(error: SensoriumError | None) -> str:
    return "OK" if error is None else grpc_code(error).name
