"""The client: every call of the orchestrator, with asyncio. `sensorium.client` is the same without it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Self, Unpack

import grpc.aio
import numpy as np
from numpy.typing import NDArray

from sensorium.answers import Comparison, Embeddings, Fusion, read_comparison, read_embeddings, read_fusion
from sensorium.calling import Caller, why
from sensorium.channel import Metadata
from sensorium.contents import audios_of, embeddings_of, fuse_items
from sensorium.credentials import PemFile
from sensorium.errors import SensoriumError
from sensorium.ingest import Contents, Ingest, OnProgress, Plan
from sensorium.options import CallOptions, EmbedOptions, WindowOptions, check_names, encode_options
from sensorium.rankings import Classification, Predictions, read_classification, read_predictions
from sensorium.retries import MAX_TRIES
from sensorium.tokens import Tokenization, read_tokenization
from sensorium.v1 import orchestrator_pb2, orchestrator_pb2_grpc
from sensorium.v1.content_pb2 import Content
from sensorium.v1.orchestrator_pb2 import FusePart, Label
from sensorium.windows import Windows, read_windows


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
        self.address = address
        self._caller = Caller(
            address,
            timeout_s=timeout_s,
            token=token,
            ca=ca,
            cert=cert,
            key=key,
            insecure_token=insecure_token,
            metadata=metadata,
            max_tries=max_tries,
        )
        self.channel: grpc.aio.Channel = self._caller.channel
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
            contents=contents,
            space=options.get("space", ""),
            options=encode_options(options),
            prompt_name=options.get("prompt", ""),
        )
        response = await self._caller.call(self._stub.Embed, request, options, EmbedOptions)
        return read_embeddings(response)

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
        template = orchestrator_pb2.EmbedStreamRequest(
            space=options.get("space", ""), options=encode_options(options), prompt_name=options.get("prompt", "")
        )
        metadata = tuple(self._caller.outgoing(options))
        plan = Plan(
            open_stream=lambda requests, left_s: self._stub.EmbedStream(requests, timeout=left_s, metadata=metadata),
            why=lambda error: why(error, self.describe),
            template=template,
            timeout_s=options.get("timeout_s"),
            max_tries=options.get("max_tries", self._caller.max_tries),
            patience_s=self._caller.timeout_s,
        )
        async with contextlib.aclosing(Ingest(plan, contents).answers(on_progress)) as answers:
            async for answer in answers:
                yield answer

    async def embed_windows(
        self, sounds: Sequence[Content], window_ms: int, hop_ms: int = 0, **options: Unpack[WindowOptions]
    ) -> Windows:
        """Returns a vector for each window of each sound: what is heard when.

        window_ms: the length of a window, from 100 to what the model takes at once. hop_ms: how far one starts after
            the other; 0 means `window_ms`.

        Raises:
            TypeError: one of the contents is no sound.
        """
        request = orchestrator_pb2.EmbedWindowsRequest(
            audios=audios_of(sounds),
            window_ms=window_ms,
            hop_ms=hop_ms,
            space=options.get("space", ""),
            options=encode_options(options),
        )
        return read_windows(await self._caller.call(self._stub.EmbedWindows, request, options, WindowOptions))

    async def compare(
        self,
        queries: Sequence[Content],
        candidates: Sequence[Content],
        *,
        space: str = "",
        query_prompt: str = "",
        candidate_prompt: str = "",
        **options: Unpack[CallOptions],
    ) -> Comparison:
        """Returns how alike each query is to each candidate, as cosines and, where calibrated, probabilities.

        query_prompt, candidate_prompt: the names of what the text model puts before the texts of each.
        """
        request = orchestrator_pb2.CompareRequest(
            queries=queries,
            candidates=candidates,
            space=space,
            query_prompt_name=query_prompt,
            candidate_prompt_name=candidate_prompt,
        )
        return read_comparison(await self._caller.call(self._stub.Compare, request, options))

    async def classify(
        self,
        contents: Sequence[Content],
        labels: Sequence[str | Label],
        *,
        templates: Sequence[str] = (),
        top_k: int = 0,
        multi_label: bool = False,
        space: str = "",
        prompt: str = "",
        label_prompt: str = "",
        **options: Unpack[CallOptions],
    ) -> Classification:
        """Ranks labels for each content; a label is a name, or what `sensorium.label` makes of a name and examples.

        templates: sentences that names are put through, `{}` standing for the name; () takes those of the model.
        top_k: how many labels to return for each content; 0 for all.
        multi_label: judge each label by itself; else the probabilities of a content's labels add up to 1.
        prompt, label_prompt: the names of what the text model puts before the texts among the contents, and before the
            names and the texts among the examples of labels.
        """
        request = orchestrator_pb2.ClassifyRequest(
            contents=contents,
            labels=[Label(name=each) if isinstance(each, str) else each for each in labels],
            templates=templates,
            top_k=top_k,
            multi_label=multi_label,
            space=space,
            prompt_name=prompt,
            label_prompt_name=label_prompt,
        )
        return read_classification(await self._caller.call(self._stub.Classify, request, options))

    async def fuse(
        self,
        items: Sequence[Sequence[Content | FusePart]],
        *,
        allow_partial: bool = False,
        space: str = "",
        model: str = "",
        prompt: str = "",
        **options: Unpack[CallOptions],
    ) -> Fusion:
        """Joins the parts of each item into one vector; `sensorium.part` gives a part its weight.

        allow_partial: let an item through where some of its parts failed, as long as one is left.
        """
        request = orchestrator_pb2.FuseRequest(
            items=fuse_items(items), allow_partial=allow_partial, space=space, model=model, prompt_name=prompt
        )
        return read_fusion(await self._caller.call(self._stub.Fuse, request, options))

    async def predict(
        self,
        items: Sequence[Sequence[Content | FusePart]],
        *,
        model: str = "",
        top_k: int = 0,
        space: str = "",
        prompt: str = "",
        **options: Unpack[CallOptions],
    ) -> Predictions:
        """Returns the classes of each item by a trained head, its parts joined first.

        model: the predictor, `name` or `name@version`; empty for the default one of the space.
        top_k: how many classes to return for each item; 0 for all.
        """
        request = orchestrator_pb2.OrchestratorServicePredictRequest(
            items=fuse_items(items), model=model, top_k=top_k, space=space, prompt_name=prompt
        )
        return read_predictions(await self._caller.call(self._stub.Predict, request, options))

    async def project(self, embeddings: Sequence[Content], to_space: str, **options: Unpack[CallOptions]) -> Embeddings:
        """Carries vectors, each made by `sensorium.embedding` with its space, to another space by a trained bridge.

        Raises:
            TypeError: one of the contents is no embedding.
        """
        request = orchestrator_pb2.OrchestratorServiceProjectRequest(
            embeddings=embeddings_of(embeddings), to_space=to_space
        )
        response = await self._caller.call(self._stub.Project, request, options)
        return read_embeddings(response)

    async def tokenize(
        self,
        texts: Sequence[str],
        *,
        space: str = "",
        prompt: str = "",
        truncate: bool = True,
        **options: Unpack[CallOptions],
    ) -> Tokenization:
        """Returns the tokens that the text model of a space sees; with `truncate` off, too long texts are errors."""
        request = orchestrator_pb2.OrchestratorServiceTokenizeRequest(
            texts=texts, space=space, prompt_name=prompt, truncate=truncate
        )
        return read_tokenization(await self._caller.call(self._stub.Tokenize, request, options))

    async def describe(self, **options: Unpack[CallOptions]) -> orchestrator_pb2.DescribeResponse:
        """Returns what the mesh is made of: services, models, spaces, limits."""
        return await self._caller.call(self._stub.Describe, orchestrator_pb2.DescribeRequest(), options)
