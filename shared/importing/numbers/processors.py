"""The file in which an export keeps what its image processor or feature extractor was told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.importing.hub_folder import HubFolder, import_error

_FILE, _JOINT_FILE = "preprocessor_config.json", "processor_config.json"


class Stated(dict[str, Any]):
    """The object in a file (Any: JSON), which says by name what it does not state."""

    def __init__(self, file: str, raw: Mapping[str, Any]) -> None:
        super().__init__(raw)
        self._file = file

    def __missing__(self, name: str) -> Any:
        raise import_error(self._file, f"does not state `{name}`; save it again with the library that wrote it")


def processor(folder: HubFolder, part: str) -> tuple[str, dict[str, Any]]:
    """Returns the file's name and the object in it (Any: JSON).

    part: where transformers 5 keeps it in the file of the whole processor: `image_processor`, `feature_extractor`.

    Raises:
        FailedPrecondition: there is none.
    """
    if raw := folder.json(_FILE):
        return _FILE, Stated(_FILE, raw)
    nested = folder.json(_JOINT_FILE).get(part)
    if isinstance(nested, dict):
        file = f"{_JOINT_FILE}: {part}"
        return file, Stated(file, nested)
    raise import_error(_FILE, "is missing; save the image processor or feature extractor too")
