"""Makes sentence encoders in other graphs: with the pooling inside, in other number formats, with weights beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.float16 import convert_float_to_float16
from torch import Tensor, nn

from tests.conformance.making.common import Array, run, unit
from tests.conformance.making.text_folders import classic_pooling, fresh, model_config, pipeline, put
from tests.conformance.making.text_reference import (
    AXES,
    BERT_INPUTS,
    HIDDEN,
    Encoder,
    bert,
    export_texts,
    finish,
    tokens,
)
from tests.conformance.making.text_tokenizers import bert_files, size_of


class Pooled(nn.Module):  # type: ignore[misc]  # torch is not installed where types are checked
    """A transformer with its pooling, as Optimum exports the models of sentence-transformers."""

    def __init__(self, model: nn.Module, *, is_normal: bool) -> None:
        super().__init__()
        self.auto_model, self._is_normal = model, is_normal

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> dict[str, Tensor]:
        """Returns token_embeddings and sentence_embedding."""
        found = self.auto_model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        hidden = found[HIDDEN]  # (b, s, 32)
        mask = attention_mask[:, :, None].to(hidden.dtype)
        mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        pooled = nn.functional.normalize(mean, dim=1) if self._is_normal else mean
        return {"token_embeddings": hidden, "sentence_embedding": pooled}


def st_pooled() -> None:
    """As Optimum exports models of sentence-transformers: the pooling is in the graph."""
    folder, bare = fresh("st_pooled", "model", "model_bare")
    files = bert_files(max_tokens=64)
    model = bert(size_of(files), num_hidden_layers=1)
    outputs = {"token_embeddings": AXES, "sentence_embedding": {0: "batch_size"}}
    cost = {}
    for place, path, is_normal in ((folder, "onnx/model.onnx", True), (bare, "model.onnx", False)):
        put(place, {**files, "config.json": model_config(model)})
        pooled = Pooled(model, is_normal=is_normal).eval()
        cost[f"{place.name}/{path}"] = export_texts(pooled, place, path, outputs, BERT_INPUTS)
    put(folder, {
        "modules.json": pipeline("Pooling", "Normalize"),
        "1_Pooling/config.json": classic_pooling("mean_tokens"),
        "sentence_bert_config.json": {"max_seq_length": 64, "do_lower_case": False},
    })  # fmt: skip
    golden = Encoder(folder, model).reference()
    notes = (
        "BERT; the graphs give token_embeddings and sentence_embedding, their mean: of length 1 in model, as it is in "
        "model_bare. That is what Optimum writes: the graph beside config.json, no file of sentence-transformers."
    )
    finish("st_pooled", golden, notes, cost, prompts={}, pooling="none", max_tokens=64)


def mean_of(file: Path, batch: Mapping[str, Tensor]) -> Array:
    """The mean over the tokens of each text, at length 1, one text at a time: int8 looks at the whole batch."""
    names = [each.name for each in onnx.load(str(file), load_external_data=False).graph.input]
    rows = []
    for place, mask in enumerate(batch["attention_mask"].numpy()):
        kept = mask.astype(bool)
        hidden = run(file, {name: batch[name][place].numpy()[None, kept] for name in names})[0]
        rows.append(hidden[0].astype(np.float32).mean(0))
    return unit(np.stack(rows))


def bert_fp16() -> None:
    """One model in three number formats: float32, float16, and int8 quantized when it runs."""
    (folder,) = fresh("bert_fp16")
    files = bert_files(max_tokens=64)
    model = bert(size_of(files), num_hidden_layers=1)
    put(folder, {
        **files,
        "config.json": model_config(model),
        "modules.json": pipeline("Pooling", "Normalize"),
        "1_Pooling/config.json": classic_pooling("mean_tokens"),
        "sentence_bert_config.json": {"max_seq_length": 64, "do_lower_case": False},
    })  # fmt: skip
    cost = export_texts(model, folder, inputs=BERT_INPUTS)
    file = folder / "onnx" / "model.onnx"
    half, quantized = file.with_name("model_fp16.onnx"), file.with_name("model_quantized.onnx")
    onnx.save(convert_float_to_float16(onnx.load(str(file)), keep_io_types=False), str(half))
    quantize_dynamic(file, quantized, weight_type=QuantType.QInt8, per_channel=True)
    golden = Encoder(folder, model).reference()
    batch = tokens(folder)
    off = {each.name: np.abs(mean_of(each, batch) - golden["text_embeds"]) for each in (file, half, quantized)}
    notes = (
        "BERT; the mean. The goldens are of float32. model_fp16.onnx gives float16; model_quantized.onnx is int8, its "
        "vectors depend on what else is in the batch: off_max_abs is of one text at a time, without padding."
    )
    finish("bert_fp16", golden, notes, {"model.onnx": cost}, prompts={}, pooling="mean", max_tokens=64,
           off_max_abs={name: float(f"{each.max():.1e}") for name, each in off.items()})  # fmt: skip


def bert_external() -> None:
    """Weights beside the graph, and positions that the caller gives."""
    (folder,) = fresh("bert_external")
    files = bert_files(max_tokens=64)
    model = bert(size_of(files))
    put(folder, {
        **files,
        "config.json": model_config(model),
        "modules.json": pipeline("Pooling", "Normalize"),
        "1_Pooling/config.json": classic_pooling("mean_tokens"),
        "sentence_bert_config.json": {"max_seq_length": 64, "do_lower_case": False},
    })  # fmt: skip
    cost = export_texts(model, folder, inputs=(*BERT_INPUTS, "position_ids"))
    file = folder / "onnx" / "model.onnx"
    whole = onnx.load(str(file))
    onnx.save_model(whole, str(file), save_as_external_data=True, location="model.onnx_data", size_threshold=0)
    golden = Encoder(folder, model).reference()
    off = np.abs(mean_of(file, tokens(folder)) - golden["text_embeds"]).max()
    notes = "BERT; the mean. Every weight is in model.onnx_data; the graph also takes position_ids, 0, 1, 2 …"
    finish("bert_external", golden, notes, {"model.onnx": cost}, prompts={}, pooling="mean", max_tokens=64,
           off_max_abs={"model.onnx": float(f"{off:.1e}")})  # fmt: skip


def bert_ids_only() -> None:
    """A graph that takes the ids and no mask, as some exporters write: padding would be read as tokens."""
    (folder,) = fresh("bert_ids_only")
    files = bert_files(max_tokens=64)
    model = bert(size_of(files), seed=2, num_hidden_layers=1)
    put(folder, {
        **files,
        "config.json": model_config(model),
        "modules.json": pipeline("Pooling", "Normalize"),
        "1_Pooling/config.json": classic_pooling("mean_tokens"),
        "sentence_bert_config.json": {"max_seq_length": 64, "do_lower_case": False},
    })  # fmt: skip
    cost = export_texts(model, folder, inputs=("input_ids",))
    golden = Encoder(folder, model, batch_size=1).reference()
    notes = "BERT; the mean. The graph takes input_ids alone. The goldens are of one text at a time, without padding."
    finish("bert_ids_only", golden, notes, {"model.onnx": cost}, prompts={}, pooling="mean", max_tokens=64)


MAKERS: Final[dict[str, Callable[[], None]]] = {
    "st_pooled": st_pooled,
    "bert_external": bert_external,
    "bert_fp16": bert_fp16,
    "bert_ids_only": bert_ids_only,
}
