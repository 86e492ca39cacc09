"""Writes the bill of materials of the container it runs in, as CycloneDX 1.6 JSON on standard output.

It needs the standard library only, so any engine feeds it to any image of ours; `make sbom` does so for all five:

    docker run --rm -i --network none --entrypoint python sensorium-text -P - < requirements/sbom.py
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import platform
import sys
import uuid
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

Component = dict[str, Any]  # Any: of CycloneDX's schema

_DPKG = Path("/var/lib/dpkg/status")
_MODELS = Path(os.environ.get("SENSORIUM_MODELS") or "/app/models")


def bill(image: str) -> dict[str, Any]:
    """Returns the whole document: Python and its packages, Debian's packages, and the models."""
    components = [_python(), *_packages(), *_debian(), *_models()]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "component": {
                "type": "container",
                "bom-ref": image,
                "name": image,
                "version": metadata.version("sensorium"),
            },
        },
        "components": sorted(components, key=lambda each: str(each["bom-ref"])),
    }


def _python() -> Component:
    return _component(
        "platform", "cpython", platform.python_version(), f"pkg:generic/python@{platform.python_version()}"
    )


def _packages() -> Iterator[Component]:
    for package in metadata.distributions():
        name, version = package.metadata["Name"], package.version
        if name == "sensorium":  # the image itself, and no package of the index
            continue
        yield {
            **_component("library", name, version, f"pkg:pypi/{name.lower().replace('_', '-')}@{quote(version)}"),
            **_licence(package.metadata),
        }


def _licence(of: metadata.PackageMetadata) -> Component:
    """Returns an SPDX expression where the package gives one, else the names that it uses."""
    if expressions := of.get_all("License-Expression"):
        return {"licenses": [{"expression": expressions[0]}]}
    names = [each.rpartition(" :: ")[2] for each in of.get_all("Classifier") or () if each.startswith("License ::")]
    if not names:
        names = [each for each in of.get_all("License") or () if len(each) < 100]  # some put the whole text there
    return {"licenses": [{"license": {"name": name}} for name in names]} if names else {}


def _debian() -> Iterator[Component]:
    if not _DPKG.is_file():
        return
    for paragraph in _DPKG.read_text(encoding="utf-8").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Status", "").endswith(" installed"):
            name, version, machine = fields["Package"], fields["Version"], fields["Architecture"]
            yield _component("library", name, version, f"pkg:deb/debian/{name}@{quote(version)}?arch={machine}")


def _models() -> Iterator[Component]:
    for path in sorted(_MODELS.glob("*/*/manifest.json")):
        manifest = json.loads(path.read_bytes())
        name, version = path.parts[-3], path.parts[-2]
        yield {
            **_component("machine-learning-model", name, version, f"pkg:generic/{name}@{version}"),
            # The manifest vouches for every file beside it.
            "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}],
            **({"licenses": [{"license": {"name": manifest["licence"]}}]} if manifest.get("licence") else {}),
        }


def _component(kind: str, name: str, version: str, purl: str) -> Component:
    return {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl}


if __name__ == "__main__":
    json.dump(bill(f"sensorium-{os.environ.get('SERVICE', 'unknown')}"), sys.stdout, indent=1)
    sys.stdout.write("\n")
