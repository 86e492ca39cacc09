"""Gives a contract that was built without its imports those of another build, as `buf breaking` reads no image without.

    python protos/imports.py TAGGED NOW OUT

The tagged contract is kept without them, since google.rpc is not ours to keep.
"""

from __future__ import annotations

import sys
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet


def completed(tagged: FileDescriptorSet, now: FileDescriptorSet) -> FileDescriptorSet:
    """Returns the files of `tagged` behind those of `now` that are not of the contract; imports come first."""
    imports = [file for file in now.file if not file.package.startswith(("sensorium.", "inference"))]
    return FileDescriptorSet(file=[*imports, *tagged.file])


def main(tagged: str, now: str, out: str) -> None:
    """Reads two images and writes one."""
    images = (FileDescriptorSet.FromString(Path(path).read_bytes()) for path in (tagged, now))
    Path(out).write_bytes(completed(*images).SerializeToString())


if __name__ == "__main__":
    main(*sys.argv[1:])
