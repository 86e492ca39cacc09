"""Long texts: cut before they are tokenized, the same tokens as uncut, and nobody waits for them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tokenizers import Tokenizer

from sensorium.channel import call
from sensorium.errors import DeadlineExceeded, InvalidInput
from sensorium.status import from_status
from sensorium.v1 import text_pb2_grpc
from sensorium.v1.embedding_pb2 import EncodeOptions
from sensorium.v1.text_pb2 import EncodeTextRequest, TokenizeRequest
from services.text.app import serving
from services.text.config import Config
from services.text.preprocess import TextPreprocessor
from services.text.tokenizer import CutTokenizer
from shared.hosting.config import HostingConfig
from tests.running import running

_ROOT = Path(__file__).parents[3]
_FAMILIES = ("st_bert_mean", "clip", "e5_xlmr", "siglip")
_FILES = [
    _ROOT / "models/tiny-text/1/tokenizer.json",
    *(
        _ROOT / f"tests/conformance/{name}/model/tokenizer.json"
        for name in ("st_bert_mean", "clip", "e5_xlmr", "siglip")
    ),
]
_WORDS = (
    *(["the", "red", "circle", "Don't", "naïve", "café,", "3,141", "x_y", "http://a.b/c?d=e", "...", "?!?", "ﬁ"]),
    *("日本語", "你好，世界", "🙂", "\t", "\n", ""),
)
_PICK = random.Random(1)
_TEXTS = {
    "words": " ".join(_PICK.choice(_WORDS) for _ in range(8000)),
    "one word": "ab" * 20_000,
    "white space": "a" + " " * 40_000 + "b",
    "punctuation": "!" * 40_000,
    "chinese": "我爱你，" * 10_000,
    "combining": "e\u0301" * 20_000,
}


def _loaded(file: Path) -> Tokenizer:
    tokenizer: Tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("file", _FILES, ids=lambda file: str(file.parents[1].name))
def test_a_text_that_is_cut_before_it_is_tokenized_has_the_tokens_of_the_whole(file: Path, side: str) -> None:
    cutting, whole = CutTokenizer(_loaded(file), _loaded(file), 32, side), _loaded(file)
    cut = _loaded(file)
    cut.enable_truncation(32, direction=side)
    is_cut = set()
    for name, text in _TEXTS.items():
        tokens = cutting.tokens(text)
        assert tokens.encoding.ids == cut.encode(text).ids, name
        assert tokens.count <= len(whole.encode(text).ids), name
        is_cut |= set() if tokens.is_whole else {name}
    assert "words" in is_cut or "siglip" in str(file)  # which takes a text for one word


async def test_health_answers_while_texts_of_a_mebibyte_are_embedded_and_tokenized() -> None:
    texts = [word * ((1 << 20) // len(word)) for word in ("!", "ab", "the dog ")]
    async with running(serving, Config) as (channel, _):
        encoder, health = text_pb2_grpc.TextEncoderServiceStub(channel), health_pb2_grpc.HealthStub(channel)
        encoding = asyncio.ensure_future(call(encoder.EncodeText, EncodeTextRequest(texts=texts), timeout_s=60))
        tokenizing = asyncio.ensure_future(call(encoder.Tokenize, TokenizeRequest(texts=texts), timeout_s=60))
        answered = 0
        while not (encoding.done() and tokenizing.done()):
            await health.Check(health_pb2.HealthCheckRequest(), timeout=2)  # type: ignore[attr-defined]  # an async stub
            answered += 1
        encoded, tokenized = await encoding, await tokenizing
        assert all(result.HasField("embedding") for result in encoded.results)
        assert all(result.tokens.is_truncated for result in tokenized.results)
        assert all(all(result.tokens.pieces) for result in tokenized.results)
        assert answered > 5


async def test_long_answers_to_tokenize_are_written_down_while_health_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = set()
    pieces = TextPreprocessor.pieces

    def watched(read_by: TextPreprocessor, ids: Sequence[int]) -> Sequence[str]:
        threads.add(threading.current_thread())
        return pieces(read_by, ids)

    monkeypatch.setattr(TextPreprocessor, "pieces", watched)
    async with running(serving, Config) as (channel, _):
        stub = text_pb2_grpc.TextEncoderServiceStub(channel)
        answer = await call(stub.Tokenize, TokenizeRequest(texts=["the dog " * 100, "", "a"]), timeout_s=10)
    assert threads
    assert threading.current_thread() not in threads  # that of the event loop, which health needs
    assert answer.receipt.token_count == sum(len(result.tokens.ids) for result in answer.results)


async def test_tokenizing_stops_at_the_deadline_and_says_how_much_too_long_a_text_is() -> None:
    async with running(serving, Config) as (channel, _):
        stub = text_pb2_grpc.TextEncoderServiceStub(channel)
        with pytest.raises(DeadlineExceeded):
            await call(stub.Tokenize, TokenizeRequest(texts=["!" * (1 << 20)] * 24), timeout_s=1)
        request = EncodeTextRequest(texts=["the dog " * 100_000], options=EncodeOptions(truncate=False))
        (result,) = (await call(stub.EncodeText, request, timeout_s=10)).results
        error = from_status(result.error)
        assert isinstance(error, InvalidInput)
        assert "more than" in error.problem


@pytest.mark.parametrize("accepts_empty", [True, False], ids=["embedded", "refused"])
async def test_a_text_of_white_space_is_the_empty_text(tmp_path: Path, accepts_empty: bool) -> None:
    shutil.copytree(_ROOT / "models/tiny-text", tmp_path / "tiny-text")
    file, tokenizer = (tmp_path / "tiny-text/1" / name for name in ("manifest.json", "tokenizer.json"))
    manifest, kept = json.loads(file.read_text()), json.loads(tokenizer.read_text())
    kept["normalizer"] = None  # so that it keeps white space, as those of many models do
    tokenizer.write_text(json.dumps(kept))
    manifest["files"]["tokenizer.json"] = hashlib.sha256(tokenizer.read_bytes()).hexdigest()
    manifest["preprocess"]["accepts_empty"] = accepts_empty  # what imported models do, and the shipped one does not
    file.write_text(json.dumps(manifest))
    texts = ["", " ", "\t\n  ", "\u3000\u00a0"]
    async with running(serving, Config, hosting=HostingConfig(models=tmp_path)) as (channel, _):
        stub = text_pb2_grpc.TextEncoderServiceStub(channel)
        answers = [
            (await call(stub.EncodeText, EncodeTextRequest(texts=[text]), timeout_s=10)).results[0] for text in texts
        ]
    assert answers[0].HasField("embedding") == accepts_empty
    assert len({answer.SerializeToString() for answer in answers}) == 1
