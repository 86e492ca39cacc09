"""Which family an export is of, and what that says beyond its files: one function a family."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared.importing.graph import GraphFacts, read_graph
from shared.importing.hub_folder import HubFolder, import_error
from shared.importing.plan import Calibration, EncoderPlan, ExportPlan
from shared.importing.preprocessing import clap_numbers, image_numbers, text_limit, text_numbers, whisper_numbers

_TEXT_COST, _IMAGE_ITEMS, _AUDIO_ITEMS = 16_384, 16, 8  # padded tokens, pictures and clips of a batch: guesses
_HIDDEN = "last_hidden_state"

# The multiplier of trained checkpoints, already exponentiated; no exported file holds it.
_KNOWN_SCALES = {f"openai/clip-vit-{kind}": 100.0 for kind in ("base-patch32", "base-patch16", "large-patch14")}


def plan_of(folder: HubFolder, variant: str, logit_scale: float | None, logit_bias: float | None) -> ExportPlan:
    """Returns what an export is understood to be.

    logit_scale, logit_bias: as the user gives them; None takes what is known of the checkpoint.

    Raises:
        FailedPrecondition: it is of no known family, or lacks what its family needs.
    """
    config = folder.json("config.json")
    kind = str(config.get("model_type", ""))
    is_sentence_encoder = folder.has("modules.json")
    family = _sentence_encoder if is_sentence_encoder else _FAMILIES.get(kind)
    if family is None:
        known = ", ".join(sorted(_FAMILIES))
        raise import_error(
            "config.json", f"`model_type` is {kind!r}; known are {known}, and sentence-transformers with a modules.json"
        )
    source = str(config.get("_name_or_path") or "")
    scale = logit_scale if logit_scale is not None else _KNOWN_SCALES.get(source)
    encoders = family(folder, config, variant, Calibration(_ACTIVATIONS.get(kind, "softmax"), scale, logit_bias))
    return ExportPlan("sentence-transformers" if is_sentence_encoder else kind, encoders, folder.licence(), source)


def _contrastive(
    folder: HubFolder, config: Mapping[str, Any], variant: str, calibration: Calibration, text: Mapping[str, Any]
) -> list[EncoderPlan]:
    """Returns the two encoders of a model of texts and pictures; `text` are the numbers of its texts."""
    return [
        _encoder(folder, variant, "text", ("text_model",), text, _dim(config), calibration),
        _encoder(folder, variant, "vision", ("vision_model",), image_numbers(folder), _dim(config), calibration),
    ]


def _clip(folder: HubFolder, config: Mapping[str, Any], variant: str, calibration: Calibration) -> list[EncoderPlan]:
    limit = int(config.get("text_config", {}).get("max_position_embeddings", 77))
    return _contrastive(folder, config, variant, calibration, text_numbers(folder, limit))


def _chinese_clip(
    folder: HubFolder, config: Mapping[str, Any], variant: str, calibration: Calibration
) -> list[EncoderPlan]:
    return _contrastive(folder, config, variant, calibration, text_numbers(folder, 52, pad_id=0))


def _siglip(folder: HubFolder, config: Mapping[str, Any], variant: str, calibration: Calibration) -> list[EncoderPlan]:
    """Texts always have the full length, and no mask; of SigLIP 2 they are lower-cased."""
    limit = int(config.get("text_config", {}).get("max_position_embeddings", 64))
    is_second = "siglip2" in str(config.get("model_type")) or _uses_gemma(folder)
    numbers = text_numbers(folder, limit, fixed_length=limit, lowercase=is_second, pad_id=0 if is_second else 1)
    return _contrastive(folder, config, variant, calibration, numbers)


def _uses_gemma(folder: HubFolder) -> bool:
    return "Gemma" in str(folder.json("tokenizer_config.json").get("tokenizer_class", ""))


def _clap(folder: HubFolder, config: Mapping[str, Any], variant: str, calibration: Calibration) -> list[EncoderPlan]:
    limit = int(folder.json("tokenizer_config.json").get("model_max_length") or 77)
    text = text_numbers(folder, min(limit, 77), pad_id=1)
    return [
        _encoder(folder, variant, "text", ("text_model",), text, _dim(config), calibration),
        _encoder(folder, variant, "audio", ("audio_model",), clap_numbers(folder), _dim(config), calibration),
    ]


def _whisper(folder: HubFolder, config: Mapping[str, Any], variant: str, calibration: Calibration) -> list[EncoderPlan]:
    numbers, dim = whisper_numbers(folder), int(config["d_model"])
    return [_encoder(folder, variant, "", ("encoder_model",), numbers, dim, None, "mean")]


def _sentence_encoder(
    folder: HubFolder, config: Mapping[str, Any], variant: str, calibration: Calibration
) -> list[EncoderPlan]:
    """Reads the pipeline of modules.json: a transformer, its pooling, and perhaps a normalisation, which is ours."""
    modules = {str(each["type"]).rpartition(".")[2]: str(each.get("path", "")) for each in _modules(folder)}
    others = set(modules) - {"Transformer", "Pooling", "Normalize"}
    if others or "Pooling" not in modules:
        what = f"has the module {min(others)}" if others else "has no Pooling"
        raise import_error("modules.json", f"{what}; Transformer, Pooling and Normalize are served")
    pooling = _pooling(folder.json(f"{modules['Pooling']}/config.json"), modules["Pooling"])
    prompts = folder.json("config_sentence_transformers.json").get("prompts") or {}
    default = folder.json("config_sentence_transformers.json").get("default_prompt_name")
    numbers = text_numbers(folder, text_limit(folder, config))
    named = {**prompts, **({"": prompts[default]} if default in prompts else {})}
    dim = int(config.get("hidden_size", 0)) * (pooling.count("+") + 1)
    return [_encoder(folder, variant, "", ("model",), numbers, dim, None, pooling, named)]


def _modules(folder: HubFolder) -> Sequence[Mapping[str, Any]]:
    modules = folder.any_json("modules.json")
    if not isinstance(modules, list):
        raise import_error("modules.json", "must hold a list of modules")
    return modules


def _pooling(config: Mapping[str, Any], name: str) -> str:
    """Returns the pooling of either layout of `1_Pooling/config.json` (sentence-transformers before 6, and from 6)."""
    if config.get("include_prompt") is False:
        raise import_error(f"{name}/config.json", "`include_prompt` is false, which is not served")
    stated = config.get("pooling_mode")
    modes = [stated] if isinstance(stated, str) else list(stated or ())
    modes = modes or [mode for key, mode in _POOLING_KEYS.items() if config.get(f"pooling_mode_{key}")]
    if not modes:
        raise import_error(f"{name}/config.json", "says no pooling; save the whole sentence-transformers folder")
    return "+".join(mode for mode in _POOLING_KEYS.values() if mode in modes)


# In the order in which several are concatenated (sentence-transformers `Pooling`).
_POOLING_KEYS = {
    "cls_token": "cls",
    "max_tokens": "max",
    "mean_tokens": "mean",
    "mean_sqrt_len_tokens": "mean_sqrt_len",
    "weightedmean_tokens": "weightedmean",
    "lasttoken": "lasttoken",
}


def _encoder(
    folder: HubFolder,
    variant: str,
    suffix: str,
    names: tuple[str, ...],
    numbers: Mapping[str, Any],
    dim: int,
    calibration: Calibration | None,
    pooling: str = "",
    prompts: Mapping[str, str] | None = None,
) -> EncoderPlan:
    """Returns the plan of one encoder. pooling: of hidden states, for a graph that gives nothing else."""
    graph = folder.graph(names, variant)
    facts = read_graph(folder.root, graph)
    modality = {"vision": "image"}.get(suffix, suffix) or ("text" if "tokenizer" in numbers else "audio")
    output, pooled = _output(facts, graph, pooling)
    files = [graph, *facts.external_files, *([str(numbers["tokenizer"])] if "tokenizer" in numbers else [])]
    return EncoderPlan(suffix, modality, graph, output, pooled, dim, numbers, files, calibration, prompts or {},
                       max_batch_cost=_batch_cost(modality, numbers), remarks=_remarks(calibration))  # fmt: skip


def _output(facts: GraphFacts, graph: str, pooling: str) -> tuple[str, str]:
    """Returns the output to take, and how to pool it.

    Raises:
        FailedPrecondition: the graph gives no embedding.
    """
    if pooling:
        for name in ("sentence_embedding", _HIDDEN):
            if name in facts.outputs:
                return name, "none" if name == "sentence_embedding" else pooling
    for name in ("text_embeds", "image_embeds", "audio_embeds", "pooler_output"):
        if name in facts.outputs and not pooling:
            return name, "none"
    raise import_error(
        graph, f"gives {', '.join(facts.outputs)}, none of which is an embedding: was it exported without projection?"
    )


def _batch_cost(modality: str, numbers: Mapping[str, Any]) -> int:
    if modality == "image":
        height, width = numbers["size"]
        return int(_IMAGE_ITEMS * height * width)
    if modality == "audio":
        return int(_AUDIO_ITEMS * (numbers["window_samples"] // numbers["hop_length"] + 1))
    return _TEXT_COST


def _remarks(calibration: Calibration | None) -> list[str]:
    if calibration is None or calibration.logit_scale is not None:
        return []
    return ["uncalibrated: no file of an export holds the trained scale; give --logit-scale to get probabilities"]


def _dim(config: Mapping[str, Any]) -> int:
    """Returns the width of the shared space; 0 where only a run of the graph tells."""
    if config.get("model_type") in ("siglip", "siglip2"):
        return int(config.get("vision_config", {}).get("hidden_size", 0))
    return int(config.get("projection_dim") or 0)


_ACTIVATIONS = {"siglip": "sigmoid", "siglip2": "sigmoid"}
_Family = Callable[[HubFolder, Mapping[str, Any], str, Calibration], list[EncoderPlan]]
_FAMILIES: Mapping[str, _Family] = {
    "clip": _clip,
    "chinese_clip": _chinese_clip,
    "siglip": _siglip,
    "siglip2": _siglip,
    "clap": _clap,
    "whisper": _whisper,
}
