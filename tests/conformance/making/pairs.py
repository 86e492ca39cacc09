"""Makes the fixtures that know texts and images: Chinese-CLIP, SigLIP 2, and CLIP in other layouts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import (
    AutoTokenizer,
    BertTokenizer,
    ChineseCLIPConfig,
    ChineseCLIPImageProcessor,
    ChineseCLIPModel,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
)

from tests.conformance.making.common import (
    HERE,
    IMAGES,
    TEXTS,
    Array,
    export,
    filled,
    on_white,
    pictures,
    pixels,
    save,
    unit,
    write,
)
from tests.conformance.making.joint import TEXT, axes, export_joint, pooled, rounded, set_scalars, text_goldens

SIZE: Final = 48  # pixels

# What the tokenizers know whole; the rest they spell.
KNOWN: Final = (
    "a photo of cat dogs playing in the park red car parked near café bold quick brown fox jumps over lazy and then "
    "keeps running through forest until night falls upon quiet little village by sea"
)
CHINESE: Final = "猫の写真与狗的照片一只在公园红色汽车"

VISION: Final[dict[str, Any]] = {**TEXT, "image_size": SIZE, "patch_size": 8}


def _images(model: Any, folder: Path, *, with_pixels: bool = True) -> dict[str, Array]:
    """The image goldens of a joint model, of both backends. Any: transformers has no types."""

    def embedded(values: Tensor) -> Array:
        with torch.no_grad():
            return unit(model.get_image_features(pixel_values=values).pooler_output)

    bytes_, values = pixels(folder, pictures())
    _, values_pil = pixels(folder, pictures(), "pil")
    white_bytes, white_values = pixels(folder, [on_white()])
    found = {
        "image_embeds": embedded(values),
        "image_embeds_pil": embedded(values_pil),
        "on_white_embeds": embedded(white_values)[0],
    }
    return found | ({"pixel_u8": bytes_, "on_white_pixel_u8": white_bytes[0]} if with_pixels else {})


def _pair(
    family: str,
    model: Any,
    texts: Mapping[str, Tensor],
    outputs: tuple[str, str],
    meta: Mapping[str, Any],
    *,
    is_fixed: bool = False,
) -> None:  # Any: transformers has no types; JSON
    """Exports both towers of a model and writes its goldens; configuration and processors are in the folder.

    is_fixed: The graphs take the number of tokens that there are, and one image.
    """
    folder = HERE / family / "model"
    text, vision = outputs
    _, values = pixels(folder, pictures())
    fixed = (*texts, text) if is_fixed or "attention_mask" not in texts else (text,)
    free = [name for name in texts if name not in fixed]
    differences = {
        "text_model.onnx": export(
            model,
            texts,
            folder / "onnx" / "text_model.onnx",
            [text],
            axes(*free, fixed=fixed),
            pooled(model, "get_text_features", text),
        ),
        "vision_model.onnx": export(
            model,
            {"pixel_values": values[:1] if is_fixed else values},
            folder / "onnx" / "vision_model.onnx",
            [vision],
            {} if is_fixed else axes(fixed=("pixel_values", vision)),
            pooled(model, "get_image_features", vision),
        ),
    }
    golden = {**text_goldens(model, texts), **_images(model, folder, with_pixels=not is_fixed)}
    _compared(family, model, golden, {**meta, "torch_to_onnxruntime_max_abs": rounded(differences)})


def _compared(family: str, model: Any, golden: dict[str, Array], meta: Mapping[str, Any]) -> None:
    """Adds the logits to the goldens, and writes them. Any: transformers has no types; JSON."""
    scale = float(model.logit_scale.detach().exp())
    known: dict[str, Any] = {"texts": TEXTS, "images": IMAGES, "logit_scale": scale}
    golden["logits_per_image"] = np.float32(scale) * golden["image_embeds"] @ golden["text_embeds"].T
    if hasattr(model, "logit_bias"):
        known["logit_bias"] = float(model.logit_bias.detach())
        golden["logits_per_image"] += np.float32(known["logit_bias"])
        golden["probs"] = 1 / (1 + np.exp(-golden["logits_per_image"]))
    write(family, golden, {**known, **meta})


def chinese_clip() -> None:
    """Chinese-CLIP: BERT WordPiece with token types, 52 tokens at most, pictures stretched."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*".,!?—&<>/-'", *letters, *(f"##{each}" for each in letters)]
    vocabulary = list(dict.fromkeys([*specials, *pieces, *CHINESE, *KNOWN.split(), "##ing", "##s", "##ed"]))
    tokenizer = BertTokenizer(vocab={piece: place for place, piece in enumerate(vocabulary)}, model_max_length=512)
    text = {**TEXT, "vocab_size": len(vocabulary), "max_position_embeddings": 512}
    config = ChineseCLIPConfig(text_config=text, vision_config=VISION, projection_dim=24)
    model = filled(ChineseCLIPModel(config), gain=2.0)
    set_scalars(model, logit_scale=math.log(100.0))
    size = {"height": SIZE, "width": SIZE}
    processor = ChineseCLIPImageProcessor(size=size, crop_size=size, do_center_crop=False, resample=3)
    save(HERE / "chinese_clip" / "model", model, processor, tokenizer)
    texts = dict(tokenizer(TEXTS, padding=True, truncation=True, max_length=52, return_tensors="pt"))
    notes = (
        "Text: BERT WordPiece, lower-cased, each Chinese character a token, token types zero, 52 tokens at most "
        "(config.json and tokenizer_config.json say 512), CLS projected, not normalised in the graph. Image: stretched."
    )
    _pair("chinese_clip", model, texts, ("text_embeds", "image_embeds"), {"notes": notes})


