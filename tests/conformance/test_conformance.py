"""Exports added by one command, and served, give the reference's vectors and probabilities from raw inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sensorium.v1 import content_pb2
from tests.conformance.exports import (
    EXACT,
    FOLDERS,
    HERE,
    add,
    facts,
    files,
    goldens,
    images_as_promised,
    texts,
    with_golden,
)
from tests.conformance.serving import embed_audios, embed_images, embed_texts, predict, rows_of

PROMPTED = [(family, key) for family in FOLDERS for key in goldens(family) if key.endswith("text_embeds")]
PAIRS = ("text", "vision", "audio")
CLASSIFIERS = [family for family in FOLDERS if "labels" in facts(family)]


def package(family: str, side: str) -> str:
    """What the encoder of one modality is called."""
    name = family.replace("_", "-")
    return f"{name}-{side}" if {"text_embeds", "image_embeds"} <= goldens(family).keys() or "clap" in family else name


@pytest.mark.parametrize(("family", "key"), PROMPTED)
async def test_texts_have_the_vectors_of_the_reference(tmp_path: Path, family: str, key: str) -> None:
    add(tmp_path, family)
    prompt = key.removesuffix("text_embeds").rstrip("_")
    results = await embed_texts(tmp_path, package(family, "text"), texts(family), prompt)
    assert np.abs(rows_of(results) - goldens(family)[key]).max() < EXACT


async def test_texts_have_the_same_vectors_in_the_older_layout(tmp_path: Path) -> None:
    name = add(tmp_path, "st_bert_mean", layout="model_classic")
    results = await embed_texts(tmp_path, name, texts("st_bert_mean"))
    assert np.abs(rows_of(results) - goldens("st_bert_mean")["text_embeds"]).max() < EXACT


async def test_an_export_without_modules_is_pooled_as_its_user_says(tmp_path: Path) -> None:
    name = add(tmp_path, "st_pooled", layout="model_bare")
    results = await embed_texts(tmp_path, name, texts("st_pooled"))
    assert np.abs(rows_of(results) - goldens("st_pooled")["text_embeds"]).max() < EXACT


@pytest.mark.parametrize("variant", ["fp16", "int8"])
async def test_variants_are_as_near_as_the_reference_found_them(tmp_path: Path, variant: str) -> None:
    name = add(tmp_path, "bert_fp16", "--variant", variant, "--pooling", "mean")
    results = await embed_texts(tmp_path, name, texts("bert_fp16"))
    file = {"fp16": "model_fp16.onnx", "int8": "model_quantized.onnx"}[variant]
    off = np.abs(rows_of(results) - goldens("bert_fp16")["text_embeds"]).max()
    assert off < 1.05 * facts("bert_fp16")["off_max_abs"][file]


@pytest.mark.parametrize("family", with_golden("image_embeds"))
@pytest.mark.parametrize("backend", ["torchvision", "pil"])
async def test_pictures_have_the_vectors_of_the_reference(tmp_path: Path, family: str, backend: str) -> None:
    add(tmp_path, family, *([] if backend == "torchvision" else ["--resize", backend]))
    suffix = "" if backend == "torchvision" else "_pil"
    results = await embed_images(tmp_path, package(family, "vision"), files(family, "images"))
    off = np.abs(rows_of(results) - images_as_promised(family, suffix)).max(1)
    if suffix and family not in ("clip", "siglip"):  # their goldens in this mode have alpha dropped
        off = np.delete(off, [file.name for file in files(family, "images")].index("rgba.png"))
    assert off.max() < EXACT


@pytest.mark.parametrize("family", with_golden("audio_embeds"))
async def test_sounds_have_the_vectors_of_the_reference(tmp_path: Path, family: str) -> None:
    add(tmp_path, family)
    expected = goldens(family)["audio_embeds"].copy()
    if family == "clap":  # the reference drew a piece of the long clip at random
        place = [file.name for file in files(family, "audios")].index("long_16k.flac")
        expected[place] = goldens(family)["long_clip_embeds_center_10s"]
    results = await embed_audios(tmp_path, package(family, "audio"), files(family, "audios"))
    assert np.abs(rows_of(results) - expected).max() < EXACT


@pytest.mark.parametrize("family", CLASSIFIERS)
async def test_classifiers_predict_the_probabilities_of_the_reference(tmp_path: Path, family: str) -> None:
    name, found = add(tmp_path, family), goldens(family)
    expected = found["probs"].copy()
    if "texts" in facts(family):
        results, kind = await embed_texts(tmp_path, name, texts(family)), content_pb2.MODALITY_TEXT
    elif "images" in facts(family):
        pictures = files(family, "images")
        results, kind = await embed_images(tmp_path, name, pictures), content_pb2.MODALITY_IMAGE
        expected[[file.name for file in pictures].index("rgba.png")] = found["on_white_probs"]
    else:
        sounds = files(family, "audios")
        results, kind = await embed_audios(tmp_path, name, sounds), content_pb2.MODALITY_AUDIO
    probabilities = await predict(tmp_path, f"{name}-classes", [each.embedding for each in results], kind)
    assert np.abs(probabilities - expected).max() < EXACT


def test_every_folder_with_goldens_is_held_to_them() -> None:
    named = {family for family, _ in PROMPTED} | set(with_golden("image_embeds")) | set(with_golden("audio_embeds"))
    assert named == set(FOLDERS)
    assert len(FOLDERS) == len(list(HERE.glob("*/golden.npz"))) - 1


async def test_a_vector_of_a_quantized_graph_does_not_depend_on_its_neighbours(tmp_path: Path) -> None:
    name = add(tmp_path, "bert_fp16", "--variant", "int8", "--pooling", "mean")
    together = rows_of(await embed_texts(tmp_path, name, texts("bert_fp16")))
    alone = [rows_of(await embed_texts(tmp_path, name, [text])) for text in texts("bert_fp16")[:3]]
    assert np.abs(np.concatenate(alone) - together[:3]).max() == 0
