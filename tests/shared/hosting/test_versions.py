"""Defaults, versions, rolling back: what comes changes nothing that was chosen, and what is chosen counts at once."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from sensorium.channel import call
from sensorium.errors import FailedPrecondition, NotFound
from sensorium.v1 import model_pb2, model_pb2_grpc
from sensorium.versions import newest_first, version_key
from shared.inference.package import find_package
from tests.shared.hosting.predictors import Served, predictor, serving


async def default_of(served: Served) -> str:
    stub = model_pb2_grpc.ModelServiceStub(served.channel)
    models = (await call(stub.ListModels, model_pb2.ListModelsRequest(), timeout_s=10)).models
    (default,) = [f"{model.name}@{model.version}" for model in models if model.is_default]
    return default


async def set_default(served: Served, model: str) -> model_pb2.Model:
    stub = model_pb2_grpc.ModelServiceStub(served.channel)
    answer = await call(stub.SetDefaultModel, model_pb2.SetDefaultModelRequest(model=model), timeout_s=10)
    found: model_pb2.Model = answer.model
    return found


def other_space(folder: Path) -> Path:
    """Gives a package a space of its own, as `models add` does where a version changes vectors."""
    file = folder / "manifest.json"
    file.write_text(file.read_text().replace('"a@1"', f'"a@{folder.name}"'))
    return folder


async def test_the_default_stays_whatever_packages_come_over_restarts_too(tmp_path: Path) -> None:
    predictor(tmp_path, "m")
    async with serving(tmp_path, watch_s=0.02) as served:
        assert await default_of(served) == "m@1"
        predictor(tmp_path, "a")
        await served.until(lambda: "a@1" in served.loaded())
        assert await default_of(served) == "m@1"
    async with serving(tmp_path) as served:
        assert await default_of(served) == "m@1"
        assert (await set_default(served, "a")).is_default
        assert await default_of(served) == "a@1"
    async with serving(tmp_path) as served:
        assert await default_of(served) == "a@1"
    async with serving(tmp_path, load_models="m,a") as served:
        assert await default_of(served) == "a@1", "what was chosen goes before the order of what is loaded"
    async with serving(tmp_path, default_model="m") as served:
        assert await default_of(served) == "m@1"
    with pytest.raises(NotFound, match=r"the default model 'nothing' is not loaded; there are a@1, m@1"):
        async with serving(tmp_path, default_model="nothing"):
            pass


async def test_a_version_of_another_space_is_served_beside_and_answers_those_who_ask_for_it(tmp_path: Path) -> None:
    predictor(tmp_path, "m")
    async with serving(tmp_path, watch_s=0.02) as served:
        other_space(predictor(tmp_path / ".fresh", "m", "2")).rename(tmp_path / "m" / "2")
        await served.until(lambda: len(served.loaded()) == 2)
        assert await default_of(served) == "m@1"
        assert {encoder.package.manifest.space for encoder in served.repository.encoders} == {"a@1", "a@2"}
        assert served.repository.get("m").package.manifest.id == "m@1"
    async with serving(tmp_path) as served:  # and after a restart
        assert await default_of(served) == "m@1"
        assert sorted(served.loaded()) == ["m@1", "m@2"]


async def test_rolling_back_under_load_loses_no_call_and_counts_at_once(tmp_path: Path) -> None:
    predictor(tmp_path, "m")
    async with serving(tmp_path, watch_s=0.02) as served:
        first = (await served.predict("m")).SerializeToString()
        answers: list[bytes] = []
        is_over = asyncio.Event()

        async def ask() -> None:
            while not is_over.is_set():
                answers.append((await served.predict("m")).SerializeToString())

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(ask())
            predictor(tmp_path / ".fresh", "m", "2").rename(tmp_path / "m" / "2")
            await served.until(lambda: len(served.loaded()) == 2)
            assert await default_of(served) == "m@2"
            second = (await served.predict("m")).SerializeToString()
            assert (await set_default(served, "m@1")).version == "1"
            assert (await served.predict("m")).SerializeToString() == first != second
            predictor(tmp_path / ".fresh", "m", "3").rename(tmp_path / "m" / "3")
            await served.until(lambda: "m@3" in served.loaded())
            assert await default_of(served) == "m@1", "who chose a version keeps it"
            is_over.set()
        assert len(answers) > 10


async def test_a_default_whose_folder_is_deleted_gives_way_to_the_version_that_is_left(tmp_path: Path) -> None:
    predictor(tmp_path, "m")
    predictor(tmp_path, "m", "2")
    async with serving(tmp_path, watch_s=0.02) as served:
        assert served.loaded() == ["m@2"]
        shutil.rmtree(tmp_path / "m" / "2")
        await served.until(lambda: served.loaded() == ["m@1"])
        assert await default_of(served) == "m@1"
        shutil.rmtree(tmp_path / "m" / "1")
        assert (await served.predict("m")).HasField("prediction"), "the last one stays"


async def test_unloading_a_default_hands_over_to_another_version_and_else_says_what_to_do(tmp_path: Path) -> None:
    for name, version in (("m", "1"), ("m", "2"), ("o", "1")):
        predictor(tmp_path, name, version)
    async with serving(tmp_path) as served:
        await served.load("m@1")
        await served.unload("m@2")
        assert await default_of(served) == "m@1"
        with pytest.raises(FailedPrecondition, match=r"sensorium models default NAME\): o@1"):
            await served.unload("m@1")
        await set_default(served, "o")
        await served.unload("m@1")
        assert served.loaded() == ["o@1"]


async def test_a_model_that_is_loaded_again_in_place_keeps_the_gauges_that_the_autoscaler_reads(tmp_path: Path) -> None:
    folder = predictor(tmp_path, "m")
    async with serving(tmp_path, watch_s=0.02) as served:
        before = served.gauges("m@1")
        assert "queue_cost" in before
        first = served.repository.encoders[0]
        (folder / "manifest.json").touch()
        await served.until(lambda: served.repository.encoders[0] is not first)
        assert served.gauges("m@1") == before


@pytest.mark.parametrize(
    ("lower", "higher"),
    [("1.9", "1.10"), ("9", "10"), ("2024-01-31", "2024-02-01"), ("1.0", "1.0.1"), ("v2", "v10"), ("beta", "1"),
     ("1", "2" + "0" * 9999), ("²", "1"), ("01", "1")],
)  # fmt: skip
def test_there_is_one_order_of_versions(lower: str, higher: str) -> None:
    assert version_key(lower) < version_key(higher)
    assert newest_first(higher) < newest_first(lower)


def test_packages_are_found_in_that_order(tmp_path: Path) -> None:
    for version in ("1.9", "1.10"):
        (tmp_path / "m" / version).mkdir(parents=True)
        (tmp_path / "m" / version / "manifest.json").touch()
    assert find_package(tmp_path, "m").name == "1.10"
