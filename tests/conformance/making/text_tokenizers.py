"""Makes tokenizers of a few hundred pieces, and the files that come with them."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

SENTENCES: Final = (
    "The quick brown fox jumps over the lazy dog and then keeps running through the forest.",
    "Night falls upon the quiet little village by the sea, and two dogs are playing in the park!",
    "A photo of a cat; a red car parked near the café at 3.14 & <b>bold</b> (maybe \"20\" or '5/7'?)",
    "Represent this sentence for searching relevant passages: query: what is it? passage: it is this.",
    "Instruct: Given a search query, retrieve relevant passages that answer the query — Query: document: text: none.",
    "Über den Fluß führt eine alte Brücke; il était une fois une forêt; mañana será otro día, 1869.",
    "猫の写真 与 狗 在 公园, 東京の夜は静か。",
)

Files = dict[str, Any]  # what a folder holds: bytes and text as they are, the rest as JSON. Any: JSON


def word_piece(marks: Mapping[str, str], *, lowercase: bool = True, word_count: int = 60) -> Tokenizer:
    """A WordPiece tokenizer of SENTENCES: their characters, their most frequent words, and some endings.

    marks: The special tokens: cls, sep, pad, unk, mask; in the order of their ids.
    """
    text = " ".join(SENTENCES)
    rules = normalizers.BertNormalizer(lowercase=lowercase)
    words = [word for word, _ in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(rules.normalize_str(text))]
    frequent = [word for word, _ in sorted(Counter(words).items(), key=lambda each: (-each[1], each[0]))]
    letters = sorted(set("".join(words)))
    endings = [f"##{end}" for end in (*(each for each in letters if each.isalnum()), "ing", "er", "s", "ed", "est")]
    common = [word for word in frequent if len(word) > 1][:word_count]
    pieces = dict.fromkeys([*marks.values(), *letters, *endings, *common])
    vocabulary = {piece: place for place, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=marks["unk"]))
    tokenizer.normalizer = rules
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(dict.fromkeys(marks.values())))
    return tokenizer


BERT_MARKS: Final = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
MPNET_MARKS: Final = {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "other": "<unk>", "unk": "[UNK]", "mask": "<mask>"}


def bert_files(max_tokens: int, *, lowercase: bool = True) -> Files:
    """The tokenizer files of a BERT."""
    tokenizer = word_piece(BERT_MARKS, lowercase=lowercase)
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", ends)
    names = {f"{name}_token": BERT_MARKS[name] for name in ("cls", "mask", "pad", "sep", "unk")}
    options = {"do_lower_case": lowercase, "strip_accents": None, "tokenize_chinese_chars": True}
    return {
        "tokenizer.json": tokenizer.to_str(pretty=True),
        "tokenizer_config.json": {
            **names, **options, "model_max_length": max_tokens, "tokenizer_class": "BertTokenizer",
        },
        "special_tokens_map.json": names,
        "vocab.txt": vocabulary_text(tokenizer),
    }  # fmt: skip


def mpnet_files(max_tokens: int) -> Files:
    """The tokenizer files of an MPNet; tokenizer.json carries truncation to 32 and padding to the longest."""
    tokenizer = word_piece(MPNET_MARKS)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    tokenizer.enable_truncation(32)
    tokenizer.enable_padding(pad_id=1, pad_token="<pad>")
    names = {f"{name}_token": MPNET_MARKS[name] for name in ("cls", "mask", "pad", "sep", "unk")}
    names.update(bos_token="<s>", eos_token="</s>")
    options = {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True}
    return {
        "tokenizer.json": tokenizer.to_str(pretty=True),
        "tokenizer_config.json": {
            **names, **options, "model_max_length": max_tokens, "tokenizer_class": "MPNetTokenizer",
        },
        "special_tokens_map.json": names,
        "vocab.txt": vocabulary_text(tokenizer),
    }  # fmt: skip


def vocabulary_text(tokenizer: Tokenizer) -> str:
    """One piece a line, in the order of ids."""
    pieces = tokenizer.get_vocab()
    return "".join(f"{piece}\n" for piece in sorted(pieces, key=lambda piece: pieces[piece]))


def xlm_roberta_files(max_tokens: int) -> Files:
    """The tokenizer files of an XLM-RoBERTa, of a SentencePiece model: ids as fairseq numbers them."""
    pieces = train_pieces({"\u3000": " ", "\ufb01": "fi", "…": "...", "’": "'", "０": "0", "\t": " "})
    kept = [(piece.piece, piece.score) for piece in pieces.pieces[3:]]
    vocabulary = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *kept, ("<mask>", 0.0)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3))
    tokenizer.normalizer = normalizers.Precompiled(pieces.normalizer_spec.precompiled_charsmap)
    space = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), space])
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    ends = [("<s>", 0), ("</s>", 2)]
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> </s> $B </s>", ends)
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True, special=True)])
    names = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "mask_token": "<mask>",
             "pad_token": "<pad>", "sep_token": "</s>", "unk_token": "<unk>"}  # fmt: skip
    return {
        "tokenizer.json": tokenizer.to_str(pretty=True),
        "tokenizer_config.json": {**names, "model_max_length": max_tokens, "tokenizer_class": "XLMRobertaTokenizer"},
        "special_tokens_map.json": names,
        "sentencepiece.bpe.model": pieces.SerializeToString(),
    }


def train_pieces(replacements: Mapping[str, str]) -> Any:  # Any: a protobuf message without types
    """A SentencePiece Unigram model of SENTENCES, whose charsmap makes these replacements."""
    pairs = ["\t".join(" ".join(f"{ord(one):X}" for one in part) for part in pair) for pair in replacements.items()]
    written = BytesIO()
    with tempfile.TemporaryDirectory() as scratch:
        rules = Path(scratch, "rules.tsv")  # a charsmap of 1 kB: that of nmt_nfkc has 240 kB
        rules.write_text("\n".join(pairs) + "\n", encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(SENTENCES),
            model_writer=written,
            vocab_size=230,
            hard_vocab_limit=False,
            character_coverage=1.0,
            minloglevel=2,
            normalization_rule_tsv=str(rules),
        )
    proto = sentencepiece_model_pb2.ModelProto.FromString(written.getvalue())  # type: ignore[attr-defined]  # untyped
    proto.normalizer_spec.ClearField("normalization_rule_tsv")  # the scratch folder
    return proto


def byte_pairs(marks: Sequence[str], splitting: pre_tokenizers.PreTokenizer) -> Tokenizer:
    """A byte-level BPE tokenizer of SENTENCES; the special tokens come first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = splitting
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=380, special_tokens=list(marks), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


