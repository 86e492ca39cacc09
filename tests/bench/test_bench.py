"""The parts of the benchmark, each walked through once with a small model; no time is asserted."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.campaign import Findings
from bench.fleet import measured
from bench.inputs import Inputs, texts, tokenizer
from bench.load.calls import Load
from bench.models.folder import Models, add, write_text
from bench.models.transformer import Shape
from bench.plan import read_plan
from bench.plots import draw_scaling
from bench.processes import cpu_s, pss_mb, tree
from bench.raw import raw, ways
from bench.reference import expected
from bench.report import document, markdown, open_cells, other_cells, row_cells, write
from bench.results import Slice, open_row, percentile, row
from bench.scaling import Scaled
from bench.systems.messages import fields, infer_request, infer_response, message
from bench.systems.ours import ours
from bench.systems.peers import peers
from bench.systems.system import SystemFault, check, label, serving

_SMALL = Shape(width=384, layers=1, heads=2, inner=16)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    root = tmp_path_factory.mktemp("bench")
    made = Models(root / "text", root / "vision", root / "models")
    for folder in (made.text, made.packages):
        folder.mkdir()
    write_text(made.text, _SMALL)
    add(made.text, "minilm", made.packages)
    return made


@pytest.fixture(scope="module")
def mixed(models: Models) -> Inputs:
    return texts("mixed", (8, 128), tokenizer(models), count=64)


def test_texts_have_the_tokens_that_were_asked_for(models: Models, mixed: Inputs) -> None:
    known = tokenizer(models)

    assert [len(known.encode(each.decode()).ids) for each in mixed.payloads] == list(mixed.lengths)
    assert 8 <= min(mixed.lengths) < 16
    assert 64 < max(mixed.lengths) <= 128
    assert 1.0 <= mixed.padding(32, is_sorted=True) < mixed.padding(32)


def test_our_service_answers_as_bare_onnxruntime_does(models: Models, mixed: Inputs) -> None:
    """Through every step of a cell: start, check, load, limit, row, tables, files."""
    system = ours()[0]
    with (
        raw(models.text / "onnx" / "model.onnx", ways(mixed), workers=1) as limit,
        serving(system, {}, "mixed", models, Path(sys.executable), mixed.payloads) as server,
    ):
        assert check(system, server, expected(mixed, models, 8)) > 0.9999
        with pytest.raises(SystemFault, match="cosine"):
            check(system, server, [row[::-1] for row in expected(mixed, models, 1)])
        way, rates = limit.best(["1", "32 sorted"], 0.1)
        bare = limit.measure(way, 0.1, 1)
        outcome, padding, memory = measured(server, Load(0.3, 0.1, 4, pids=server.pids))

    assert rates[way] == max(rates.values())
    assert set(outcome.statuses) == {"0"}
    assert padding is not None
    assert padding >= 1
    assert memory > 10
    found = row("mixed", 4, system.name, "", [Slice(outcome, bare.rate, 1e-3, bare.latencies_s, padding, memory)])
    assert found.rate == pytest.approx(outcome.items / outcome.seconds)
    assert row_cells([found])[1][2] == "sensorium"


def test_a_report_is_written_and_drawn(models: Models, tmp_path: Path) -> None:
    findings = Findings(limits={"short": {"1": 10.0}}, missing={"a peer": "does not install: no wheel"})
    plan = read_plan(["--quick", "--out", str(tmp_path)])
    tables = {"Open loop": open_cells([]), **other_cells(findings, [])}

    path = write(tmp_path, "run", document(plan, findings, [], 1.0), tables)

    assert "does not install" in path.with_suffix(".md").read_text()
    assert '"limits"' in path.read_text()
    assert markdown("T", [["a"], ["b|c"]]) == "## T\n\n| a |\n|---|\n| b/c |\n"


def test_one_core_and_all_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = [
        Scaled(kind, "sensorium", cpus, 90.0 * cpus, 100.0 * cpus) for kind in ("short", "mixed") for cpus in (1, 2)
    ]

    assert not draw_scaling(tmp_path, "run", [])
    (path,) = draw_scaling(tmp_path, "run", found)

    assert path.name == "run-scaling.svg"
    assert path.read_text().startswith("<?xml")
    assert other_cells(Findings(scaling=found), [])["One core and all, 32 callers"][1] == [
        "short", "sensorium", "1", "90", "100"]  # fmt: skip


def test_a_system_that_ends_is_told_with_its_last_words(models: Models, mixed: Inputs) -> None:
    system = ours(environ={"SENSORIUM_PORT": "none"})[0]

    with (
        pytest.raises(SystemFault, match="SENSORIUM_PORT"),
        serving(system, {}, "mixed", models, Path(sys.executable), mixed.payloads),
    ):
        pass


def test_a_process_costs_time_and_memory() -> None:
    assert os.getpid() in tree(os.getpid())
    assert cpu_s(os.getpid()) > 0
    assert pss_mb(os.getpid()) > 10


def test_settings_of_a_sweep_differ() -> None:
    for system in peers():
        labels = [label(setting) for setting in system.settings]
        assert len(labels) == len(set(labels)) > 1


def test_messages_by_hand_are_read_back() -> None:
    values = np.arange(3, dtype=np.float32)

    assert infer_response(message(1, b"minilm") + message(6, values.tobytes())).tolist() == [0, 1, 2]
    assert dict(fields(infer_request("m", "text", [b"a"])))[7] == b"\x01\0\0\0a"


def test_the_command_line_names_what_it_does_not_know(capsys: Any) -> None:
    for wrong in (["--systems", "nobody"], ["--kinds", "smell"], ["--variant", "x"]):
        with pytest.raises(SystemExit):
            read_plan(wrong)
        assert wrong[0] in capsys.readouterr().err
    bf16 = read_plan(["--variant", "bf16::SENSORIUM_PRECISION=bf16"])
    assert "sensorium bf16, stream" in [system.name for system in bf16.systems]
    assert [callers for callers, _ in bf16.cells("short")] == [1, 8, 32, 64, 4, 64]


def test_percentiles_and_open_rows() -> None:
    assert percentile([], 0.5) == 0
    assert percentile([1, 2, 3, 4], 0.99) == 4
    from bench.load.calls import Outcome

    assert open_row("short", "x", "", 4.0, 10.0, Outcome(seconds=2.0, items=4)).answered == 2
