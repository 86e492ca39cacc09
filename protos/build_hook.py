"""Generates the Python stubs of the protos when the package is built or installed."""

from __future__ import annotations

import os
import sys
from importlib import resources
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PROTOS = Path(__file__).resolve().parent
STUBS_ROOT = PROTOS.parent / "clients" / "python"
# The packages of stubs: the contract, and the protocol of others that our servers speak too.
PACKAGES = ("sensorium/v1", "sensorium/oip")


def generate() -> None:
    """Writes `*_pb2.py`, `*_pb2_grpc.py` and their type stubs below `clients/python/sensorium`.

    Raises:
        RuntimeError: protoc refused a proto; its own message is on stderr.
    """
    from grpc_tools import protoc

    for package in PACKAGES:
        folder = STUBS_ROOT / package
        for old in folder.glob("*_pb2*"):
            old.unlink()  # a stub whose proto is gone must not linger
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").write_text(f'"""Generated from protos/{package}; do not edit."""\n')
    # protoc looks its plugins up on PATH; the one of this interpreter must win.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    plugin = _plugin("protoc-gen-mypy")
    plugin_grpc = _plugin("protoc-gen-mypy_grpc")
    includes = [PROTOS, resources.files("grpc_tools") / "_proto", *_google_rpc()]
    status = protoc.main(
        [
            "protoc",
            *(f"-I{path}" for path in includes),
            *plugin,
            *plugin_grpc,
            f"--python_out={STUBS_ROOT}",
            f"--grpc_python_out={STUBS_ROOT}",
            f"--mypy_out={STUBS_ROOT}",
            f"--mypy_grpc_out={STUBS_ROOT}",
            *(str(path) for package in PACKAGES for path in sorted((PROTOS / package).glob("*.proto"))),
        ]
    )
    if status != 0:
        raise RuntimeError(f"protoc ended with status {status}; its message is above")


def _plugin(name: str) -> list[str]:
    """Returns the protoc flag that names a plugin's script, wherever a build environment put it."""
    for folder in os.environ["PATH"].split(os.pathsep):
        for script in (Path(folder) / name, Path(folder) / f"{name}.exe"):
            if script.is_file():
                return [f"--plugin={name}={script}"]
    return []


def _google_rpc() -> list[Path]:
    """Returns the folders below which `google/rpc/status.proto` lies (a namespace package may have several)."""
    import google.rpc

    return [Path(folder).parent.parent for folder in google.rpc.__path__]


class StubsHook(BuildHookInterface[Any]):
    """Runs `generate` before hatchling collects the files of the wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Generates the stubs; `version` is `editable` or `standard`, which makes no difference here."""
        generate()
