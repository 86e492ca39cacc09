"""Calls that are refused for now are made again when the server said, and only then."""

from __future__ import annotations

import time

import pytest

import sensorium
from sensorium.errors import InvalidInput, Overloaded, SensoriumError, Unavailable
from sensorium.retries import retry_delay_s
from tests.clients.refusing import refusing

TEXT = [sensorium.text("abc")]


async def test_a_refusal_for_now_is_waited_out_as_the_server_said_on_the_same_connection() -> None:
    async with refusing() as (server, at), sensorium.AsyncClient(at) as client:
        server.calls.extend(Overloaded("full", retry_after_s=wait_s) for wait_s in (0.1, 0.2))
        assert (await client.embed(TEXT)).vectors.tolist() == [[3, 3, 3]]
        first, second, third = server.arrived_s
        assert 0.1 <= second - first < 0.1 * 1.5 + 0.1
        assert 0.2 <= third - second < 0.2 * 1.5 + 0.1
        assert len(server.peers) == 1


async def test_tries_are_bounded_and_can_be_turned_off() -> None:
    async with refusing() as (server, at), sensorium.AsyncClient(at, max_tries=3) as client:
        server.calls.extend(Overloaded("full", retry_after_s=0.01) for _ in range(9))
        with pytest.raises(Overloaded):
            await client.embed(TEXT)
        assert len(server.arrived_s) == 3
        with pytest.raises(Overloaded):
            await client.embed(TEXT, max_tries=1)
        assert len(server.arrived_s) == 4


async def test_a_wait_that_would_outlast_the_deadline_is_not_begun() -> None:
    async with refusing() as (server, at), sensorium.AsyncClient(at) as client:
        server.calls.append(Overloaded("full", retry_after_s=5.0))
        began = time.monotonic()
        with pytest.raises(Overloaded):
            await client.embed(TEXT, timeout_s=1.0)
        assert time.monotonic() - began < 0.5


@pytest.mark.parametrize("error", [Overloaded("full"), InvalidInput("wrong", retry_after_s=0.0)])
async def test_what_the_server_does_not_say_to_try_again_is_not(error: SensoriumError) -> None:
    async with refusing() as (server, at), sensorium.AsyncClient(at) as client:
        server.calls.append(error)
        with pytest.raises(type(error)):
            await client.embed(TEXT)
        assert len(server.arrived_s) == 1


async def test_the_channels_quick_tries_come_first_and_ours_only_once_they_are_used_up() -> None:
    async with refusing() as (server, at), sensorium.AsyncClient(at) as client:
        server.calls.extend(Unavailable("going", retry_after_s=0.5) for _ in range(3))
        await client.embed(TEXT)  # the channel's fourth try
        assert len(server.arrived_s) == 4
        assert server.arrived_s[-1] - server.arrived_s[0] < 0.5
        server.arrived_s.clear()
        server.calls.extend(Unavailable("going", retry_after_s=0.5) for _ in range(4))
        await client.embed(TEXT)
        assert len(server.arrived_s) == 5
        assert server.arrived_s[4] - server.arrived_s[3] >= 0.5


def test_the_delay_is_never_less_than_was_said_and_differs_from_caller_to_caller() -> None:
    delays = [retry_delay_s(Overloaded("full", retry_after_s=2.0), 1, 2) for _ in range(100)]
    assert all(delay is not None and 2.0 <= delay <= 3.0 for delay in delays)
    assert len(set(delays)) > 50
