"""What all families share: finding the graph of an encoder, and describing it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from shared.importing import measure
from shared.importing.graph import Graph, read_graph
from shared.importing.hub_folder import HubFolder, import_error
from shared.importing.layouts import no_graph
from shared.importing.numbers.texts import made_tokenizer
from shared.importing.plan import Calibration, GraphPlan, PackagePlan, Wishes
from shared.importing.surgery import averaged, only
from shared.inference.pooling import NONE, POOLINGS, is_known

HIDDEN = "last_hidden_state"
_TEXT_COST, _IMAGE_ITEMS, _AUDIO_ITEMS = 16_384, 16, 8  # padded tokens, pictures and clips of a batch: guesses

JSON = Mapping[str, Any]  # Any: whatever the file holds


@dataclass(frozen=True, slots=True)
class Vector:
    """Which output of a graph becomes the vector, and how it is pooled; `none` where the graph has done that."""

    output: str
    pooling: str


@dataclass(frozen=True, slots=True)
class Export:
    """An export as the families read it. config: its `config.json`. graphs: those that were read, by name."""

    folder: HubFolder
    config: JSON
    wishes: Wishes
    graphs: dict[str, Graph] = field(default_factory=dict)


def find_graph(export: Export, names: tuple[str, ...]) -> Graph:
    """Returns the first graph of that name, in the variant that is wished for.

    Raises:
        FailedPrecondition: there is none.
    """
    if graph := seen_graph(export, names):
        return graph
    raise no_graph(export.folder, names, export.wishes.variant)


def seen_graph(export: Export, names: tuple[str, ...]) -> Graph | None:
    """Returns the graph that `find_graph` would, or None where there is none."""
    name = export.folder.find_graph(names, export.wishes.variant)
    if name and name not in export.graphs:
        export.graphs[name] = read_graph(export.folder, name)
    return export.graphs.get(name)


def whole(graph: Graph, output: str, dim: int) -> GraphPlan:
    """Returns the plan of a graph that is taken as it is."""
    return _plan(graph, graph.name, output, dim, files=graph.files, inputs=graph.inputs)


def part(graph: Graph, output: str, dim: int, name: str) -> GraphPlan:
    """Returns the plan of that part of a graph which makes one output; it is kept beside the graph's own place."""
    file = str(PurePosixPath(graph.name).with_name(f"{name}.onnx"))
    made = only(graph, [output])
    inputs = {each.name: graph.inputs[each.name] for each in made.graph.input if each.name in graph.inputs}
    data = {file: made.SerializeToString()}
    return _plan(graph, file, output, dim, files=graph.files[1:], made=data, inputs=inputs)


def flat(graph: Graph, output: str) -> GraphPlan:
    """Returns the plan of a graph that gives maps (b, channels, h, w): their mean, which is taken in the graph."""
    file = str(PurePosixPath(graph.name).with_name("encoder.onnx"))
    made, name = averaged(graph, output)
    channels = graph.outputs[output][1]
    width = channels if isinstance(channels, int) else 0
    data = {file: made.SerializeToString()}
    return _plan(graph, file, name, width, files=graph.files[1:], made=data, inputs=graph.inputs)


def _plan(graph: Graph, file: str, output: str, dim: int, **facts: Any) -> GraphPlan:
    return GraphPlan(
        file,
        output,
        dim=dim or (graph.width(output) if output in graph.outputs else 0),
        runs_alone=graph.runs_alone,
        token_count=graph.token_count,
        **facts,
    )


