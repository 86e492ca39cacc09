"""What happens around every call: deadline, request id, span, metrics, log line, and errors turned into statuses."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import grpc
import grpc.aio
from opentelemetry import trace

from sensorium.errors import (
    Cancelled,
    DeadlineExceeded,
    InvalidInput,
    Overloaded,
    Reason,
    SensoriumError,
    Unauthenticated,
    Unavailable,
)
from shared.serving.access import Access
from shared.serving.call import Call, check_call, current_call, enter_call, read_call
from shared.serving.gate import Gate
from shared.serving.inflight import InflightBytes
from shared.serving.items import CallItems, came, counted
from shared.serving.logs import Thinned
from shared.serving.metrics import CallMetrics, Metrics
from shared.serving.open_inference.models import OPEN_METHODS
from shared.serving.quotas import item_count
from shared.serving.reading import Unreadable, readable, reading
from shared.serving.spans import server_span
from shared.serving.statuses import abort, as_error, code_name, expired, mark
from shared.serving.streams import OpenStreams

_log = logging.getLogger("sensorium.call")

# Calls of these services are not counted as work: probes must neither fill the log nor hold up a drain.
_OPEN = ("/grpc.health.", *OPEN_METHODS)
_QUIET = (*_OPEN, "/grpc.reflection.")

_QUIET_S = 0.005  # how long no call must come for callers to have let off, and how often that is tried
_QUIET_TRIES = 200

# Any below: gRPC's handlers are generic over messages that the interceptor never looks into.
_Context = grpc.aio.ServicerContext[Any, Any]


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
        max_inflight_bytes: int = 1 << 30,
        max_streams: int = 1024,
        gate: Gate | None = None,
        access: Access | None = None,
    ) -> None:
        """Takes what it reports to, the limits that it holds calls to, who knows whether there is room, who may call.

        access: None lets everybody in.
        """
        self._service = service
        self._metrics = metrics
        self._tracer = tracer
        self._default_deadline_s = default_deadline_s
        self._max_message_bytes = max_message_bytes
        self._streams = OpenStreams(max_streams)
        self._gate = gate
        self._access = access
        self._inflight = InflightBytes(max_inflight_bytes)
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}  # by method, only those that there are
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
            return known
        handler = await continuation(handler_call_details)
        if handler is None or method.startswith(_QUIET):
            return self._quiet(method, handler)
        self._handlers[method] = wrapped = self._wrapped(method, handler)
        return wrapped

    def _wrapped(self, method: str, handler: grpc.RpcMethodHandler[Any, Any]) -> grpc.RpcMethodHandler[Any, Any]:
        assert handler.request_deserializer is not None, "generated servicers have one"
        read = reading(handler.request_deserializer, self._max_message_bytes)
        metrics = CallMetrics(self._metrics, method)
        if self._access is not None:
            handler = self._access.metered(method, handler)
        if handler.unary_unary is not None:
            answer = self._unary(method, handler.unary_unary, metrics, read)
            return grpc.stream_unary_rpc_method_handler(answer, None, handler.response_serializer)
        if handler.stream_stream is not None:
            return grpc.stream_stream_rpc_method_handler(
                self._stream(method, handler.stream_stream, metrics), read, handler.response_serializer
            )
        raise TypeError(f"{method} is neither unary nor bidirectional; no rpc of the contract is")

    def _quiet(
        self, method: str, handler: grpc.RpcMethodHandler[Any, Any] | None
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Returns the handler of a probe as it is; that of reflection is for those who may call."""
        if handler is None or self._access is None or method.startswith(_OPEN):
            return handler
        assert handler.stream_stream is not None, "reflection has streams only"
        access = self._access
        behaviour: Any = handler.stream_stream  # Any: the stub knows the synchronous kind only

        async def answer(requests: AsyncIterator[Any], context: _Context) -> None:
            call = read_call(method, context, self._default_deadline_s, is_stream=True)
            try:
                await access.admit(call, context)
            except SensoriumError as error:
                await abort(context, error, call)
            async for response in behaviour(requests, context):
                await context.write(response)

        return grpc.stream_stream_rpc_method_handler(answer, handler.request_deserializer, handler.response_serializer)

    def _unary(
        self, method: str, behaviour: Callable[..., Any], metrics: CallMetrics, read: Callable[[bytes], Any]
    ) -> Callable[..., Any]:
        """Answers a unary call as a stream of one request, which looks the same on the wire: so it is read when asked.

        Nobody's request is read before the caller is known to be let in, nor where there is no room for it.
        """
        gate = self._gate if self._gate is not None and self._gate.guards(method) else None

        async def answer(_: AsyncIterator[bytes], context: _Context) -> Any:
            async def work(call: Call) -> Any:
                is_crowded = gate is not None and gate.is_crowded
                if gate is not None and is_crowded and gate.open_bytes < 0:
                    gate.check(call)
                self._inflight.check()
                async with asyncio.timeout(call.remaining_s()):
                    data = await context.read()
                    if not isinstance(data, bytes):  # the end
                        raise InvalidInput("the call ended without a request")
                    if gate is not None and is_crowded and 0 <= gate.open_bytes < len(data):
                        gate.check(call)
                    with self._inflight.holding(len(data)):
                        request = read(data)
                        del data
                        if isinstance(request, Unreadable):
                            raise request.error
                        came(call, item_count(request))
                        return await behaviour(request, context)

            call = read_call(method, context, self._default_deadline_s, is_stream=False)
            return await self._around(call, context, metrics, work)

        return answer

    def _stream(self, method: str, behaviour: Callable[..., Any], metrics: CallMetrics) -> Callable[..., Any]:
        # A coroutine that closes the servicer's generator itself: one that is left suspended in a cancelled call would
        # be closed by the garbage collector, in no task of the call.
        async def answer(requests: AsyncIterator[Any], context: _Context) -> None:
            async def work(call: Call) -> None:
                with self._streams.one():
                    async with contextlib.aclosing(behaviour(counted(readable(requests), call), context)) as responses:
                        async for response in responses:
                            await context.write(response)

            call = read_call(method, context, self._default_deadline_s, is_stream=True)
            await self._around(call, context, metrics, work)

        return answer

    async def _around(
        self, call: Call, context: _Context, metrics: CallMetrics, work: Callable[[Call], Awaitable[Any]]
    ) -> Any:
        """Returns what `work` answers, with all that surrounds a call."""
        call = replace(call, items=CallItems(self._metrics, metrics.typical, call.remaining_s()))
        enter_call(call)
        context.set_trailing_metadata((("x-request-id", call.request_id),))
        started = time.perf_counter()
        error: SensoriumError | None = None
        self._enter(metrics)
        with server_span(self._tracer, call.method, context) as span:
            try:
                self._check_open()
                check_call(call)
                if call.remaining_s() <= 0:
                    self._metrics.dropped.labels("", "expired").inc()
                    raise DeadlineExceeded("the deadline had passed when the call arrived; give it more time")
                return await (work(call) if self._access is None else self._access.around(call, context, work))
            except asyncio.CancelledError:
                error = expired() if call.remaining_s() <= 0 else Cancelled("the caller hung up")
                raise
            except Exception as cause:  # noqa: BLE001  # the border: whatever it is becomes a status
                error = as_error(cause, call)
                mark(span, error)
                await abort(context, error, call)
            finally:
                self._leave(call, metrics, error, time.perf_counter() - started)

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
        code = code_name(error)
        metrics.ended(code, seconds)
        assert call.items is not None, "set as the call came in"
        call.items.ended(error, seconds)
        if not _log.isEnabledFor(logging.INFO):
            return
        facts = {"method": call.method, "request_id": call.request_id, "code": code, "ms": round(seconds * 1000, 2)}
        if tenant := current_call().tenant:
            facts["tenant"] = tenant
        if call.items.failed_count:
            facts["items_failed"] = call.items.failed_count
        if error is not None:
            facts |= {"reason": error.reason.value, "field": error.field} | error.metadata
        # Of these there may be thousands a second, when lines are the last thing that there is time for.
        if isinstance(error, Overloaded | Unauthenticated):
            unsaid = self._refusals.unsaid(call.method)
            if unsaid is None:
                return
            facts |= {"and_others": unsaid}
        _log.info("call", extra={"f": facts})
