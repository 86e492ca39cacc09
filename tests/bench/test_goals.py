"""What a run found, held against what is to be reached."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import replace

import pytest

from bench.campaign import Findings
from bench.estimate import estimate_s
from bench.goals import Goal, goals
from bench.inputs import KINDS
from bench.load.calls import Outcome
from bench.plan import read_plan
from bench.report import goal_cells
from bench.results import Row, Slice, open_row, row
from bench.soak import Soak
from bench.systems.peers import peers


def cell(system: str, rate: float, kind: str = "short", callers: int = 32) -> Row:
    """Returns a row of a system that answers `rate` items a second in 10 ms, where the limit is 100 and 8 ms."""
    outcome = Outcome(1.0, round(rate), array("d", [0.010] * 10), statuses=Counter({"0": 10}))
    return row(kind, callers, system, "", [Slice(outcome, 100.0, 1e-3, [0.008] * 4, 1.1, 200.0)])


def by_what(findings: Findings) -> dict[str, Goal]:
    return {goal.what: goal for goal in goals(findings)}


def test_a_run_without_cells_measures_no_number() -> None:
    found = goals(Findings())

    assert {goal.verdict for goal in found} == {"not measured"}
    assert {goal.number[0] for goal in found} == set("1234567")
    assert all(goal.note for goal in found)


def test_a_rate_is_held_against_the_limit_and_the_fastest_peer() -> None:
    found = by_what(Findings(rows=[cell("sensorium", 96), cell("mosec", 48), cell("Triton", 120)]))

    share = found["rate over the limit's, short, 32 callers"]
    assert share.reached == pytest.approx(0.96)
    assert share.verdict == "reached"
    peer = found["fastest peer's rate over ours, the worst of all cells"]
    assert peer.reached == pytest.approx(1.25)
    assert peer.verdict == "not reached"
    assert peer.note.startswith("Triton, short, 32 callers")


def test_bf16_is_held_against_the_best_peer() -> None:
    rows = [cell("sensorium", 96), cell("sensorium bf16", 400), cell("sensorium bf16, stream", 900), cell("mosec", 50)]

    goal = by_what(Findings(rows=rows))["bf16's rate over the best peer's, short, 32 callers"]

    assert (goal.reached, goal.verdict) == (8.0, "reached")


def test_added_latency_is_above_a_call_in_the_own_process() -> None:
    found = by_what(Findings(rows=[cell("sensorium", 90, callers=1)], prepare_ms={"short": 0.75}))

    for part in ("p50", "p99"):
        goal = found[f"added {part}, one caller, text"]
        assert goal.reached == pytest.approx(1.25)
        assert goal.verdict == "reached"
    assert found["added p50, one caller, text, through the orchestrator"].verdict == "not measured"


def test_overload_tells_refusals_from_calls_that_expired() -> None:
    outcome = Outcome(
        2.0, 190, array("d", [0.5] * 190), array("d", [0.002] * 600), Counter({"0": 190, "8": 600, "4": 10})
    )
    refusing = open_row("short", "sensorium", "", 4.0, 400.0, outcome)

    found = by_what(Findings(open_rows=[refusing]))

    assert found["answered in time over the capacity, short, overload"].reached == pytest.approx(0.95)
    assert found["p99 of refusals, short, overload"].reached == pytest.approx(2.0)
    assert found["share of accepted calls that expired, short, overload"].reached == pytest.approx(0.05)
    silent = by_what(Findings(open_rows=[replace(refusing, refused=0.0)]))
    assert silent["p99 of refusals, short, overload"].note == "nothing was refused"


def test_memory_and_cold_starts_name_what_decided() -> None:
    found = Findings(soak=Soak("mixed", 1_000, 200.0, 5_000, 220.0), cold_s={"text": 1.0, "vision": 2.5})

    memory, growth = (goal for goal in goals(found) if goal.number == "5")
    cold = next(goal for goal in goals(found) if goal.number == "6")

    assert "5,000 mixed requests" in memory.what
    assert (memory.verdict, growth.verdict) == ("reached", "not reached")
    assert (cold.reached, cold.verdict) == (2.5, "not reached")
    assert "text 1.00" in cold.note
    assert goal_cells([cold])[1][2:6] == ["≤ 2 s", "2.50 s", "1.25", "not reached"]


def test_runs_take_as_long_as_is_promised() -> None:
    assert estimate_s(read_plan(["--quick"])) < 180
    assert estimate_s(read_plan([])) < 50 * 60
    assert estimate_s(read_plan(["--soak"])) > estimate_s(read_plan([])) + 500


def test_a_sweep_outside_of_texts_tries_one_setting_of_each_batch_size() -> None:
    plan, mosec = read_plan([]), next(system for system in peers() if system.name == "mosec")

    assert len(plan.settings(mosec, "mixed")) == 10
    assert [setting["batch"] for setting in plan.settings(mosec, "image")] == [8, 32, 1]
    assert [callers for callers, _ in plan.cells("image")] == [1, 8, 32]
    assert plan.sweep_callers == [8, 32]
    assert plan.sweep_slice_s("image") > plan.sweep_slice_s("mixed")


def test_open_loops_are_of_systems_that_know_the_deadline() -> None:
    plan = read_plan([])

    openly = {kind: [each.name for each in plan.systems if plan.is_loaded_openly(each, kind)] for kind in KINDS}

    assert openly["mixed"] == ["sensorium", "Triton", "MLServer"]
    assert openly["image"] == ["sensorium"]
