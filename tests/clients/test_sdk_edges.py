"""The Python client where things go wrong: sources that fail or block, wrong arguments, clients that were closed."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest

import sensorium
from sensorium.errors import InvalidInput, Reason
from sensorium.v1.content_pb2 import Content
from tests.clients.test_sdk import serving


def failing() -> Iterator[tuple[str, Content]]:
    yield "0", sensorium.text("a")
    yield "1", sensorium.text("b")
    raise OSError("the disk is gone")


async def test_what_the_source_of_a_stream_raises_is_raised_after_the_answers_to_what_came_before() -> None:
    async with serving() as (_, at), sensorium.AsyncClient(at) as client:
        stream = client.embed_stream(failing())
        assert [(await anext(stream))[0] for _ in range(2)] == ["0", "1"]
        with pytest.raises(OSError, match="the disk is gone"):
            await anext(stream)


def test_the_client_that_waits_raises_it_too(address: str) -> None:
    with sensorium.Client(address) as client:
        stream = client.embed_stream(failing())
        assert [next(stream)[0] for _ in range(2)] == ["0", "1"]
        with pytest.raises(OSError, match="the disk is gone"):
            next(stream)


async def test_a_content_over_the_limit_fails_alone_and_the_stream_goes_on() -> None:
    contents = [
        ("small", sensorium.text("a")),
        ("huge", sensorium.image(bytes(65 << 20))),
        ("last", sensorium.text("b")),
    ]
    async with serving() as (_, at), sensorium.AsyncClient(at) as client:
        answers = {key: answer async for key, answer in client.embed_stream(contents)}
    refusal = answers.pop("huge")
    assert isinstance(refusal, InvalidInput)
    assert (refusal.reason, refusal.field) == (Reason.MESSAGE_TOO_LARGE, "content")
    assert sorted(answers) == ["last", "small"]
    assert not any(isinstance(answer, sensorium.SensoriumError) for answer in answers.values())


async def test_an_option_that_no_call_knows_is_refused_not_ignored() -> None:
    async with sensorium.AsyncClient() as client:
        with pytest.raises(TypeError, match="'normalise' is no option of this call; it takes dimensions, encoding"):
            await client.embed([sensorium.text("a")], normalise=False)  # type: ignore[call-arg]  # that is the test
        with pytest.raises(TypeError, match="'normalize' is no option"):
            await client.describe(normalize=True)  # type: ignore[call-arg]  # that is the test


async def test_metadata_that_no_header_can_carry_is_refused_without_being_shown() -> None:
    async with sensorium.AsyncClient() as client:
        with pytest.raises(InvalidInput, match="x-request-id: has a character that no header can carry"):
            await client.describe(request_id="é")
    with pytest.raises(InvalidInput, match="authorization") as refusal:
        sensorium.Client(token="s3cret\n")  # no secret
    assert "s3cret" not in str(refusal.value)


def test_a_refused_client_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    with pytest.raises(InvalidInput):
        sensorium.Client(token="a\nb")  # no secret
    assert threading.active_count() == before


def test_a_closed_client_says_so(address: str) -> None:
    client = sensorium.Client(address)
    stream = client.embed_stream((str(at), sensorium.text("x")) for at in range(10))
    next(stream)
    client.close()
    with pytest.raises(RuntimeError, match="this client is closed"):
        next(stream)
    with pytest.raises(RuntimeError, match="this client is closed"):
        client.embed([sensorium.text("a")])


_BLOCKED = """
import sys, threading, sensorium
def source():
    yield "0", sensorium.text("a")
    threading.Event().wait()
with sensorium.Client(sys.argv[1]) as client:
    print(next(client.embed_stream(source()))[0], flush=True)
"""


def test_a_source_that_blocks_for_ever_does_not_keep_the_program_from_ending(address: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _BLOCKED, address], capture_output=True, text=True, timeout=20, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "0\n", "")


def test_one_content_is_one_vector() -> None:
    with pytest.raises(TypeError, match=r"a vector is \(dim,\), not \(2, 3\)"):
        sensorium.embedding(np.ones((2, 3)))


def test_a_text_that_utf_8_cannot_say_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"text: holds bytes that were no UTF-8"):
        sensorium.text("caf\udce9")  # what an argument in Latin-1 becomes
