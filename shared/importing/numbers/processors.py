"""The file in which an export keeps what its image processor or feature extractor was told."""

from __future__ import annotations

from typing import Any

from shared.importing.hub_folder import HubFolder, import_error

_FILE, _JOINT_FILE = "preprocessor_config.json", "processor_config.json"


def processor(folder: HubFolder, part: str) -> tuple[str, dict[str, Any]]:
    """Returns the file's name and the object in it (Any: JSON).

    part: where transformers 5 keeps it in the file of the whole processor: `image_processor`, `feature_extractor`.

    Raises:
        FailedPrecondition: there is none.
    """
    if raw := folder.json(_FILE):
        return _FILE, raw
    nested = folder.json(_JOINT_FILE).get(part)
    if isinstance(nested, dict):
        return f"{_JOINT_FILE}: {part}", nested
    raise import_error(_FILE, "is missing; save the image processor or feature extractor too")
