"""A server follows its model folder: packages come, change and go while calls are answered without a gap."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium.channel import call
from sensorium.v1 import model_pb2, model_pb2_grpc
from tests.packages import linear, write_package
from tests.shared.hosting.test_host import project, serving

_MOST_S = 10.0


def bridge(root: Path, version: str, scale: float = 1.0) -> Path:
    """Writes a version of a bridge from a@1 to b@1, at once, as a rename does."""
    weights = np.eye(4, 3, dtype=np.float32)
    weights[0, 0] = scale
    made = write_package(root / ".fresh", "bridge", linear(weights, "embedding", "projected"), version, task="project",
                         space="b@1", source_space="a@1", source_dim=4, dim=3, output="projected")  # fmt: skip
    target = root / "bridge" / version
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    made.rename(target)
    return target


async def listed(channel: Any) -> list[tuple[str, str]]:
    answer = await call(model_pb2_grpc.ModelServiceStub(channel).ListModels, model_pb2.ListModelsRequest(), timeout_s=5)
    return [(f"{each.name}@{each.version}", each.fingerprint) for each in answer.models]


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Returns once it holds; fails after some seconds."""
    async with asyncio.timeout(_MOST_S):
        while not await holds():  # each look is a call of its own
            pass


@pytest.mark.parametrize("keep_old_s", [-1.0, 0.0, 0.1])
async def test_a_new_version_takes_the_place_of_the_old_one_which_stays_for_as_long_as_is_said(
    tmp_path: Path, keep_old_s: float
) -> None:
    bridge(tmp_path, "1")
    async with serving(tmp_path, watch_s=0.05, keep_old_s=keep_old_s) as channel:
        assert [name for name, _ in await listed(channel)] == ["bridge@1"]
        bridge(tmp_path, "2", scale=5.0)
        wanted = ["bridge@1", "bridge@2"] if keep_old_s < 0 else ["bridge@2"]

        async def is_second() -> bool:
            return [name for name, _ in await listed(channel)] == wanted

        await until(is_second)
        values = (await project(channel)).results[0].embedding.values
        assert values[0] > values[1]


async def test_versions_that_are_named_stay_side_by_side(tmp_path: Path) -> None:
    for version in ("1", "2"):
        bridge(tmp_path, version)
    async with serving(tmp_path, watch_s=0.05, load_models="bridge@1,bridge@2") as channel:
        before = dict(await listed(channel))
        bridge(tmp_path, "3")
        bridge(tmp_path, "2", scale=3.0)

        async def has_changed() -> bool:
            return dict(await listed(channel))["bridge@2"] != before["bridge@2"]

        await until(has_changed)
        after = dict(await listed(channel))
        assert sorted(after) == ["bridge@1", "bridge@2"]
        assert after["bridge@1"] == before["bridge@1"]


async def test_a_version_that_fails_keeps_the_old_one_and_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bridge(tmp_path, "1")
    async with serving(tmp_path, watch_s=0.05) as channel:
        spoilt = bridge(tmp_path, "2")
        (spoilt / "model.onnx").write_bytes(b"no graph")
        (spoilt / "manifest.json").touch()

        async def is_told() -> bool:
            await listed(channel)
            return any("a package is not loaded" in record.message for record in caplog.records)

        await until(is_told)
        assert [name for name, _ in await listed(channel)] in (["bridge@1"], ["bridge@2"])
        assert (await project(channel)).results[0].HasField("embedding")


async def test_no_call_fails_while_a_model_is_replaced_again_and_again(tmp_path: Path) -> None:
    bridge(tmp_path, "1")
    async with serving(tmp_path, watch_s=0.01) as channel:
        answered, is_over = 0, asyncio.Event()

        async def ask() -> None:
            nonlocal answered
            while not is_over.is_set():
                assert (await project(channel)).results[0].HasField("embedding")
                answered += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(ask())
            for turn in range(2, 12):
                known = await listed(channel)
                bridge(tmp_path, str(turn), scale=float(turn))

                async def is_next(known: list[tuple[str, str]] = known) -> bool:
                    return await listed(channel) != known

                await until(is_next)
            is_over.set()
        assert answered > 10


def _spoil(folder: Path, kind: str) -> None:
    """Makes a package wrong in one way."""
    file = folder / "manifest.json"
    text = file.read_bytes()
    if kind == "bytes":
        file.write_bytes(text.replace(b'"dim"', b'"licence": "\xff", "dim"'))
    elif kind == "depth":
        file.write_bytes(b"[" * 100_000)
    elif kind == "nul":
        file.write_bytes(text.replace(b'{"model.onnx"', rb'{"a\u0000": "", "model.onnx"'))
    elif kind == "number":
        file.write_bytes(text.replace(b'"dim": 3', b'"dim": "3"'))
    elif kind == "folder":
        file.unlink()
        file.mkdir()


async def test_the_follower_outlives_whatever_the_folder_holds_and_says_it_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bridge(tmp_path, "1")
    async with serving(tmp_path, watch_s=0.01) as channel:
        made = bridge(tmp_path / ".kinds", "1")
        kinds = ("bytes", "depth", "nul", "number", "folder")
        for kind in kinds:
            shutil.copytree(made, tmp_path / ".fresh" / kind)
            _spoil(tmp_path / ".fresh" / kind, kind)
            (tmp_path / kind).mkdir()
            (tmp_path / ".fresh" / kind).rename(tmp_path / kind / "²")

        def told() -> list[str]:
            faults = [record.exc_info[1] for record in caplog.records if record.exc_info]
            return [str(fault) for fault in faults]

        async def are_told() -> bool:
            await listed(channel)
            return len(told()) >= len(kinds)

        await until(are_told)
        bridge(tmp_path, "2")

        async def is_second() -> bool:
            return "bridge@2" in dict(await listed(channel))

        await until(is_second)
        for kind in kinds:
            assert [f"model package {kind}/²: manifest.json" in fault for fault in told()].count(True) == 1
        assert len(told()) == len(kinds)
