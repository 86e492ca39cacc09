"""Makes the sentence encoders: the layouts of sentence-transformers, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from transformers import MPNetConfig, MPNetModel, Qwen3Config, Qwen3Model, XLMRobertaConfig, XLMRobertaModel

from tests.conformance.making.common import filled
from tests.conformance.making.text_folders import card, classic_pooling, dense, fresh, model_config, pipeline, put
from tests.conformance.making.text_reference import BERT_INPUTS, SIZES, Encoder, bert, export_texts, finish
from tests.conformance.making.text_tokenizers import (
    Files,
    bert_files,
    mpnet_files,
    qwen_files,
    size_of,
    xlm_roberta_files,
)

E5_PROMPTS: Final = {"query": "query: ", "passage": "passage: "}
BGE_PROMPTS: Final = {"query": "Represent this sentence for searching relevant passages: "}


def st_mpnet_mean() -> None:
    """As all-mpnet-base-v2."""
    (folder,) = fresh("st_mpnet_mean")
    files = mpnet_files(max_tokens=64)
    config = MPNetConfig(vocab_size=size_of(files), max_position_embeddings=66, **SIZES)
    model = filled(MPNetModel(config, add_pooling_layer=False))
    put(folder, {
        **files,
        "config.json": model_config(model, architectures=["MPNetForMaskedLM"], _name_or_path="microsoft/mpnet-base"),
        "modules.json": pipeline("Pooling", "Normalize"),
        "1_Pooling/config.json": classic_pooling("mean_tokens"),
        "sentence_bert_config.json": {"max_seq_length": 48, "do_lower_case": False},
        "config_sentence_transformers.json": {"__version__": {"sentence_transformers": "2.0.0"}},
    })  # fmt: skip
    cost = export_texts(model, folder)
    golden = Encoder(folder, model).reference()
    notes = (
        "MPNet: no token types, padding id 1, positions from 2; 48 tokens at most: sentence_bert_config.json counts, "
        "not the 64 of tokenizer_config.json nor the truncation to 32 in tokenizer.json. 2_Normalize is no folder."
    )
    finish("st_mpnet_mean", golden, notes, {"model.onnx": cost}, prompts={}, pooling="mean", max_tokens=48)


def e5_xlmr() -> None:
    """As the XLM-RoBERTa models of multilingual E5."""
    (folder,) = fresh("e5_xlmr")
    files = xlm_roberta_files(max_tokens=64)
    config = XLMRobertaConfig(vocab_size=size_of(files), max_position_embeddings=66, type_vocab_size=1, **SIZES)
    model = filled(XLMRobertaModel(config, add_pooling_layer=False))
    put(folder, {
        **files,
        "README.md": card("intfloat/multilingual-e5-small", "mit", "Each input starts with `query: ` or `passage: `."),
        "config.json": model_config(model, _name_or_path="intfloat/multilingual-e5-small"),
        "modules.json": pipeline("Pooling", "Normalize"),
        "1_Pooling/config.json": classic_pooling("mean_tokens"),
        "sentence_bert_config.json": {"max_seq_length": 64, "do_lower_case": False},
    })  # fmt: skip
    cost = export_texts(model, folder)
    golden = Encoder(folder, model).reference(E5_PROMPTS)
    notes = (
        "XLM-RoBERTa, SentencePiece with a charsmap; no token types, padding id 1. Only the card says the prompts: "
        "query_text_embeds and passage_text_embeds are of the texts with them, text_embeds of the texts alone."
    )
    finish("e5_xlmr", golden, notes, {"model.onnx": cost}, prompts=E5_PROMPTS, pooling="mean", max_tokens=64)


def bge_bert_cls() -> None:
    """As bge-small-en-v1.5."""
    (folder,) = fresh("bge_bert_cls")
    files = bert_files(max_tokens=64)
    model = bert(size_of(files))
    labels = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    origin = "/root/.cache/torch/sentence_transformers/BAAI_bge-small-en/"
    put(folder, {
        **files,
        "README.md": card("BAAI/bge-small-en-v1.5", "mit", "Queries may start with an instruction."),
        "config.json": model_config(model, _name_or_path=origin, **labels),
        "modules.json": pipeline("Pooling", "Normalize"),
        "1_Pooling/config.json": classic_pooling("cls_token"),
        "sentence_bert_config.json": {"max_seq_length": 64, "do_lower_case": True},
        "config_sentence_transformers.json": {"__version__": {"sentence_transformers": "2.2.2"}},
    })  # fmt: skip
    cost = export_texts(model, folder, inputs=BERT_INPUTS)
    golden = Encoder(folder, model).reference(BGE_PROMPTS)
    notes = (
        "BERT, the first token. config.json has the labels of a classifier, and it is none; its _name_or_path is a "
        "folder of the author. No file says the instruction of queries: query_text_embeds are of the texts with it."
    )
    finish("bge_bert_cls", golden, notes, {"model.onnx": cost}, prompts=BGE_PROMPTS, pooling="cls", max_tokens=64)


def plain_e5() -> None:
    """As Optimum writes e5-small-v2: no file of sentence-transformers."""
    (folder,) = fresh("plain_e5")
    files = bert_files(max_tokens=64)
    model = bert(size_of(files), seed=1)
    put(folder, {**files, "config.json": model_config(model, _name_or_path="intfloat/e5-small-v2")})
    cost = export_texts(model, folder, inputs=BERT_INPUTS)
    more: Files = {"modules.json": pipeline("Pooling", "Normalize"),
                   "1_Pooling/config.json": classic_pooling("mean_tokens")}  # fmt: skip
    golden = Encoder(folder, model, more).reference(E5_PROMPTS)
    notes = "BERT; no modules.json: only _name_or_path says that the mean is meant, and which prompts."
    finish("plain_e5", golden, notes, {"model.onnx": cost}, prompts=E5_PROMPTS, pooling="mean", max_tokens=64)


def st_dense() -> None:
    """As LaBSE: a dense layer with tanh behind the pooling."""
    (folder,) = fresh("st_dense")
    files = bert_files(max_tokens=64, lowercase=False)
    model = bert(size_of(files))
    put(folder, {
        **files,
        "config.json": model_config(model),
        "modules.json": pipeline("Pooling", "Dense", "Normalize"),
        "1_Pooling/config.json": classic_pooling("cls_token"),
        "sentence_bert_config.json": {"max_seq_length": 40, "do_lower_case": False},
        "config_sentence_transformers.json": {"__version__": {"sentence_transformers": "2.0.0"}},
    })  # fmt: skip
    dense(folder / "2_Dense", 32, 24, 7, bias=True, activation="torch.nn.modules.activation.Tanh")
    cost = export_texts(model, folder, inputs=BERT_INPUTS)
    golden = Encoder(folder, model).reference()
    notes = "BERT, cased; the first token, then tanh(W x + b) of 2_Dense, which is not in the graph: 32 to 24."
    finish("st_dense", golden, notes, {"model.onnx": cost}, prompts={}, pooling="cls", max_tokens=40)


def st_two_dense() -> None:
    """As EmbeddingGemma and sentence-t5: dense layers without bias and activation."""
    (folder,) = fresh("st_two_dense")
    files = bert_files(max_tokens=64)
    model = bert(size_of(files))
    prompts = {"query": "task: search result | query: ", "document": "title: none | text: "}
    put(folder, {
        **files,
        "config.json": model_config(model),
        "modules.json": pipeline("Pooling", "Dense", "Dense", "Normalize"),
        "1_Pooling/config.json": classic_pooling("mean_tokens", include_prompt=True),
        "sentence_bert_config.json": {"max_seq_length": 64, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "__version__": {"sentence_transformers": "5.0.0"}, "default_prompt_name": None,
            "prompts": prompts, "similarity_fn_name": "cosine",
        },
    })  # fmt: skip
    activation = "torch.nn.modules.linear.Identity"
    dense(folder / "2_Dense", 32, 48, 8, bias=False, activation=activation)
    dense(folder / "3_Dense", 48, 20, 9, bias=False, activation=activation)
    cost = export_texts(model, folder, inputs=BERT_INPUTS)
    golden = Encoder(folder, model).reference(names=prompts)
    notes = "BERT; the mean, then 2_Dense (32 to 48) and 3_Dense (48 to 20), neither of them in the graph."
    finish("st_two_dense", golden, notes, {"model.onnx": cost}, prompts=prompts, pooling="mean", max_tokens=64)


def st_prompts() -> None:
    """As INSTRUCTOR: prompts that are read, and not pooled."""
    (folder,) = fresh("st_prompts")
    files = bert_files(max_tokens=64)
    model = bert(size_of(files))
    prompts = {"query": "Represent this sentence for searching: ", "document": "Represent the document: "}
    put(folder, {
        **files,
        "config.json": model_config(model),
        "modules.json": pipeline("Pooling", "Normalize"),
        "1_Pooling/config.json": classic_pooling("mean_tokens", include_prompt=False),
        "sentence_bert_config.json": {"max_seq_length": 56, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "__version__": {"sentence_transformers": "2.4.0"}, "default_prompt_name": None, "prompts": prompts,
        },
    })  # fmt: skip
    cost = export_texts(model, folder, inputs=BERT_INPUTS)
    golden = Encoder(folder, model).reference(names=prompts)
    notes = (
        "BERT; the mean without the prompt. The reference leaves out as many tokens as the prompt alone makes, without "
        "the closing [SEP]: so [CLS] and the prompt; [SEP] stays. Without a prompt, [CLS] is in the mean."
    )
    finish("st_prompts", golden, notes, {"model.onnx": cost}, prompts=prompts, pooling="mean", max_tokens=56)


def st_lasttoken() -> None:
    """As Qwen3-Embedding: a decoder, the last token, padding at the left."""
    (folder,) = fresh("st_lasttoken")
    files = qwen_files(max_tokens=72)
    config = Qwen3Config(vocab_size=size_of(files), max_position_embeddings=128, head_dim=8, num_key_value_heads=2,
                         use_cache=False, tie_word_embeddings=True, **SIZES)  # fmt: skip
    model = filled(Qwen3Model(config))
    prompts = {"query": "Instruct: Given a search query, retrieve relevant passages that answer the query\nQuery:",
               "document": ""}  # fmt: skip
    put(folder, {
        **files,
        "config.json": model_config(model, architectures=["Qwen3ForCausalLM"]),
        "modules.json": pipeline("Pooling", "Normalize"),
        "1_Pooling/config.json": classic_pooling("lasttoken", include_prompt=True),
        "config_sentence_transformers.json": {
            "prompts": prompts, "default_prompt_name": None, "similarity_fn_name": "cosine",
            "__version__": {"sentence_transformers": "4.1.0"},
        },
    })  # fmt: skip
    cost = export_texts(model, folder, inputs=("input_ids", "attention_mask", "position_ids"))
    golden = Encoder(folder, model).reference(names=prompts)
    notes = (
        "Qwen3, causal; tokenizer.json closes each text by <|endoftext|>, whose state is the vector. Padding is left: "
        "position_ids count the tokens from 0, and padding has 0. There is no sentence_bert_config.json."
    )
    finish("st_lasttoken", golden, notes, {"model.onnx": cost}, prompts=prompts, pooling="lasttoken", max_tokens=72)


def st_multi() -> None:
    """Several poolings, put one behind the other."""
    (folder,) = fresh("st_multi")
    files = bert_files(max_tokens=64)
    model = bert(size_of(files))
    put(folder, {
        **files,
        "config.json": model_config(model),
        "modules.json": pipeline("Pooling"),
        "1_Pooling/config.json": classic_pooling("cls_token", "mean_tokens", "max_tokens"),
        "sentence_bert_config.json": {"max_seq_length": 64, "do_lower_case": False},
    })  # fmt: skip
    cost = export_texts(model, folder, inputs=BERT_INPUTS)
    golden = Encoder(folder, model).reference()
    notes = "BERT; the first token, the maximum and the mean in this order: 96 numbers. No Normalize in modules.json."
    finish("st_multi", golden, notes, {"model.onnx": cost}, prompts={}, pooling="cls+max+mean", max_tokens=64)


def st_truncate() -> None:
    """As Matryoshka models: the first numbers of the vector alone, a prompt without text, and one by default."""
    (folder,) = fresh("st_truncate")
    files = bert_files(max_tokens=64)
    model = bert(size_of(files), seed=3, num_hidden_layers=1)
    prompts = {"query": "query: ", "document": None}
    put(folder, {
        **files,
        "config.json": model_config(model),
        "modules.json": pipeline("Pooling", "Normalize"),
        "1_Pooling/config.json": classic_pooling("mean_tokens"),
        "sentence_bert_config.json": {"max_seq_length": 64, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "__version__": {"sentence_transformers": "5.0.0"}, "default_prompt_name": "query", "prompts": prompts,
            "similarity_fn_name": "cosine", "truncate_dim": 20,
        },
    })  # fmt: skip
    cost = export_texts(model, folder, inputs=BERT_INPUTS)
    golden = Encoder(folder, model).reference(names=prompts)
    notes = (
        "BERT; the mean, of which truncate_dim keeps 20 of 32 numbers, then length 1. default_prompt_name is query, so "
        "text_embeds are query_text_embeds; the prompt document is null, which is none. input_ids are without prompt."
    )
    finish("st_truncate", golden, notes, {"model.onnx": cost}, prompts=prompts, pooling="mean", max_tokens=64)


MAKERS: Final[dict[str, Callable[[], None]]] = {
    "st_mpnet_mean": st_mpnet_mean,
    "e5_xlmr": e5_xlmr,
    "bge_bert_cls": bge_bert_cls,
    "st_dense": st_dense,
    "st_two_dense": st_two_dense,
    "st_prompts": st_prompts,
    "plain_e5": plain_e5,
    "st_lasttoken": st_lasttoken,
    "st_multi": st_multi,
    "st_truncate": st_truncate,
}
