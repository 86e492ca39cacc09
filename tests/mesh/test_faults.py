"""The whole mesh as processes: killed, terminated, hurried."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

import sensorium
from sensorium.channel import call, open_channel
from sensorium.cli.mesh import Mesh, running_mesh
from sensorium.errors import DeadlineExceeded, SensoriumError, Unavailable
from sensorium.v1 import text_pb2, text_pb2_grpc
from tests.running import metric_at

PICTURE = sensorium.image(bytes(cv2.imencode(".png", np.full((40, 40, 3), 200, np.uint8))[1]))
SOUND = sensorium.audio(np.sin(np.arange(8000) / 10).astype(np.float32), 16_000)
CONTENTS = [sensorium.text("seven"), PICTURE, SOUND]


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with running_mesh(log_dir=tmp_path_factory.mktemp("logs")) as running:
        yield running


async def embed_until(client: sensorium.AsyncClient, failing: set[int]) -> list[sensorium.Embeddings]:
    """Embeds until exactly the places in `failing` fail, for at most 10 s; returns every answer on the way."""
    answers, deadline = [], time.monotonic() + 10
    while time.monotonic() < deadline:
        answers.append(await client.embed(CONTENTS, timeout_s=5))
        if set(answers[-1].errors) == failing:
            return answers
    raise AssertionError(f"still {answers[-1].errors}")


async def test_a_killed_service_fails_its_own_items_and_comes_back_without_touching_the_orchestrator(
    mesh: Mesh,
) -> None:
    place = next(at for at, each in enumerate(mesh.services) if each.name == "vision")
    async with sensorium.AsyncClient(mesh.address, max_tries=1) as client:
        await embed_until(client, set())
        mesh.services[place].process.kill()
        answers = await embed_until(client, {1})
        answers += [await client.embed(CONTENTS, timeout_s=5) for _ in range(20)]
        for answer in answers:
            assert set(answer.errors) <= {1}, "texts and sounds keep being answered"
            for error in answer.errors.values():
                assert isinstance(error, Unavailable)
                assert error.metadata["service"] == "vision"
        mesh.services[place] = mesh.services[place].successor()
        mesh.services[place].wait_until_serving(30)
        await embed_until(client, set())


async def test_a_terminated_service_answers_every_call_that_it_accepted(mesh: Mesh) -> None:
    place = next(at for at, each in enumerate(mesh.services) if each.name == "text")
    service = mesh.services[place]
    seen: Counter[str] = Counter()
    before = calls_answered(service.log)
    is_busy, is_gone = asyncio.Event(), asyncio.Event()

    async def caller() -> None:
        channel = open_channel(service.address)
        stub = text_pb2_grpc.TextEncoderServiceStub(channel)
        while not is_gone.is_set():
            try:
                await call(stub.EncodeText, text_pb2.EncodeTextRequest(texts=["some words"] * 4), timeout_s=10)
                seen["answered"] += 1
                if seen["answered"] == 200:
                    is_busy.set()
            except Unavailable:
                seen["refused"] += 1
                await asyncio.sleep(0.02)  # as a caller who backs off would
        await channel.close()

    callers = [asyncio.create_task(caller()) for _ in range(16)]
    await asyncio.wait_for(is_busy.wait(), 20)
    service.terminate()
    await asyncio.to_thread(service.wait, 30)
    is_gone.set()
    await asyncio.gather(*callers)
    assert service.process.returncode == 0
    assert seen["refused"] > 0
    assert calls_answered(service.log) - before == seen["answered"]
    mesh.services[place] = service.successor()
    mesh.services[place].wait_until_serving(30)
    async with sensorium.AsyncClient(mesh.address, max_tries=1) as client:
        await embed_until(client, set())


def calls_answered(log: Path) -> int:
    records = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return sum(each.get("code") == "OK" and each["method"].endswith("EncodeText") for each in records)


async def test_a_deadline_that_passes_ends_the_call_and_the_work(mesh: Mesh) -> None:
    text = mesh.service("text")
    async with sensorium.AsyncClient(mesh.address, max_tries=1) as client:
        contents = [sensorium.text(f"{at} words " * 20) for at in range(256)]
        done = metric_at(text.metrics_port, "sensorium_items_total")
        for _ in range(5):
            with pytest.raises(DeadlineExceeded):
                await client.embed(contents, timeout_s=0.001)
        await client.embed([sensorium.text("after")])
        assert metric_at(text.metrics_port, "sensorium_items_total") - done < 5 * len(contents)
    dropped = [metric_at(each.metrics_port, "sensorium_dropped_total") for each in mesh.services]
    assert sum(dropped) > 0


async def test_a_hung_service_costs_its_callers_no_more_than_their_deadline(mesh: Mesh) -> None:
    import signal

    audio = mesh.service("audio")
    async with sensorium.AsyncClient(mesh.address, max_tries=1) as client:
        audio.process.send_signal(signal.SIGSTOP)
        try:
            started = time.monotonic()
            with pytest.raises(SensoriumError):
                (await client.embed([SOUND], timeout_s=1)).raise_for_errors()
            assert time.monotonic() - started < 5
            assert not (await client.embed(CONTENTS[:2], timeout_s=5)).errors
        finally:
            audio.process.send_signal(signal.SIGCONT)
        await embed_until(client, set())
