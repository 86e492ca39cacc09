"""Models that embed two modalities into one space: CLIP, Chinese-CLIP, SigLIP, SigLIP 2, CLAP."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.importing import measure
from shared.importing.families.encoders import (
    HIDDEN,
    JSON,
    Export,
    audio_package,
    calibration_remarks,
    embedding_output,
    image_package,
    part,
    seen_graph,
    text_package,
    vector_output,
    whole,
    with_width,
)
from shared.importing.families.known import known_scale
from shared.importing.graph import Graph
from shared.importing.hub_folder import HubFolder, import_error
from shared.importing.layouts import no_graph
from shared.importing.numbers.images import image_numbers
from shared.importing.numbers.slow_tokenizers import has_tokenizer
from shared.importing.numbers.sounds import clap_numbers
from shared.importing.numbers.texts import text_numbers
from shared.importing.plan import Calibration, GraphPlan, PackagePlan
from shared.inference.pooling import NONE

_JOINT = ("model",)
_NAMES = {
    "text": ("text_model", "textual", "text_encoder"),
    "vision": ("vision_model", "visual", "vision_encoder"),
    "audio": ("audio_model", "audio_encoder"),
}
_PROJECTED = {"text": "text_embeds", "vision": "image_embeds", "audio": "audio_embeds"}
_LOGITS = {"text": "logits_per_text", "vision": "logits_per_image", "audio": "logits_per_audio"}


_PACKAGES: Mapping[str, Callable[..., PackagePlan]] = {
    "text": lambda export, graph, numbers, **facts: text_package(export, "", graph, numbers, **facts),
    "vision": lambda _, graph, numbers, **facts: image_package("", graph, numbers, **facts),
    "audio": lambda _, graph, numbers, **facts: audio_package("", graph, numbers, **facts),
}


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the two encoders: `text`, `vision` or `audio`, and its numbers."""

    name: str
    numbers: JSON


def clip(export: Export) -> list[PackagePlan]:
    """Returns the encoders of CLIP."""
    if not _has_texts(export):
        return _one_side("vision")(export)
    limit = int(export.config.get("text_config", {}).get("max_position_embeddings", 77))
    return _pair(export, _Side("text", text_numbers(export.folder, limit)), _vision(export))


def chinese_clip(export: Export) -> list[PackagePlan]:
    """Returns the encoders of Chinese-CLIP, whose texts are cut at 52 tokens though BERT takes 512."""
    if not _has_texts(export):
        return _one_side("vision")(export)
    return _pair(export, _Side("text", text_numbers(export.folder, 52)), _vision(export))


def siglip(export: Export) -> list[PackagePlan]:
    """Returns the encoders of SigLIP: texts always have the full length, and no mask; of SigLIP 2 in lower case."""
    if export.config.get("vision_config", {}).get("num_patches"):
        raise import_error(
            "config.json", "is a SigLIP 2 of any resolution (NaFlex); those of one resolution are served"
        )
    if not _has_texts(export):
        return _one_side("vision")(export)
    limit = int(export.config.get("text_config", {}).get("max_position_embeddings", 64))
    is_second = "siglip2" in str(export.config.get("model_type")) or _uses_gemma(export.folder)
    numbers = text_numbers(export.folder, limit, fixed_length=limit, lowercase=is_second, pad_id=0 if is_second else 1)
    return _pair(export, _Side("text", numbers), _vision(export), "sigmoid")


def clap(export: Export) -> list[PackagePlan]:
    """Returns the encoders of CLAP."""
    if not _has_texts(export):
        return _one_side("audio")(export)
    limit = int(export.folder.json("tokenizer_config.json").get("model_max_length") or 77)
    text = _Side("text", text_numbers(export.folder, min(limit, 77)))
    return _pair(export, text, _Side("audio", clap_numbers(export.folder, export.wishes.long_clip)))


def _has_texts(export: Export) -> bool:
    """Returns whether anything of the text encoder was exported; else the other one is meant to be served alone."""
    joint, own = _joint(export), seen_graph(export, _NAMES["text"])
    return (
        own is not None or has_tokenizer(export.folder) or (joint is not None and _PROJECTED["text"] in joint.outputs)
    )


def _one_side(name: str) -> Callable[[Export], list[PackagePlan]]:
    """Returns the family of one of two encoders that was exported alone: `text`, `vision` or `audio`."""

    def family(export: Export) -> list[PackagePlan]:
        side, package = _side(export, name), _PACKAGES[name]
        graph = seen_graph(export, (*_NAMES[name], *_JOINT, "encoder_model"))
        if graph is None:
            raise no_graph(export.folder, (*_NAMES[name], *_JOINT), export.wishes.variant)
        found = vector_output(export, graph, (_PROJECTED[name], "pooler_output"), (HIDDEN,), "")
        is_projected = found.output == _PROJECTED[name]
        plan = with_width(export, graph, part(graph, found.output, 0, f"{name}_model"), side.numbers)
        remark = f"vectors are {found.output}, before the projection: not of the space of the whole model's other side"
        is_short = not is_projected and "siglip" not in str(export.config.get("model_type"))
        return [package(export, plan, side.numbers, pooling=found.pooling, remarks=[remark] if is_short else [])]

    return family


