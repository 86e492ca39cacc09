"""The channel of `open_channel` between one caller and several replicas: spread, killed, hung, added, gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from sensorium.balancing import IDEMPOTENT
from sensorium.channel import WIRE_MESSAGE_BYTES, open_channel
from sensorium.v1 import audio_pb2, fusion_pb2, model_pb2, orchestrator_pb2, text_pb2, vision_pb2
from tests.balancing.callers import Callers, connected
from tests.balancing.replicas import Names, Replica, naming, replicas

HOSTS = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
DEAD = "127.0.0.9"

Running = dict[str, Replica]


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """Three replicas that send connections away after 2 s, so that every test here also lives through that."""
    with replicas(HOSTS, "max_connection_age_s=2") as running:
        yield running


@pytest.fixture
def named(running: Running) -> Iterator[tuple[Names, str]]:
    with naming(HOSTS, running[HOSTS[0]].port) as named:
        yield named


async def test_calls_go_in_turn_to_all_addresses_of_a_name(named: tuple[Names, str]) -> None:
    async with open_channel(named[1]) as channel:
        callers = Callers(channel)
        await connected(callers, 3)
        await callers.times(300)
    assert sum(callers.answered.values()) == 300
    assert max(callers.answered.values()) - min(callers.answered.values()) <= 10, callers.answered
    assert not callers.errors


@pytest.mark.parametrize("text", ["words", "w" * 1_000_000], ids=["small", "large"])
async def test_a_replica_killed_with_calls_in_flight_costs_no_caller_an_error(
    running: Running, named: tuple[Names, str], text: str
) -> None:
    victim = HOSTS[1]
    # Channels of one process with the same options share their connections, which those of several clients do not.
    channels = [open_channel(named[1], max_message_bytes=WIRE_MESSAGE_BYTES - at) for at in range(4)]
    callers = Callers(*channels, text=text)
    async with callers.calling():
        await callers.until(lambda: len(callers.answered) == 3, 5)
        running[victim].kill()
        count = sum(callers.answered.values())
        await callers.until(lambda: sum(callers.answered.values()) > count + 100, 10)
        running[victim] = Replica(victim, running[HOSTS[0]].port, "max_connection_age_s=2")
        await asyncio.to_thread(lambda: running[victim].port)
        count = callers.answered[victim]
        await callers.until(lambda: callers.answered[victim] > count + 10, 10)
    for channel in channels:
        await channel.close()
    assert not callers.errors, callers.errors[:3]


async def test_a_hung_replica_is_left_within_3_s_without_an_error_and_found_again(
    running: Running, named: tuple[Names, str]
) -> None:
    victim = HOSTS[2]
    try:
        async with open_channel(named[1]) as channel:
            callers = Callers(channel)
            # One call at a time, which is how gRPC (1.85) is slowest to notice.
            async with callers.calling(each=1):
                await callers.until(lambda: len(callers.answered) == 3, 5)
                running[victim].hang()
                count = sum(callers.answered.values())
                await callers.until(lambda: sum(callers.answered.values()) > count + 100, 3)
                running[victim].resume()
                count = callers.answered[victim]
                await callers.until(lambda: callers.answered[victim] > count + 10, 10)
    finally:
        running[victim].resume()
    assert not callers.errors, callers.errors[:3]


async def test_a_replica_that_is_added_gets_calls_once_connections_are_of_age(
    running: Running, named: tuple[Names, str]
) -> None:
    names, target = named
    added = "127.0.0.5"
    async with open_channel(target) as channel:
        callers = Callers(channel)
        async with callers.calling(each=2):
            await callers.until(lambda: len(callers.answered) == 3, 5)
            running[added] = Replica(added, running[HOSTS[0]].port)
            await asyncio.to_thread(lambda: running[added].port)
            names.hosts.append(added)
            took_s = await callers.until(lambda: callers.answered[added] > 10, 8)
            names.hosts.remove(added)
    running.pop(added).kill()
    assert took_s < 5
    assert not callers.errors, callers.errors[:3]


async def test_an_address_that_nobody_listens_on_costs_nothing(named: tuple[Names, str]) -> None:
    names, target = named
    names.hosts.insert(0, DEAD)
    async with open_channel(target) as channel:
        callers = Callers(channel)
        await connected(callers, 3)
        callers.slowest_s = 0.0
        await callers.times(60)
    assert sum(callers.answered.values()) == 60
    assert callers.slowest_s < 1
    assert not callers.errors


async def test_a_replica_that_refuses_everything_is_left_out(running: Running) -> None:
    """Until it is, its refusals are tried again elsewhere."""
    port = running[HOSTS[0]].port
    bad = "127.0.0.6"
    with replicas([bad], "fail=UNAVAILABLE", port=port) as other, naming([*HOSTS, bad], port) as (_, target):
        async with open_channel(target) as channel:
            callers = Callers(channel)
            asked, now = 0, -1
            async with callers.calling(each=2):
                while asked != now:  # else it got a share of these 200
                    asked, count = other[bad].calls, sum(callers.answered.values())
                    await callers.until(lambda: sum(callers.answered.values()) > count + 200, 10)  # noqa: B023
                    now = other[bad].calls
            assert asked > 0, "it got its share at first"
    assert not callers.errors, callers.errors[:3]


async def test_a_draining_replica_gets_no_more_calls_while_it_would_still_answer_them(running: Running) -> None:
    drained = "127.0.0.7"
    port = running[HOSTS[0]].port
    with replicas([drained], "drain_delay_s=1", port=port) as other, naming([*HOSTS, drained], port) as (_, target):
        async with open_channel(target, leave_draining=True) as channel:
            callers = Callers(channel)
            async with callers.calling(each=2):
                await callers.until(lambda: callers.answered[drained] > 10, 5)
                other[drained].process.terminate()
                began, count = time.monotonic(), 0
                while other[drained].process.poll() is None:
                    if time.monotonic() - began < 0.3:
                        count = callers.answered[drained]
                    await asyncio.sleep(0.01)
                assert callers.answered[drained] == count
    assert not callers.errors, callers.errors[:3]


def test_every_unary_method_is_tried_again_but_those_that_load_and_unload() -> None:
    found = set()
    for module in (text_pb2, vision_pb2, audio_pb2, fusion_pb2, model_pb2, orchestrator_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            found |= {
                (service.full_name, method.name)
                for method in service.methods
                if not (method.client_streaming or method.server_streaming)
            }
    listed = {(service, method) for service, methods in IDEMPOTENT.items() for method in methods}
    model = "sensorium.v1.ModelService"
    assert found - listed == {(model, "LoadModel"), (model, "UnloadModel"), (model, "SetDefaultModel")}
    assert listed <= found
