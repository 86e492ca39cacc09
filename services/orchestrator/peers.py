"""One peer of the orchestrator: its channel, its health as last heard, its models as last listed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import grpc.aio
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sensorium.channel import Metadata, call
from sensorium.errors import Cancelled, NotFound, Overloaded, Reason, SensoriumError, Unavailable
from sensorium.status import from_rpc_error
from sensorium.v1 import model_pb2_grpc, orchestrator_pb2
from sensorium.v1.model_pb2 import ListModelsRequest, Model
from services.orchestrator.breaker import Breaker
from services.orchestrator.concurrency import run_all
from services.orchestrator.hedge import Hedging
from shared.serving.call import current_call
from shared.serving.spans import client_span

if TYPE_CHECKING:
    from sensorium.v1.model_pb2_grpc import ModelServiceAsyncStub

    _Watch = grpc.aio.UnaryStreamMultiCallable[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]
    _Watching = grpc.aio.UnaryStreamCall[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]

_log = logging.getLogger("sensorium.peers")

_Request = TypeVar("_Request", bound=Message)
_Response = TypeVar("_Response", bound=Message)

OnChange = Callable[[], Awaitable[None]]

# How long to wait before asking a peer again that did not answer. The channel reconnects by itself within a second;
# this only says how much later than calls the health notices. A guess: short against a second, long against a call.
_RETRY_S = 0.25
# Models come and go without a change of health when somebody loads them at the peer itself.
_REFRESH_S = 30.0
_LIST_TIMEOUT_S = 5.0
_LOST_S = 1.0  # after the status of a call, how long its last message is waited for
_SETTLE_S = 3.0  # how long the first answer of a peer is waited for before the mesh serves without it; a guess
_PAGE_SIZE = 1000
_MAX_PAGES = 100
# What a caller waits who is told that a peer is down and not for how long: a channel reconnects within a second.
_RETRY_AFTER_S = 1.0

_NOT_SERVING = "it reports that it does not serve: it is loading, draining, or its model does not answer"


class Peer:
    """A service that the orchestrator calls. What it serves is remembered while it is down.

    name: `text`, `vision`, `audio` or `fusion`.
    service: the full name of its gRPC service, of which its health speaks.
    models: as last listed; empty until then.
    is_known: whether they were listed at least once.
    is_settled: whether its first answer came, or is no longer waited for.
    """

    def __init__(
        self,
        name: str,
        address: str,
        service: str,
        channel: grpc.aio.Channel,
        breaker: Breaker,
        hedging: Hedging | None = None,
        own: Callable[[], Metadata] = tuple,
    ) -> None:
        """Takes an open channel, which stays the caller's to close; nothing is asked before `watch`.

        breaker: what every call goes through.
        hedging: what interactive calls of `compute` go through; None makes each once.
        own: returns the metadata of calls that no caller's call leads to.
        """
        self.name = name
        self.address = address
        self.channel = channel
        self.breaker = breaker
        self.model_service: ModelServiceAsyncStub = model_pb2_grpc.ModelServiceStub(channel)
        self.models: Sequence[Model] = ()
        self.is_known = False
        self.is_settled = False
        self.state: orchestrator_pb2.ServiceState.ValueType = orchestrator_pb2.SERVICE_STATE_UNREACHABLE
        self.problem = "it has not answered yet"
        self._service = service
        self._own = own
        self._hedging = hedging
        self._watch: _Watch = health_pb2_grpc.HealthStub(channel).Watch  # type: ignore[attr-defined]  # not in its stub file
        self._is_doubtful = asyncio.Event()

    @property
    def is_serving(self) -> bool:
        """Whether the peer said last that it serves."""
        return self.state == orchestrator_pb2.SERVICE_STATE_SERVING

    async def ask(self, method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response], request: _Request) -> _Response:
        """Makes one call within what remains of the running call's deadline, with its metadata.

        Raises:
            SensoriumError: what the peer refused, or why it could not be reached; the metadata names the peer.
        """
        running = current_call()
        remaining_s = running.remaining_s()
        try:
            # The span is open when the metadata is taken, which names it as the parent of the peer's.
            with client_span(_path(method), {"sensorium.peer": self.name}), self.breaker.guarding(remaining_s):
                return await call(method, request, timeout_s=remaining_s, metadata=running.outgoing())
        except SensoriumError as error:
            raise self._named(error) from None

    async def compute(
        self, method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response], request: _Request
    ) -> _Response:
        """Makes one call of a model that the orchestrator chose; that it is gone meanwhile is not the caller's fault.

        Raises:
            SensoriumError: as `ask` does.
        """
        try:
            if self._hedging is None or current_call().priority != "interactive":
                return await self.ask(method, request)
            return await self._hedging.fastest(lambda: self.ask(method, request))
        except NotFound as error:
            if error.reason is not Reason.MODEL_NOT_FOUND:
                raise
            self._is_doubtful.set()
            raise Unavailable(
                error.problem, reason=Reason.LOADING, metadata=error.metadata, retry_after_s=_RETRY_AFTER_S
            ) from None

    def unavailable(self) -> Unavailable:
        """Returns the error of a peer that was never seen, so nobody knows what it could do."""
        why = self.problem or "its models are not listed yet"
        return Unavailable(
            f"the {self.name} service at {self.address} was not seen yet: {why}",
            metadata={"service": self.name, "address": self.address},
            retry_after_s=_RETRY_AFTER_S,
        )

    async def refresh(self) -> None:
        """Lists the peer's models anew.

        Raises:
            SensoriumError: the peer does not answer; what was known of it stays.
        """
        models: list[Model] = []
        page = ListModelsRequest(page_size=_PAGE_SIZE)
        for _ in range(_MAX_PAGES):
            answer = await call(self.model_service.ListModels, page, timeout_s=_LIST_TIMEOUT_S, metadata=self._own())
            models.extend(answer.models)
            page.page_token = answer.next_page_token
            if not page.page_token:
                break
        self.models, self.is_known, self.is_settled = models, True, True

    async def watch(self, on_change: OnChange) -> None:
        """Follows the peer's health and models until cancelled; awaits `on_change` after every change of either."""
        await run_all(self._watch_health(on_change), self._watch_models(on_change), self._settle(on_change))

    async def _settle(self, on_change: OnChange) -> None:
        await asyncio.sleep(_SETTLE_S)  # a peer that says nothing at all must not hold up the others for ever
        self.is_settled = True
        await on_change()

    async def _watch_health(self, on_change: OnChange) -> None:
        while True:  # until cancelled
            was_heard = False
            try:
                watch = self._watch(health_pb2.HealthCheckRequest(service=self._service))
                async with contextlib.aclosing(_answers(watch)) as answers:
                    async for answer in answers:
                        was_heard = True
                        self._hear(answer.status)
                        await on_change()
                problem = "it ended the watch of its health"
            except grpc.aio.AioRpcError as error:
                problem = from_rpc_error(error).problem
            if not was_heard:  # else a watch broke: another replica may answer the next one, so nothing is said yet
                self._set(orchestrator_pb2.SERVICE_STATE_UNREACHABLE, problem)
                await on_change()
            await asyncio.sleep(_RETRY_S)

    async def _watch_models(self, on_change: OnChange) -> None:
        while True:  # until cancelled
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_REFRESH_S):
                    await self._is_doubtful.wait()
            self._is_doubtful.clear()
            if not self.is_serving:
                continue
            try:
                await self.refresh()
                await on_change()
            except SensoriumError as error:
                _log.warning("models not listed", extra={"f": {"peer": self.name, "problem": error.problem}})
                await asyncio.sleep(_RETRY_S)
                self._is_doubtful.set()

    def _hear(self, status: int) -> None:
        if status == health_pb2.HealthCheckResponse.SERVING:
            self._set(orchestrator_pb2.SERVICE_STATE_SERVING, "")
            self._is_doubtful.set()  # it may have been started anew, with other models
        elif status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN:
            problem = f"it does not have {self._service}; is the address that of another service?"
            self._set(orchestrator_pb2.SERVICE_STATE_NOT_SERVING, problem)
        else:
            self._set(orchestrator_pb2.SERVICE_STATE_NOT_SERVING, _NOT_SERVING)

    def _set(self, state: orchestrator_pb2.ServiceState.ValueType, problem: str) -> None:
        if state != self.state:
            name = orchestrator_pb2.ServiceState.Name(state).removeprefix("SERVICE_STATE_").lower()
            _log.info("peer", extra={"f": {"peer": self.name, "state": name, "problem": problem}})
        if state == orchestrator_pb2.SERVICE_STATE_SERVING != self.state:
            self.breaker.try_soon()
        self.is_settled |= state != orchestrator_pb2.SERVICE_STATE_SERVING  # else its models are still to be listed
        self.state, self.problem = state, problem

    def _named(self, error: SensoriumError) -> SensoriumError:
        """Returns the error with the peer's name: an UNAVAILABLE of five services helps nobody."""
        metadata = {**error.metadata, "service": self.name, "address": self.address}
        retry_after_s = error.retry_after_s
        kind: type[SensoriumError] = type(error)
        if isinstance(error, Unavailable | Overloaded | Cancelled) and retry_after_s is None:
            retry_after_s = _RETRY_AFTER_S
        if isinstance(error, Cancelled):  # by the peer, which shuts down: our own cancellation is a CancelledError
            kind = Unavailable
        reason = None if kind is not type(error) or error.reason is Reason.UNSPECIFIED else error.reason
        problem = f"the {self.name} service at {self.address}: {error.problem}"
        return kind(problem, reason=reason, field=error.field, metadata=metadata, retry_after_s=retry_after_s)


def _path(method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response]) -> str:
    """Returns a method's path; gRPC keeps it to itself."""
    path: bytes | str = getattr(method, "_method", "")
    return path.decode() if isinstance(path, bytes) else path


async def _answers(watch: _Watching) -> AsyncGenerator[health_pb2.HealthCheckResponse, None]:
    """Yields what a watch says, and raises the error that it ends with.

    gRPC's core (seen with 1.85) may deliver the status of a stream whose server is just going and never end the read,
    so the status is waited for beside the message.
    """
    status = asyncio.ensure_future(watch.code())
    try:
        while True:
            read = asyncio.ensure_future(watch.read())
            await asyncio.wait((read, status), return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait((read,), timeout=_LOST_S if status.done() else None)
            if not read.done():
                return
            answer = read.result()
            if not isinstance(answer, health_pb2.HealthCheckResponse):  # the end
                return
            yield answer
    finally:
        watch.cancel()
        status.cancel()