def _side(export: Export, name: str) -> _Side:
    if name == "vision":
        return _vision(export)
    if name == "audio":
        return _Side("audio", clap_numbers(export.folder, export.wishes.long_clip))
    limit = int(_own_config(export, "text").get("max_position_embeddings", 77))
    return _Side("text", text_numbers(export.folder, limit))


def _own_config(export: Export, name: str) -> JSON:
    """Returns the config of one side: that in the config of both, or the whole of its own."""
    return export.config.get(f"{name}_config") or export.config


def _vision(export: Export) -> _Side:
    return _Side("vision", image_numbers(export.folder, export.wishes.resize))


def _uses_gemma(folder: HubFolder) -> bool:
    tokenizer = str(folder.json("tokenizer_config.json").get("tokenizer_class", ""))
    return "Gemma" in tokenizer or "Siglip2" in tokenizer


def _pair(export: Export, text: _Side, other: _Side, activation: str = "softmax") -> list[PackagePlan]:
    """Returns the two packages, of graphs of their own or of parts of a joint one.

    Raises:
        FailedPrecondition: a graph is missing, gives no projected embedding, or the two have different widths.
    """
    if export.wishes.pooling not in ("", NONE):
        wish = export.wishes.pooling
        raise import_error("pooling", f"is {wish!r}, but these encoders pool in their graphs; leave --pooling out")
    joint = _joint(export)
    graphs = {side.name: _graph(export, side, joint) for side in (text, other)}
    dims = {name: graph.dim for name, graph in graphs.items()}
    if len(set(dims.values())) > 1:
        stated = " and ".join(f"{graphs[name].file} gives {dim}" for name, dim in dims.items())
        raise import_error("config.json", f"two encoders of one space must have one width, but {stated}")
    calibrations = {side.name: _calibration(export, side, joint, activation) for side in (text, other)}
    facts: dict[str, dict[str, Any]] = {
        name: {"calibration": known, "remarks": calibration_remarks(known)} for name, known in calibrations.items()
    }
    package = audio_package if other.name == "audio" else image_package
    return [
        text_package(export, "text", graphs["text"], text.numbers, **facts["text"]),
        package(other.name, graphs[other.name], other.numbers, **facts[other.name]),
    ]


def _joint(export: Export) -> Graph | None:
    """Returns the graph of both encoders, as the zero-shot tasks of exporters write it."""
    return seen_graph(export, _JOINT)


def _graph(export: Export, side: _Side, joint: Graph | None) -> GraphPlan:
    outputs, dim = _outputs(export, side), int(export.config.get("projection_dim") or 0)
    if graph := seen_graph(export, _NAMES[side.name]):
        return with_width(export, graph, whole(graph, embedding_output(graph, outputs), dim), side.numbers)
    if joint is None:
        raise no_graph(export.folder, (*_NAMES[side.name], *_JOINT), export.wishes.variant)
    plan = part(joint, embedding_output(joint, [_PROJECTED[side.name]]), dim, f"{side.name}_model")
    if plan.dim:
        return plan
    raise import_error(joint.name, f"states no width for {plan.output}; export the encoders one by one")


def _outputs(export: Export, side: _Side) -> Sequence[str]:
    """Returns the outputs that are embeddings; SigLIP's pooled one is, CLIP's and CLAP's lacks the projection."""
    is_siglip = "siglip" in str(export.config.get("model_type"))
    return (_PROJECTED[side.name], "pooler_output") if is_siglip else (_PROJECTED[side.name],)


def _calibration(export: Export, side: _Side, joint: Graph | None, activation: str) -> Calibration:
    """Returns what is wished for, or what a joint graph computes its logits with, or what is known."""
    wishes = export.wishes
    scale = wishes.logit_scale
    if side.name == "text" and wishes.text_logit_scale is not None:
        scale = wishes.text_logit_scale
    if scale is not None:
        return Calibration(activation, scale, wishes.logit_bias)
    output = _LOGITS[side.name]
    if (
        joint is not None
        and output in joint.outputs
        and (found := measure.scale_and_bias(export.folder, joint, output))
    ):
        bias = found[1] if activation == "sigmoid" else None
        return Calibration(activation, found[0], bias)
    known = known_scale(export.config, wishes.source)
    return Calibration(activation, *known) if known else Calibration(activation)


SIDES: Mapping[str, Callable[[Export], list[PackagePlan]]] = {
    "clip_text_model": _one_side("text"),
    "clip_vision_model": _one_side("vision"),
    "siglip_vision_model": _one_side("vision"),
    "clap_audio_model": _one_side("audio"),
}
