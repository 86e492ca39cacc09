"""The client without asyncio: `AsyncClient` on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import queue
import threading
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import numpy as np
from numpy.typing import NDArray

from sensorium.aio import AsyncClient
from sensorium.answers import Comparison, Embeddings, Fusion
from sensorium.channel import Metadata
from sensorium.credentials import PemFile
from sensorium.errors import SensoriumError
from sensorium.ingest import OnProgress, Progress
from sensorium.options import CallOptions, EmbedOptions, WindowOptions
from sensorium.rankings import Classification, Predictions
from sensorium.retries import MAX_TRIES
from sensorium.tokens import Tokenization
from sensorium.v1 import orchestrator_pb2
from sensorium.v1.content_pb2 import Content
from sensorium.v1.orchestrator_pb2 import FusePart, Label
from sensorium.windows import Windows

_T = TypeVar("_T")


class Client:
    """Talks to an orchestrator; every method is that of `AsyncClient`, and waits. Any number of threads may share it.

    Use it as a context manager, or `close` it. The loop is its own, so it works where another one runs: in a notebook,
    in a web server's handler (which it blocks; there, take `AsyncClient`).
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
        """Starts the loop's thread and opens a channel, which connects when it is first used."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sensorium-client", daemon=True)
        self._thread.start()

        async def opened() -> AsyncClient:  # on the loop: a channel belongs to the loop that it is made on
            return AsyncClient(
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

        try:
            self._client = self._wait(opened())
        except BaseException:
            self._stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the channel and ends the thread; closing twice does nothing."""
        if self._loop.is_closed():
            return
        self._wait(self._end())
        self._stop()

    def embed(self, contents: Sequence[Content], **options: Unpack[EmbedOptions]) -> Embeddings:
        """Returns one vector a content, in order; see `AsyncClient.embed`."""
        return self._wait(self._client.embed(contents, **options))

    def embed_stream(
        self,
        contents: Iterable[tuple[str, Content]],
        *,
        on_progress: OnProgress | None = None,
        **options: Unpack[EmbedOptions],
    ) -> Iterator[tuple[str, NDArray[np.float32] | SensoriumError]]:
        """Yields (id, vector or error) for each (id, content) as they are ready; see `AsyncClient.embed_stream`.

        `contents` is read from a thread of its own, so that it may block; `on_progress` is called in the caller's.
        """
        told: deque[Progress] = deque(maxlen=1)
        stream = self._client.embed_stream(_off_the_loop(contents), on_progress=told.append, **options)
        try:
            while (answer := self._wait(_next(stream))) is not None:
                if on_progress is not None:
                    on_progress(told[0])
                yield answer
        finally:
            if not self._loop.is_closed():  # then the stream went with the client
                self._wait(stream.aclose())

    def embed_windows(
        self, sounds: Sequence[Content], window_ms: int, hop_ms: int = 0, **options: Unpack[WindowOptions]
    ) -> Windows:
        """Returns a vector for each window of each sound; see `AsyncClient.embed_windows`."""
        return self._wait(self._client.embed_windows(sounds, window_ms, hop_ms, **options))

    def compare(
        self,
        queries: Sequence[Content],
        candidates: Sequence[Content],
        *,
        space: str = "",
        query_prompt: str = "",
        candidate_prompt: str = "",
        **options: Unpack[CallOptions],
    ) -> Comparison:
        """Returns how alike each query is to each candidate; see `AsyncClient.compare`."""
        prompts = {"query_prompt": query_prompt, "candidate_prompt": candidate_prompt}
        return self._wait(self._client.compare(queries, candidates, space=space, **prompts, **options))

    def classify(
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
        """Ranks labels for each content; see `AsyncClient.classify`."""
        return self._wait(
            self._client.classify(
                contents,
                labels,
                templates=templates,
                top_k=top_k,
                multi_label=multi_label,
                space=space,
                prompt=prompt,
                label_prompt=label_prompt,
                **options,
            )
        )

    def fuse(
        self,
        items: Sequence[Sequence[Content | FusePart]],
        *,
        allow_partial: bool = False,
        space: str = "",
        model: str = "",
        prompt: str = "",
        **options: Unpack[CallOptions],
    ) -> Fusion:
        """Joins the parts of each item into one vector; see `AsyncClient.fuse`."""
        return self._wait(
            self._client.fuse(items, allow_partial=allow_partial, space=space, model=model, prompt=prompt, **options)
        )

    def predict(
        self,
        items: Sequence[Sequence[Content | FusePart]],
        *,
        model: str = "",
        top_k: int = 0,
        space: str = "",
        prompt: str = "",
        **options: Unpack[CallOptions],
    ) -> Predictions:
        """Returns the classes of each item by a trained head; see `AsyncClient.predict`."""
        return self._wait(self._client.predict(items, model=model, top_k=top_k, space=space, prompt=prompt, **options))

    def project(self, embeddings: Sequence[Content], to_space: str, **options: Unpack[CallOptions]) -> Embeddings:
        """Carries vectors to another space; see `AsyncClient.project`."""
        return self._wait(self._client.project(embeddings, to_space, **options))

    def tokenize(
        self,
        texts: Sequence[str],
        *,
        space: str = "",
        prompt: str = "",
        truncate: bool = True,
        **options: Unpack[CallOptions],
    ) -> Tokenization:
        """Returns the tokens that the text model of a space sees; see `AsyncClient.tokenize`."""
        return self._wait(self._client.tokenize(texts, space=space, prompt=prompt, truncate=truncate, **options))

    def describe(self, **options: Unpack[CallOptions]) -> orchestrator_pb2.DescribeResponse:
        """Returns what the mesh is made of."""
        return self._wait(self._client.describe(**options))

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        """Closes the channel, lets what runs on the loop notice, and ends the streams that were left open."""
        await self._client.close()
        if running := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(running, timeout=1.0)  # cancelled by the channel: a moment is enough
        await self._loop.shutdown_asyncgens()

    def _wait(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Returns what `work` returns (Any: it is never sent to); an interrupt of this thread cancels it."""
        if self._loop.is_closed():
            work.close()
            raise RuntimeError("this client is closed; make a new one")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise


async def _next(stream: AsyncIterator[_T]) -> _T | None:
    return await anext(stream, None)


async def _off_the_loop(items: Iterable[_T]) -> AsyncIterator[_T]:
    """Yields the items of the caller's iterable, which may block, one by one as they are asked for, from a thread.

    The thread is a daemon, not one of the loop's: an iterable that blocks for ever, as a terminal does where nobody
    types, must not keep the program from ending.
    """
    loop = asyncio.get_running_loop()
    asked: queue.SimpleQueue[asyncio.Future[list[_T]] | None] = queue.SimpleQueue()

    def take() -> None:
        iterator = iter(items)
        with contextlib.suppress(RuntimeError):  # the loop was closed while the iterable blocked: nobody waits
            while (future := asked.get()) is not None:
                loop.call_soon_threadsafe(_settle, future, *_next_of(iterator))

    threading.Thread(target=take, name="sensorium-source", daemon=True).start()
    try:
        while True:
            future: asyncio.Future[list[_T]] = loop.create_future()
            asked.put(future)
            if not (found := await future):
                return
            yield found[0]
    finally:
        asked.put(None)


def _next_of(iterator: Iterator[_T]) -> tuple[list[_T], Exception | None]:
    """Returns the next item in a list, which is empty at the end; or what the iterator raised."""
    try:
        return list(itertools.islice(iterator, 1)), None
    except Exception as fault:  # noqa: BLE001  # it is raised where the items are awaited
        return [], fault


def _settle(future: asyncio.Future[list[_T]], found: list[_T], fault: Exception | None) -> None:
    if future.done():  # nobody waits any more
        return
    if fault is None:
        future.set_result(found)
    else:
        future.set_exception(fault)
