"""Other layouts and longer inputs of the exports here give the vectors of the same goldens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conformance.exports import EXACT, HERE, add, files, goldens, images_as_promised, texts
from tests.conformance.serving import embed_audios, embed_images, embed_texts, rows_of

RATE_HZ = 8_000


@pytest.mark.parametrize("backend", ["torchvision", "pil"])
async def test_pictures_have_the_same_vectors_by_the_processor_file_of_2021(tmp_path: Path, backend: str) -> None:
    name = add(tmp_path, "deit", "--resize", backend, layout="model_old")
    pictures = files("deit", "images")
    off = np.abs(
        rows_of(await embed_images(tmp_path, name, pictures))
        - images_as_promised("deit", "" if backend == "torchvision" else "_pil")
    ).max(1)
    if backend == "pil":  # its golden in this mode has alpha dropped
        off = np.delete(off, [file.name for file in pictures].index("rgba.png"))
    assert off.max() < EXACT


async def test_whisper_hears_the_first_30_s_of_a_longer_clip(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal(31 * RATE_HZ)
    samples = 0.2 * noise * np.linspace(0.1, 1, len(noise))  # what is left out is loudest
    samples[int(29.9 * RATE_HZ) : int(30.1 * RATE_HZ)] = 0  # so that resampling does not see the cut
    clips = {"whole": samples, "first": samples[: 30 * RATE_HZ], "last": samples[RATE_HZ:]}
    for clip, values in clips.items():
        soundfile.write(tmp_path / f"{clip}.wav", values, RATE_HZ)
    name = add(tmp_path / "models", "whisper")
    rows = rows_of(await embed_audios(tmp_path / "models", name, [tmp_path / f"{clip}.wav" for clip in clips]))
    assert np.abs(rows[0] - rows[1]).max() < EXACT
    assert np.abs(rows[0] - rows[2]).max() > 100 * EXACT


async def test_texts_of_a_graph_without_a_mask_do_not_depend_on_their_neighbours(tmp_path: Path) -> None:
    name, given = add(tmp_path, "bert_ids_only"), texts("bert_ids_only")
    expected = goldens("bert_ids_only")["text_embeds"]
    rows = rows_of(await embed_texts(tmp_path, name, [*reversed(given), *given]))
    assert np.abs(rows - np.concatenate([expected[::-1], expected])).max() < EXACT


async def test_a_long_clip_can_be_the_mean_of_windows_over_all_of_it(tmp_path: Path) -> None:
    name = add(tmp_path, "clap", "--long-clip", "windows")
    rows = rows_of(await embed_audios(tmp_path, f"{name}-audio", [HERE / "inputs" / "long_16k.flac"]))
    known = goldens("clap")  # 11.7 s are two windows of 10 s: the first and the last
    both = known["long_clip_embeds_first_10s"] + known["long_clip_embeds_last_10s"]
    assert np.abs(rows[0] - both / np.linalg.norm(both)).max() < EXACT
