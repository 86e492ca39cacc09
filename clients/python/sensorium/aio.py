"""The client: every call of the orchestrator, with asyncio. `sensorium.client` is the same without it."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar, Unpack

import grpc.aio
import numpy as np
from numpy.typing import NDArray

from sensorium.answers import (
    Classification,
    Comparison,
    Embeddings,
    Fusion,
    read_classification,
    read_comparison,
    read_embeddings,
    read_fusion,
)
from sensorium.channel import Metadata, call, open_channel
from sensorium.credentials import PemFile, channel_credentials, token_header
from sensorium.errors import SensoriumError, Unavailable
from sensorium.ingest import Contents, Ingest, OnProgress, Plan
from sensorium.options import CallOptions, EmbedOptions, check_names, encode_options, header, refusal_of_size
from sensorium.retries import MAX_TRIES, persistently
from sensorium.status import from_rpc_error
from sensorium.v1 import orchestrator_pb2, orchestrator_pb2_grpc
from sensorium.v1.content_pb2 import Content
from sensorium.v1.orchestrator_pb2 import FusePart, Label

if TYPE_CHECKING:
    from google.protobuf.message import Message

_LOST_STATUS = "Internal error from Core"
_WHY_S = 5.0
_LOST_RETRY_S = 0.1  # a guess: the small call that asked why was answered, so the server is there

_Request = TypeVar("_Request", bound="Message")
_Response = TypeVar("_Response", bound="Message")


class AsyncClient:
    """Talks to an orchestrator. Use it as a context manager, or `close` it; it may serve any number of tasks at once.

    address: any gRPC target, such as `localhost:8001` or `dns:///orchestrator:8001`.
    timeout_s: what a call gets that is not given its own.
    token: sent as `authorization: Bearer <token>` with every call; over plain text to this machine only, unless
        `insecure_token` says that the way is safe.
    ca: PEM file of the authorities that the server's certificate must lead to, or `system`; None speaks plain text.
    cert, key: PEM files of the client's own certificate and its key, for servers that ask for one.
    metadata: sent with every call.
    max_tries: how often a call is made at most that the server refuses for now, RESOURCE_EXHAUSTED or UNAVAILABLE, and
        says when to try again. The waits count in the call's `timeout_s`, and none is begun that would outlast it.
        1 raises the first refusal.

    Every method raises `SensoriumError`, by the kinds of `sensorium.errors`, where the call as a whole was refused;
    what is wrong with one item stands in the answer, beside the good ones.
    """

    def __init__(
        self,
        address: str = "localhost:8001",
        *,
        timeout_s: float = 30.0,
        token: str | None = None,
        ca: PemFile = None,
        cert: PemFile = None,
        key: PemFile = None,
        insecure_token: bool = False,
        metadata: Metadata = (),
        max_tries: int = MAX_TRIES,
    ) -> None:
        """Opens a channel, which connects when it is first used; all calls share it.

        Raises:
            InvalidInput: the token has characters that no header can carry or would be sent in plain text to another
                machine, or a file cannot be used.
        """
        credentials = channel_credentials(ca, cert, key)
        is_encrypted = credentials is not None
        self.address = address
        self._timeout_s = timeout_s
        self._max_tries = max_tries
        self._metadata = [*metadata]
        if token:
            sent = token_header(token, address, is_encrypted=is_encrypted, insecure_token=insecure_token)
            self._metadata.append(sent)
        self.channel: grpc.aio.Channel = open_channel(address, credentials=credentials)
        self._stub = orchestrator_pb2_grpc.OrchestratorServiceStub(self.channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the channel; calls that run are cancelled."""
        await self.channel.close()

    async def embed(self, contents: Sequence[Content], **options: Unpack[EmbedOptions]) -> Embeddings:
        """Returns one vector a content, in order, whatever the contents are."""
        request = orchestrator_pb2.EmbedRequest(
            contents=contents, space=options.get("space", ""), options=encode_options(options)
        )
        return read_embeddings(await self._call(self._stub.Embed, request, options, EmbedOptions))

    async def embed_stream(
        self, contents: Contents, *, on_progress: OnProgress | None = None, **options: Unpack[EmbedOptions]
    ) -> AsyncGenerator[tuple[str, NDArray[np.float32] | SensoriumError], None]:
        """Yields (id, vector or error) for each (id, content), as they are ready, in whatever order that is.

        Any number of contents streams through: no more than 512 of them, or 64 MiB, are taken from `contents` ahead of
        the answers that were taken from here. A content that is refused for now is sent again when the server said, and
        so is all that is unanswered when a stream breaks with such a refusal; up to `max_tries` times.

        on_progress: told of the counts after every answer.

        Without `timeout_s` the stream may last for ever. What `contents` itself raises is raised here, after the
        answers to all that came before it.
        """
        check_names(options, EmbedOptions)
        template = orchestrator_pb2.EmbedStreamRequest(space=options.get("space", ""), options=encode_options(options))
        metadata = tuple(self._outgoing(options))
        plan = Plan(
            open_stream=lambda requests, left_s: self._stub.EmbedStream(requests, timeout=left_s, metadata=metadata),
            why=self._why,
            template=template,
            timeout_s=options.get("timeout_s"),
            max_tries=options.get("max_tries", self._max_tries),
            patience_s=self._timeout_s,
        )
        async with contextlib.aclosing(Ingest(plan, contents).answers(on_progress)) as answers:
            async for answer in answers:
                yield answer

    async def _why(self, error: grpc.aio.AioRpcError) -> SensoriumError:
        """Returns the error of a stream, for which a small call is asked where gRPC has lost it.

        grpc.aio (seen with 1.85) tells an error of its own where the server ends a stream while we are sending, and
        drops the status that comes after.
        """
        if error.details() != _LOST_STATUS:
            return from_rpc_error(error)
        try:
            await self.describe(timeout_s=_WHY_S, max_tries=1)
        except SensoriumError as reason:  # a token that is not good, a server that drains
            return reason
        return Unavailable(
            "the server ended the stream, and its reason was lost on the way; send the rest again",
            retry_after_s=_LOST_RETRY_S,
        )

    async def compare(
        self,
        queries: Sequence[Content],
        candidates: Sequence[Content],
        *,
        space: str = "",
        **options: Unpack[CallOptions],
    ) -> Comparison:
        """Returns how alike each query is to each candidate, as cosines and, where calibrated, probabilities."""
        request = orchestrator_pb2.CompareRequest(queries=queries, candidates=candidates, space=space)
        return read_comparison(await self._call(self._stub.Compare, request, options))

    async def classify(
        self,
        contents: Sequence[Content],
        labels: Sequence[str | Label],
        *,
        templates: Sequence[str] = (),
        top_k: int = 0,
        multi_label: bool = False,
        space: str = "",
        **options: Unpack[CallOptions],
    ) -> Classification:
        """Ranks labels for each content; a label is a name, or what `sensorium.label` makes of a name and examples.

        templates: sentences that names are put through, `{}` standing for the name; () takes those of the model.
        top_k: how many labels to return for each content; 0 for all.
        multi_label: judge each label by itself; else the probabilities of a content's labels add up to 1.
        """
        request = orchestrator_pb2.ClassifyRequest(
            contents=contents,
            labels=[Label(name=each) if isinstance(each, str) else each for each in labels],
            templates=templates,
            top_k=top_k,
            multi_label=multi_label,
            space=space,
        )
        return read_classification(await self._call(self._stub.Classify, request, options))

    async def fuse(
        self,
        items: Sequence[Sequence[Content | FusePart]],
        *,
        allow_partial: bool = False,
        space: str = "",
        model: str = "",
        **options: Unpack[CallOptions],
    ) -> Fusion:
        """Joins the parts of each item into one vector; `sensorium.part` gives a part its weight.

        allow_partial: let an item through where some of its parts failed, as long as one is left.
        """
        parts = [
            orchestrator_pb2.FuseItem(
                parts=[each if isinstance(each, FusePart) else FusePart(content=each) for each in item]
            )
            for item in items
        ]
        request = orchestrator_pb2.FuseRequest(items=parts, allow_partial=allow_partial, space=space, model=model)
        return read_fusion(await self._call(self._stub.Fuse, request, options))

    async def describe(self, **options: Unpack[CallOptions]) -> orchestrator_pb2.DescribeResponse:
        """Returns what the mesh is made of: services, models, spaces, limits."""
        return await self._call(self._stub.Describe, orchestrator_pb2.DescribeRequest(), options)

    async def _call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response],
        request: _Request,
        options: CallOptions | EmbedOptions,
        kind: type[CallOptions] = CallOptions,
    ) -> _Response:
        check_names(options, kind)
        too_large = refusal_of_size(request, "")
        if too_large is not None:
            raise too_large
        metadata = self._outgoing(options)

        async def attempt(left_s: float | None) -> _Response:
            return await call(method, request, timeout_s=left_s, metadata=metadata)

        timeout_s = options.get("timeout_s", self._timeout_s)
        return await persistently(attempt, timeout_s, options.get("max_tries", self._max_tries))

    def _outgoing(self, options: CallOptions | EmbedOptions) -> Metadata:
        request_id = options.get("request_id") or uuid.uuid4().hex
        priority = options.get("priority", "interactive")
        return [*self._metadata, header("x-request-id", request_id), header("x-priority", priority)]
