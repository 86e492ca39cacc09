"""Turns inputs into the contents of calls, a chunk at a time, and keeps track of which answer is whose."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sensorium.channel import MAX_MESSAGE_BYTES
from sensorium.cli.inputs import Input, chunks
from sensorium.errors import InvalidInput, Reason, SensoriumError
from sensorium.v1.content_pb2 import Content

_Answer = TypeVar("_Answer")

# Enough to fill the encoders' batches; few enough that the bar moves and little is in memory (a guess).
CHUNK_ITEMS = 32
CHUNK_BYTES = 16 * 1024 * 1024

_PLACE = re.compile(r"^(contents|audios|texts|queries|candidates|items\[0\]\.parts)\[\d+\]")


@dataclass(frozen=True)
class Loaded:
    """Inputs that were read, as far as that went.

    contents: those that could be read, in order.
    places: for each content, the place of its input.
    errors: why the others could not, by the place of the input.
    """

    contents: Sequence[Content]
    places: Sequence[int]
    errors: Mapping[int, SensoriumError]

    def at_inputs(self, errors: Mapping[int, SensoriumError], offset: int = 0) -> dict[int, SensoriumError]:
        """Returns the errors of contents and of reading, by the input's place, which their field paths name too."""
        found = {**self.errors, **{self.places[at]: error for at, error in errors.items()}}
        return {offset + at: _placed(found[at], offset + at) for at in sorted(found)}


@dataclass(frozen=True)
class Part(Generic[_Answer]):
    """The answer to one chunk of inputs.

    offset: the place of the chunk's first input among all.
    answer: None where the call failed or nothing could be read; the errors of `loaded` say why, for each input.
    """

    offset: int
    inputs: Sequence[Input]
    loaded: Loaded
    answer: _Answer | None


def load(inputs: Sequence[Input]) -> Loaded:
    """Reads the inputs; what cannot be read becomes an error, and the others go on."""
    contents: list[Content] = []
    places: list[int] = []
    errors: dict[int, SensoriumError] = {}
    for at, each in enumerate(inputs):
        try:
            contents.append(_content(each))
            places.append(at)
        except InvalidInput as error:
            errors[at] = error
    return Loaded(contents, places, errors)


def readable(inputs: Sequence[Input], loaded: Loaded) -> Sequence[Content]:
    """Returns the contents, of which a call needs at least one.

    Raises:
        InvalidInput: none of the inputs could be read.
    """
    if not loaded.contents:
        at, error = next(iter(loaded.errors.items()))
        raise InvalidInput(f"{inputs[at].name}: {error.problem}", reason=error.reason)
    return loaded.contents


def ask_in_chunks(inputs: Sequence[Input], ask: Callable[[Sequence[Content]], _Answer]) -> Iterator[Part[_Answer]]:
    """Yields the answers to the inputs, in order, a few inputs a call.

    A call that fails as a whole fails the items of its chunk; the first is an error of the command: nothing is lost.

    Raises:
        SensoriumError: the first call failed.
    """
    offset = 0
    for few in chunks(inputs, CHUNK_ITEMS, CHUNK_BYTES):
        loaded = load(few)
        answer: _Answer | None = None
        if loaded.contents:
            try:
                answer = ask(loaded.contents)
            except SensoriumError as error:
                if offset == 0:
                    raise
                failed = dict.fromkeys(loaded.places, error)
                loaded = Loaded([], [], {**loaded.errors, **failed})
        yield Part(offset, few, loaded, answer)
        offset += len(few)


def _content(each: Input) -> Content:
    if each.size_bytes > MAX_MESSAGE_BYTES:  # refused before it is read: it may be larger than the memory
        raise InvalidInput(
            f"has {each.size_bytes:,} bytes; a call carries at most {MAX_MESSAGE_BYTES:,}",
            reason=Reason.MEDIA_TOO_LARGE,
            metadata={"limit": str(MAX_MESSAGE_BYTES), "size": str(each.size_bytes), "unit": "bytes"},
        )
    return each.content()


def _placed(error: SensoriumError, at: int) -> SensoriumError:
    return error.at(_PLACE.sub(lambda match: f"{match[1]}[{at}]", error.field)) if error.field else error
