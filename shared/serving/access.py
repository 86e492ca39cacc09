"""Lets calls in: whose token is good, to what it allows, as much of it as its tenant may use."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import grpc
import grpc.aio

from sensorium.errors import PermissionDenied
from shared.serving.auth import MAX_TOKEN, Caller, FileTokens, Verifier, refusal
from shared.serving.call import Call, current_call, enter_call
from shared.serving.config import ServerConfig
from shared.serving.jwks import KeyUrl
from shared.serving.jwts import Jwts, KeyFile
from shared.serving.metrics import Metrics
from shared.serving.open_inference import models as open_inference
from shared.serving.quotas import Quotas, item_count

_log = logging.getLogger("sensorium.access")
_T = TypeVar("_T")

_ANYBODY = Caller("", is_admin=True)  # where nobody needs a token
_NO_QUOTA = contextlib.nullcontext()

# Calls that change what everybody gets.
ADMIN_METHODS = frozenset(
    {
        *(f"/sensorium.v1.ModelService/{name}" for name in ("LoadModel", "UnloadModel", "SetDefaultModel")),
        *open_inference.ADMIN_METHODS,
    }
)

# Any below: gRPC's handlers are generic over messages that nothing here looks into.
_Context = grpc.aio.ServicerContext[Any, Any]


class Access:
    """What stands between a call that arrived and the servicer; see the module."""

    def __init__(
        self, verifiers: Sequence[Verifier], quotas: Quotas | None = None, client_names: Collection[str] = ()
    ) -> None:
        """Takes who knows which tokens, the first that knows one decides; and the bounds of tenants.

        verifiers: without any, nobody needs a token, and all are the tenant "".
        client_names: of certificates, one of which a client must show; without any, all will do.
        """
        self._verifiers = verifiers
        self._client_names = frozenset(client_names)
        self._quotas = quotas
        self._kinds: dict[str, str] = {}  # by method, whether it is one of the `calls` or of the `streams`

    async def around(self, call: Call, context: _Context, work: Callable[[Call], Awaitable[_T]]) -> _T:
        """Returns what `work` answers for a call that may come in; the current call has its tenant then.

        Raises:
            SensoriumError: as `admit` does.
            Unauthenticated: it is a stream, and its token expired.
            Overloaded: its tenant has as much running as it may.
        """
        call, caller = await self._admitted(call, context)
        kind = self._kinds[call.method]
        with self._quotas.running(call.tenant, kind) if self._quotas is not None else _NO_QUOTA:
            if kind == "calls" or caller.expires == math.inf:
                return await work(call)
            return await _until(caller.expires, work(call))

    async def admit(self, call: Call, context: _Context) -> None:
        """Checks that a call may come in, and makes it the current one, with its tenant.

        Raises:
            Unauthenticated: it carries no token, or none that is good.
            Unavailable: whether it is good cannot be known now.
            PermissionDenied: the client's certificate is not one of those that may call, or the method is for admins
                and the caller is none.
        """
        await self._admitted(call, context)

    async def _admitted(self, call: Call, context: _Context) -> tuple[Call, Caller]:
        if self._client_names:
            self._check_client(context)
        if not self._verifiers:
            return call, _ANYBODY
        caller = await self._caller(call.authorization)
        call = replace(call, tenant=caller.tenant)
        enter_call(call)
        if call.method in ADMIN_METHODS and not caller.is_admin:
            raise PermissionDenied(
                f"{call.method} needs the role admin, which this token does not have",
                metadata={"method": call.method, "tenant": caller.tenant},
            )
        return call, caller

    def _check_client(self, context: _Context) -> None:
        shown = context.auth_context()
        names = [name.decode(errors="replace") for key in ("peer_dns", "peer_uri") for name in shown.get(key, ())]
        if self._client_names.isdisjoint(names):
            raise PermissionDenied(
                f"the client's certificate is of {', '.join(names)[:200] or 'nobody'}, whose calls this server does "
                "not take; see its tls_client_names"
            )

    def metered(self, method: str, handler: grpc.RpcMethodHandler[Any, Any]) -> grpc.RpcMethodHandler[Any, Any]:
        """Returns a servicer's handler that takes what its calls bring from their tenants' buckets."""
        self._kinds[method] = "calls" if handler.stream_stream is None else "streams"
        if self._quotas is None:
            return handler
        return _metered(handler, self._quotas)

    async def _caller(self, authorization: str) -> Caller:
        if not authorization:
            raise refusal("is missing; send a token as `authorization: Bearer TOKEN`", "missing")
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN:
            raise refusal(f"is not `Bearer` and a token of at most {MAX_TOKEN} characters", "malformed")
        for verifier in self._verifiers:
            caller = await verifier.verify(token)
            if caller is not None:
                return caller
        raise refusal("holds a token that is not known here", "unknown")


async def _until(expires: float, work: Awaitable[_T]) -> _T:
    """Returns what a stream answers; raises Unauthenticated when its token expires, in seconds since 1970."""
    timer = asyncio.timeout(expires - time.time())
    try:
        async with timer:
            return await work
    except TimeoutError:
        if not timer.expired():
            raise
        raise refusal("holds a token that expired while the stream was open; send a new one", "expired") from None


def _metered(handler: grpc.RpcMethodHandler[Any, Any], quotas: Quotas) -> grpc.RpcMethodHandler[Any, Any]:
    read, write = handler.request_deserializer, handler.response_serializer
    if handler.stream_stream is not None:
        stream: Any = handler.stream_stream  # Any, as below: the stubs know the synchronous kind only
        return grpc.stream_stream_rpc_method_handler(
            lambda requests, context: stream(quotas.paced(current_call().tenant, requests), context), read, write
        )
    unary: Any = handler.unary_unary

    async def answer(request: Any, context: _Context) -> Any:
        quotas.charge(current_call().tenant, item_count(request))
        return await unary(request, context)

    return grpc.unary_unary_rpc_method_handler(answer, read, write)


@contextlib.asynccontextmanager
async def open_access(config: ServerConfig, metrics: Metrics) -> AsyncIterator[Access | None]:
    """Yields what a configuration asks callers for; None where it lets everybody in.

    Raises:
        ConfigError: a file is missing or wrong.
    """
    async with contextlib.AsyncExitStack() as stack:
        verifiers: list[Verifier] = []
        if config.tokens:
            verifiers.append(FileTokens(config.tokens))
        if "://" in config.jwks:
            url = KeyUrl(config.jwks)
            await stack.enter_async_context(url.watched())
            verifiers.append(Jwts(config, url))
        elif config.jwks:
            verifiers.append(Jwts(config, KeyFile(config.jwks)))
        if verifiers and not config.tls_cert:
            _log.warning("tokens are asked for over plain text, where whoever listens can read them; see tls_cert")
        quotas = Quotas(config.quotas, metrics) if config.quotas else None
        names = [name.strip() for name in config.tls_client_names.split(",") if name.strip()]
        yield Access(verifiers, quotas, names) if verifiers or names else None
