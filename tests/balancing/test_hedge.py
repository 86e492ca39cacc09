"""Second calls: what they save where one replica is slow, and what they may cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from sensorium.channel import open_channel
from sensorium.errors import InvalidInput, Overloaded, Unavailable
from sensorium.v1 import text_pb2, text_pb2_grpc
from services.orchestrator.breaker import Breaker
from services.orchestrator.hedge import Hedging
from services.orchestrator.peer_metrics import PeerMetrics
from services.orchestrator.peers import Peer
from shared.serving.call import Call, enter_call
from shared.serving.metrics import Metrics
from tests.balancing.replicas import naming, replicas


def hedging(ratio: float = 0.5, purse: float = 5.0) -> Hedging:
    """One that has learned that calls take 10 ms, and may hedge so many at once."""
    made = Hedging(ratio, PeerMetrics(Metrics("orchestrator"), "text"))
    made.delay_s, made._purse = 0.01, purse
    return made


class Calls:
    """Runs of one call: each takes so long and ends so."""

    def __init__(self, *runs: tuple[float, str | Exception]) -> None:
        self._runs = runs
        self.begun = self.cancelled = 0

    async def __call__(self) -> str:
        seconds, end = self._runs[self.begun]
        self.begun += 1
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(end, Exception):
            raise end
        return end


async def test_the_second_call_wins_where_the_first_hangs_and_the_first_is_cancelled() -> None:
    calls = Calls((20, "first"), (0, "second"))
    assert await hedging().fastest(calls) == "second"
    assert (calls.begun, calls.cancelled) == (2, 1)


async def test_a_quick_call_is_made_once() -> None:
    calls = Calls((0, "first"), (0, "second"))
    assert await hedging().fastest(calls) == "first"
    assert calls.begun == 1


async def test_nothing_is_hedged_on_an_empty_purse() -> None:
    calls = Calls((0.05, "first"), (0, "second"))
    assert await hedging(ratio=0.05, purse=0.0).fastest(calls) == "first"
    assert calls.begun == 1


async def test_a_second_call_that_is_turned_away_leaves_the_first_to_answer() -> None:
    calls = Calls((0.05, "first"), (0, Overloaded("full", retry_after_s=1.0)))
    assert await hedging().fastest(calls) == "first"


async def test_where_both_are_turned_away_the_first_error_counts() -> None:
    calls = Calls((0.05, Unavailable("one")), (0, Unavailable("two")))
    with pytest.raises(Unavailable, match="one"):
        await hedging().fastest(calls)


async def test_a_refusal_that_every_replica_would_give_is_not_waited_for_twice() -> None:
    calls = Calls((0.05, InvalidInput("is empty")), (20, "second"))
    with pytest.raises(InvalidInput):
        await hedging().fastest(calls)
    assert calls.cancelled == 1


async def test_both_runs_end_with_their_caller() -> None:
    calls = Calls((20, "first"), (20, "second"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await hedging().fastest(calls)
    assert (calls.begun, calls.cancelled) == (2, 2)


async def test_hedging_cuts_the_tail_that_a_slow_replica_makes() -> None:
    """One of three replicas takes 200 ms for every eighth call, so one call in 24 is slow."""
    quick, slow = ["127.0.0.2", "127.0.0.3"], "127.0.0.4"
    with replicas(quick) as running:
        port = running[quick[0]].port
        with replicas([slow], "delay_s=0.2", "every=8", port=port), naming([*quick, slow], port) as (_, target):
            async with open_channel(target) as channel:
                enter_call(Call("/a/B", "1", deadline=time.monotonic() + 25))
                metrics = PeerMetrics(Metrics("orchestrator"), "text")
                stub = text_pb2_grpc.TextEncoderServiceStub(channel)

                def asking(hedging: Hedging | None) -> Callable[[], Awaitable[object]]:
                    peer = Peer("text", target, "", channel, Breaker(0, metrics), hedging)
                    return lambda: peer.compute(stub.EncodeText, text_pb2.EncodeTextRequest(texts=["a"]))

                without = await taken_s(asking(None), 120)
                hedged = Hedging(0.1, metrics)
                await taken_s(asking(hedged), 100)  # to learn from
                with_it = await taken_s(asking(hedged), 120)
    assert without[-4] > 0.2, "one call in 24 is slow"
    assert with_it[-4] < 0.1, f"{hedged.delay_s}, {with_it[-12:]}"


async def test_batch_work_is_not_hedged() -> None:
    with replicas(["127.0.0.2"], "delay_s=0.05") as running:
        async with open_channel(f"127.0.0.2:{running['127.0.0.2'].port}") as channel:
            stub = text_pb2_grpc.TextEncoderServiceStub(channel)
            breaker = Breaker(0, PeerMetrics(Metrics("orchestrator"), "text"))
            peer = Peer("text", "", "", channel, breaker, hedging())
            before = running["127.0.0.2"].calls
            for priority, count in (("batch", 1), ("interactive", 2)):
                enter_call(Call("/a/B", "1", deadline=time.monotonic() + 25, stated_priority=priority))
                await peer.compute(stub.EncodeText, text_pb2.EncodeTextRequest(texts=["a"]))
                before += count
                while running["127.0.0.2"].calls < before:  # a call that was cancelled is counted when it has ended
                    continue
                assert running["127.0.0.2"].calls == before


async def taken_s(ask: Callable[[], Awaitable[object]], count: int) -> list[float]:
    """Makes calls one after the other; returns how long each took, the longest last."""
    taken = []
    for _ in range(count):
        began = time.monotonic()
        await ask()
        taken.append(time.monotonic() - began)
    return sorted(taken)
