"""What `sensorium evaluate` does about a mesh that is away for a moment, and about data that says little."""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path

import numpy as np
import pytest

import sensorium
from sensorium.cli.evaluation import asking
from sensorium.cli.inputs import Input
from sensorium.cli.mesh import running_mesh
from sensorium.errors import Unavailable
from tests.clients.cli.conftest import Files, Run
from tests.clients.refusing import refusing
from tests.conformance import exports


async def test_an_item_that_was_unavailable_for_a_moment_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_WAITS_S", (0.01, 0.01, 0.01))
    inputs = [Input("text", text) for text in ("a", "bb", "ccc", "dddd")]
    async with refusing() as (server, at):
        server.items = {"bb": deque([Unavailable("going")]), "dddd": deque([Unavailable("going")] * 9)}

        def ask() -> tuple[asking.Mesh, list[float]]:
            with sensorium.Client(at) as client:
                mesh = asking.Mesh(client, "", (), 100)
                return mesh, [float(row[0]) for row in mesh.embed(inputs, "embedding")]

        mesh, found = await asyncio.to_thread(ask)
    assert found[:3] == [1, 2, 3]
    assert np.isnan(found[3])
    assert [each.name for each in mesh.errors] == ["dddd"]


async def test_a_mesh_that_is_away_for_a_moment_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_WAITS_S", (0.01, 0.01, 0.01))
    async with refusing() as (server, at):
        server.calls.extend(Unavailable("going") for _ in range(9))

        def ask() -> float:
            with sensorium.Client(at) as client:
                return float(asking.Mesh(client, "", (), 100).embed([Input("text", "bb")], "embedding")[0, 0])

        assert await asyncio.to_thread(ask) == 2


def test_names_that_the_text_model_does_not_know_are_said(tmp_path: Path, run: Run) -> None:
    exports.add(tmp_path / "models", "st_bert_mean")
    for label in ("a", "\N{CAT FACE}"):
        (tmp_path / "data" / label).mkdir(parents=True)
        (tmp_path / "data" / label / "texts.txt").write_text("a\n")
    with running_mesh(tmp_path / "models", start_timeout_s=30.0) as mesh:
        done = run("evaluate", tmp_path / "data", "--address", mesh.address)
    assert done.code == 0
    assert "the text model does not know (all of) '\N{CAT FACE}'; give names that it knows by --names" in done.err


def test_one_label_and_links_to_nothing_are_said(tmp_path: Path, files: Files, ask: Run) -> None:
    (tmp_path / "red").mkdir()
    (tmp_path / "red" / "a.png").write_bytes(files.red.read_bytes())
    (tmp_path / "red" / "b.png").symlink_to("gone.png")
    (tmp_path / "blue").symlink_to("nowhere")
    done = ask("evaluate", tmp_path)
    assert done.code == 0
    assert "there is one label, 'red'" in done.err
    assert f"{tmp_path / 'red' / 'b.png'} is left out: it is a link to gone.png, which is not there" in done.err
    assert f"{tmp_path / 'blue'} is left out: it is a link to nowhere, which is not there" in done.err
    done = ask("embed", tmp_path / "red" / "b.png")
    assert (done.code, "is a link to gone.png, which is not there" in done.err) == (2, True)