def _gemma(*, lowers: bool) -> Tokenizer:
    """A tokenizer of Gemma's build: byte-fallback BPE that joins the words it knows, and <eos>."""
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    letters = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,!é猫写真"
    vocabulary = [*specials, *(f"<0x{value:02X}>" for value in range(256)), *letters]
    merges: list[tuple[str, str]] = []
    for word in (f"{each}{end}" for each in KNOWN.split() for end in ("", "▁")):
        for end in range(1, len(word)):
            merge = (word[:end], word[end])
            if merge not in merges:
                merges.append(merge)
                vocabulary.append(word[: end + 1])
    ids = {piece: place for place, piece in enumerate(dict.fromkeys(vocabulary))}
    model = models.BPE(vocab=ids, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    joined = normalizers.Replace(" ", "▁")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), joined]) if lowers else joined
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A:0 <eos>:0", special_tokens=[("<eos>", 1)])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(specials)
    return tokenizer


def _siglip2(folder: Path, seed: int, *, lowers: bool, layer_count: int) -> Any:  # Any: transformers has no types
    """A SigLIP 2 model, its processors written to the folder, and the tokenizer."""
    names = {f"{name}_token": f"<{name}>" for name in ("pad", "eos", "bos", "unk", "mask")}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_gemma(lowers=lowers), padding_side="right", model_max_length=64, **names
    )
    text = {**TEXT, "vocab_size": len(tokenizer), "max_position_embeddings": 64, "projection_size": 24}
    text |= {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2, "num_hidden_layers": layer_count}
    vision = {**VISION, "num_hidden_layers": layer_count}
    model = filled(SiglipModel(SiglipConfig(text_config=text, vision_config=vision)), seed=seed)
    set_scalars(model, logit_scale=math.log(112.5), logit_bias=-16.75)
    processor = SiglipImageProcessor(size={"height": SIZE, "width": SIZE}, resample=2, do_convert_rgb=None)
    save(folder, model, processor, tokenizer)
    return model, tokenizer


def _state_tokenizer(folder: Path, **keys: Any) -> None:  # Any: JSON
    """Puts into tokenizer_config.json what published files say there."""
    file = folder / "tokenizer_config.json"
    stated = json.loads(file.read_text(encoding="utf-8")) | keys
    file.write_text(json.dumps(stated, indent=2) + "\n", encoding="utf-8")


def siglip2() -> None:
    """SigLIP 2 at a fixed resolution, as exported before its tokenizer lower-cased by itself."""
    folder = HERE / "siglip2" / "model"
    model, tokenizer = _siglip2(folder, seed=1, lowers=False, layer_count=2)
    _state_tokenizer(folder, tokenizer_class="GemmaTokenizer", model_max_length=1000000000000000019884624838656)
    lowered = [each.lower() for each in TEXTS]
    texts = {"input_ids": tokenizer(lowered, padding="max_length", truncation=True, return_tensors="pt")["input_ids"]}
    notes = (
        "Text: lower-cased, which tokenizer.json does not do; Gemma BPE with <eos>, always padded to 64 with <pad> (0) "
        "on the right, no attention mask, pooled at the last position. Image: stretched, bilinear, attention pooling."
    )
    _pair("siglip2", model, texts, ("pooler_output", "pooler_output"), {"notes": notes})