def roberta_files(max_tokens: int) -> Files:
    """The tokenizer files of a RoBERTa: byte-level BPE, cased."""
    marks = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = byte_pairs(marks, pre_tokenizers.ByteLevel(add_prefix_space=False))
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    names = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "mask_token": "<mask>",
             "pad_token": "<pad>", "sep_token": "</s>", "unk_token": "<unk>"}  # fmt: skip
    tokenizer_config = {**names, "add_prefix_space": False, "errors": "replace", "trim_offsets": True,
                        "model_max_length": max_tokens, "tokenizer_class": "RobertaTokenizer"}  # fmt: skip
    return {
        "tokenizer.json": tokenizer.to_str(pretty=True),
        "tokenizer_config.json": tokenizer_config,
        "special_tokens_map.json": names,
    }


QWEN_WORDS: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def qwen_files(max_tokens: int) -> Files:
    """The tokenizer files of a Qwen3 embedder: <|endoftext|> closes every text, and is the padding, at the left."""
    end = "<|endoftext|>"
    words = pre_tokenizers.Split(Regex(QWEN_WORDS), "isolated")
    splitting = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer = byte_pairs([end, "<|im_start|>", "<|im_end|>"], splitting)
    tokenizer.normalizer = normalizers.NFC()
    closing = processors.TemplateProcessing(f"$A {end}", f"$A {end} $B:1 {end}:1", [(end, 0)])
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), closing])
    return {
        "tokenizer.json": tokenizer.to_str(pretty=True),
        "tokenizer_config.json": {
            "add_bos_token": False, "add_prefix_space": False, "bos_token": None, "eos_token": "<|im_end|>",
            "errors": "replace", "model_max_length": max_tokens, "pad_token": end, "padding_side": "left",
            "split_special_tokens": False, "tokenizer_class": "Qwen2Tokenizer", "unk_token": None,
        },
        "special_tokens_map.json": {"eos_token": "<|im_end|>", "pad_token": end},
    }  # fmt: skip


def size_of(files: Files) -> int:
    """The number of ids of a tokenizer."""
    return Tokenizer.from_str(files["tokenizer.json"]).get_vocab_size()
