"""Makes calls on one channel: with a deadline, an id and a token, and again what was refused for now."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Protocol, TypeVar, Unpack

import grpc.aio

from sensorium.channel import Metadata, call, open_channel
from sensorium.credentials import PemFile, channel_credentials, token_header
from sensorium.errors import SensoriumError, Unavailable
from sensorium.handshake import tls_fault
from sensorium.options import CallOptions, check_names, header, refusal_of_size
from sensorium.retries import persistently
from sensorium.status import from_rpc_error

if TYPE_CHECKING:
    from google.protobuf.message import Message

_LOST_STATUS = "Internal error from Core"
_WHY_S = 5.0
_LOST_RETRY_S = 0.1  # a guess: the small call that asked why was answered, so the server is there

_Request = TypeVar("_Request", bound="Message")
_Response = TypeVar("_Response", bound="Message")


class Caller:
    """One channel, and what every call on it is sent with; see `AsyncClient` for the arguments."""

    def __init__(
        self,
        address: str,
        *,
        timeout_s: float,
        token: str | None,
        ca: PemFile,
        cert: PemFile,
        key: PemFile,
        insecure_token: bool,
        metadata: Metadata,
        max_tries: int,
    ) -> None:
        """Opens the channel, which is the maker's to close.

        Raises:
            InvalidInput: the token or a file cannot be used.
        """
        credentials = channel_credentials(ca, cert, key)
        is_encrypted = credentials is not None
        self.timeout_s, self.max_tries = timeout_s, max_tries
        self._address, self._pem_files, self._was_answered = address, (ca, cert, key), False
        self._metadata = [*metadata]
        if token:
            sent = token_header(token, address, is_encrypted=is_encrypted, insecure_token=insecure_token)
            self._metadata.append(sent)
        self.channel: grpc.aio.Channel = open_channel(address, credentials=credentials)

    async def call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response],
        request: _Request,
        options: CallOptions,
        kind: type[CallOptions] = CallOptions,
    ) -> _Response:
        """Returns the answer to a call. kind: the options that it knows.

        Raises:
            SensoriumError: the call was refused, for good or too often.
            TypeError: an option is none of `kind`.
        """
        check_names(options, kind)
        too_large = refusal_of_size(request, "")
        if too_large is not None:
            raise too_large
        metadata = self.outgoing(options)

        async def attempt(left_s: float | None) -> _Response:
            return await call(method, request, timeout_s=left_s, metadata=metadata)

        timeout_s = options.get("timeout_s", self.timeout_s)
        try:
            answer = await persistently(attempt, timeout_s, options.get("max_tries", self.max_tries))
        except Unavailable as error:
            if self._was_answered or error.metadata:  # an answer of ours, which says what is down
                raise
            raise await self._explained(error) from None
        self._was_answered = True
        return answer

    async def _explained(self, error: Unavailable) -> Unavailable:
        """Returns the error of a server that never answered, with what is wrong where that is TLS."""
        fault = await asyncio.to_thread(tls_fault, self._address, *self._pem_files)
        return Unavailable(f"a server is at {self._address}, and {fault}") if fault else error

    def outgoing(self, options: CallOptions) -> Metadata:
        """Returns the metadata of a call; raises InvalidInput where an option cannot be a header."""
        request_id = options.get("request_id") or uuid.uuid4().hex
        priority = options.get("priority", "interactive")
        return [*self._metadata, header("x-request-id", request_id), header("x-priority", priority)]


class SmallCall(Protocol):
    """A call that costs next to nothing."""

    def __call__(self, **options: Unpack[CallOptions]) -> Awaitable[object]:
        """Makes it."""


async def why(error: grpc.aio.AioRpcError, small_call: SmallCall) -> SensoriumError:
    """Returns the error of a stream, for which a small call is asked where gRPC has lost it.

    grpc.aio (seen with 1.85) tells an error of its own where the server ends a stream while we are sending, and drops
    the status that comes after.
    """
    if error.details() != _LOST_STATUS:
        return from_rpc_error(error)
    try:
        await small_call(timeout_s=_WHY_S, max_tries=1)
    except SensoriumError as reason:  # a token that is not good, a server that drains
        return reason
    return Unavailable(
        "the server ended the stream, and its reason was lost on the way; send the rest again",
        retry_after_s=_LOST_RETRY_S,
    )
