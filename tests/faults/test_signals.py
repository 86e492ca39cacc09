"""Each service of a mesh is killed, hung and told to end under load: what callers see, and that it passes.

The promise that is held here stands in docs/operations.md.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sensorium.cli.mesh import Mesh, running_mesh
from tests.faults.conftest import FAULT_S, Told
from tests.faults.load import DEADLINE_S, MARGIN_S, Seen, assert_bounded, calling, until, until_whole

SERVICES = ("text", "vision", "audio", "fusion", "orchestrator")
# Whose items may fail while a service is gone.
TOUCHED = {"text": ("text", "joint"), "vision": ("picture", "joint"), "audio": ("sound",), "fusion": ("joint",)}
# A hung service is left after 2.5 s, and its own share of calls fails from then on: see `sensorium.balancing`.
HANG_S = 3.5


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with running_mesh(log_dir=tmp_path_factory.mktemp("logs")) as running:
        yield running


def restarted(mesh: Mesh, name: str) -> None:
    """Starts a service again that is gone, on its ports, as `sensorium up` and Kubernetes do."""
    place = next(at for at, each in enumerate(mesh.services) if each.name == name)
    mesh.services[place] = mesh.services[place].successor()
    mesh.services[place].wait_until_serving(30)


def under_load(mesh: Mesh, name: str, number: signal.Signals) -> tuple[Seen, Seen, float]:
    """Sends a signal to a service under load, and mends it.

    Returns what callers saw, what those saw who tried before and after whether all is well, and how long after the
    repair that was so. Before the fault there is a third of the load, and a third after it.
    """

    async def run() -> tuple[Seen, Seen, float]:
        service, others = mesh.service(name), Seen()
        await until_whole(mesh.address, others)
        async with calling(mesh.address) as seen:
            await asyncio.sleep(FAULT_S / 3)
            assert seen.statuses == set(), seen.table()
            service.process.send_signal(number)
            if number is signal.SIGSTOP:
                await asyncio.sleep(max(HANG_S, FAULT_S / 3))
                service.process.send_signal(signal.SIGCONT)
            else:
                await until(lambda: not service.is_running, 30, f"the end of {name}")
                await asyncio.sleep(FAULT_S / 6)
                await asyncio.to_thread(restarted, mesh, name)
            mended_s = await until_whole(mesh.address, others)
            await asyncio.sleep(FAULT_S / 3)
        return seen, others, mended_s

    return asyncio.run(asyncio.wait_for(run(), 60 + 4 * FAULT_S))


def tell(report: Told, fault: str, seen: Seen, mended_s: float) -> None:
    report(fault, f"{seen.table()}; whole again {mended_s:.1f} s after")


@pytest.mark.parametrize("name", SERVICES)
def test_a_killed_service_costs_its_own_items_and_nothing_hangs(mesh: Mesh, name: str, report: Told) -> None:
    seen, _, mended_s = under_load(mesh, name, signal.SIGKILL)

    tell(report, f"SIGKILL of {name}", seen, mended_s)
    assert_bounded(seen, {"UNAVAILABLE"})
    if name != "orchestrator":
        assert_bounded(seen, {kind: {"UNAVAILABLE"} for kind in TOUCHED[name]})
        assert {code for _, code in seen.calls} == {"OK"}, "a call is never lost for one service"
        assert seen.unretryable == 0, "whoever is told UNAVAILABLE is told when to come back"


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_that_is_told_to_end_answers_what_it_accepted(mesh: Mesh, name: str, report: Told) -> None:
    gone = mesh.service(name)
    before = answered(gone.log)
    seen, others, mended_s = under_load(mesh, name, signal.SIGTERM)

    tell(report, f"SIGTERM of {name}", seen, mended_s)
    assert gone.process.returncode == 0
    assert_bounded(seen, {"UNAVAILABLE"})
    if name != "orchestrator":
        assert_bounded(seen, {kind: {"UNAVAILABLE"} for kind in TOUCHED[name]})
        assert {code for _, code in seen.calls} == {"OK"}
    else:
        received = sum(each.calls[call, "OK"] for each in (seen, others) for call in ("Embed", "Fuse"))
        assert answered(gone.log) - before == received, "what it answered reached whoever asked"


def answered(log: Path) -> int:
    """Returns how many calls of ours an orchestrator answered, by its log."""
    records = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return sum(each.get("code") == "OK" and each["method"].endswith(("/Embed", "/Fuse")) for each in records)


@pytest.mark.parametrize("name", SERVICES)
def test_a_hung_service_costs_no_more_than_a_deadline(mesh: Mesh, name: str, report: Told) -> None:
    began = time.monotonic()
    seen, _, mended_s = under_load(mesh, name, signal.SIGSTOP)

    tell(report, f"SIGSTOP of {name}, {max(HANG_S, FAULT_S / 3):.0f} s", seen, mended_s)
    assert_bounded(seen, {"UNAVAILABLE", "DEADLINE_EXCEEDED"})
    if name != "orchestrator":
        assert_bounded(seen, {kind: {"UNAVAILABLE"} for kind in TOUCHED[name]})
    assert time.monotonic() - began < 3 * FAULT_S + HANG_S + 2 * (DEADLINE_S + MARGIN_S) + 20
