"""Text encoders: pipelines of sentence-transformers, and transformers without one."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.importing.families.encoders import (
    HIDDEN,
    JSON,
    Export,
    embedding_output,
    find_graph,
    text_package,
    vector_output,
    whole,
    with_width,
)
from shared.importing.families.known import known_pooling, known_prompts
from shared.importing.hub_folder import HubFolder, import_error
from shared.importing.numbers.texts import sentence_config, text_limit, text_numbers
from shared.importing.plan import PackagePlan
from shared.importing.surgery import layers
from shared.inference.model import HEAD_INPUT, HEAD_OUTPUT
from shared.inference.pooling import NONE, is_known

_GRAPHS = ("model", "encoder_model")
_POOLED, _STATES = "sentence_embedding", ("token_embeddings", HIDDEN)
_HEAD = "head.onnx"
_GEMMA = "EmbeddingGemma has dense layers after its pooled states"
_MAX_DENSE_BYTES = 2**30

# In the order in which several flags are concatenated (sentence-transformers `Pooling`).
_POOLING_KEYS = {
    "cls_token": "cls",
    "max_tokens": "max",
    "mean_tokens": "mean",
    "mean_sqrt_len_tokens": "mean_sqrt_len",
    "weightedmean_tokens": "weightedmean",
    "lasttoken": "lasttoken",
}
_ACTIVATIONS = {
    "Identity": "",
    "Tanh": "Tanh",
    "ReLU": "Relu",
    "GELU": "Gelu",
    "Sigmoid": "Sigmoid",
}

_Layer = tuple[str, Sequence[NDArray[Any]]]  # Any: float32 weights, or int64 bounds


def sentence_encoder(export: Export) -> list[PackagePlan]:
    """Returns the encoder that `modules.json` describes: a transformer, its pooling, and what follows on that.

    Raises:
        FailedPrecondition: a module or pooling is not served.
    """
    folder, modules = export.folder, _modules(export.folder)
    kinds = [kind for kind, _ in modules]
    if kinds[:2] != ["Transformer", "Pooling"]:
        raise import_error("modules.json", f"has the modules {', '.join(kinds)}; wanted Transformer, Pooling, …")
    pooling_config = folder.json(f"{modules[1][1]}/config.json")
    graph, stated = find_graph(export, _GRAPHS), _pooling(pooling_config, modules[1][1])
    pooling = export.wishes.pooling or stated
    if pooling not in (stated, NONE):
        vector_output(export, graph, (_POOLED,), _STATES, "")  # refuses to pool beside the graph's own vector
    masks_prompt = pooling_config.get("include_prompt") is False
    known = folder.json("config_sentence_transformers.json")
    steps = [step for kind, path in modules[2:] for step in _steps(folder, kind, path)]
    steps += _truncation(known.get("truncate_dim"))
    prompts, default = known.get("prompts") or {}, known.get("default_prompt_name")
    named = {name: str(text or "") for name, text in prompts.items() if name}
    if default and default not in named:
        file = "config_sentence_transformers.json"
        raise import_error(file, f"`default_prompt_name` {default!r} is none of its prompts {', '.join(named)}")
    named |= {"": named[default]} if default else {}
    lowercase = bool(sentence_config(folder).get("do_lower_case"))
    return [_package(export, pooling, steps, named, lowercase=lowercase, masks_prompt=masks_prompt)]


def _truncation(dim: object) -> list[_Layer]:
    """Returns the layer that keeps the first components, as sentence-transformers' `truncate_dim` does."""
    ends = (0, dim, 1) if isinstance(dim, int) else ()  # from, to, axis
    return [("Slice", [np.array([each], np.int64) for each in ends])] if ends else []


