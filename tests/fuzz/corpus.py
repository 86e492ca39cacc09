"""The seeds that inputs are mutated from: small files of every format, odd texts, a request of every kind.

`python -m tests.fuzz.corpus` writes them into `tests/fuzz/seeds/` again. They lie in the repository, so that a number
of an input means the same input everywhere; a file that once broke something is put beside them by hand.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import soundfile
from PIL import Image

from sensorium.v1 import (
    audio_pb2,
    content_pb2,
    embedding_pb2,
    fusion_pb2,
    model_pb2,
    orchestrator_pb2,
    text_pb2,
    vision_pb2,
)

FOLDER = Path(__file__).parent / "seeds"

TEXTS = (
    "seven",
    "two small red circles, please",
    "两个小红圆",
    "שלום עולם و مرحبا",
    "e\u0301\u0323\u0302" * 40,
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\ufe0f\U0001f3fd",
    "\u202eright to left\u202c\ufeff\u200b\u00ad",
    "a\x00b\x01\x1f\x7f\x85",
    "\ufdfa\ufdfd\u1e9e\u0130\u01c5" * 8,
    "\U0010ffff\ufffd\uffff\ud7ff\ue000",
    " \t\r\n\u2028\u2029\u3000",
    "[CLS] [SEP] [MASK] [UNK] </s> <|endoftext|>",
    "word " * 300,
    "x" * 2000,
    "7" * 500,
)


@dataclass(frozen=True, slots=True)
class Corpus:
    """The seeds; requests by the path of their method."""

    images: Sequence[bytes]
    sounds: Sequence[bytes]
    texts: Sequence[bytes]
    requests: Mapping[str, bytes]


def read() -> Corpus:
    """Returns the seeds that lie in the repository, in the order of their names."""

    def of(kind: str) -> list[Path]:
        return sorted(path for path in (FOLDER / kind).iterdir() if path.is_file())

    requests = {f"/{path.stem.replace('-', '/')}": path.read_bytes() for path in of("requests")}
    images, sounds, texts = ([path.read_bytes() for path in of(kind)] for kind in ("images", "sounds", "texts"))
    return Corpus(images, sounds, texts, requests)


def main() -> None:
    """Writes the seeds."""
    written = {f"texts/{at:02}.txt": text.encode() for at, text in enumerate(TEXTS)}
    written |= {f"images/{name}": data for name, data in _images()}
    written |= {f"sounds/{name}": data for name, data in _sounds()}
    some = written["images/rgb.png"], written["sounds/pcm_16.wav"]
    written |= {f"requests/{name}.binpb": message.SerializeToString() for name, message in _requests(*some)}
    for name, data in written.items():
        (FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / name).write_bytes(data)


def _images() -> Iterator[tuple[str, bytes]]:
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.integers(0, 256, (4, 6, 4), np.uint8), np.ones((5, 5, 1), np.uint8))  # (20, 30, 4)
    rgba, rgb, grey = Image.fromarray(blocks), Image.fromarray(blocks[..., :3]), Image.fromarray(blocks[..., 0])
    turned = Image.Exif()
    turned[0x0112] = 6
    palette = rgb.quantize(16)
    frames = {"save_all": True, "append_images": [palette.rotate(180), palette]}
    for name, picture, options in (
        ("rgb.png", rgb, {}),
        ("grey.png", grey, {}),
        ("rgba.png", rgba, {}),
        ("grey_alpha.png", rgba.convert("LA"), {}),
        ("palette.png", palette, {}),
        ("palette_transparent.png", palette, {"transparency": 3}),
        ("one_bit.png", grey.convert("1"), {}),
        ("exif_6.png", rgb, {"exif": turned}),
        ("moving.png", palette, frames),
        ("baseline.jpg", rgb, {"quality": 80}),
        ("progressive.jpg", rgb, {"quality": 80, "progressive": True}),
        ("grey.jpg", grey, {}),
        ("cmyk.jpg", rgb.convert("CMYK"), {}),
        ("exif_6.jpg", rgb, {"exif": turned}),
        ("subsampled.jpg", rgb, {"subsampling": 2, "restart_marker_rows": 1}),
        ("lossy.webp", rgb, {"quality": 50}),
        ("lossless.webp", rgba, {"lossless": True}),
        ("moving.webp", rgba, {"save_all": True, "append_images": [rgba.rotate(180)]}),
        ("exif_6.webp", rgb, {"exif": turned}),
        ("rgb.bmp", rgb, {}),
        ("palette.bmp", palette, {}),
        ("one_bit.bmp", grey.convert("1"), {}),
        ("rgb.tiff", rgb, {}),
        ("lzw.tiff", rgba, {"compression": "tiff_lzw"}),
        ("deflate.tiff", palette, {"compression": "tiff_adobe_deflate"}),
        ("jpeg.tiff", rgb, {"compression": "jpeg"}),
        ("fax.tiff", grey.convert("1"), {"compression": "group4"}),
        ("packbits.tiff", grey, {"compression": "packbits"}),
        ("cmyk.tiff", rgb.convert("CMYK"), {}),
        ("floats.tiff", grey.convert("F"), {}),
        ("still.gif", palette, {}),
        ("transparent.gif", palette, {"transparency": 2}),
        ("moving.gif", palette, frames),
    ):
        yield name, _saved(picture, name.rpartition(".")[2], options)
    deep = blocks[..., :3].astype(np.uint16) * 257
    yield "deep_rgb.png", bytes(cv2.imencode(".png", deep)[1])
    yield "deep_grey.png", bytes(cv2.imencode(".png", deep[..., 0])[1])
    yield "deep.tiff", bytes(cv2.imencode(".tiff", deep)[1])


def _saved(picture: Image.Image, suffix: str, options: Mapping[str, Any]) -> bytes:
    """Any: each format has options of its own."""
    file = io.BytesIO()
    picture.save(file, {"jpg": "JPEG"}.get(suffix, suffix.upper()), **options)
    return file.getvalue()


def _sounds() -> Iterator[tuple[str, bytes]]:
    seconds = np.arange(2400) / 8000
    tone = np.stack([np.sin(2800 * seconds), 0.5 * np.sin(900 * seconds)], 1).astype(np.float32)
    wavs = (
        "PCM_16",
        "PCM_U8",
        "PCM_24",
        "PCM_32",
        "FLOAT",
        "DOUBLE",
        "ULAW",
        "ALAW",
        "IMA_ADPCM",
        "MS_ADPCM",
        "GSM610",
    )
    kinds = [
        *(("WAV", kind) for kind in wavs),
        ("RF64", "PCM_16"),
        ("WAVEX", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("FLAC", "PCM_24"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", "MPEG_LAYER_III"),
    ]
    for container, kind in kinds:
        channels = tone[:, :1] if kind == "GSM610" else tone
        name = f"{kind.lower()}.{container.lower()}"
        file = io.BytesIO()
        try:
            soundfile.write(file, channels[:1200], 8000, kind, format=container)
        except (soundfile.LibsndfileError, ValueError):  # not every libsndfile writes all of them
            continue
        yield name, file.getvalue()


def _requests(png: bytes, wav: bytes) -> Iterator[tuple[str, Any]]:
    """Yields a valid request a method, by `package.Service-Method`. Any: each of its own message."""
    image, audio = content_pb2.Image(data=png), content_pb2.Audio(data=wav)
    raw = np.sin(np.arange(1600) / 9).astype("<f4").tobytes()
    pcm = content_pb2.Pcm(samples=raw, format=content_pb2.PCM_FORMAT_FLOAT32, sample_rate_hz=8000, channel_count=1)
    vector = embedding_pb2.Embedding(space="tiny@1", values=np.eye(1, 128, dtype=np.float32)[0])
    contents = [
        content_pb2.Content(text="seven"),
        content_pb2.Content(image=image),
        content_pb2.Content(audio=audio),
        content_pb2.Content(embedding=vector),
    ]
    options = embedding_pb2.EncodeOptions(dimensions=64, encoding=embedding_pb2.VECTOR_ENCODING_INT8)
    part = fusion_pb2.FusionPart(embedding=vector, modality=content_pb2.MODALITY_TEXT, weight=1)
    live = audio_pb2.AudioStreamFormat(format=content_pb2.PCM_FORMAT_FLOAT32, sample_rate_hz=8000, window_ms=100)
    label = orchestrator_pb2.Label(name="seven", examples=contents[1:2])
    joint = orchestrator_pb2.FuseItem(parts=[orchestrator_pb2.FusePart(content=each) for each in contents[:3]])
    by_service: Mapping[str, Mapping[str, Any]] = {
        "TextEncoderService": {
            "EncodeText": text_pb2.EncodeTextRequest(texts=TEXTS[:3], options=options),
            "EncodeTextStream": text_pb2.EncodeTextStreamRequest(id="1", text="seven"),
            "Tokenize": text_pb2.TokenizeRequest(texts=TEXTS[:3]),
        },
        "VisionEncoderService": {
            "EncodeImage": vision_pb2.EncodeImageRequest(images=[image], options=options),
            "EncodeImageStream": vision_pb2.EncodeImageStreamRequest(id="1", image=image),
        },
        "AudioEncoderService": {
            "EncodeAudio": audio_pb2.EncodeAudioRequest(
                audios=[audio, content_pb2.Audio(pcm=pcm)], window_ms=100, hop_ms=50
            ),
            "EncodeAudioStream": audio_pb2.EncodeAudioStreamRequest(format=live),
        },
        "FusionService": {
            "Fuse": fusion_pb2.FusionServiceFuseRequest(items=[fusion_pb2.FusionItem(parts=[part, part])]),
            "Project": fusion_pb2.ProjectRequest(embeddings=[vector], to_space="tiny@1"),
            "Predict": fusion_pb2.PredictRequest(items=[fusion_pb2.FusionItem(parts=[part])], top_k=2),
        },
        "OrchestratorService": {
            "Embed": orchestrator_pb2.EmbedRequest(contents=contents, options=options),
            "EmbedStream": orchestrator_pb2.EmbedStreamRequest(id="1", content=contents[0]),
            "Compare": orchestrator_pb2.CompareRequest(queries=contents[:1], candidates=contents),
            "Classify": orchestrator_pb2.ClassifyRequest(contents=contents[:2], labels=[label], templates=["a {}"]),
            "Fuse": orchestrator_pb2.FuseRequest(items=[joint], allow_partial=True),
            "EmbedWindows": orchestrator_pb2.EmbedWindowsRequest(audios=[audio], window_ms=100, options=options),
            "Predict": orchestrator_pb2.OrchestratorServicePredictRequest(items=[joint], top_k=2),
            "Project": orchestrator_pb2.OrchestratorServiceProjectRequest(embeddings=[vector], to_space="tiny@1"),
            "Tokenize": orchestrator_pb2.OrchestratorServiceTokenizeRequest(texts=TEXTS[:3], truncate=True),
            "Describe": orchestrator_pb2.DescribeRequest(),
        },
        "ModelService": {
            "ListModels": model_pb2.ListModelsRequest(page_size=1),
            "GetModel": model_pb2.GetModelRequest(),
            "LoadModel": model_pb2.LoadModelRequest(),
            "SetDefaultModel": model_pb2.SetDefaultModelRequest(),
        },
    }
    for service, methods in by_service.items():
        for method, message in methods.items():
            yield f"sensorium.v1.{service}-{method}", message


if __name__ == "__main__":
    main()
