"""The models of a server stay within its memory budget: the least recently used ones go, and callers are told."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest

from sensorium.errors import DeadlineExceeded, FailedPrecondition, NotFound, Reason, SensoriumError
from shared.hosting.budget import Held, OverBudget, choose_leaving, weight_bytes
from shared.inference.package import Package, open_package
from tests.packages import bridge
from tests.running import metric
from tests.shared.hosting.predictors import Served, predictor, serving


def write(root: Path, *names: str) -> None:
    for name in names:
        predictor(root, name)


def test_the_least_recently_used_go_first_and_no_more_than_needed() -> None:
    held = [Held("old", 2, 1.0, stays=False), Held("new", 2, 3.0, stays=False), Held("mid", 2, 2.0, stays=False)]
    assert choose_leaving("x", 2, held, 8) == []
    assert choose_leaving("x", 2, held, 6) == ["old"]
    assert choose_leaving("x", 3, held, 6) == ["old", "mid"]
    assert choose_leaving("x", 99, held, 0) == ()


def test_what_stays_is_passed_over_and_named_where_nothing_else_is_left() -> None:
    held = [Held("first", 2_000_000, 1.0, stays=True), Held("other", 1_000_000, 2.0, stays=False)]
    assert choose_leaving("x", 1_000_000, held, 3_000_000) == ["other"]
    with pytest.raises(OverBudget, match=r"x takes 1\.5 MB.*budget of 3\.0 MB.*first 2\.0 MB \(stays\), other 1\.0 MB"):
        choose_leaving("x", 1_500_000, held, 3_000_000)


def test_graphs_and_weights_count_and_what_lies_beside_them_does_not(tmp_path: Path) -> None:
    package = open_package(predictor(tmp_path, "a"))
    assert weight_bytes(package) == (package.folder / "model.onnx").stat().st_size
    for name, size in (("weights.bin", 10), ("tokenizer.json", 100), ("CARD.md", 1000)):
        (package.folder / name).write_bytes(bytes(size))
        package.manifest.files[name] = ""
    assert weight_bytes(package) == (package.folder / "model.onnx").stat().st_size + 10


async def test_the_model_that_was_not_used_for_longest_goes_and_its_callers_hear_why(tmp_path: Path) -> None:
    write(tmp_path, "a", "b", "c")
    async with serving(tmp_path, memory_budget_mb=3.5) as served:
        write(tmp_path, "d")
        await served.predict("b")
        await served.load("d")
        assert served.loaded() == ["a@1", "b@1", "d@1"]
        with pytest.raises(NotFound, match=r"c@1 is unloaded to stay within the memory budget of 3\.5 MB .*LoadModel"):
            await served.predict("c")
        await served.load("c")
        assert served.loaded() == ["a@1", "d@1", "c@1"]
        assert (await served.predict("c")).HasField("prediction")


async def test_being_asked_for_is_use(tmp_path: Path) -> None:
    write(tmp_path, "a", "b", "c")
    async with serving(tmp_path, memory_budget_mb=3.5) as served:
        served.repository.get("b")
        write(tmp_path, "d")
        await served.load("d")
        assert served.loaded() == ["a@1", "b@1", "d@1"]


async def test_a_call_that_holds_a_model_uses_it(tmp_path: Path) -> None:
    write(tmp_path, "a", "b", "c")
    async with serving(tmp_path, memory_budget_mb=3.5) as served:
        held, _ = served.repository.get("b"), served.repository.get("c")
        await held.encode([], deadline=0.0, priority="interactive")
        write(tmp_path, "d")
        await served.load("d")
        assert served.loaded() == ["a@1", "b@1", "d@1"]


async def test_defaults_bridges_and_what_was_named_stay_and_a_load_without_room_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path, "a", "b", "c", "d")
    kept = bridge(tmp_path, "a@1", "b@1", np.ones((4, 3), np.float32)).parent.name
    async with serving(tmp_path, memory_budget_mb=3.5, load_models="a,b") as served:
        await served.load(kept)
        await served.load("c")
        await served.load("d")
        before = ["a@1", "b@1", f"{kept}@1", "d@1"]
        assert served.loaded() == before
        predictor(tmp_path, "large", size_mb=2.0)
        with pytest.raises(FailedPrecondition, match=r"large@1 takes 2\.0 MB.*a@1 1\.0 MB \(stays\)") as caught:
            await served.load("large")
        assert (caught.value.reason, caught.value.field) == (Reason.FIELD_INVALID, "model")
        assert served.loaded() == before


async def test_metrics_tell_the_budget_and_what_each_model_takes_of_it(tmp_path: Path) -> None:
    write(tmp_path, "a", "b", "c")
    async with serving(tmp_path, memory_budget_mb=2.5, load_models="a") as served:
        assert metric(served.running, "sensorium_memory_budget_bytes") == 2_500_000
        await served.load("b")
        size = (tmp_path / "b" / "1" / "model.onnx").stat().st_size
        assert metric(served.running, 'sensorium_model_bytes{model="b@1"}') == size
        await served.load("c")
        await served.unload("c")
        for reason, count in (("budget", 1), ("requested", 1), ("replaced", 0), ("gone", 0)):
            assert metric(served.running, f'sensorium_model_unloads_total{{reason="{reason}"}}') == count
        assert metric(served.running, "sensorium_model_bytes") == pytest.approx(1_000_000, rel=0.01)


async def test_at_start_what_nobody_named_is_left_out_where_the_budget_is_full(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "a", "b")
    predictor(tmp_path, "c", size_mb=0.2)
    async with serving(tmp_path, memory_budget_mb=1.5) as served:
        assert served.loaded() == ["a@1", "c@1"]
        assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
            "a package is left out"
        ]
        with pytest.raises(NotFound, match="b@1 is unloaded to stay within"):
            await served.predict("b")
        await served.load("c")  # is there already, and no reason to let anything go


@pytest.mark.parametrize(("named", "message"), [("a,b", "b@1 takes"), ("", "that the memory budget of 0.5 MB")])
async def test_a_server_refuses_to_start_without_room_for_what_was_named_or_for_anything(
    tmp_path: Path, named: str, message: str
) -> None:
    write(tmp_path, "a", "b")
    with pytest.raises((FailedPrecondition, NotFound), match=message):
        async with serving(tmp_path, memory_budget_mb=1.5 if named else 0.5, load_models=named):
            pass


async def test_loads_at_once_never_pass_the_budget(tmp_path: Path) -> None:
    names = ["b", "c", "d", "e", "f"]
    write(tmp_path, "a", *names)
    beside: list[int] = []

    def opening(served: Served, _: Package) -> None:
        beside.append(len(served.repository.encoders))

    async with serving(tmp_path, opening=opening, memory_budget_mb=3.5, load_models="a") as served:
        await asyncio.gather(*(served.load(name) for name in names * 3))
        assert len(served.loaded()) == 3
        assert max(beside) == 2  # room is made before another one is opened


async def test_what_went_comes_back_where_its_successor_cannot_be_opened(tmp_path: Path) -> None:
    write(tmp_path, "a", "b")

    def opening(_: Served, package: Package) -> None:
        if package.manifest.name == "c":
            raise FailedPrecondition("is broken", reason=Reason.PACKAGE_INVALID)

    async with serving(tmp_path, opening=opening, memory_budget_mb=2.5) as served:
        write(tmp_path, "c")
        with pytest.raises(FailedPrecondition, match="is broken"):
            await served.load("c")
        assert served.loaded() == ["a@1", "b@1"]
        assert (await served.predict("b")).HasField("prediction")


@pytest.mark.parametrize("fault", [RuntimeError("a library"), MemoryError(), OSError("the disk")])
async def test_of_a_chain_of_faults_while_loading_the_service_ends_as_it_began(
    tmp_path: Path, fault: Exception
) -> None:
    write(tmp_path, "a", "b", "c", "d")
    failing = ["large"]

    def opening(_: Served, package: Package) -> None:
        if package.manifest.name in failing:
            raise fault

    async with serving(tmp_path, opening=opening, memory_budget_mb=4.5) as served:
        await served.predict("b")
        before, used = served.loaded(), [each.used_at for each in served.repository.encoders]
        predictor(tmp_path, "large", size_mb=2.0)
        for _ in range(2):
            with pytest.raises(SensoriumError):
                await served.load("large")
            assert served.loaded() == before
            assert [each.used_at for each in served.repository.encoders] == used
        assert metric(served.running, 'sensorium_model_unloads_total{reason="budget"}') == 4
        failing.append("c")  # what went fails too, and holds up nobody else
        with pytest.raises(SensoriumError):
            await served.load("large")
        assert served.loaded() == ["a@1", "b@1", "d@1"]
        failing.remove("c")
        await served.load("c")
        assert (await served.predict("c")).HasField("prediction")


async def test_a_load_ends_though_its_caller_hangs_up(tmp_path: Path) -> None:
    write(tmp_path, "a", "b")
    is_free = threading.Event()

    def opening(_: Served, package: Package) -> None:
        if package.manifest.name == "c":
            assert is_free.wait(10)

    async with serving(tmp_path, opening=opening, memory_budget_mb=2.5) as served:
        write(tmp_path, "c", "d")
        with pytest.raises(DeadlineExceeded):
            await served.load("c", timeout_s=0.2)
        assert served.loaded() == ["a@1"]
        other = asyncio.create_task(served.load("d"))  # has its turn when that one has ended
        is_free.set()
        await other
        assert served.loaded() == ["a@1", "d@1"]
        assert metric(served.running, 'sensorium_model_unloads_total{reason="budget"}') == 2
        assert metric(served.running, "sensorium_model_info{") == 2


async def test_a_new_version_needs_room_for_itself_alone_and_what_left_the_folder_goes(tmp_path: Path) -> None:
    write(tmp_path, "a", "b", "c")
    async with serving(tmp_path, memory_budget_mb=3.5, watch_s=0.02) as served:
        predictor(tmp_path, "b", version="2")
        await served.until(lambda: served.loaded() == ["a@1", "b@2", "c@1"])
        (tmp_path / "c" / "1" / "manifest.json").unlink()
        await served.until(lambda: served.loaded() == ["a@1", "b@2"])
        for reason, count in (("replaced", 1), ("gone", 1), ("budget", 0)):
            assert metric(served.running, f'sensorium_model_unloads_total{{reason="{reason}"}}') == count
