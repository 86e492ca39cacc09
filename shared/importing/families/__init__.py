"""Which family an export is of, and what that says beyond its files: one function a family."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from shared.importing.families.classifiers import classifier, is_classifier
from shared.importing.families.encoders import Export, seen_graph
from shared.importing.families.pairs import SIDES, chinese_clip, clap, clip, siglip
from shared.importing.families.pictures import PICTURES, any_backbone, takes_pictures
from shared.importing.families.sentences import plain_encoder, sentence_encoder
from shared.importing.families.sounds import spectrogram_transformer, waveform_model, whisper
from shared.importing.hub_folder import HubFolder, import_error
from shared.importing.layouts import not_served, unknown_kind
from shared.importing.numbers.processors import Stated
from shared.importing.numbers.slow_tokenizers import has_tokenizer
from shared.importing.plan import ExportPlan, PackagePlan, Wishes

_Family = Callable[[Export], list[PackagePlan]]

_FAMILIES: Mapping[str, _Family] = {
    "clip": clip,
    "chinese_clip": chinese_clip,
    "siglip": siglip,
    "siglip2": siglip,
    "clap": clap,
    "whisper": whisper,
    "audio-spectrogram-transformer": spectrogram_transformer,
    **dict.fromkeys(
        ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat", "sew", "data2vec-audio"), waveform_model
    ),
    **PICTURES,
    **SIDES,
    **dict.fromkeys(
        ("bert", "roberta", "xlm-roberta", "mpnet", "distilbert", "camembert", "electra", "albert", "deberta-v2",
         "nomic_bert", "modernbert", "new", "gte", "qwen3", "gemma3_text"),
        plain_encoder,
    ),
}  # fmt: skip
FAMILIES = tuple(sorted(_FAMILIES))


def plan_of(folder: HubFolder, wishes: Wishes | None = None) -> ExportPlan:
    """Returns what an export is understood to be.

    Raises:
        FailedPrecondition: it is of no known family, or lacks what its family needs.
    """
    wishes = wishes or Wishes()
    if wishes.family:
        folder = dataclasses.replace(folder, family=wishes.family)
    config = Stated("config.json", folder.json("config.json"))
    export = Export(folder, config, wishes)
    family, read = _family(export)
    source = _source(wishes.source or folder.root.resolve().name, str(config.get("_name_or_path") or ""))
    return ExportPlan(family, [_checked(each) for each in read(export)], folder.licence(), source)


def _family(export: Export) -> tuple[str, _Family]:
    folder, config, wishes = export.folder, export.config, export.wishes
    kind = str(config.get("model_type") or "")
    if not wishes.family and (error := not_served(config)):
        raise error
    if is_classifier(export):  # cross-encoders have modules.json too
        return f"{kind} classifier".strip(), classifier
    if folder.has("modules.json"):
        return "sentence-transformers", sentence_encoder
    if kind in _FAMILIES:
        return kind, _FAMILIES[kind]
    graph = seen_graph(export, ("model", "encoder_model"))
    if takes_pictures(graph):
        return kind or "pictures", any_backbone
    if wishes.pooling and has_tokenizer(folder):
        return kind, plain_encoder
    raise unknown_kind(config, FAMILIES)


def _checked(package: PackagePlan) -> PackagePlan:
    """Returns the package, whose width must be known by now."""
    if package.graph.dim < 1:
        raise import_error(package.graph.file, f"neither it nor config.json states the width of {package.graph.output}")
    if not package.graph.runs_alone:
        return package
    remark = f"inputs run one by one: {package.graph.runs_alone}"
    return dataclasses.replace(package, remarks=[*package.remarks, remark])


def _source(added: str, base: str) -> str:
    """Returns where a package is from: what was added, and what its config says that it was made from."""
    is_told = not base or base.rpartition("/")[2] in added or base.startswith((".", "/"))
    return added if is_told else f"{added}, made from {base}"
