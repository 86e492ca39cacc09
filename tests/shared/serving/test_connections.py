"""Silent connections: they go first, and those of one address keep nobody else out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys

import pytest

from sensorium.channel import call, open_channel
from sensorium.v1 import model_pb2, model_pb2_grpc
from shared.serving.connections import Connection, chosen, connections, shut
from tests.shared.serving.test_server import echo, serving


def silent(descriptor: int, address: str, seconds: float = 5.0) -> Connection:
    return Connection(descriptor, address, 60, seconds)


def test_silent_ones_go_first_and_who_calls_stays() -> None:
    calling = [Connection(at, "10.0.0.1", 5000, 60.0) for at in range(50)]
    many = [silent(100 + at, "10.0.0.2", seconds=at) for at in range(40)]
    fresh = [silent(200 + at, "10.0.0.3", seconds=0.1) for at in range(5)]
    everybody = [*calling, *many, *fresh]
    assert chosen(everybody, most=1000, most_of_one=100) == []
    shares = chosen(everybody, most=1000, most_of_one=30)
    assert [each.descriptor for each in shares] == list(range(139, 129, -1)), "ten over the share, the longest silent"
    nearly_full = chosen(everybody, most=100, most_of_one=100)
    assert {each.address for each in nearly_full} == {"10.0.0.2"}
    assert chosen(calling, most=10, most_of_one=10) == []


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel is asked for connections")


@linux
def test_who_gets_the_place_of_a_closed_connection_stays_connected() -> None:
    with contextlib.ExitStack() as opened:
        server = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        host, port = server.getsockname()
        callers = [opened.enter_context(socket.create_connection((host, port))) for _ in range(2)]
        gone, other = (opened.enter_context(server.accept()[0]) for _ in range(2))
        [seen] = [each for each in connections(port) if each.descriptor == gone.fileno()]
        os.dup2(other.fileno(), gone.fileno())  # closed meanwhile, and its descriptor given to another
        assert not shut(seen)
        other.sendall(b"hello")
        assert callers[1].recv(5) == b"hello"
        [seen] = [each for each in connections(port) if each.descriptor == other.fileno()]
        assert shut(seen)
        assert callers[1].recv(1) == b""


@linux
async def test_others_get_in_while_one_address_opens_more_connections_than_there_are_places() -> None:
    async with serving(echo, max_connections=40) as (_, running):
        with contextlib.ExitStack() as opened:
            for _ in range(60):
                attacker = opened.enter_context(socket.socket())
                attacker.bind(("127.0.0.2", 0))
                attacker.connect(("127.0.0.1", running.port))
            async with asyncio.timeout(6):  # what a silent connection is given to say hello is longer
                while True:
                    async with open_channel(f"127.0.0.1:{running.port}") as channel:
                        stub = model_pb2_grpc.ModelServiceStub(channel)
                        with contextlib.suppress(Exception):
                            answer = await call(stub.GetModel, model_pb2.GetModelRequest(model="a"), timeout_s=2)
                            break
            assert answer.model.name == "a"
