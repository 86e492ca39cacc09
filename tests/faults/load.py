"""Callers of a mesh while something breaks, and what they saw."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from google.rpc import code_pb2

import sensorium
from sensorium.errors import SensoriumError
from sensorium.v1.content_pb2 import Content

PICTURE = sensorium.image(bytes(cv2.imencode(".png", np.full((40, 40, 3), 200, np.uint8))[1]))
SOUND = sensorium.audio(np.sin(np.arange(8000) / 10).astype(np.float32), 16_000)
KINDS = ("text", "picture", "sound")

DEADLINE_S = 5.0
# What a call may take beyond its deadline before it counts as hung: the client's own time to notice, on two busy cores.
MARGIN_S = 1.0
_BACK_OFF_S = 0.05  # of a caller who was refused, as the clients of the wild do


@dataclass
class Seen:
    """What callers saw.

    calls: by call and its status; items: of the calls that were answered, by call, kind and status.
    refused_ms: how long refusals for want of room took, each.
    """

    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    items: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    refused_ms: list[float] = field(default_factory=list)
    unretryable: int = 0
    slowest_s: float = 0.0

    @property
    def statuses(self) -> set[str]:
        """All that went wrong with calls or items."""
        return ({code for _, code in self.calls} | {code for _, _, code in self.items}) - {"OK"}

    def failed(self, kind: str) -> set[str]:
        """What went wrong with items of a kind."""
        return {code for _, each, code in self.items if each == kind} - {"OK"}

    def count(self, code: str) -> int:
        """How many calls and items had a status."""
        calls = sum(number for (_, each), number in self.calls.items() if each == code)
        return calls + sum(number for (_, _, each), number in self.items.items() if each == code)

    def note(self, error: SensoriumError, seconds: float) -> str:
        """Keeps an error; returns its status."""
        code = str(code_pb2.Code.Name(error.code))
        self.reasons[f"{code} {error.reason.removeprefix('ERROR_REASON_')}"] += 1
        if code == "RESOURCE_EXHAUSTED":
            self.refused_ms.append(seconds * 1000)
        self.unretryable += code in ("RESOURCE_EXHAUSTED", "UNAVAILABLE") and error.retry_after_s is None
        return code

    def note_item(self, call: str, kind: str, error: SensoriumError | None, seconds: float) -> None:
        """Keeps what became of one item of an answered call."""
        self.items[call, kind, "OK" if error is None else self.note(error, seconds)] += 1

    def table(self) -> str:
        """Returns one line: every status, and of what."""
        calls = [f"{name} {code} {number}" for (name, code), number in sorted(self.calls.items())]
        items = [
            f"{name}.{kind} {code} {number}"
            for (name, kind, code), number in sorted(self.items.items())
            if code != "OK"
        ]
        return f"{', '.join(calls)}; items: {', '.join(items) or 'all OK'}; slowest {self.slowest_s:.2f} s"


async def embed(client: sensorium.AsyncClient, seen: Seen, number: int) -> bool:
    """Embeds a text that was not seen before, a picture and a sound; returns whether all was well."""
    began = time.monotonic()
    try:
        answer = await client.embed([sensorium.text(f"{number} words"), PICTURE, SOUND], timeout_s=DEADLINE_S)
    except SensoriumError as error:
        seen.calls["Embed", seen.note(error, time.monotonic() - began)] += 1
        return False
    finally:
        seen.slowest_s = max(seen.slowest_s, time.monotonic() - began)
    seen.calls["Embed", "OK"] += 1
    for place, kind in enumerate(KINDS):
        seen.note_item("Embed", kind, answer.errors.get(place), time.monotonic() - began)
    return not answer.errors


async def fuse(client: sensorium.AsyncClient, seen: Seen, number: int) -> bool:
    """Fuses a text and a picture; returns whether all was well."""
    began = time.monotonic()
    try:
        answer = await client.fuse([[sensorium.text(f"{number} words"), PICTURE]], timeout_s=DEADLINE_S)
    except SensoriumError as error:
        seen.calls["Fuse", seen.note(error, time.monotonic() - began)] += 1
        return False
    finally:
        seen.slowest_s = max(seen.slowest_s, time.monotonic() - began)
    seen.calls["Fuse", "OK"] += 1
    seen.note_item("Fuse", "joint", answer.errors.get(0), time.monotonic() - began)
    return not answer.errors


@contextlib.asynccontextmanager
async def calling(address: str, callers: int = 6) -> AsyncIterator[Seen]:
    """Keeps callers busy while the block runs, two in three with Embed, one with Fuse; ends once all are answered."""
    seen, is_over = Seen(), asyncio.Event()

    async def one(client: sensorium.AsyncClient, which: int) -> None:
        call = fuse if which % 3 == 2 else embed
        number = which
        while not is_over.is_set():
            number += callers
            if not await call(client, seen, number):
                await asyncio.sleep(_BACK_OFF_S)

    async with sensorium.AsyncClient(address, max_tries=1) as client, asyncio.TaskGroup() as group:
        for which in range(callers):
            group.create_task(one(client, which))
        try:
            yield seen
        finally:
            is_over.set()


async def until_whole(address: str, seen: Seen, within_s: float = 20.0) -> float:
    """Calls until Embed and Fuse are answered in whole; returns how long that took."""
    began = time.monotonic()
    async with sensorium.AsyncClient(address, max_tries=1) as client:
        while not (await embed(client, seen, -1) and await fuse(client, seen, -1)):
            assert time.monotonic() - began < within_s, seen.table()
            await asyncio.sleep(_BACK_OFF_S)
    return time.monotonic() - began


async def until(holds: Callable[[], bool], within_s: float, what: str) -> None:
    """Waits while others call."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < within_s, f"not within {within_s} s: {what}"
        await asyncio.sleep(0.02)


def assert_bounded(seen: Seen, allowed: Mapping[str, set[str]] | set[str]) -> None:
    """Asserts that nobody was hung past a deadline, and that only allowed statuses were seen."""
    assert seen.slowest_s < DEADLINE_S + MARGIN_S, seen.table()
    if isinstance(allowed, set):
        assert seen.statuses <= allowed, f"{seen.table()}; {seen.reasons}"
        return
    for kind in (*KINDS, "joint"):
        assert seen.failed(kind) <= allowed.get(kind, set()), f"{kind}: {seen.table()}; {seen.reasons}"


async def until_whole_of(client: sensorium.AsyncClient, contents: Sequence[Content], within_s: float = 20.0) -> None:
    """Embeds until nothing fails."""
    began = time.monotonic()
    while True:
        errors = (await client.embed(contents, timeout_s=DEADLINE_S)).errors
        if not errors:
            return
        assert time.monotonic() - began < within_s, errors
        await asyncio.sleep(_BACK_OFF_S)
