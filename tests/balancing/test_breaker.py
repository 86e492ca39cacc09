"""The circuit breaker of a peer: by itself, before a peer that is gone, and before replicas of which one is bad."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from sensorium.channel import open_channel
from sensorium.errors import (
    DeadlineExceeded,
    InternalError,
    InvalidInput,
    Overloaded,
    Reason,
    SensoriumError,
    Unavailable,
)
from sensorium.v1 import orchestrator_pb2, text_pb2, text_pb2_grpc
from sensorium.v1.orchestrator_pb2 import DescribeRequest, EmbedRequest, ServiceDescription
from services.orchestrator.breaker import LASTING_S, OPEN_S, Breaker
from services.orchestrator.peer_metrics import PeerMetrics
from services.orchestrator.peers import Peer
from shared.serving.call import Call, enter_call
from shared.serving.metrics import Metrics
from tests.balancing.replicas import naming, replicas
from tests.services.orchestrator.fakes import started, text_peer
from tests.services.orchestrator.harness import Orchestrated, error_of, orchestrating, text

if TYPE_CHECKING:
    from sensorium.v1.text_pb2_grpc import TextEncoderServiceAsyncStub

ENOUGH = 10


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def breaker(clock: Clock | None = None) -> Breaker:
    return Breaker(ENOUGH, PeerMetrics(Metrics("orchestrator"), "text"), clock or time.monotonic)


def ended(made: Breaker, error: BaseException | None, had_s: float = 5.0) -> None:
    """Makes one call that ends so."""
    try:
        with made.guarding(had_s):
            if error is not None:
                raise error
    except (SensoriumError, asyncio.CancelledError) as raised:
        if raised is not error:
            raise


def fail(
    made: Breaker, clock: Clock, count: int = ENOUGH, error: BaseException | None = None, had_s: float = 5.0
) -> None:
    """Makes calls that fail, over as long as a row must last."""
    for at in range(count):
        clock.now += 1.01 * LASTING_S / (count - 1) if at else 0.0
        ended(made, error or Unavailable("gone"), had_s)


def opened(clock: Clock) -> Breaker:
    made = breaker(clock)
    fail(made, clock)
    assert made.problem
    return made


FAILURES = [
    pytest.param(Unavailable("gone"), 5.0, id="unavailable"),
    pytest.param(Unavailable("going", reason=Reason.DRAINING), 5.0, id="draining"),
    pytest.param(DeadlineExceeded("late"), 5.0, id="deadline"),
    pytest.param(InternalError("garbage"), 5.0, id="garbage"),
]
ANSWERS = [
    pytest.param(DeadlineExceeded("late"), 0.1, id="a deadline that nobody could meet"),
    pytest.param(InternalError("a bug", metadata={"reference": "f00"}), 5.0, id="a bug that one input met"),
    pytest.param(Unavailable("not yet", reason=Reason.LOADING), 5.0, id="a model that is loading"),
    pytest.param(Overloaded("full", retry_after_s=1.0), 5.0, id="a full queue"),
    pytest.param(InvalidInput("is empty"), 5.0, id="a wrong request"),
    pytest.param(asyncio.CancelledError(), 5.0, id="a caller who hung up"),
]


@pytest.mark.parametrize(("error", "had_s"), FAILURES)
def test_a_row_of_failures_opens_it(error: SensoriumError, had_s: float) -> None:
    clock = Clock()
    made = breaker(clock)
    fail(made, clock, ENOUGH - 1, error, had_s)
    assert not made.problem
    ended(made, error, had_s)
    assert error.problem in made.problem
    with pytest.raises(Unavailable) as refusal:
        ended(made, None)
    assert refusal.value.retry_after_s == pytest.approx(OPEN_S)


@pytest.mark.parametrize(("error", "had_s"), ANSWERS)
def test_what_says_nothing_against_the_peer_does_not_open_it(error: BaseException, had_s: float) -> None:
    clock = Clock()
    made = breaker(clock)
    fail(made, clock, 10 * ENOUGH, error, had_s)
    assert not made.problem


def test_a_deadline_that_comes_as_a_cancellation_counts() -> None:
    clock = Clock()
    made = breaker(clock)
    for _ in range(ENOUGH):
        with contextlib.suppress(asyncio.CancelledError), made.guarding(1.0):
            clock.now += 1.0
            raise asyncio.CancelledError
    assert made.problem


def test_failures_among_answers_do_not_open_it() -> None:
    """Of nine replicas eight are down, and the ninth still answers its share."""
    clock = Clock()
    made = breaker(clock)
    for _ in range(20 * ENOUGH):
        fail(made, clock, 8)
        ended(made, None)
    assert not made.problem


def test_a_burst_of_failures_does_not_open_it() -> None:
    """A replica died with many calls in flight; what comes next goes to the others."""
    made = breaker(Clock())
    for _ in range(10 * ENOUGH):
        ended(made, Unavailable("gone"))
    assert not made.problem


def test_one_call_tries_after_a_second_and_closes_it_where_it_is_answered() -> None:
    clock = Clock()
    made = opened(clock)
    clock.now += OPEN_S
    with made.guarding(5.0), pytest.raises(Unavailable):
        ended(made, None)
    assert not made.problem
    fail(made, clock, ENOUGH - 1)
    assert not made.problem, "what was before counts no more"


def test_a_try_that_fails_opens_it_again_and_one_that_says_nothing_is_followed_by_another() -> None:
    clock = Clock()
    made = opened(clock)
    clock.now += OPEN_S
    ended(made, Unavailable("gone"))
    with pytest.raises(Unavailable):
        ended(made, None)
    clock.now += OPEN_S
    ended(made, asyncio.CancelledError())
    ended(made, None)
    assert not made.problem


def test_a_peer_that_says_that_it_serves_is_tried_at_once() -> None:
    made = opened(Clock())
    made.try_soon()
    ended(made, None)
    assert not made.problem


def test_none_is_refused_where_it_is_switched_off() -> None:
    clock = Clock()
    made = Breaker(0, PeerMetrics(Metrics("orchestrator"), "text"), clock)
    fail(made, clock, 100)
    assert not made.problem


async def test_callers_hear_at_once_that_a_peer_fails_and_describe_tells_why_until_it_is_back() -> None:
    peer = text_peer()
    request = EmbedRequest(contents=[text("a")])
    async with started(peer), orchestrating(peer, breaker_failures=ENOUGH) as mesh:
        peer.refusal = Unavailable("its GPU fell off")
        while (await described(mesh)).state == orchestrator_pb2.SERVICE_STATE_SERVING:
            await mesh.stub.Embed(request)
        came, asked = len(peer.requests), time.monotonic()
        error = error_of((await mesh.stub.Embed(request)).results[0])
        assert time.monotonic() - asked < 0.5
        assert len(peer.requests) == came, "nothing was sent"
        assert isinstance(error, Unavailable)
        assert error.metadata["service"] == "text"
        assert 0 < (error.retry_after_s or 0) <= OPEN_S
        seen = await described(mesh)
        assert seen.state == orchestrator_pb2.SERVICE_STATE_UNREACHABLE
        assert "its GPU fell off" in seen.problem

        peer.refusal = None
        while not (await mesh.stub.Embed(request)).results[0].HasField("embedding"):
            continue
        assert time.monotonic() - asked < OPEN_S + 1
        assert (await described(mesh)).state == orchestrator_pb2.SERVICE_STATE_SERVING


async def described(mesh: Orchestrated) -> ServiceDescription:
    services = (await mesh.stub.Describe(DescribeRequest())).services
    return next(each for each in services if each.name == "text")


@pytest.mark.parametrize("behaviour", ["fail=UNAVAILABLE", "fail=INTERNAL"])
async def test_one_bad_replica_of_three_does_not_open_it(behaviour: str) -> None:
    good, bad = ["127.0.0.2", "127.0.0.3"], "127.0.0.4"
    with replicas(good) as running:
        port = running[good[0]].port
        with replicas([bad], behaviour, port=port), naming([*good, bad], port) as (_, target):
            async with open_channel(target) as channel:
                made = breaker()
                peer = Peer("text", target, "", channel, made)
                stub: TextEncoderServiceAsyncStub = text_pb2_grpc.TextEncoderServiceStub(channel)
                enter_call(Call("/a/B", "1", deadline=time.monotonic() + 20))
                began, answers = time.monotonic(), [False]
                while time.monotonic() - began < 1.5 * LASTING_S:
                    answers.append(await _answer(peer, stub))
                assert sum(answers) >= len(answers) / 2
                assert not made.problem


async def _answer(peer: Peer, stub: TextEncoderServiceAsyncStub) -> bool:
    """Whether the bad replica was not asked; a refusal by the breaker is no answer at all."""
    try:
        await peer.ask(stub.EncodeText, text_pb2.EncodeTextRequest(texts=["a"]))
    except (Unavailable, InternalError) as error:
        if "told to fail" not in error.problem:
            raise
        return False
    return True
