"""Runs what the cases call: one mesh, with a plain face and a secured one in front of the same encoders."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import sensorium
from sensorium.cli.mesh import running_mesh
from sensorium.cli.processes import ServiceProcess
from tests.certificates import Authority

# No secrets: they are good for a mesh that lives as long as one run.
TOKEN = "conformance-token"  # noqa: S105  # what a driver is started with
OTHER_TOKEN = "conformance-other"  # noqa: S105  # what cases name
SPENT_TOKEN = "conformance-spent"  # noqa: S105  # of a tenant whose quota is used up
_TENANTS = {TOKEN: "caller", OTHER_TOKEN: "other", SPENT_TOKEN: "spent"}
_QUOTAS = "[tenants.spent]\nitems_per_s = 0.00001\nburst_items = 1\n"  # one call, and then none for a day
_START_S = 60.0


@dataclass(frozen=True)
class Face:
    """An orchestrator that drivers call.

    ca: PEM file of the authority that its certificate leads to; None: it speaks plain text.
    token: what it lets in; None: everybody.
    """

    address: str
    ca: Path | None = None
    token: str | None = None

    @property
    def arguments(self) -> Sequence[str]:
        """What a driver or a tour is given to reach it."""
        secured = ["--ca", str(self.ca)] if self.ca else []
        return [self.address, *secured, *(["--token", self.token] if self.token else [])]


@contextlib.contextmanager
def running_faces(folder: Path) -> Iterator[Mapping[str, Face]]:
    """Runs the mesh and yields its faces, "plain" and "secured", until the block is left.

    folder: where certificates, tokens and logs go.

    Raises:
        MeshError: a service does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with running_mesh(log_dir=folder / "logs") as mesh:
        peers = {f"SENSORIUM_{each.name.upper()}_ADDR": each.address for each in mesh.services[:-1]}
        place = ("127.0.0.1", 0, 0)
        face = ServiceProcess("orchestrator", place, {**peers, **_locks(folder)}, folder / "logs" / "secured.log")
        try:
            face.wait_until_serving(_START_S)
            with sensorium.Client(face.address, ca=folder / "ca.pem", token=SPENT_TOKEN) as client:
                client.embed([sensorium.text("the one call of a day")])
            yield {"plain": Face(mesh.address), "secured": Face(face.address, folder / "ca.pem", TOKEN)}
        finally:
            face.terminate()
            face.wait(_START_S)


def _locks(folder: Path) -> Mapping[str, str]:
    """Writes an authority, a certificate, tokens and quotas, and returns the environment that turns them on."""
    authority = Authority()
    (folder / "ca.pem").write_bytes(authority.pem)
    certificate, key = authority.issue().write(folder, "server")
    lines = (f"{tenant} user {hashlib.sha256(token.encode()).hexdigest()}\n" for token, tenant in _TENANTS.items())
    (folder / "tokens").write_text("".join(lines))
    (folder / "quotas").write_text(_QUOTAS)
    for secret in ("server.key", "tokens"):
        os.chmod(folder / secret, 0o600)  # noqa: PTH101  # the plain name of it
    return {
        "SENSORIUM_TLS_CERT": certificate,
        "SENSORIUM_TLS_KEY": key,
        "SENSORIUM_TOKENS": str(folder / "tokens"),
        "SENSORIUM_QUOTAS": str(folder / "quotas"),
    }
