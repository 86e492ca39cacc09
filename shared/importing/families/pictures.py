"""Encoders of pictures alone: ViT and its kin, convolutional networks, and what else gives a pooled vector."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from shared.importing import measure
from shared.importing.families.encoders import (
    HIDDEN,
    JSON,
    Export,
    Vector,
    find_graph,
    flat,
    image_package,
    vector_output,
    whole,
)
from shared.importing.graph import Graph
from shared.importing.hub_folder import import_error
from shared.importing.numbers.images import image_numbers
from shared.importing.plan import GraphPlan, PackagePlan

PIXELS = "pixel_values"
_GRAPHS = ("model", "encoder_model", "vision_model")
_EMBEDS, _POOLER = "image_embeds", "pooler_output"


def vision_transformer(export: Export) -> list[PackagePlan]:
    """Returns the encoder whose vector is the state of the first token, CLS, after the last norm.

    Its `pooler_output` is one more layer, which published checkpoints often lack: it is taken where no states are.
    """
    graph = find_graph(export, _GRAPHS)
    has_states = HIDDEN in graph.outputs
    return _encoder(export, graph, (_EMBEDS,) if has_states else (_EMBEDS, _POOLER), "cls")


def pooled_network(export: Export) -> list[PackagePlan]:
    """Returns the encoder whose pooled output is the mean of its states, which is taken here where it is no output."""
    return _encoder(export, find_graph(export, _GRAPHS), (_EMBEDS, _POOLER), "mean")


def beit(export: Export) -> list[PackagePlan]:
    """Returns BEiT, which pools either CLS, or the mean of the patches with a norm that hidden states lack."""
    usual = "" if export.config.get("use_mean_pooling", True) else "cls"
    return _encoder(export, find_graph(export, _GRAPHS), (_EMBEDS, _POOLER), usual)


def any_backbone(export: Export) -> list[PackagePlan]:
    """Returns an encoder by its graph alone: its embedding or pooled output, or its states as the user pools them."""
    return _encoder(export, find_graph(export, _GRAPHS), (_EMBEDS, _POOLER), "")


def takes_pictures(graph: Graph | None) -> bool:
    """Returns whether a graph has pictures for its one input."""
    return graph is not None and set(graph.inputs) == {PIXELS}


def _encoder(export: Export, graph: Graph, own: Sequence[str], usual: str) -> list[PackagePlan]:
    numbers = image_numbers(export.folder, export.wishes.resize)
    found = vector_output(export, graph, own, (HIDDEN,), usual)
    plan = _plan(export, graph, found)
    is_map = len(graph.outputs[found.output]) == 4
    if not plan.dim:
        dim = measure.width(export.folder, graph, found.output, numbers, axis=1 if is_map else -1)
        plan = dataclasses.replace(plan, dim=dim)
    if graph.draws and not measure.repeats(export.folder, graph, found.output, found.pooling == "cls", numbers):
        raise import_error(
            graph.name,
            "gives other vectors at each call, for it draws random numbers (ViTMAE masks patches so); export it with "
            "`mask_ratio` 0 in config.json",
        )
    return [image_package("", plan, numbers, pooling="none" if is_map else found.pooling)]


def _plan(export: Export, graph: Graph, found: Vector) -> GraphPlan:
    """Returns the plan of a graph, with the mean over the pixels in it where its output is of maps."""
    if len(graph.outputs[found.output]) != 4:
        return whole(graph, found.output, _width(export.config) if found.output != _EMBEDS else 0)
    if found.pooling not in ("none", "mean"):
        raise import_error(graph.name, f"gives {found.output} as maps, which have no {found.pooling}; --pooling mean")
    return flat(graph, found.output)


def _width(config: JSON) -> int:
    """Returns the width of states: of networks in stages, of the last one; 0 where the config does not say."""
    stages = config.get("hidden_sizes")
    width = stages[-1] if isinstance(stages, list) and stages else config.get("hidden_size")
    return width if isinstance(width, int) else 0


PICTURES: dict[str, Callable[[Export], list[PackagePlan]]] = {
    **dict.fromkeys(
        ("vit", "deit", "dinov2", "dinov2_with_registers", "dinov3_vit", "vit_mae", "vit_msn"), vision_transformer
    ),
    **dict.fromkeys(("resnet", "regnet", "swin", "swinv2", "donut-swin"), pooled_network),
    **dict.fromkeys(("beit", "data2vec-vision"), beit),
    **dict.fromkeys(("convnext", "convnextv2"), any_backbone),  # their pooled output has a norm that maps lack
}
