"""Makes requests that are valid protobuf and odd in what they say, by the messages' own descriptions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_INTEGERS = (0, 1, 2, 3, 5, 64, 100, 128, 200, 8000, 16000, 48000, -1, -(2**31), 2**31 - 1)
_LONG_INTEGERS = (*_INTEGERS, 2**63 - 1, -(2**63))
_FLOATS = (0.0, 1.0, 0.5, -1.0, 1e-30, 1e30, 3.4e38, 1e-45, float("nan"), float("inf"), float("-inf"), -0.0)
_NAMES = ("", "tiny@1", "tiny-text", "tiny-vision@1", "tiny-audio@1", "tiny-fusion@1", "tiny-concepts@1", "nobody@1",
          "@", "@1", "a photo of {}", "{}", "{", "{0}{}", "../../etc/passwd", "\x00", "x" * 300)  # fmt: skip
_DEPTH = 6

_Field = Any  # a FieldDescriptor, of which the stubs know two kinds


class Oddity:
    """Makes messages of any type.

    images, sounds, texts: give a file, or a text in UTF-8, mutated or not.
    """

    def __init__(
        self,
        rng: Random,
        images: Callable[[], bytes],
        sounds: Callable[[], bytes],
        texts: Callable[[], bytes],
    ) -> None:
        """Draws from `rng` alone."""
        self._rng = rng
        self._sources: Mapping[str, Callable[[], bytes]] = {"Image": images, "Audio": sounds}
        self._texts = texts

    def message(self, kind: type[Message], depth: int = 0) -> Message:
        """Returns a message with some of its fields set."""
        made = kind()
        for field in made.DESCRIPTOR.fields:
            if self._rng.random() < (0.8 if depth < _DEPTH - 2 else 0.3):
                self._fill(made, field, depth)
        return made

    def _fill(self, made: Message, field: _Field, depth: int) -> None:
        if field.is_repeated:
            values = getattr(made, field.name)
            if field.name == "values":
                values.extend(self._vector())
                return
            for _ in range(self._rng.choice((0, 1, 1, 2, 3))):
                if field.message_type is None:
                    values.append(self._value(field))
                elif depth < _DEPTH:
                    values.append(self.message(_type_of(field), depth + 1))
        elif field.message_type is None:
            setattr(made, field.name, self._value(field))
        elif depth < _DEPTH:
            getattr(made, field.name).CopyFrom(self.message(_type_of(field), depth + 1))

    def _value(self, field: _Field) -> Any:
        """Any: whatever the field holds."""
        kind, rng = field.cpp_type, self._rng
        if kind == FieldDescriptor.CPPTYPE_STRING:
            if field.type == FieldDescriptor.TYPE_BYTES:
                source = self._sources.get(field.containing_type.name)
                return source() if source is not None else rng.randbytes(rng.choice((0, 1, 2, 64, 128, 256, 512, 1600)))
            known = rng.random() < (0.9 if field.name in ("space", "model", "to_space") else 0.3)
            return rng.choice(_NAMES) if known else self._texts().decode(errors="replace")
        if kind == FieldDescriptor.CPPTYPE_BOOL:
            return rng.random() < 0.5
        if kind == FieldDescriptor.CPPTYPE_ENUM:
            return rng.choice((*(value.number for value in field.enum_type.values), 99))
        if kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
            return rng.choice(_FLOATS)
        is_long = kind == FieldDescriptor.CPPTYPE_INT64
        return rng.choice(_LONG_INTEGERS if is_long else _INTEGERS)

    def _vector(self) -> list[float]:
        """Returns a vector that is often, but not always, of the shipped models' dim."""
        rng = self._rng
        size = rng.choice((128, 128, 128, 0, 1, 127, 129))
        vector = [rng.gauss(0, 1) for _ in range(size)]
        if vector and rng.random() < 0.3:
            vector[rng.randrange(size)] = rng.choice(_FLOATS)
        return vector if rng.random() < 0.9 else [rng.choice(_FLOATS)] * size


def _type_of(field: _Field) -> type[Message]:
    assert field.message_type is not None, "the caller looked"
    return type_of(field.message_type)


def type_of(descriptor: Any) -> type[Message]:
    """Returns the class of a message. Any: a Descriptor, whose class the stubs do not know."""
    kind: type[Message] = descriptor._concrete_class
    return kind