def plain_encoder(export: Export) -> list[PackagePlan]:
    """Returns a transformer without `modules.json`, pooled as its checkpoint is known or wished to be.

    Raises:
        FailedPrecondition: nothing says how it is pooled.
    """
    graph = find_graph(export, _GRAPHS)
    embedding_output(graph, (_POOLED, *_STATES))  # what gives none is no matter of pooling
    if _POOLED in graph.outputs:
        pooling = vector_output(export, graph, (_POOLED,), _STATES, "").pooling
        return [_package(export, pooling, [], {}, lowercase=False, masks_prompt=False)]
    is_gemma = bool(export.config.get("use_bidirectional_attention")) and "gemma" in str(export.config["model_type"])
    if is_gemma and not export.wishes.pooling:
        raise import_error(
            "modules.json",
            f"is missing: {_GEMMA}, which stand beside the graph or in one that gives sentence_embedding; take the "
            "whole sentence-transformers folder, or give --pooling mean for a model that has none",
        )
    pooling = export.wishes.pooling or known_pooling(_name(export), str(export.config.get("model_type")))
    if not pooling:
        raise import_error(
            "modules.json", "is missing, and nothing else says how hidden states become one vector; see the model's "
            "card, and give --pooling mean, cls, lasttoken or max"
        )  # fmt: skip
    package = _package(export, pooling, [], {}, lowercase=False, masks_prompt=False)
    if export.wishes.pooling and not is_gemma:
        return [package]
    remark = (
        f"{_GEMMA}; none of them is in these vectors"
        if is_gemma
        else f"pooling {pooling} is what checkpoints of this name or kind have; no file says it (or give --pooling)"
    )
    return [dataclasses.replace(package, remarks=[*package.remarks, remark])]


def _package(
    export: Export,
    pooling: str,
    steps: Sequence[_Layer],
    prompts: Mapping[str, str],
    *,
    lowercase: bool,
    masks_prompt: bool,
) -> PackagePlan:
    if not is_known(pooling):
        raise import_error("pooling", f"is {pooling!r}; {', '.join(_POOLING_KEYS.values())} are served")
    graph = find_graph(export, _GRAPHS)
    output = embedding_output(graph, (_POOLED,) if pooling == NONE else (*_STATES, _POOLED))
    is_whole = output == _POOLED  # with all that follows on pooling
    masks_prompt = masks_prompt and bool(prompts)
    if is_whole and masks_prompt:
        raise import_error(graph.name, "pools its states itself, prompts included, but `include_prompt` is false")
    dims = [_width_after(kind, arrays) for kind, arrays in steps if kind in ("Linear", "Slice")]
    if is_whole and dims and graph.width(output) not in (0, dims[-1]):
        raise import_error(
            graph.name, f"gives {output} of {graph.width(output)} numbers; modules.json ends in {dims[-1]}"
        )
    head = {} if is_whole or not steps else {_HEAD: layers(steps, (HEAD_INPUT, HEAD_OUTPUT))}
    limit = text_limit(export.folder, export.config)
    numbers = text_numbers(export.folder, limit, lowercase=lowercase, masks_prompt=masks_prompt)
    width = 0 if is_whole else _width(export.config) * (pooling.count("+") + 1)
    plan = with_width(export, graph, whole(graph, output, dims[-1] if dims else width), numbers)
    prompts, remarks = _prompts(export, prompts)
    facts = {"pooling": NONE if is_whole else pooling, "head": _HEAD if head else ""}
    return text_package(export, "", plan, numbers, head, **facts, prompts=prompts, remarks=remarks)


def _width_after(kind: str, arrays: Sequence[NDArray[Any]]) -> int:
    return len(arrays[0]) if kind == "Linear" else int(arrays[1][0])


def _width(config: JSON) -> int:
    """Returns the width of hidden states; 0 where the config does not say."""
    return int(next((config[name] for name in ("hidden_size", "dim", "d_model", "n_embd") if config.get(name)), 0))


def _prompts(export: Export, stated: Mapping[str, str]) -> tuple[Mapping[str, str], list[str]]:
    """Returns the prompts of the files, else those that the checkpoint is known to want, and those wished for."""
    known = {} if any(stated.values()) else known_prompts(_name(export))
    remarks = []
    if known:
        remarks = [f"this checkpoint was trained with prompts; ask for them by prompt_name: {', '.join(known)}"]
    return {**stated, **known, **export.wishes.prompts}, remarks


def _name(export: Export) -> str:
    """Returns all that may name a checkpoint: config, source, folder, and the card's base model."""
    names = (export.config.get("_name_or_path"), export.wishes.source, export.folder.root.resolve().name)
    return " ".join(str(each) for each in (*names, export.folder.card("base_model")) if each)


