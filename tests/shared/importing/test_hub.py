"""A model comes from the Hub, here a server that speaks as much of its protocol as a download needs."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

EXPORT = Path(__file__).parents[2] / "conformance" / "st_bert_mean" / "model"
_COMMIT = "0123456789abcdef0123456789abcdef01234567"
_MODEL = "somebody/encoder"


class _Hub(BaseHTTPRequestHandler):
    """Answers for one model: its list of files, and each of them."""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        names = [*(str(file.relative_to(EXPORT)) for file in EXPORT.rglob("*") if file.is_file()), "evil.py"]
        if path.startswith(f"/api/models/{_MODEL}/tree/"):
            tree = [{"type": "file", "path": name, "size": 1, "oid": "0" * 40} for name in names]
            self._send(200, json.dumps(tree).encode(), "json", with_body=with_body)
        elif path.startswith(f"/api/models/{_MODEL}"):
            facts = {"id": _MODEL, "sha": _COMMIT, "siblings": [{"rfilename": name} for name in names]}
            self._send(200, json.dumps(facts).encode(), "json", with_body=with_body)
        elif path.startswith(f"/{_MODEL}/resolve/{_COMMIT}/") and (EXPORT / path.split("/", 5)[5]).is_file():
            self._send(200, (EXPORT / path.split("/", 5)[5]).read_bytes(), "octet-stream", with_body=with_body)
        else:
            self._send(404, b"{}", "json", with_body=with_body, X_Error_Code="RepoNotFound")

    def _send(self, status: int, body: bytes, kind: str, *, with_body: bool, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"application/{kind}")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha1(body, usedforsecurity=False).hexdigest()}"')
        self.send_header("X-Repo-Commit", _COMMIT)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(10)
    server.server_close()


def add(folder: Path, endpoint: str, source: str, name: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs the command in a process of its own: the library reads its environment when it is imported."""
    run = "import sys; from sensorium.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", run, "models", "add", source, "--name", name]
    env = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "home"), **environ}
    return subprocess.run(
        [*command, "--models", str(folder / "models")], env=env, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_model_comes_from_the_hub_and_then_from_its_cache(tmp_path: Path, endpoint: str) -> None:
    done = add(tmp_path, endpoint, f"hf://{_MODEL}", "one")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "models" / "one" / "1" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["source"] == f"hf://{_MODEL}"
    assert not list((tmp_path / "home").rglob("evil.py"))
    again = add(tmp_path, "http://127.0.0.1:1", f"hf://{_MODEL}", "two", HF_HUB_OFFLINE="1")
    assert again.returncode == 0, again.stderr


def test_a_model_that_is_not_there_is_refused_with_what_to_do(tmp_path: Path, endpoint: str) -> None:
    done = add(tmp_path, endpoint, "hf://somebody/else", "gone")
    assert done.returncode != 0
    assert "hf://somebody/else: is not on the Hub, or is private" in done.stderr
    assert "Traceback" not in done.stderr
