"""A folder as exporters write it: small JSON files, a tokenizer, graphs; read as data and never as code."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensorium.errors import FailedPrecondition, Reason

MAX_JSON_BYTES = 64 * 1024 * 1024  # the largest tokenizer.json that is known has 33 MB
MAX_GRAPH_BYTES = 2**31 - 1  # protobuf's own limit; larger models keep their weights beside the graph
MAX_FILE_BYTES = 32 * 2**30  # of weights; a typing error or an attack above, for encoders
_MAX_CARD_BYTES = 100_000

# What follows a graph's name in the file's, by the variant that users ask for (Optimum and transformers.js).
VARIANTS: Mapping[str, tuple[str, ...]] = {
    "fp32": ("",),
    "fp16": ("_fp16",),
    "int8": ("_int8", "_quantized", "_qint8_avx512_vnni", "_qint8_avx512", "_qint8_arm64"),
    "uint8": ("_uint8", "_quint8_avx2"),
    "q4": ("_q4",),
    "q4f16": ("_q4f16",),
    "bnb4": ("_bnb4",),
}


def import_error(file: str, problem: str) -> FailedPrecondition:
    """Returns the error for a folder that no package can be made of."""
    return FailedPrecondition(f"{file}: {problem}", reason=Reason.PACKAGE_INVALID, metadata={"file": file})


@dataclass(frozen=True, slots=True)
class HubFolder:
    """A local folder with an exported model. family: the `model_type` that its config is read with, if not its own."""

    root: Path
    family: str = ""

    def json(self, name: str) -> dict[str, Any]:
        """Returns the object in a JSON file; empty where there is no such file. Any: JSON.

        Raises:
            FailedPrecondition: the file is too large, no JSON, or no object.
        """
        found = self.any_json(name)
        if not isinstance(found, dict):
            raise import_error(name, "must hold one JSON object")
        return {**found, "model_type": self.family} if self.family and name == "config.json" else found

    def any_json(self, name: str) -> Any:
        """Returns what a JSON file holds (Any: JSON); an empty object where there is none."""
        if not self.has(name):
            return {}
        try:
            return json.loads(self.path(name, MAX_JSON_BYTES).read_text(encoding="utf-8"))
        except ValueError as fault:
            raise import_error(name, f"is no JSON: {fault}") from None

    def has(self, name: str) -> bool:
        """Returns whether there is such a file."""
        return (self.root / name).is_file()

    def path(self, name: str, most: int = MAX_FILE_BYTES) -> Path:
        """Returns where a file of the folder is; links may lead within the folder, or into the Hub's cache of it.

        Raises:
            FailedPrecondition: it leads elsewhere, or has more than `most` bytes.
        """
        path = (self.root / name).resolve()
        homes = [self.root.resolve()]
        if self.root.resolve().parent.name == "snapshots":
            homes.append(self.root.resolve().parents[1] / "blobs")
        if not any(path.is_relative_to(home) for home in homes):
            raise import_error(name, "leads out of the folder; put the file itself there")
        if (size := path.stat().st_size) > most:
            raise import_error(name, f"has {size:,} bytes; at most {most:,} are taken")
        return path

    def find_graph(self, names: tuple[str, ...], variant: str) -> str:
        """Returns the path of the first graph that is there, in `onnx/` or beside the config; empty for none."""
        for name in names:
            for suffix in VARIANTS[variant]:
                for folder in ("onnx/", ""):
                    if self.has(f"{folder}{name}{suffix}.onnx"):
                        return f"{folder}{name}{suffix}.onnx"
        return ""

    def licence(self) -> str:
        """Returns the licence that the model card's head states; empty where it states none."""
        return self.card("license")

    def card(self, field: str) -> str:
        """Returns a field of the model card's head; empty where there is none."""
        if not self.has("README.md"):
            return ""
        with (self.root / "README.md").open(encoding="utf-8", errors="replace") as card:
            head = re.match(r"---\n(.*?)\n---", card.read(_MAX_CARD_BYTES), re.DOTALL)
        found = re.search(rf"^{field}:\s*(\S+)", head[1], re.MULTILINE) if head else None
        return found[1] if found else ""


# Weights of modules after pooling, and what exporters call weights beside a graph.
_ALLOWED = ("*_Dense*/model.safetensors", "*_LayerNorm*/model.safetensors", "*.data", "*_data", "onnx/Constant_*")
_VOCABULARIES = ("spiece.model", "sentencepiece.bpe.model", "vocab.txt", "merges.txt")
_OPTIMISED = ("_O1", "_O2", "_O3", "_O4", "_qint8", "_quint8")  # variants that are not asked for by name


def fetch_hub_folder(source: str, variant: str) -> Path:
    """Returns the folder of `owner/name` or `owner/name@revision` from the Hub, downloaded into its cache.

    Only the small files and the graphs of one variant are fetched, and never code or pickles. What the library reads
    of the environment holds: HF_HOME, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE.

    Raises:
        FailedPrecondition: there is no such model, or it cannot be had; the message says what to do.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    name, _, revision = source.partition("@")
    others = [suffix for kind, suffixes in VARIANTS.items() if kind != variant for suffix in suffixes if suffix]
    graphs = [f"*{suffix}.onnx*" for suffix in VARIANTS[variant]]
    try:
        return Path(
            snapshot_download(
                name,
                revision=revision or None,
                allow_patterns=["*.json", "README.md", *_VOCABULARIES, *_ALLOWED, *graphs],
                ignore_patterns=[f"*{suffix}*.onnx*" for suffix in (*others, *_OPTIMISED)]
                if variant == "fp32"
                else None,
            )
        )
    except RepositoryNotFoundError:
        problem = "is not on the Hub, or is private; check the name, or give a token in HF_TOKEN"
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as fault:
        problem = f"cannot be had from the Hub, nor is it in the cache ({str(fault).splitlines()[0][:150]})"
    except ValueError as fault:  # no name of a model
        problem = f"is no name of a model: {str(fault)[:150]}"
    raise import_error(f"hf://{source}", problem)
