"""Streams that are refused in part or in whole, sources without end, and what is told of how far they are."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator

import pytest

import sensorium
from sensorium.errors import InvalidInput, Overloaded, Unavailable
from sensorium.ingest import WINDOW_ITEMS
from sensorium.v1.content_pb2 import Content
from tests.clients.refusing import refusing


def texts(count: int) -> Iterator[tuple[str, Content]]:
    return ((f"key {at}", sensorium.text(str(at))) for at in range(count))


async def test_an_item_that_is_refused_for_now_is_sent_again_and_one_that_is_wrong_is_not() -> None:
    told: list[sensorium.Progress] = []
    async with refusing() as (server, at), sensorium.AsyncClient(at) as client:
        server.items["3"] = deque([Overloaded("full", retry_after_s=0.05), Unavailable("down", retry_after_s=0.05)])
        server.items["5"] = deque([InvalidInput("is bad")])
        stream = client.embed_stream(texts(10), on_progress=told.append)
        answers = {key: answer async for key, answer in stream}
    assert len(answers) == 10
    assert [key for key, answer in answers.items() if isinstance(answer, sensorium.SensoriumError)] == ["key 5"]
    assert server.read.count("3") == 3
    assert server.read.count("5") == 1
    assert len(told) == 10
    assert told[-1] == sensorium.Progress(done=9, failed=1, retried=2, in_flight=0)


async def test_an_item_that_is_refused_for_ever_fails_after_bounded_tries() -> None:
    async with refusing() as (server, at), sensorium.AsyncClient(at, max_tries=2) as client:
        server.items["1"] = deque(Overloaded("full", retry_after_s=0.01) for _ in range(9))
        server.items["2"] = deque([Overloaded("come back tomorrow", retry_after_s=86_400.0)])
        answers = {key: answer async for key, answer in client.embed_stream(texts(3))}
    assert isinstance(answers["key 1"], Overloaded)
    assert isinstance(answers["key 2"], Overloaded)
    assert (server.read.count("1"), server.read.count("2")) == (2, 1)


async def test_a_stream_that_breaks_for_now_is_opened_anew_and_nothing_is_lost_or_told_twice() -> None:
    # gRPC may lose the answers of a stream that breaks, so any number in a row may seem to give none.
    async with refusing() as (server, at), sensorium.AsyncClient(at, max_tries=8) as client:
        server.stream_answers = 7
        server.streams.extend(Unavailable("draining", retry_after_s=0.02) for _ in range(6))
        keys = [key async for key, _ in client.embed_stream(texts(100))]
    assert sorted(keys) == sorted(key for key, _ in texts(100))


async def test_streams_that_answer_nothing_are_given_up() -> None:
    async with refusing() as (server, at), sensorium.AsyncClient(at, max_tries=2) as client:
        server.stream_answers = 0
        server.streams.extend(Unavailable("draining", retry_after_s=0.02) for _ in range(6))
        with pytest.raises(Unavailable):
            await anext(client.embed_stream(texts(100)))


async def test_keys_may_repeat() -> None:
    async with refusing() as (_, at), sensorium.AsyncClient(at) as client:
        same = [("same", sensorium.text("a")), ("same", sensorium.text("bb"))]
        found = [float(answer[0]) async for _, answer in client.embed_stream(same)]  # type: ignore[index]  # no errors
    assert sorted(found) == [1.0, 2.0]


async def test_a_source_without_end_is_read_no_further_ahead_than_the_window() -> None:
    taken = itertools.count()
    latest = 0

    async def endless() -> AsyncIterator[tuple[str, Content]]:
        nonlocal latest
        while True:
            latest = next(taken) + 1
            yield str(latest), sensorium.text("x")

    async with refusing() as (_, at), sensorium.AsyncClient(at) as client:
        answered = 0
        async for _ in client.embed_stream(endless()):
            answered += 1
            assert latest - answered <= WINDOW_ITEMS
            if answered == 3 * WINDOW_ITEMS:
                break
        assert latest >= answered


def test_the_client_that_waits_reads_no_further_ahead_and_tells_in_the_callers_thread(address: str) -> None:
    latest, answered = 0, 0
    threads: set[int] = set()

    def endless() -> Iterator[tuple[str, Content]]:
        nonlocal latest
        for latest in itertools.count(1):  # it is read outside
            yield str(latest), sensorium.text("x")

    def told(progress: sensorium.Progress) -> None:
        threads.add(threading.get_ident())
        assert progress.in_flight <= WINDOW_ITEMS

    with sensorium.Client(address) as client:
        for _ in client.embed_stream(endless(), on_progress=told):
            answered += 1
            assert latest - answered <= WINDOW_ITEMS
            if answered == 2 * WINDOW_ITEMS:
                break
    assert threads == {threading.get_ident()}


async def test_large_contents_take_their_room_by_bytes() -> None:
    latest = 0

    def pictures() -> Iterator[tuple[str, Content]]:
        nonlocal latest
        for latest in range(1, 9):
            yield str(latest), sensorium.image(bytes(20 << 20))

    async with refusing() as (_, at), sensorium.AsyncClient(at) as client:
        answered = 0
        async for _ in client.embed_stream(pictures()):
            answered += 1
            assert latest - answered <= 4  # 64 MiB hold three, and the fourth that did not fit
    assert answered == 8
