"""A disk that is full below the folder of models: adding fails cleanly, and what is served goes on."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sensorium.cli.processes import ServiceProcess
from tests.running import metric_at

ROOT = Path(__file__).resolve().parents[2]
EXPORT = ROOT / "tests" / "conformance" / "st_bert_mean" / "model"
SIZE_BYTES = 1 << 20  # tiny-text's tokenizer and graph take most of it


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte, where this user may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", f"size={SIZE_BYTES}", "none", str(place)]
    if mount is None or subprocess.run(command, capture_output=True, timeout=10, check=False).returncode:
        pytest.skip("no file system can be mounted here; run the tests as root, where mounting is allowed")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], capture_output=True, timeout=10, check=False)


def fill(disk: Path, spare_bytes: int) -> Path:
    """Takes all room but so much; returns the file that takes it."""
    stuff = disk / "stuff"
    free = os.statvfs(disk)
    with stuff.open("wb") as file:
        file.write(b"\0" * (free.f_bavail * free.f_frsize - spare_bytes))
    return stuff


def add(models: Path, limit_bytes: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs `sensorium models add`; `limit_bytes`: the largest file that it may write, 0 for any."""
    command = [sys.executable, "-m", "sensorium.cli", "models", "add", str(EXPORT), "--name", "more", "--models"]
    if limit_bytes:
        command = ["prlimit", f"--fsize={limit_bytes}", *command]
    return subprocess.run([*command, str(models)], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)


def left(models: Path) -> list[str]:
    return sorted(str(path.relative_to(models)) for path in models.rglob("*") if path.name != "stuff")


def test_adding_to_a_full_disk_says_so_and_leaves_nothing_behind(small_disk: Path) -> None:
    stuff = fill(small_disk, spare_bytes=100_000)
    done = add(small_disk)
    assert done.returncode not in (0, 1), done.stderr
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert left(small_disk) == []
    stuff.unlink()
    assert add(small_disk).returncode == 0, "once there is room it works"


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit is missing; apt-get install util-linux")
def test_a_file_that_may_not_grow_is_the_same(tmp_path: Path) -> None:
    done = add(tmp_path, limit_bytes=20_000)
    assert done.returncode not in (0, 1), done.stderr
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert left(tmp_path) == []


@contextlib.contextmanager
def text_service(models: Path, log: Path) -> Iterator[ServiceProcess]:
    """A text service that follows its folder."""
    environ = {"SENSORIUM_MODELS": str(models), "SENSORIUM_WATCH_S": "0.1"}
    process = ServiceProcess("text", ("127.0.0.1", 0, 0), environ, log)
    try:
        process.wait_until_serving(20)
        yield process
    finally:
        process.terminate()
        process.wait(10)


def test_a_service_goes_on_while_a_package_does_not_fit_on_its_disk(small_disk: Path, tmp_path: Path) -> None:
    """What a copy leaves that broke off is never served, and does not stop what is."""
    assert add(small_disk).returncode == 0
    with text_service(small_disk, tmp_path / "text.log") as service:
        before = [metric_at(service.metrics_port, f"sensorium_{name}") for name in ("model_info", "serving")]
        fill(small_disk, spare_bytes=50_000)
        with pytest.raises((OSError, shutil.Error), match="No space left"):
            shutil.copytree(small_disk / "more" / "1", small_disk / "more" / "2")  # by hand, not by `models add`
        assert (small_disk / "more" / "2").exists()
        deadline = time.monotonic() + 5
        while "a package is not loaded" not in service.log.read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert [metric_at(service.metrics_port, f"sensorium_{name}") for name in ("model_info", "serving")] == before
    assert service.process.returncode == 0