def _modules(folder: HubFolder) -> list[tuple[str, str]]:
    """Returns each module's kind and folder, without those that change nothing here; normalising comes last anyway."""
    raw = folder.any_json("modules.json")
    if not isinstance(raw, list) or not all(isinstance(each, dict) and "type" in each for each in raw):
        raise import_error("modules.json", "must hold a list of modules, each with its `type`")
    for each in raw:
        if not str(each["type"]).startswith("sentence_transformers."):
            raise import_error(
                "modules.json", f"names the module {each['type']}, whose code comes along; that is never run"
            )
    modules = [(str(each["type"]).rpartition(".")[2], str(each.get("path", ""))) for each in raw]
    modules = [each for each in modules if each[0] != "Dropout"]
    while modules and modules[-1][0] == "Normalize":
        modules.pop()
    return modules


def _pooling(config: JSON, name: str) -> str:
    """Returns the pooling of either layout of `1_Pooling/config.json`.

    sentence-transformers before 6 has a flag for each mode, and concatenates them in a fixed order; from 6 on there is
    a name, or a list of them in the order that counts.
    """
    stated = config.get("pooling_mode")
    if not config:
        raise import_error(f"{name}/config.json", "is missing; save the whole sentence-transformers folder")
    if stated is None:  # where nothing is flagged, the mean is the reference's default
        flagged = [mode for key, mode in _POOLING_KEYS.items() if config.get(f"pooling_mode_{key}")]
        return "+".join(flagged or ["mean"])
    modes = [_POOLING_KEYS.get(str(mode), str(mode)) for mode in ([stated] if isinstance(stated, str) else stated)]
    if unknown := set(modes) - set(_POOLING_KEYS.values()):
        raise import_error(f"{name}/config.json", f"`pooling_mode` has {min(unknown)!r}, which is not served")
    return "+".join(modes)


def _steps(folder: HubFolder, kind: str, path: str) -> list[_Layer]:
    """Returns the layers of a module that follows on pooling.

    Raises:
        FailedPrecondition: it is of a kind that is not served, or its weights are missing.
    """
    if kind == "Normalize":
        return [("Normalize", [])]
    if kind == "LayerNorm":
        weights = _weights(folder, path)
        return [("LayerNorm", [weights["norm.weight"], weights["norm.bias"]])]
    if kind != "Dense":
        raise import_error(
            "modules.json", f"has the module {kind} after Pooling; Dense, LayerNorm, Normalize are served"
        )
    config = folder.json(f"{path}/config.json")
    for name, usual in (("use_residual", False), ("module_input_name", _POOLED), ("module_output_name", _POOLED)):
        if (config.get(name) or usual) != usual:
            raise import_error(f"{path}/config.json", f"`{name}` is {config[name]!r}, which is not done")
    activation = re.sub(r".*\.", "", str(config.get("activation_function", "torch.nn.Tanh")))
    if activation not in _ACTIVATIONS:
        raise import_error(
            f"{path}/config.json", f"`activation_function` {activation} is none of {', '.join(_ACTIVATIONS)}"
        )
    weights = _weights(folder, path)
    arrays = [weights["linear.weight"], *([weights["linear.bias"]] if "linear.bias" in weights else [])]
    follows: list[_Layer] = [(_ACTIVATIONS[activation], [])] if _ACTIVATIONS[activation] else []
    return [("Linear", arrays), *follows]


def _weights(folder: HubFolder, path: str) -> dict[str, NDArray[np.float32]]:
    """Returns the float32 weights of a module; a pickle is never read."""
    name = f"{path}/model.safetensors"
    if not folder.has(name):
        raise import_error(
            name, "is missing; weights are read from safetensors alone, never from a pickle: save it again"
        )
    return _read_safetensors(name, folder.path(name, _MAX_DENSE_BYTES))


def _read_safetensors(name: str, file: Path) -> dict[str, NDArray[np.float32]]:
    from safetensors.numpy import load_file

    try:
        loaded: dict[str, NDArray[Any]] = load_file(file)
        return {key: value.astype(np.float32) for key, value in loaded.items()}
    except Exception as fault:  # noqa: BLE001  # the library's errors share no public base
        raise import_error(name, f"cannot be read: {str(fault)[:150]}") from None
