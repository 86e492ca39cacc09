"""Classifiers: an encoder that ends before the last layer, and a head that `Predict` serves."""

from __future__ import annotations

from pathlib import PurePosixPath

from shared.importing.families.encoders import (
    HIDDEN,
    JSON,
    Export,
    audio_package,
    find_graph,
    image_package,
    seen_graph,
    text_package,
)
from shared.importing.families.pictures import PIXELS
from shared.importing.families.sounds import X_VECTOR
from shared.importing.hub_folder import import_error
from shared.importing.numbers.images import image_numbers
from shared.importing.numbers.sounds import ast_numbers, waveform_numbers, whisper_numbers
from shared.importing.numbers.texts import text_limit, text_numbers
from shared.importing.plan import Calibration, GraphPlan, PackagePlan
from shared.importing.surgery import cut_at_classifier

LOGITS = "logits"
_GRAPHS = ("model", "encoder_model")
_HEAD_ITEMS = 4096  # vectors in one batch: a guess, they are cheap
_EMBEDDINGS = ("sentence_embedding", "token_embeddings", "pooler_output")
_LONG_REMARK = (
    "clips over 60 s are classified by their first 60 s; --long-clip windows takes the mean of windows over all of them"
)
_TASKS = ("ForSequenceClassification", "ForImageClassification", "ForAudioClassification")


def is_classifier(export: Export) -> bool:
    """Returns whether an export is of a model that gives one set of logits an input: by its graph, then its config.

    The class that wrote the config is not always stated, and a classifier may have been exported without its head.
    """
    named = [str(each) for each in export.config.get("architectures") or ()]
    is_named = any(each.endswith(_TASKS) for each in named)
    graph = seen_graph(export, _GRAPHS)
    if graph is None:
        return is_named
    if LOGITS not in graph.outputs:
        return is_named and not set(graph.outputs) & {HIDDEN, *_EMBEDDINGS}
    has_other_head = any("For" in each for each in named) or X_VECTOR in graph.outputs
    return is_named or (not has_other_head and len(graph.outputs[LOGITS]) == 2)


def classifier(export: Export) -> list[PackagePlan]:
    """Returns the encoder, whose vectors are what the last layer reads, and that layer with its labels.

    Raises:
        FailedPrecondition: the labels are not stated, or the graph does not end in a linear layer.
    """
    activation = _activation(export.config)
    graph = find_graph(export, _GRAPHS)
    if LOGITS not in graph.outputs:
        raise import_error(graph.name, f"gives {', '.join(graph.outputs)}, but a classifier gives {LOGITS}")
    labels = _labels(export.config, graph.width(LOGITS))
    if graph.width(LOGITS) not in (0, len(labels)):
        raise import_error(
            "config.json", f"`id2label` has {len(labels)} labels, but {graph.name} gives {graph.width(LOGITS)} logits"
        )
    cut = cut_at_classifier(graph, LOGITS)
    place = PurePosixPath(graph.name)
    encoder, head = str(place.with_name("encoder.onnx")), str(place.with_name("classes.onnx"))
    weights = graph.files[1:]
    body = GraphPlan(
        encoder, cut.output, weights, {encoder: cut.encoder}, cut.dim, graph.inputs, graph.runs_alone, graph.token_count
    )
    top = GraphPlan(head, LOGITS, weights, {head: cut.head}, cut.dim, {"embedding": ("batch", cut.dim)})
    calibration = Calibration(activation, 1.0)
    remarks = [f"the logits of {len(labels)} classes are made of these vectors by the package that ends in -classes"]
    return [
        _encoder(export, body, remarks),
        PackagePlan("classes", "", top, {"scales": False}, calibration=calibration, labels=labels,
                    max_batch_cost=_HEAD_ITEMS),
    ]  # fmt: skip


def _encoder(export: Export, graph: GraphPlan, remarks: list[str]) -> PackagePlan:
    """Returns the package of the encoder, by the kind of its preprocessing."""
    folder, wishes = export.folder, export.wishes
    if "input_ids" in graph.inputs:
        numbers = text_numbers(folder, text_limit(folder, export.config))
        return text_package(export, "", graph, numbers, remarks=remarks)
    if PIXELS in graph.inputs:
        return image_package("", graph, image_numbers(folder, wishes.resize), remarks=remarks)
    if "input_features" in graph.inputs:
        numbers = whisper_numbers(folder, wishes.long_clip)
    elif len(graph.inputs.get("input_values", ())) == 3:  # frames of a spectrogram
        numbers = ast_numbers(folder, wishes.long_clip)
    else:
        numbers = waveform_numbers(folder, wishes.long_clip or "start")
        remarks = [*remarks, *([_LONG_REMARK] if numbers["long_clip"] == "start" else [])]
    return audio_package("", graph, numbers, remarks=remarks)


def _labels(config: JSON, count: int) -> list[str]:
    """Returns the labels in the order of the logits; those that transformers makes up are in no file.

    Raises:
        FailedPrecondition: there are none, or one alone, or numbers are left out.
    """
    raw = config.get("id2label") or ({0: "LABEL_0", 1: "LABEL_1"} if count in (0, 2) else {})
    try:
        stated = {int(place): str(label) for place, label in raw.items()}
    except (AttributeError, ValueError):
        raise import_error("config.json", "`id2label` must be an object from numbers to labels") from None
    if len(stated) < 2 or sorted(stated) != list(range(len(stated))):
        raise import_error(
            "config.json",
            f"`id2label` has {len(stated)} labels; a classifier needs two or more, numbered from 0 (a single output is "
            "a regression or a reranker, which Predict does not serve)",
        )
    return [stated[place] for place in range(len(stated))]


def _activation(config: JSON) -> str:
    kind = config.get("problem_type")
    if kind == "regression":
        raise import_error("config.json", "`problem_type` is regression, which Predict does not serve")
    return "sigmoid" if kind == "multi_label_classification" else "softmax"
