"""The bound on calls at once: who is refused, when, and what the limit is learned from."""

from __future__ import annotations

import asyncio
import time

import pytest

from sensorium.errors import Overloaded
from sensorium.v1 import orchestrator_pb2
from sensorium.v1.orchestrator_pb2 import DescribeRequest, EmbedRequest
from services.orchestrator.limiter import LEAST, Limiter
from services.orchestrator.pace import Pace
from shared.serving.metrics import Metrics
from tests.services.orchestrator.fakes import started, text_peer
from tests.services.orchestrator.harness import orchestrating, refused, text

BATCH = (("x-priority", "batch"),)
ONE = EmbedRequest(contents=[text("a")])


async def test_one_call_too_many_is_refused_at_once_and_the_others_are_answered() -> None:
    peer = text_peer()
    async with started(peer), orchestrating(peer, max_concurrency=3) as mesh:
        peer.gate.clear()
        running = [asyncio.ensure_future(mesh.stub.Embed(ONE)) for _ in range(3)]
        await peer.calls(3)
        began = time.monotonic()
        error = await refused(mesh.stub.Embed(ONE))
        seconds = time.monotonic() - began
        await mesh.stub.Describe(DescribeRequest())  # how one finds out what is wrong is never refused
        peer.gate.set()
        answers = await asyncio.gather(*running)
        again = await mesh.stub.Embed(ONE)
    assert isinstance(error, Overloaded)
    assert error.retry_after_s is not None
    assert error.metadata["limit"] == "3"
    assert seconds < 0.5
    assert len(peer.requests) == 4
    assert all(answer.results[0].HasField("embedding") for answer in [*answers, again])


async def test_batch_work_is_refused_first_and_yet_moves() -> None:
    peer = text_peer()
    async with started(peer), orchestrating(peer, max_concurrency=4) as mesh:
        peer.gate.clear()
        running = [asyncio.ensure_future(mesh.stub.Embed(ONE)) for _ in range(2)]
        await peer.calls(2)
        running.append(asyncio.ensure_future(mesh.stub.Embed(ONE, metadata=BATCH)))  # the only one of its kind
        await peer.calls(3)
        second = await refused(mesh.stub.Embed(ONE, metadata=BATCH))
        running.append(asyncio.ensure_future(mesh.stub.Embed(ONE)))
        await peer.calls(4)
        last = await refused(mesh.stub.Embed(ONE))
        peer.gate.set()
        await asyncio.gather(*running)
    assert isinstance(second, Overloaded)
    assert "priority batch" in second.problem
    assert isinstance(last, Overloaded)
    assert last.retry_after_s is not None
    assert second.retry_after_s is not None
    assert second.retry_after_s > last.retry_after_s


async def test_a_call_that_its_caller_leaves_gives_its_place_back() -> None:
    peer = text_peer()
    async with started(peer), orchestrating(peer, max_concurrency=1) as mesh:
        peer.gate.clear()
        left = mesh.stub.Embed(ONE)
        await peer.calls(1)
        left.cancel()
        await peer.cancelled.wait()
        peer.gate.set()
        answer = await mesh.stub.Embed(ONE)
    assert answer.results[0].HasField("embedding")


def paced(pace: Pace, per_s: float, callers: int, seconds: float, start: float) -> float:
    """Lets so many callers be answered in turn at a rate for a while; returns the time then."""
    for _ in range(callers):
        pace.began(start)
    end = start + seconds
    while start < end:
        start += 1 / per_s
        pace.ended(start, is_answered=True)
        pace.began(start)
    for _ in range(callers):
        pace.ended(start, is_answered=False)
    return start


@pytest.mark.parametrize("per_s", [20.0, 800.0])
def test_the_pace_is_how_many_calls_end_a_second_of_busy_time(per_s: float) -> None:
    pace = Pace()
    now = paced(pace, per_s, callers=4, seconds=10.0, start=0.0)
    assert pace.per_s(now) == pytest.approx(per_s, rel=0.1)
    assert pace.per_s(now + 1000) == pytest.approx(per_s, rel=0.1), "nothing is learned while nothing runs"


def test_calls_that_hang_slow_the_pace_down_while_they_hang() -> None:
    pace = Pace()
    now = paced(pace, 400.0, callers=4, seconds=5.0, start=0.0)
    pace.began(now)
    assert pace.per_s(now + 0.5) == pytest.approx(400, rel=0.1)
    assert pace.per_s(now + 40.0) < 4


async def test_a_call_is_refused_that_would_wait_for_longer_than_it_has() -> None:
    peer = text_peer()
    async with started(peer), orchestrating(peer) as mesh:
        peer.gate.clear()
        running = [asyncio.ensure_future(mesh.stub.Embed(ONE)) for _ in range(LEAST)]
        await peer.calls(LEAST)
        hurried = await refused(mesh.stub.Embed(ONE, timeout=0.5))  # half of it is less than the least takes
        patient = asyncio.ensure_future(mesh.stub.Embed(ONE, timeout=20))
        await peer.calls(LEAST + 1)
        peer.gate.set()
        await asyncio.gather(*running, patient)
    assert isinstance(hurried, Overloaded)
    assert hurried.metadata["in_flight"] == str(LEAST)


def test_every_call_that_makes_peers_work_is_bounded() -> None:
    limiter = Limiter(1, Metrics("orchestrator"))
    service = orchestrator_pb2.DESCRIPTOR.services_by_name["OrchestratorService"]
    bounded = {method.name for method in service.methods if limiter.guards(f"/{service.full_name}/{method.name}")}
    assert bounded == {method.name for method in service.methods} - {"Describe", "EmbedStream"}
