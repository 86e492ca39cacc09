"""`buf breaking`, as `make breaking` runs it, catches what would break a client and lets additions through."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import google.rpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from protos.imports import completed

ROOT = Path(__file__).parents[2]
_NPX = shutil.which("npx")
_LIMIT_S = 120

pytestmark = pytest.mark.skipif(_NPX is None, reason="needs npx: install npm")


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A copy of the protos, with what they import, to be changed."""
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    shutil.copytree(ROOT / "protos" / "sensorium", tmp_path / "protos" / "sensorium")
    imported = tmp_path / "build" / "protos" / "google" / "rpc"
    imported.mkdir(parents=True)
    for name in ("status.proto", "error_details.proto", "code.proto"):
        shutil.copy(Path(google.rpc.__path__[0]) / name, imported)
    return tmp_path


def test_a_removed_field_is_caught_and_an_added_one_is_not(workspace: Path) -> None:
    proto = workspace / "protos" / "sensorium" / "v1" / "text.proto"
    field = "  repeated string texts = 1;\n"
    text = proto.read_text("utf-8")
    message, rest = text.split(field, 1)

    proto.write_text(f"{message}{field}  string added = 1000;\n{rest}", "utf-8")
    assert _breaking(workspace) == (0, "")
    proto.write_text(f"{message}  reserved 1;\n{rest}", "utf-8")
    code, said = _breaking(workspace)
    assert code == 100
    assert 'field "1" with name "texts" on message "EncodeTextRequest" was deleted' in said


def _breaking(workspace: Path) -> tuple[int, str]:
    """Returns the exit code and the findings."""
    _buf(workspace, "build", "protos", "--exclude-source-info", "--output", "now.binpb")
    tagged, now = (
        FileDescriptorSet.FromString(path.read_bytes())
        for path in (ROOT / "protos" / "tagged.binpb", workspace / "now.binpb")
    )
    (workspace / "tagged.binpb").write_bytes(completed(tagged, now).SerializeToString())
    ran = _buf(workspace, "breaking", "protos", "--against", "tagged.binpb", "--exclude-imports")
    return ran.returncode, ran.stdout + ran.stderr


def _buf(workspace: Path, *words: str) -> subprocess.CompletedProcess[str]:
    (buf,) = re.findall(r"^BUF := npx --yes (\S+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    command = [_NPX or "npx", "--yes", buf, *words]
    return subprocess.run(command, cwd=workspace, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
