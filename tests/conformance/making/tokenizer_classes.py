"""Makes sentence encoders whose tokenizer's class overrules tokenizer.json, as transformers 5 lets it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from transformers import XLMRobertaConfig, XLMRobertaModel

from tests.conformance.making.common import TEXTS, filled
from tests.conformance.making.text_folders import classic_pooling, fresh, model_config, pipeline, put
from tests.conformance.making.text_reference import BERT_INPUTS, SIZES, Encoder, bert, export_texts, finish
from tests.conformance.making.text_tokenizers import Files, bert_files, size_of, xlm_roberta_files

XLM_ROBERTA_TEXTS: Final = (
    *TEXTS[:5],
    "  Query: What IS it?  ",
    "line ONE\nline two\r\n\n\tline Four",
    "NIGHT FALLS\u3000upon\u00a0the\u0085sea\u2028and the ﬁshes…",
)
BERT_TEXTS: Final = (*TEXTS[:5], "Über den FLUSS, l'Été à Köln", "cafe\u0301 CAFE\u0301 café CAFÉ")


def _overruled(files: Files, change: Callable[[dict[str, Any]], object]) -> Files:  # Any: JSON
    """The files with tokenizer.json changed behind the back of the others."""
    stated = json.loads(files["tokenizer.json"])
    change(stated)
    return {**files, "tokenizer.json": json.dumps(stated, indent=2, ensure_ascii=False)}


def _put(folder: Path, model: Any, files: Files) -> None:  # Any: transformers has no types
    """Writes a sentence encoder that takes the mean."""
    put(folder, {
        **files,
        "config.json": model_config(model),
        "modules.json": pipeline("Pooling", "Normalize"),
        "1_Pooling/config.json": classic_pooling("mean_tokens"),
        "sentence_bert_config.json": {"max_seq_length": 64, "do_lower_case": False},
    })  # fmt: skip


def xlmr_class() -> None:
    """XLM-RoBERTa whose tokenizer.json lower-cases, and does not split at white space; its class does neither."""
    (folder,) = fresh("xlmr_class")
    files = xlm_roberta_files(max_tokens=64)
    del files["sentencepiece.bpe.model"]

    def change(stated: dict[str, Any]) -> None:  # Any: JSON
        stated["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, stated["normalizer"]]}
        stated["pre_tokenizer"] = stated["pre_tokenizer"]["pretokenizers"][-1]  # Metaspace alone

    config = XLMRobertaConfig(vocab_size=size_of(files), max_position_embeddings=66, type_vocab_size=1,
                              **(SIZES | {"num_hidden_layers": 1}))  # fmt: skip
    model = filled(XLMRobertaModel(config, add_pooling_layer=False), seed=4)
    _put(folder, model, _overruled(files, change))
    cost = export_texts(model, folder)
    golden = Encoder(folder, model, texts=XLM_ROBERTA_TEXTS, is_overruled=True).reference()
    notes = (
        "XLM-RoBERTa; tokenizer.json has Lowercase and no WhitespaceSplit, the class XLMRobertaTokenizer the reverse, "
        "and the class counts. The charsmap is kept."
    )
    finish("xlmr_class", golden, notes, {"model.onnx": cost}, texts=list(XLM_ROBERTA_TEXTS), prompts={}, pooling="mean",
           max_tokens=64)  # fmt: skip


def bert_cased_flags() -> None:
    """A cased BERT whose tokenizer.json lower-cases; tokenizer_config.json says that it does not."""
    (folder,) = fresh("bert_cased_flags")
    files = bert_files(max_tokens=64, lowercase=False)
    files["tokenizer_config.json"]["strip_accents"] = False
    model = bert(size_of(files), seed=5, num_hidden_layers=1)
    _put(folder, model, _overruled(files, lambda stated: stated["normalizer"].update(lowercase=True)))
    cost = export_texts(model, folder, inputs=BERT_INPUTS)
    golden = Encoder(folder, model, texts=BERT_TEXTS, is_overruled=True).reference()
    notes = (
        "BERT, cased; tokenizer.json has lowercase true, and tokenizer_config.json do_lower_case false and "
        "strip_accents false, which count."
    )
    finish("bert_cased_flags", golden, notes, {"model.onnx": cost}, texts=list(BERT_TEXTS), prompts={}, pooling="mean",
           max_tokens=64)  # fmt: skip


MAKERS: Final[dict[str, Callable[[], None]]] = {
    "xlmr_class": xlmr_class,
    "bert_cased_flags": bert_cased_flags,
}
