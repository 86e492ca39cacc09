"""Encoders of sounds alone: Whisper, wav2vec 2.0 and its kin, AST."""

from __future__ import annotations

from shared.importing.families.encoders import HIDDEN, JSON, Export, audio_package, find_graph, vector_output, whole
from shared.importing.hub_folder import import_error
from shared.importing.numbers.sounds import ast_numbers, waveform_numbers, whisper_numbers
from shared.importing.plan import PackagePlan

X_VECTOR = "embeddings"  # what models of speakers give beside the logits of those they were trained with
_LONG_REMARK = "clips over 60 s get the mean of even windows; the reference reads them whole, however long"


def whisper(export: Export) -> list[PackagePlan]:
    """Returns Whisper's encoder: the mean of its states over all 30 s."""
    numbers = whisper_numbers(export.folder, export.wishes.long_clip)
    return [_encoder(export, numbers, ("encoder_model", "model"), int(export.config["d_model"]))]


def waveform_model(export: Export) -> list[PackagePlan]:
    """Returns an encoder of raw samples: the mean of its states, or the x-vector that a speaker model makes of them."""
    numbers = waveform_numbers(export.folder, export.wishes.long_clip)
    config = export.config
    width = config.get("output_hidden_size") if config.get("add_adapter") else None
    return [_encoder(export, numbers, ("model", "encoder_model"), int(width or config["hidden_size"]), _LONG_REMARK)]


def spectrogram_transformer(export: Export) -> list[PackagePlan]:
    """Returns AST's encoder: its pooled output, which is the mean of the states of CLS and the distillation token."""
    numbers, width = ast_numbers(export.folder, export.wishes.long_clip), int(export.config["hidden_size"])
    graph = find_graph(export, ("model", "encoder_model"))
    found = vector_output(export, graph, ("pooler_output",), (HIDDEN,), "first_two")
    return [audio_package("", whole(graph, found.output, width), numbers, pooling=found.pooling)]


def _encoder(export: Export, numbers: JSON, names: tuple[str, ...], width: int, *remarks: str) -> PackagePlan:
    """Returns the package of an encoder whose states are averaged, or that gives a vector of its own.

    Raises:
        FailedPrecondition: there is no such graph, or it takes clips of one length alone.
    """
    graph = find_graph(export, names)
    shape = graph.inputs.get("input_values", ())
    if len(shape) > 1 and isinstance(shape[1], int):
        raise import_error(graph.name, f"takes clips of {shape[1]} samples alone; export it with a dynamic length")
    found = vector_output(export, graph, (X_VECTOR,), (HIDDEN,), "mean")
    dim = graph.width(X_VECTOR) or int(export.config["xvector_output_dim"]) if found.output == X_VECTOR else width
    return audio_package("", whole(graph, found.output, dim), numbers, pooling=found.pooling, remarks=list(remarks))