def vector_output(export: Export, graph: Graph, own: Sequence[str], states: Sequence[str], usual: str) -> Vector:
    """Returns the graph's own vector where it gives one, else its states and how they are pooled.

    own: outputs that are embeddings; states: outputs that are to be pooled; usual: how the reference pools them, empty
    where that is not known or takes weights that the graph lacks.

    Raises:
        FailedPrecondition: another pooling is wished for than the graph has, or nothing says how states are pooled.
    """
    wish = export.wishes.pooling
    ready = next((name for name in own if name in graph.outputs), "")
    raw = next((name for name in states if name in graph.outputs), "")
    if ready and wish in ("", NONE):
        return Vector(ready, NONE)
    if ready:
        beside = f"would pool {raw} in its place, without what the graph does after that" if raw else "has no states"
        raise import_error(
            graph.name,
            f"gives {ready}, the graph's own embedding, and --pooling {wish} {beside}; leave --pooling out, or export "
            "a graph without that output",
        )
    if wish == NONE or not raw:
        embedding_output(graph, own if wish == NONE else (*own, *states))
    if wish and not is_known(wish):
        raise import_error("pooling", f"is {wish!r}; {', '.join(POOLINGS)} are served")
    if pooling := wish or usual:
        return Vector(raw, pooling)
    raise import_error(
        graph.name,
        f"gives {raw} alone, and nothing says how the reference makes one vector of it without weights that the graph "
        f"lacks; export a graph that gives {' or '.join(own)}, say --pooling mean or cls, or --family TYPE if it is "
        "built as a known one",
    )


def embedding_output(graph: Graph, outputs: Sequence[str]) -> str:
    """Returns the first of `outputs` that a graph has.

    Raises:
        FailedPrecondition: the graph gives no embedding.
    """
    for name in outputs:
        if name in graph.outputs:
            return name
    if "logits" in graph.outputs and HIDDEN in outputs:
        raise import_error(
            graph.name,
            "gives logits of a head that is not served (of tokens, a vocabulary or a span); export the base model (the "
            "task feature-extraction), or a classifier for one label set",
        )
    raise import_error(
        graph.name,
        f"gives {', '.join(graph.outputs)}, but none of {', '.join(outputs)}, which would be an embedding: "
        "was it exported without projection?",
    )


def text_package(
    export: Export, suffix: str, graph: GraphPlan, numbers: JSON, made: Mapping[str, bytes] | None = None, **facts: Any
) -> PackagePlan:
    """Returns the package of a text encoder. facts: further fields of the plan."""
    if not (graph.token_count or numbers["fixed_length"] or "attention_mask" in graph.inputs):
        numbers = {**numbers, "pad_multiple": 0}
    if graph.token_count and not numbers["fixed_length"]:  # padded to that many, with a mask
        limit = min(numbers["max_tokens"], graph.token_count)
        numbers = {**numbers, "max_tokens": limit, "padded_to": graph.token_count}
    tokenizer = made_tokenizer(export.folder)
    return PackagePlan(
        suffix,
        "text",
        graph,
        numbers,
        files=[] if tokenizer else [numbers["tokenizer"]],
        made={**tokenizer, **(made or {})},
        max_batch_cost=_TEXT_COST,
        **facts,
    )


def image_package(suffix: str, graph: GraphPlan, numbers: JSON, **facts: Any) -> PackagePlan:
    """Returns the package of an image encoder. facts: further fields of the plan."""
    height, width = numbers["size"]
    return PackagePlan(suffix, "image", graph, numbers, max_batch_cost=_IMAGE_ITEMS * height * width, **facts)


def audio_package(suffix: str, graph: GraphPlan, numbers: JSON, **facts: Any) -> PackagePlan:
    """Returns the package of an audio encoder. facts: further fields of the plan."""
    if numbers["front_end"] == "waveform":
        cost = int(numbers["window_samples"])  # in samples: one long clip, or several short ones
    else:
        frames = numbers.get("frame_count") or numbers["window_samples"] // numbers["hop_length"] + 1
        cost = int(_AUDIO_ITEMS * frames)
    return PackagePlan(suffix, "audio", graph, numbers, max_batch_cost=cost, **facts)


def with_width(export: Export, graph: Graph, plan: GraphPlan, numbers: JSON) -> GraphPlan:
    """Returns the plan with its width, which is measured where neither config nor graph states it."""
    dim = plan.dim or measure.width(export.folder, graph, plan.output, numbers)
    return dataclasses.replace(plan, dim=dim)


def calibration_remarks(calibration: Calibration | None) -> list[str]:
    """Returns what to say of a scale that is not known."""
    if calibration is None or calibration.logit_scale is not None:
        return []
    return ["uncalibrated: no file of this export holds the trained scale; give --logit-scale to get probabilities"]
