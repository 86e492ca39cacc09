"""Encoders of sounds alone: Whisper, wav2vec 2.0 and its kin, AST."""

from __future__ import annotations

from shared.importing.families.encoders import HIDDEN, JSON, Export, audio_package, embedding_output, find_graph, whole
from shared.importing.numbers.sounds import ast_numbers, waveform_numbers, whisper_numbers
from shared.importing.plan import PackagePlan


def whisper(export: Export) -> list[PackagePlan]:
    """Returns Whisper's encoder: the mean of its states over all 30 s."""
    numbers = whisper_numbers(export.folder, export.wishes.long_clip)
    return [_encoder(export, numbers, ("encoder_model", "model"), int(export.config["d_model"]))]


def waveform_model(export: Export) -> list[PackagePlan]:
    """Returns an encoder of raw samples: the mean of its states."""
    numbers = waveform_numbers(export.folder, export.wishes.long_clip)
    return [_encoder(export, numbers, ("model", "encoder_model"), int(export.config["hidden_size"]))]


def spectrogram_transformer(export: Export) -> list[PackagePlan]:
    """Returns AST's encoder: the mean of the states of its CLS and distillation tokens, which is its pooled output."""
    numbers, width = ast_numbers(export.folder, export.wishes.long_clip), int(export.config["hidden_size"])
    graph = find_graph(export, ("model", "encoder_model"))
    return [audio_package("", whole(graph, embedding_output(graph, ("pooler_output",)), width), numbers)]


def _encoder(export: Export, numbers: JSON, names: tuple[str, ...], width: int) -> PackagePlan:
    graph = find_graph(export, names)
    output = embedding_output(graph, (HIDDEN,))
    return audio_package("", whole(graph, output, width), numbers, pooling=export.wishes.pooling or "mean")
