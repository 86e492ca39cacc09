"""The load generator: what it sends, what it counts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.load.calls import Load, Target, Wire
from bench.load.generate import measure, once, run

_ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["grpc", "http"])
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    wire: Wire = request.param
    command = [sys.executable, "-m", "bench.load.null_server", wire, "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=_ROOT) as server:
        try:
            assert server.stdout is not None
            yield Target(wire, int(server.stdout.readline()), "/null", (b"a", b"b" * 50_000), least_bytes=1_600)
        finally:
            server.kill()


def test_one_call_is_answered(target: Target) -> None:
    done = once(target, target.bodies[0])

    assert done.status_for(target) == "0"
    assert len(done.body) == 1_600


def test_a_closed_loop_counts_the_answers_of_its_window(target: Target) -> None:
    outcome = run(small(target), Load(0.2, 0.05, callers=20))

    assert outcome.items == outcome.statuses["0"] == len(outcome.latencies_s) > 0
    assert outcome.statuses.total() == outcome.items
    assert 0 < outcome.generator_cpu_s < 1


def test_an_open_loop_keeps_its_rate(target: Target) -> None:
    outcome = run(small(target), Load(0.5, 0.05, rate=200))

    assert 0 < outcome.items < 200
    assert outcome.statuses.total() == outcome.items


def test_a_load_runs_in_a_process_of_its_own(target: Target) -> None:
    assert measure(small(target), Load(0.1, 0.0)).items > 0


def test_an_answer_that_is_too_short_is_an_error(target: Target) -> None:
    longer = Target(target.wire, target.port, "/null", (b"a",), least_bytes=1_601)

    outcome = run(longer, Load(0.1, 0.0))

    assert not outcome.items
    assert set(outcome.statuses) == {"item error"}


def test_a_large_body_waits_for_the_window() -> None:
    """A picture is longer than what a gRPC server takes before it says more."""
    command = [sys.executable, "-m", "bench.load.null_server", "grpc", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=_ROOT) as server:
        try:
            assert server.stdout is not None
            far = Target("grpc", int(server.stdout.readline()), "/null", (b"x" * 300_000,))
            assert run(far, Load(0.2, 0.0, callers=4)).items > 0
        finally:
            server.kill()


def test_a_server_that_is_not_there_is_said() -> None:
    with pytest.raises(RuntimeError, match="cannot be called"):
        measure(Target("http", 1, "/", (b"",)), Load(0.1))


def small(target: Target) -> Target:
    """Returns it with bodies that the null server takes in one piece."""
    return Target(target.wire, target.port, target.path, (b"a", b"bb"), least_bytes=target.least_bytes)