def _clip(seed: int, **sizes: int) -> tuple[Any, Any, Any]:  # Any: transformers has no types
    """A CLIP model, its image processor, and the tokenizer of the clip folder."""
    tokenizer = AutoTokenizer.from_pretrained(HERE / "clip" / "model")
    text = {**TEXT, "num_hidden_layers": 1, **sizes, "vocab_size": len(tokenizer), "max_position_embeddings": 77}
    text |= {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    vision = {**VISION, "num_hidden_layers": 1, **sizes}
    model = filled(CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)), seed=seed)
    set_scalars(model, logit_scale=math.log(100.0))
    size = {"height": SIZE, "width": SIZE}
    return model, CLIPImageProcessor(size={"shortest_edge": SIZE}, crop_size=size), tokenizer


def transformers5() -> None:
    """CLIP as version 5 saves a processor: one processor_config.json, no preprocessor_config.json."""
    folder = HERE / "transformers5" / "model"
    model, processor, tokenizer = _clip(seed=5)
    save(folder, model, CLIPProcessor(processor, tokenizer))
    texts = dict(tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt"))
    notes = "The towers of a CLIP; processor_config.json holds image_processor."
    _pair("transformers5", model, texts, ("text_embeds", "image_embeds"), {"notes": notes})


def clip_fixed() -> None:
    """CLIP whose graphs have fixed axes: texts of 77 tokens, one picture at a time."""
    model, processor, tokenizer = _clip(seed=9, hidden_size=12, intermediate_size=24)
    save(HERE / "clip_fixed" / "model", model, processor, tokenizer)
    texts = dict(tokenizer(TEXTS, padding="max_length", truncation=True, return_tensors="pt"))
    notes = "The text graph takes exactly 77 tokens, with their mask; the vision graph exactly one picture."
    _pair("clip_fixed", model, texts, ("text_embeds", "image_embeds"), {"notes": notes}, is_fixed=True)


def _joint_images(family: str, model: Any, texts: Mapping[str, Tensor], notes: str) -> None:
    """Exports a joint model of images, and writes its goldens. Any: transformers has no types."""
    folder = HERE / family / "model"
    _, values = pixels(folder, pictures())
    inputs = {"input_ids": texts["input_ids"], "pixel_values": values, **texts}
    meta = {"notes": notes, "torch_to_onnxruntime_max_abs": export_joint(folder, model, inputs, "image")}
    _compared(family, model, {**text_goldens(model, texts), **_images(model, folder, with_pixels=False)}, meta)


def clip_joint() -> None:
    """CLIP in one graph: both inputs, the logits, and both vectors already of length 1."""
    model, processor, tokenizer = _clip(seed=6)
    save(HERE / "clip_joint" / "model", model, processor, tokenizer)
    texts = dict(tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt"))
    notes = "One graph of both towers; text_embeds and image_embeds have length 1; the scale is a weight of it."
    _joint_images("clip_joint", model, texts, notes)


def siglip_joint() -> None:
    """SigLIP 2 in one graph, as exported since its tokenizer lower-cases by itself."""
    folder = HERE / "siglip_joint" / "model"
    model, tokenizer = _siglip2(folder, seed=7, lowers=True, layer_count=1)
    _state_tokenizer(folder, tokenizer_class="Siglip2Tokenizer")
    texts = {"input_ids": tokenizer(TEXTS, padding="max_length", truncation=True, return_tensors="pt")["input_ids"]}
    notes = (
        "One graph of both towers, input_ids always 64 and no attention mask; text_embeds and image_embeds have "
        "length 1; scale and bias are weights of it. tokenizer.json has Lowercase."
    )
    _joint_images("siglip_joint", model, texts, notes)


MAKERS: Final[dict[str, Callable[[], None]]] = {
    "chinese_clip": chinese_clip,
    "siglip2": siglip2,
    "clip_fixed": clip_fixed,
    "clip_joint": clip_joint,
    "siglip_joint": siglip_joint,
    "transformers5": transformers5,
}
