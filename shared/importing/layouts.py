"""What a folder is that no package can be made of, by the files in it, and what to do."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from sensorium.errors import FailedPrecondition
from shared.importing.hub_folder import VARIANTS, HubFolder, import_error

# Optimum's tasks, by how the name of the class that wrote the config ends; others are exported for their features.
_TASKS = {
    "ForSequenceClassification": "text-classification",
    "ForImageClassification": "image-classification",
    "ForAudioClassification": "audio-classification",
    "ForXVector": "audio-xvector",
}
_PAIRS = ("clip", "chinese_clip", "siglip")
_BY_HAND = {  # what Optimum has no export for: the graphs that are read
    "clap": "text_model.onnx with the output text_embeds, audio_model.onnx with audio_embeds",
    "clap_audio_model": "model.onnx with the output audio_embeds",
}


def open_hub_folder(root: Path) -> HubFolder:
    """Returns the folder.

    Raises:
        FailedPrecondition: there is no such folder, it is an archive, or no export.
    """
    if root.is_file():
        raise import_error(str(root), "is a file; unpack it and give the folder that has its config.json")
    if not root.is_dir():
        raise import_error(str(root), "is not there; give a folder in the layout of the Hugging Face Hub")
    folder = HubFolder(root)
    if not folder.has("config.json"):
        raise _without_config(folder)
    return folder


def _without_config(folder: HubFolder) -> FailedPrecondition:
    if folder.has("open_clip_config.json"):
        return import_error(
            "open_clip_config.json",
            "is the layout of open_clip, which is not read; take the same checkpoint in that of transformers (a "
            "config.json with `model_type` clip or siglip), or convert it, and export that to ONNX",
        )
    if folder.has("modules.json"):
        return import_error("modules.json", "is of modules without a transformer at their head, which are not served")
    if inner := sorted(file.parent.name for file in folder.root.glob("*/config.json")):
        return import_error(
            f"{folder.root.name}/config.json", f"is missing; give the folder of one model: {', '.join(inner[:5])}"
        )
    return import_error(f"{folder.root.name}/config.json", "is missing; give the folder that an export to ONNX wrote")


def not_served(config: Mapping[str, object]) -> FailedPrecondition | None:
    """Returns the error for a folder of another library, whose config has no `model_type` of transformers."""
    if "pretrained_cfg" in config or ("architecture" in config and "model_type" not in config):
        return import_error(
            "config.json",
            f"is timm's, of {config.get('architecture', 'an unnamed model')}, and timm's layout is not read; take the "
            "same backbone in that of transformers (ViTModel, ResNetModel, ConvNextModel …)",
        )
    if config.get("model_type") == "model2vec" or "StaticModel" in (_architectures(config)):
        return import_error(
            "config.json",
            "is of model2vec: static embeddings without a transformer, which are not served; take the "
            "sentence-transformers model that it was distilled from",
        )
    return None


def unknown_kind(config: Mapping[str, object], known: Sequence[str]) -> FailedPrecondition:
    """Returns the error for an export of a `model_type` that nothing in its files makes up for."""
    kind, named = config.get("model_type"), ", ".join(_architectures(config))
    stated = f"`model_type` is {kind!r}" if kind else "states no `model_type`"
    return import_error(
        "config.json",
        f"{stated}{f', the class is {named}' if named else ''}; known are {', '.join(known)}. Give --family NAME where "
        "the model is built as one of these. Classifiers are known by a graph that gives `logits` and by `id2label`, "
        "sentence-transformers by a modules.json, any other text encoder by --pooling",
    )


def no_graph(folder: HubFolder, names: tuple[str, ...], variant: str) -> FailedPrecondition:
    """Returns the error for a graph that is missing: what is there, and how to get it."""
    there = sorted(str(file.relative_to(folder.root)) for file in folder.root.rglob("*.onnx"))
    wanted = " or ".join(f"{name}{VARIANTS[variant][0]}.onnx" for name in names)
    others = [each for each in VARIANTS if each != variant and folder.find_graph(names, each)]
    if others:
        options = " or ".join(f"--variant {each}" for each in others)
        advice = f"there is {', '.join(there)}: give {options}"
    elif there:
        advice = f"there is {', '.join(there)}"
    else:
        advice = f"there is no graph at all; export its weights: {_command(folder)}"
    return import_error(f"onnx/{names[0]}.onnx", f"is missing; wanted {wanted} in the variant {variant}, {advice}")


def _command(folder: HubFolder) -> str:
    """Returns what exports the folder's weights with Optimum, to a folder beside it."""
    config = folder.json("config.json")
    if by_hand := _BY_HAND.get(str(config.get("model_type"))):
        return f"Optimum does not know this kind, so with torch.onnx.export, as {by_hand}"
    found = (task for name in _architectures(config) for end, task in _TASKS.items() if name.endswith(end))
    task = next(found, "zero-shot-image-classification" if config.get("model_type") in _PAIRS else "feature-extraction")
    source, target = str(folder.root), f"{folder.root}-onnx"
    if folder.root.parent.name == "snapshots":  # the Hub's cache, into which no weights are fetched
        source = folder.root.parents[1].name.removeprefix("models--").replace("--", "/")
        target = f"{source.rpartition('/')[2]}-onnx"
    return f"optimum-cli export onnx --model {shlex.quote(source)} --task {task} {shlex.quote(target)}"


def _architectures(config: Mapping[str, object]) -> list[str]:
    named = config.get("architectures")
    return [str(each) for each in named] if isinstance(named, list) else []
