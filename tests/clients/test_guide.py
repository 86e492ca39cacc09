"""The examples of docs/python.md run as they stand, against a real mesh."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from sensorium.cli.mesh import running_mesh

ROOT = Path(__file__).resolve().parents[2]


def test_the_guides_examples_run_in_their_order(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/python.md").read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 6
    with running_mesh(log_dir=tmp_path) as mesh:
        program = "\n".join(blocks).replace("localhost:8001", mesh.address)
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (ran.returncode, ran.stderr) == (0, "")
    for said in ("Embeddings(4 x 128, space='tiny@1', errors=1)", "['seven', 'seven']", "Progress(done=1000, failed=0"):
        assert said in ran.stdout
