"""Sends a mesh four times as many calls as it can answer, and says how much of its capacity is left.

    python -m tests.faults.overload --seconds 20

The calls are those of the soak: one to four texts, pictures and sounds each, through the orchestrator. They are made
beforehand and sent as bytes, so that the callers take as little as they can of the machine that they share with the
mesh; what they still take is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import time
from collections import Counter
from dataclasses import dataclass, field

import grpc
import numpy as np
from google.rpc import code_pb2

from sensorium.cli.mesh import running_mesh
from sensorium.status import from_rpc_error
from sensorium.v1 import orchestrator_pb2
from tests.faults.soak import contents

_METHOD = "/sensorium.v1.OrchestratorService/Embed"
_POOL = 512  # requests that are made beforehand, and sent in turn
_DEADLINE_S = 2.0
_EXPECTED = {"OK", "RESOURCE_EXHAUSTED", "item RESOURCE_EXHAUSTED"}
_CALLERS = 32  # that fill a mesh when its capacity is measured


@dataclass
class Seen:
    """What came of calls.

    statuses: of calls, and of the items of answered calls that failed, as `item CODE`.
    whole: calls that were answered with no item missing; unretryable: refusals without RetryInfo.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    answered_ms: list[float] = field(default_factory=list)
    refused_ms: list[float] = field(default_factory=list)
    unretryable: int = 0
    whole: int = 0


def requests(count: int) -> list[bytes]:
    """Returns calls that embed one to four things each, all different, serialized."""
    chance = random.Random(7)
    return [orchestrator_pb2.EmbedRequest(contents=contents(chance)).SerializeToString() for _ in range(count)]


class Callers:
    """Sends the requests over one channel as bytes."""

    def __init__(self, channel: grpc.aio.Channel, pool: list[bytes]) -> None:
        """Takes an open channel, and the requests to send in turn."""
        self._call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_METHOD)
        self._pool = pool
        self._sent = 0

    async def _one(self, seen: Seen) -> None:
        request = self._pool[self._sent % len(self._pool)]
        self._sent += 1
        began = time.monotonic()
        try:
            answer = await self._call(request, timeout=_DEADLINE_S)
        except grpc.aio.AioRpcError as error:
            seen.statuses[error.code().name] += 1
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                seen.refused_ms.append((time.monotonic() - began) * 1000)
                seen.unretryable += from_rpc_error(error).retry_after_s is None
            return
        seen.statuses["OK"] += 1
        seen.answered_ms.append((time.monotonic() - began) * 1000)
        results = orchestrator_pb2.EmbedResponse.FromString(answer).results
        seen.statuses.update(
            f"item {code_pb2.Code.Name(each.error.code)}" for each in results if each.HasField("error")
        )
        seen.whole += not any(each.HasField("error") for each in results)

    async def closed(self, callers: int, seconds: float) -> Seen:
        """Keeps so many callers busy, each waiting for its answers."""
        seen, end = Seen(), time.monotonic() + seconds

        async def one() -> None:
            while time.monotonic() < end:
                await self._one(seen)

        await asyncio.gather(*(one() for _ in range(callers)))
        return seen

    async def at(self, per_s: float, seconds: float) -> Seen:
        """Sends calls at a rate, whether the earlier ones were answered or not."""
        seen, began = Seen(), time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(int(per_s * seconds)):
                if (ahead_s := began + number / per_s - time.monotonic()) > 0:
                    await asyncio.sleep(ahead_s)
                group.create_task(self._one(seen))
        return seen


async def overload(address: str, seconds: float, times: float) -> int:
    """Measures the capacity, sends more, and prints what came of it; returns the exit code."""
    pool = requests(_POOL)
    async with grpc.aio.insecure_channel(address) as channel:
        callers = Callers(channel, pool)
        await callers.closed(_CALLERS, seconds / 3)  # warms up
        capacity = (await callers.closed(_CALLERS, seconds)).whole / seconds
        cpu_s = time.process_time()
        seen = await callers.at(times * capacity, seconds)
        cpu_s = time.process_time() - cpu_s
    goodput = seen.whole / seconds
    print(f"capacity {capacity:.0f} calls/s with {_CALLERS} callers; "
          f"at {times:g} times as many {goodput:.0f} calls/s answered, {goodput / capacity:.2f} of it; "
          f"all: {dict(seen.statuses)}; callers took {cpu_s / seconds:.2f} of a core")  # fmt: skip
    for name, took_ms in (("answers", seen.answered_ms), ("refusals", seen.refused_ms)):
        if took_ms:
            p50, p99 = np.quantile(took_ms, [0.5, 0.99])
            print(f"{name}: p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    print(f"refusals without RetryInfo: {seen.unretryable}")
    return int(any(status not in _EXPECTED for status in seen.statuses) or seen.unretryable > 0)


def main() -> int:
    """Reads the arguments, runs a mesh, and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.overload", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement (default: %(default)s)")
    parser.add_argument("--times", type=float, default=4.0, help="the capacity that is sent (default: %(default)s)")
    arguments = parser.parse_args()
    os.environ.setdefault("SENSORIUM_CACHE_MB", "0")  # the requests are sent again and again
    with running_mesh() as mesh:
        return asyncio.run(overload(mesh.address, arguments.seconds, arguments.times))


if __name__ == "__main__":
    raise SystemExit(main())
