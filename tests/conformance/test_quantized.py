"""An int8 model gives what its weights say on every machine, or says that it does not."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sensorium.channel import call
from sensorium.errors import FailedPrecondition
from sensorium.v1 import model_pb2, model_pb2_grpc
from services.text.app import serving
from services.text.config import Config
from services.trial import encode, probe
from shared.hosting.config import HostingConfig
from shared.inference.package import Package, open_package
from tests.conformance import exports
from tests.running import running

_EMULATOR = shutil.which("qemu-x86_64")
_ENCODE = """
import sys
import numpy as np
from pathlib import Path
from services.trial import encode
from shared.inference.package import open_package
np.save(sys.argv[2], encode(open_package(Path(sys.argv[1])), sys.argv[3:]))
"""


@pytest.fixture
def package(tmp_path: Path) -> Package:
    exports.add(tmp_path, "bert_fp16", "--variant", "int8", "--pooling", "mean", name="small")
    return open_package(tmp_path / "small" / "1")


def off_by(package: Package, noise: float) -> Package:
    """The package, with a reference that this machine's answer is off from."""
    file = package.path("reference.npz")
    with np.load(file) as archive:
        arrays = dict(archive)
    for name, array in arrays.items():
        if name.endswith(".out"):
            sign = np.where(np.arange(array.size).reshape(array.shape) % 2, 1, -1)
            arrays[name] = array + np.float32(noise * np.sqrt(np.square(array).mean())) * sign.astype(np.float32)
    np.savez(file, **arrays)
    manifest = json.loads(package.path("manifest.json").read_text())
    manifest["files"]["reference.npz"] = hashlib.sha256(file.read_bytes()).hexdigest()
    package.path("manifest.json").write_text(json.dumps(manifest))
    return open_package(package.folder)


async def test_describe_says_how_rightly_an_int8_model_is_computed(package: Package) -> None:
    hosting = HostingConfig(models=package.folder.parents[1])
    async with running(serving, Config, hosting=hosting) as (channel, _):
        stub = model_pb2_grpc.ModelServiceStub(channel)
        model = (await call(stub.GetModel, model_pb2.GetModelRequest(), timeout_s=20)).model
    assert model.precision == "int8"
    assert model.quantized_cosine > 0.999


def test_a_machine_that_computes_an_int8_model_wrongly_refuses_it(package: Package) -> None:
    with pytest.raises(FailedPrecondition, match=r"not computed rightly here; the cosine .* is 0\.9[0-8]\d\d"):
        probe(off_by(package, 0.3))


def test_a_machine_that_is_a_little_off_says_so_in_its_log(package: Package, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "sensorium.models"):
        encode(off_by(package, 0.08), ["a dog"])
    (record,) = caplog.records
    assert record.message == "an int8 model is computed inexactly on this machine"
    assert 0.99 < record.f["quantized_cosine"] < 0.999  # type: ignore[attr-defined]


async def test_an_int8_package_of_before_is_served_and_the_log_says_that_nothing_vouches_for_it(
    package: Package, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = json.loads(package.path("manifest.json").read_text())
    del manifest["files"]["reference.npz"]
    package.path("manifest.json").write_text(json.dumps(manifest))
    hosting = HostingConfig(models=package.folder.parents[1])
    async with running(serving, Config, hosting=hosting) as (channel, _):
        stub = model_pb2_grpc.ModelServiceStub(channel)
        model = (await call(stub.GetModel, model_pb2.GetModelRequest(), timeout_s=20)).model
    assert not model.HasField("quantized_cosine")
    assert "an int8 model keeps nothing that tells whether it is computed rightly here" in caplog.messages


def test_a_broken_reference_is_named(package: Package) -> None:
    file = package.path("reference.npz")
    file.write_bytes(b"no archive")
    manifest = json.loads(package.path("manifest.json").read_text())
    manifest["files"]["reference.npz"] = hashlib.sha256(b"no archive").hexdigest()
    package.path("manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(FailedPrecondition, match=r"reference\.npz: cannot be read"):
        encode(open_package(package.folder), ["a dog"])


@pytest.mark.skipif(_EMULATOR is None, reason="needs qemu-x86_64, which can be a CPU without VNNI")
def test_a_cpu_without_vnni_gives_the_vectors_of_one_with_it(package: Package, tmp_path: Path) -> None:
    texts, rows = exports.texts("bert_fp16"), tmp_path / "rows.npy"
    command = [str(_EMULATOR), "-cpu", "Haswell", sys.executable, "-c", _ENCODE, str(package.folder), str(rows), *texts]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run(command, env=environ, check=True, timeout=240, stderr=subprocess.DEVNULL)
    assert np.abs(np.load(rows) - encode(package, texts)).max() < 1e-5
