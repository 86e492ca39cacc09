"""A name that leads to a service and to addresses where nobody is: the mesh starts, and callers see nothing of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sensorium.cli.mesh import Mesh, running_mesh
from sensorium.cli.processes import ServiceProcess
from tests.balancing.replicas import naming
from tests.faults.conftest import FAULT_S, Told
from tests.faults.load import Seen, assert_bounded, calling, until_whole

LIVE, DEAD, DEAD_TOO = "127.0.0.1", "127.0.0.77", "127.0.0.78"  # services of a mesh listen on the first alone


def face(mesh: Mesh, text_addr: str, folder: Path) -> ServiceProcess:
    """Starts a further orchestrator over the services of a mesh, which finds the text service by a name."""
    environ = {f"SENSORIUM_{name.upper()}_ADDR": mesh.service(name).address for name in ("vision", "audio", "fusion")}
    environ["SENSORIUM_TEXT_ADDR"] = text_addr
    return ServiceProcess("orchestrator", ("127.0.0.1", 0, 0), environ, folder / "face.log")


@pytest.mark.parametrize("first", [[LIVE, DEAD, DEAD_TOO], [DEAD]], ids=["beside a live one", "alone at first"])
async def test_a_dead_address_behind_a_name_costs_nothing(tmp_path: Path, first: list[str], report: Told) -> None:
    with running_mesh(log_dir=tmp_path) as mesh, naming(first, mesh.service("text").port) as (names, text_addr):
        orchestrator = face(mesh, text_addr, tmp_path)
        try:
            await asyncio.to_thread(orchestrator.wait_until_serving, 20.0)
            names.hosts = [LIVE, DEAD]  # a replica came; and one went, which a name may show for long
            mended_s = await until_whole(orchestrator.address, Seen())
            async with calling(orchestrator.address) as seen:
                await asyncio.sleep(min(FAULT_S, 5.0))  # an async test has half a minute
        finally:
            orchestrator.terminate()
            await asyncio.to_thread(orchestrator.wait, 10.0)
    report(f"DNS: {', '.join(first)}, then {LIVE} and {DEAD}", f"{seen.table()}; whole {mended_s:.1f} s after")
    assert orchestrator.process.returncode == 0
    assert_bounded(seen, set())
    assert seen.calls["Embed", "OK"] > 10
