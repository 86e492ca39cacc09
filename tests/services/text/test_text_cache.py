"""The text service answers what it has answered before without its model, and says so."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

from sensorium.channel import call
from sensorium.v1 import embedding_pb2, model_pb2, model_pb2_grpc, text_pb2, text_pb2_grpc
from sensorium.v1.text_pb2 import EncodeTextRequest
from services.text.app import serving
from services.text.config import Config
from shared.hosting.config import HostingConfig
from shared.serving.server import Running
from tests.running import metric, running

SHIPPED = HostingConfig().models


def package(root: Path, name: str, prompts: dict[str, str]) -> None:
    """Writes the model that ships under another name, with prompts of its own."""
    folder = root / name / "1"
    shutil.copytree(SHIPPED / "tiny-text" / "1", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "name": name, "prompts": prompts}))


async def encode(channel: Any, *texts: str, prompt: str = "", **options: Any) -> text_pb2.EncodeTextResponse:
    """Asks for texts. Any: a channel, and whatever options."""
    request = EncodeTextRequest(texts=texts, prompt_name=prompt, options=embedding_pb2.EncodeOptions(**options))
    return await call(text_pb2_grpc.TextEncoderServiceStub(channel).EncodeText, request, timeout_s=10)


def computed(service: Running, model: str = "") -> float:
    return metric(service, f'sensorium_items_total{{model="{model}' if model else "sensorium_items_total")


async def test_a_repeated_text_has_the_same_bits_and_the_receipt_and_metrics_count_it() -> None:
    async with running(serving, Config) as (channel, service):
        first = await encode(channel, "a dog", "a cat")
        again = await encode(channel, "a cat", "a bird", "a dog")
        assert again.results[2].embedding == first.results[0].embedding
        assert again.results[0].embedding == first.results[1].embedding
        assert (first.receipt.cache_hit_count, again.receipt.cache_hit_count) == (0, 2)
        assert (first.receipt.batch_size > 0, again.receipt.batch_size) == (True, 1)
        whole = await encode(channel, "a dog", "a cat", "a bird")
        receipt = whole.receipt
        assert (receipt.cache_hit_count, receipt.batch_size, receipt.queue_ns, receipt.inference_ns) == (3, 0, 0, 0)
        assert receipt.token_count > 3
        assert computed(service) == 3
        assert metric(service, 'sensorium_cache_hits_total{model="tiny-text@1"}') == 5
        assert metric(service, 'sensorium_cache_misses_total{model="tiny-text@1"}') == 3
        assert metric(service, "sensorium_cache_bytes") > 3 * 4 * 128


async def test_how_a_vector_is_finished_makes_no_other_entry_of_it() -> None:
    async with running(serving, Config) as (channel, service):
        await encode(channel, "a dog")
        for options in ({"normalize": False}, {"dimensions": 16}, {"encoding": 3}, {"truncate": False}):
            assert (await encode(channel, "a dog", **options)).receipt.cache_hit_count == 1
        assert computed(service) == 1


async def test_a_prompt_and_a_model_make_a_text_another_one(tmp_path: Path) -> None:
    package(tmp_path, "one", {"query": "a photo of "})
    package(tmp_path, "two", {"query": "a drawing of "})
    async with running(serving, Config, hosting=HostingConfig(models=tmp_path)) as (channel, service):
        for model in ("one", "two"):
            for prompt in ("", "query"):
                assert not (await encode(channel, "a dog", prompt=prompt, model=model)).receipt.cache_hit_count
                assert (await encode(channel, "a dog", prompt=prompt, model=model)).receipt.cache_hit_count == 1
        assert computed(service, "one@1") == computed(service, "two@1") == 2
        # What the model sees is the prompt with the text, whoever put it there.
        assert (await encode(channel, "a photo of a dog", model="one")).receipt.cache_hit_count == 1


async def test_fifty_calls_at_once_for_one_text_compute_it_once() -> None:
    async with running(serving, Config) as (channel, service):
        answers = await asyncio.gather(*(encode(channel, "two small red circles") for _ in range(50)))
        assert computed(service) == 1
        assert sum(answer.receipt.cache_hit_count for answer in answers) == 49
        assert len({answer.results[0].embedding.SerializeToString() for answer in answers}) == 1


async def test_without_room_nothing_is_kept_and_every_text_is_computed() -> None:
    async with running(serving, Config, hosting=HostingConfig(cache_mb=0)) as (channel, service):
        for _ in range(2):
            assert not (await encode(channel, "a dog", "a dog")).receipt.cache_hit_count
        assert computed(service) == 4
        assert metric(service, "sensorium_cache_hits_total") == metric(service, "sensorium_cache_misses_total") == 0
        assert metric(service, "sensorium_cache_bytes") == 0


async def test_the_cache_stays_within_its_bound_and_the_metrics_tell_what_went() -> None:
    async with running(serving, Config, hosting=HostingConfig(cache_mb=0.02)) as (channel, service):
        await encode(channel, *(f"text number {at}" for at in range(100)))
        assert 10_000 < metric(service, "sensorium_cache_bytes") <= 20_000
        assert metric(service, "sensorium_cache_evictions_total") > 100
        assert not (await encode(channel, "text number 0")).receipt.cache_hit_count
        assert (await encode(channel, "text number 0")).receipt.cache_hit_count == 1


async def test_an_error_is_not_kept() -> None:
    async with running(serving, Config) as (channel, service):
        for _ in range(2):
            answer = await encode(channel, "", "x " * 500, truncate=False)
            assert [result.HasField("error") for result in answer.results] == [True, True]
            assert not answer.receipt.cache_hit_count
        assert (await encode(channel, "x " * 500)).results[0].HasField("embedding")
        assert metric(service, "sensorium_model_item_errors_total") == 4


async def test_a_model_that_is_unloaded_takes_its_vectors_along(tmp_path: Path) -> None:
    package(tmp_path, "one", {})
    package(tmp_path, "two", {"query": "a photo of "})
    async with running(serving, Config, hosting=HostingConfig(models=tmp_path)) as (channel, service):
        await encode(channel, "a dog", model="one")
        before = metric(service, "sensorium_cache_bytes")
        await encode(channel, "a dog", "a cat", model="two")
        stub = model_pb2_grpc.ModelServiceStub(channel)
        await call(stub.UnloadModel, model_pb2.UnloadModelRequest(model="two"), timeout_s=10)
        assert metric(service, "sensorium_cache_bytes") == before
        await call(stub.LoadModel, model_pb2.LoadModelRequest(model="two"), timeout_s=10)
        assert not (await encode(channel, "a dog", model="two")).receipt.cache_hit_count
        assert (await encode(channel, "a dog", model="one")).receipt.cache_hit_count == 1
