"""Lets a mesh run for long at four fifths of what it can, with mixed inputs, and watches memory and errors.

    python -m tests.faults.soak --seconds 600

Exits with 1 where a call or an item failed, or where memory grows. Linux only: memory is read of /proc.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from google.rpc import code_pb2

import sensorium
from bench.processes import pss_mb
from sensorium.cli.mesh import Mesh, running_mesh
from sensorium.errors import SensoriumError
from sensorium.v1.content_pb2 import Content

SHARE = 0.8
_CALLERS = 16  # that fill a mesh when its capacity is measured
_CAPACITY_S = 15.0
_SAMPLE_S = 1.0
# Allocators, onnxruntime's arenas and the cache fill up first; what is judged comes after.
_SETTLING_SHARE = 0.3
_MOST_MB_PER_H = 30.0  # a slope below it is no leak within the error of a run of ten minutes; a guess
_DEADLINE_S = 10.0


@dataclass
class Tally:
    """What came of calls: counts by status, of calls and of items, and the latency of each call in seconds."""

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    @property
    def answered(self) -> int:
        return self.statuses["OK"]

    @property
    def failures(self) -> dict[str, int]:
        return {code: count for code, count in self.statuses.items() if code != "OK"}


@dataclass(frozen=True)
class Slope:
    """A line through memory over time, by least squares: MB (of a million bytes) an hour, and its standard error."""

    mb_per_h: float
    error_mb_per_h: float


def slope(times_s: Sequence[float], sizes_mb: Sequence[float]) -> Slope:
    """Returns the slope of at least three samples; errors count as independent, which memory's hardly are."""
    x, y = np.asarray(times_s) / 3600, np.asarray(sizes_mb)
    x = x - x.mean()
    spread = float((x**2).sum())
    rate = float((x * y).sum()) / spread
    rest = y - y.mean() - rate * x
    return Slope(rate, float(np.sqrt((rest**2).sum() / (len(x) - 2) / spread)))


def contents(chance: random.Random) -> list[Content]:
    """Returns what one call embeds: one to four texts, pictures and sounds, all new."""
    makers: list[Callable[[random.Random], Content]] = [_text, _text, _picture, _sound]
    return [chance.choice(makers)(chance) for _ in range(chance.randint(1, 4))]


def _text(chance: random.Random) -> Content:
    return sensorium.text(" ".join(str(chance.randrange(10_000)) for _ in range(chance.randint(1, 40))))


def _picture(chance: random.Random) -> Content:
    height, width = chance.randint(20, 400), chance.randint(20, 400)
    pixels = np.full((height, width, 3), [chance.randrange(256) for _ in range(3)], np.uint8)
    cv2.circle(pixels, (width // 2, height // 2), chance.randint(3, 30), (255, 255, 255), -1)
    return sensorium.image(bytes(cv2.imencode(chance.choice([".png", ".jpg"]), pixels)[1]))


def _sound(chance: random.Random) -> Content:
    rate_hz = chance.choice([8_000, 16_000, 44_100])
    tone = np.sin(np.arange(int(rate_hz * chance.uniform(0.2, 3.0))) * (chance.uniform(50, 2000) * 2 * np.pi / rate_hz))
    return sensorium.audio(tone.astype(np.float32), rate_hz)


async def _embed(client: sensorium.AsyncClient, chance: random.Random, tally: Tally) -> None:
    began = time.monotonic()
    try:
        answer = await client.embed(contents(chance), timeout_s=_DEADLINE_S)
    except SensoriumError as error:
        tally.statuses[code_pb2.Code.Name(error.code)] += 1
        return
    tally.seconds.append(time.monotonic() - began)
    tally.statuses["OK"] += 1
    tally.statuses.update(f"item {code_pb2.Code.Name(error.code)}" for error in answer.errors.values())


async def capacity(client: sensorium.AsyncClient, seconds: float, seed: int) -> float:
    """Returns how many calls a second are answered to callers that each wait for their answer.

    seed: where those of the callers begin; inputs that were sent before would come from the cache.
    """
    tally, end = Tally(), time.monotonic() + seconds

    async def one(seed: int) -> None:
        chance = random.Random(seed)
        while time.monotonic() < end:
            await _embed(client, chance, tally)

    await asyncio.gather(*(one(seed + caller) for caller in range(_CALLERS)))
    return tally.answered / seconds


async def calls_at(client: sensorium.AsyncClient, per_s: float, seconds: float, tally: Tally) -> None:
    """Makes calls at a rate, whether the earlier ones were answered or not."""
    chance, began = random.Random(7), time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(int(per_s * seconds)):
            await asyncio.sleep(max(0.0, began + number / per_s - time.monotonic()))
            group.create_task(_embed(client, random.Random(chance.random()), tally))


async def sampled(mesh: Mesh, seconds: float, samples: dict[str, list[float]]) -> None:
    """Reads the memory of each service every second, into lists by name; `time` holds when."""
    began = time.monotonic()
    while (now := time.monotonic() - began) < seconds:
        sizes = await asyncio.to_thread(lambda: {each.name: pss_mb(each.pid) for each in mesh.services})
        for name, size in {**sizes, "all": sum(sizes.values()), "time": now}.items():
            samples.setdefault(name, []).append(size)
        await asyncio.sleep(_SAMPLE_S)


async def soak(mesh: Mesh, seconds: float) -> int:
    """Runs the soak and prints what it found; returns the exit code."""
    async with sensorium.AsyncClient(mesh.address, max_tries=1) as client:
        await capacity(client, min(_CAPACITY_S, seconds) / 3, seed=0)  # warms up
        most = await capacity(client, min(_CAPACITY_S, seconds), seed=1000)
        rate = SHARE * most
        print(f"capacity {most:.0f} calls/s with {_CALLERS} callers; {seconds:.0f} s at {rate:.0f} calls/s", flush=True)
        tally, samples = Tally(), dict[str, list[float]]()
        async with asyncio.TaskGroup() as group:
            group.create_task(sampled(mesh, seconds, samples))
            group.create_task(calls_at(client, rate, seconds, tally))
    p50_ms, p99_ms = (1000 * float(np.quantile(tally.seconds, share)) for share in (0.5, 0.99))
    print(f"{tally.answered} calls answered, failures: {tally.failures or 'none'}; "
          f"p50 {p50_ms:.0f} ms, p99 {p99_ms:.0f} ms")  # fmt: skip
    first = int(_SETTLING_SHARE * len(samples["time"]))
    times_s = samples.pop("time")[first:]
    grows = False
    for name, sizes in samples.items():
        found = slope(times_s, sizes[first:])
        grows |= name == "all" and found.mb_per_h - 2 * found.error_mb_per_h > _MOST_MB_PER_H
        print(f"{name:>12}: {sizes[first]:7.1f} to {sizes[-1]:7.1f} MB, "
              f"{found.mb_per_h:+8.1f} ± {found.error_mb_per_h:.1f} MB/h")  # fmt: skip
    return int(bool(tally.failures) or grows)


def main() -> int:
    """Reads the arguments, runs a mesh, and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=600.0, help="how long (default: %(default)s)")
    seconds = parser.parse_args().seconds
    # All inputs are new: the cache would fill up all along, and look like a leak. So small, it is full at once.
    os.environ.setdefault("SENSORIUM_CACHE_MB", "4")
    with running_mesh() as mesh:
        return asyncio.run(asyncio.wait_for(soak(mesh, seconds), seconds + 120))


if __name__ == "__main__":
    raise SystemExit(main())
