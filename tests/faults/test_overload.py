"""More calls than there is room for: who is refused, how soon, and that what was let in is answered."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import sensorium
from sensorium.cli.mesh import running_mesh
from sensorium.errors import Overloaded, SensoriumError
from tests.faults.conftest import Told
from tests.faults.load import DEADLINE_S, MARGIN_S, Seen, until_whole

LONG = "a text of many words that are all there to keep the model busy for a while, and then some more of them; " * 3


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has queues hold next to nothing: the processes of a mesh inherit these variables."""
    for name, value in {"MAX_QUEUE_BATCHES": "1", "WORKERS": "1", "CACHE_MB": "0"}.items():
        monkeypatch.setenv(f"SENSORIUM_{name}", value)


@contextlib.asynccontextmanager
async def flooding(address: str, callers: int, texts: int) -> AsyncIterator[Seen]:
    """Keeps so many callers busy, each with so many texts a call and no patience; ends once all are answered."""
    seen, is_over = Seen(), asyncio.Event()

    async def one(client: sensorium.AsyncClient, which: int) -> None:
        number = which
        while not is_over.is_set():
            number += callers
            contents = [sensorium.text(f"{number} {each} {LONG}") for each in range(texts)]
            began = time.monotonic()
            try:
                answer = await client.embed(contents, timeout_s=DEADLINE_S)
            except SensoriumError as error:
                seen.calls["Embed", seen.note(error, time.monotonic() - began)] += 1
                await asyncio.sleep(0.02)
                continue
            finally:
                seen.slowest_s = max(seen.slowest_s, time.monotonic() - began)
            seen.calls["Embed", "OK"] += 1
            for place in range(texts):
                seen.note_item("Embed", "text", answer.errors.get(place), 0.0)
            if answer.errors:
                await asyncio.sleep(0.02)

    async with sensorium.AsyncClient(address, max_tries=1) as client, asyncio.TaskGroup() as group:
        for which in range(callers):
            group.create_task(one(client, which))
        try:
            yield seen
        finally:
            is_over.set()


async def test_a_full_queue_refuses_with_when_to_come_back_and_answers_the_rest(
    tmp_path: Path, narrow: None, report: Told
) -> None:
    with running_mesh(log_dir=tmp_path) as mesh:
        async with flooding(mesh.address, callers=32, texts=32) as seen:
            await asyncio.sleep(3)
        mended_s = await until_whole(mesh.address, Seen())
    report("a full queue, 32 callers with 32 texts each", f"{seen.table()}; whole again {mended_s:.1f} s after")
    assert seen.statuses == {"RESOURCE_EXHAUSTED"}, f"{seen.table()}; {seen.reasons}"
    assert seen.items["Embed", "text", "OK"] > 100
    assert seen.unretryable == 0
    assert seen.slowest_s < DEADLINE_S + MARGIN_S


async def test_the_orchestrator_refuses_what_is_over_its_limit_and_batch_work_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report: Told
) -> None:
    monkeypatch.setenv("SENSORIUM_MAX_CONCURRENCY", "8")
    with running_mesh(log_dir=tmp_path) as mesh:
        async with flooding(mesh.address, callers=32, texts=1) as seen:
            await asyncio.sleep(2)
        async with flooding(mesh.address, callers=5, texts=1) as interactive:
            batch = sum(await asyncio.gather(*(_batch_codes(mesh.address) for _ in range(3))), Counter[str]())
    median_ms = statistics.median(seen.refused_ms)
    report("32 callers where 8 calls may run", f"{seen.table()}; refused within {median_ms:.1f} ms, the median")
    assert seen.statuses == {"RESOURCE_EXHAUSTED"}, f"{seen.table()}; {seen.reasons}"
    assert seen.unretryable == 0
    assert seen.calls["Embed", "OK"] > 50
    assert interactive.statuses == set(), "there is room for these and for the batch work, and it is theirs"
    assert batch["RESOURCE_EXHAUSTED"] > 0
    assert batch["OK"] > 0, "batch work still moves"


async def _batch_codes(address: str) -> Counter[str]:
    codes: Counter[str] = Counter()
    async with sensorium.AsyncClient(address, max_tries=1) as client:
        for number in range(40):
            try:
                await client.embed([sensorium.text(f"one more {number}")], timeout_s=DEADLINE_S, priority="batch")
                codes["OK"] += 1
            except Overloaded:
                codes["RESOURCE_EXHAUSTED"] += 1
    return codes


async def test_a_stream_is_slowed_down_and_loses_nothing(tmp_path: Path, narrow: None) -> None:
    texts = [(str(at), sensorium.text(f"{at} {LONG}")) for at in range(400)]
    with running_mesh(log_dir=tmp_path) as mesh:
        async with (
            flooding(mesh.address, callers=8, texts=16),
            sensorium.AsyncClient(mesh.address, max_tries=1) as client,
        ):
            answers = {key: answer async for key, answer in client.embed_stream(texts)}
    errors = {key: answer for key, answer in answers.items() if isinstance(answer, SensoriumError)}
    assert len(answers) == len(texts)
    assert errors == {}
