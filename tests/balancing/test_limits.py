"""What server and channel allow each other: pings, the age of connections, streams, headers, second tries."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sensorium.channel import call, open_channel
from sensorium.errors import Overloaded
from sensorium.v1 import text_pb2, text_pb2_grpc
from tests.balancing.backend import SERVICE
from tests.balancing.callers import Callers
from tests.balancing.replicas import Replica, replicas

HOST = "127.0.0.2"
IDLE_S = 5.0  # a server of gRPC's defaults sends such a client away within 4 s


@pytest.fixture(scope="module")
def plain() -> Iterator[Replica]:
    with replicas([HOST]) as running:
        yield running[HOST]


def address(replica: Replica) -> str:
    return f"{HOST}:{replica.port}"


async def test_the_pings_of_an_idle_channel_are_not_too_many(plain: Replica) -> None:
    async with open_channel(address(plain)) as channel:
        await Callers(channel).once()
        assert channel.get_state() is grpc.ChannelConnectivity.READY
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(channel.wait_for_state_change(grpc.ChannelConnectivity.READY), IDLE_S)


async def test_a_stream_outlives_the_age_of_its_connection() -> None:
    with replicas([HOST], "max_connection_age_s=0.5") as running:
        async with open_channel(address(running[HOST])) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE))  # type: ignore[attr-defined]  # not in its stub file
            answers = aiter(watch)
            await anext(answers)
            read = asyncio.ensure_future(anext(answers))
            await asyncio.wait([read], timeout=2.0)
            assert not watch.done()
            read.cancel()
            watch.cancel()


async def test_calls_beyond_the_streams_of_a_connection_wait_for_those_before() -> None:
    with replicas([HOST], "max_concurrent_streams=2", "delay_s=0.2") as running:
        async with open_channel(address(running[HOST])) as channel:
            callers = Callers(channel)
            await callers.once()
            began = time.monotonic()
            await asyncio.gather(*(callers.once() for _ in range(6)))
            assert time.monotonic() - began >= 0.6
    assert not callers.errors


async def test_headers_beyond_their_limit_are_refused(plain: Replica) -> None:
    async with open_channel(address(plain)) as channel:
        stub = text_pb2_grpc.TextEncoderServiceStub(channel)
        request = text_pb2.EncodeTextRequest(texts=["a"])
        await call(stub.EncodeText, request, timeout_s=5, metadata=(("x-long", "a" * 15_000),))
        with pytest.raises(Overloaded, match="metadata size"):
            await call(stub.EncodeText, request, timeout_s=5, metadata=(("x-long", "a" * 17_000),))


async def test_a_service_that_is_down_is_not_stormed_with_second_tries() -> None:
    with replicas([HOST], "fail=UNAVAILABLE") as running:
        async with open_channel(address(running[HOST])) as channel:
            callers = Callers(channel)
            async with callers.calling(each=16):
                await callers.until(lambda: len(callers.errors) >= 1000, 20)
        assert len(callers.errors) <= running[HOST].calls <= len(callers.errors) + 100
