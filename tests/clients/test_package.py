"""What `pip install sensorium` brings, and what `import sensorium` loads: nothing of a server."""

from __future__ import annotations

import subprocess
import sys
from email.parser import Parser
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
SERVERS_OWN = {
    "cryptography", "grpcio-reflection", "onnx", "onnxruntime", "opencv-python-headless", "pillow",
    "prometheus-client", "pyjwt", "soundfile", "soxr", "threadpoolctl", "tokenizers", "torch",
}  # fmt: skip
_METADATA = "import sys; from hatchling.build import prepare_metadata_for_build_wheel as m; print(m(sys.argv[1]))"
_LOADED = "import sys, sensorium; print(*sorted({name.partition('.')[0] for name in sys.modules}))"


def _core(lines: list[str]) -> set[str]:
    """Returns the names of requirements that this platform needs without an extra, in their normal form."""
    wanted = (Requirement(line) for line in lines)
    return {
        canonicalize_name(each.name) for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})
    }


def _wheel_requirements(folder: Path) -> list[str]:
    made = subprocess.run(
        [sys.executable, "-c", _METADATA, str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    text = (folder / made.stdout.split()[-1] / "METADATA").read_text()
    return Parser().parsestr(text).get_all("Requires-Dist") or []


def test_the_wheel_requires_no_server_library_nor_does_what_it_requires(tmp_path: Path) -> None:
    lines = _wheel_requirements(tmp_path)
    assert any("extra ==" in line for line in lines), "the services' libraries are extras"
    found, left = set[str](), _core(lines)
    assert {"grpcio", "numpy", "protobuf"} <= left
    while left:
        name = left.pop()
        found.add(name)
        left |= _core(requires(name) or []) - found
    assert found & SERVERS_OWN == set()
    assert not [name for name in found if name.startswith("opentelemetry")]


def test_importing_the_sdk_loads_no_server_library_and_no_command_line() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", _LOADED], cwd="/", capture_output=True, text=True, timeout=60, check=True
    )
    roots = set(loaded.stdout.split())
    assert "sensorium" in roots
    servers = {"cv2", "jwt", "onnx", "onnxruntime", "opentelemetry", "PIL", "prometheus_client", "soundfile", "soxr"}
    # grpc itself takes along grpc_reflection where it is there.
    servers |= {"tokenizers", "torch", "threadpoolctl", "shared", "services"}
    assert roots & (servers | {"typer", "rich", "click"}) == set()
