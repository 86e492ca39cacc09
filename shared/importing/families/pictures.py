"""Encoders of pictures alone: ViT, DINOv2 and their kin."""

from __future__ import annotations

from shared.importing.families.encoders import HIDDEN, Export, embedding_output, find_graph, image_package, whole
from shared.importing.numbers.images import image_numbers
from shared.importing.plan import PackagePlan


def vision_transformer(export: Export) -> list[PackagePlan]:
    """Returns the encoder whose vector is the state of the first token, CLS, after the last norm."""
    graph = find_graph(export, ("model", "encoder_model", "vision_model"))
    output = embedding_output(graph, (HIDDEN, "pooler_output", "image_embeds"))
    numbers = image_numbers(export.folder, export.wishes.resize)
    pooling = (export.wishes.pooling or "cls") if output == HIDDEN else "none"
    return [image_package("", whole(graph, output, int(export.config["hidden_size"])), numbers, pooling=pooling)]
