"""Makes the text classifiers, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from tests.conformance.making.common import TEXTS, Array, filled, unit
from tests.conformance.making.text_folders import fresh, model_config, put
from tests.conformance.making.text_reference import BERT_INPUTS, SIZES, agree, export_texts, finish
from tests.conformance.making.text_tokenizers import bert_files, roberta_files, size_of


def classify(model: Any, folder: Path, last: nn.Module, activation: Callable[[Tensor], Tensor]) -> dict[str, Array]:
    """Logits, probabilities, and the input of the last layer at length 1. Any: transformers has no types."""
    seen: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    batch = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**batch).logits
    hook.remove()
    agree(folder, batch["input_ids"], batch["attention_mask"])
    return {
        "logits": logits.numpy(),
        "probs": activation(logits).numpy(),
        "text_embeds": unit(seen[0]),
        "input_ids": batch["input_ids"].numpy(),
        "attention_mask": batch["attention_mask"].numpy(),
    }


def softmax(logits: Tensor) -> Tensor:
    """The probabilities of classes that exclude each other."""
    return logits.softmax(1)


LOGITS: Final = {"logits": {0: "batch_size"}}


def bert_classes() -> None:
    """As a BERT of text-classification: three classes."""
    (folder,) = fresh("bert_classes")
    files = bert_files(max_tokens=64)
    labels = {0: "negative", 1: "neutral", 2: "positive"}
    config = BertConfig(vocab_size=size_of(files), max_position_embeddings=64, id2label=labels,
                        label2id={label: place for place, label in labels.items()}, **SIZES)  # fmt: skip
    model = filled(BertForSequenceClassification(config))
    put(folder, {**files, "config.json": model_config(model)})
    cost = export_texts(model, folder, outputs=LOGITS, inputs=BERT_INPUTS)
    golden = classify(model, folder, model.classifier, softmax)
    notes = "BERT: the pooler's tanh of the first token, then the classes. text_embeds: what the last Linear reads."
    finish("bert_classes", golden, notes, {"model.onnx": cost}, labels=list(labels.values()), activation="softmax",
           max_tokens=64)  # fmt: skip


def distilbert_classes() -> None:
    """As distilbert-base-uncased-finetuned-sst-2-english: two classes, no token types."""
    (folder,) = fresh("distilbert_classes")
    files = bert_files(max_tokens=64)
    files["tokenizer_config.json"]["tokenizer_class"] = "DistilBertTokenizer"
    labels = {0: "NEGATIVE", 1: "POSITIVE"}
    config = DistilBertConfig(vocab_size=size_of(files), max_position_embeddings=64, dim=32, hidden_dim=64, n_layers=2,
                              n_heads=4, id2label=labels,
                              label2id={label: place for place, label in labels.items()})  # fmt: skip
    model = filled(DistilBertForSequenceClassification(config))
    put(folder, {**files, "config.json": model_config(model)})
    cost = export_texts(model, folder, outputs=LOGITS)
    golden = classify(model, folder, model.classifier, softmax)
    notes = "DistilBERT: pre_classifier and ReLU of the first token, then the classes. text_embeds: behind the ReLU."
    finish("distilbert_classes", golden, notes, {"model.onnx": cost}, labels=list(labels.values()),
           activation="softmax", max_tokens=64)  # fmt: skip


def roberta_multilabel() -> None:
    """As a RoBERTa of emotions: labels that do not exclude each other."""
    (folder,) = fresh("roberta_multilabel")
    files = roberta_files(max_tokens=64)
    labels = {0: "admiration", 1: "anger", 2: "curiosity", 3: "neutral"}
    config = RobertaConfig(vocab_size=size_of(files), max_position_embeddings=66, type_vocab_size=1, id2label=labels,
                           label2id={label: place for place, label in labels.items()},
                           problem_type="multi_label_classification", **SIZES)  # fmt: skip
    model = filled(RobertaForSequenceClassification(config))
    put(folder, {**files, "config.json": model_config(model)})
    cost = export_texts(model, folder, outputs=LOGITS)
    golden = classify(model, folder, model.classifier.out_proj, torch.sigmoid)
    notes = "RoBERTa: tanh of a layer on the first token, then one sigmoid a label. text_embeds: behind the tanh."
    finish("roberta_multilabel", golden, notes, {"model.onnx": cost}, labels=list(labels.values()),
           activation="sigmoid", max_tokens=64)  # fmt: skip


MAKERS: Final[dict[str, Callable[[], None]]] = {
    "bert_classes": bert_classes,
    "distilbert_classes": distilbert_classes,
    "roberta_multilabel": roberta_multilabel,
}
