"""Says protobuf messages as JSON: numbers as numbers, enum values by their short names."""

from __future__ import annotations

from typing import Any, cast

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message


def plain(message: Message) -> dict[str, Any]:
    """Returns every field that a message has or has a default for. Any: JSON."""
    return {
        field.name: _value(cast("FieldDescriptor", field), getattr(message, field.name))  # cast: two names of one class
        for field in message.DESCRIPTOR.fields
        if not field.has_presence or message.HasField(field.name)
    }


def enum_name(kind: EnumDescriptor, value: int) -> str:
    """Returns the short name of an enum's value: `serving` for SERVICE_STATE_SERVING."""
    return _short(kind.values_by_number[value].name, kind.name)


def _value(field: FieldDescriptor, value: Any) -> Any:
    """Returns a field's value. Any: whatever a field may hold, and JSON."""
    if field.is_repeated:
        return [_single(field, each) for each in value]
    return _single(field, value)


def _single(field: FieldDescriptor, value: Any) -> Any:
    """Returns one value of a field. Any: whatever a field may hold, and JSON."""
    if field.message_type is not None:
        return plain(value)
    if field.enum_type is not None:
        return enum_name(field.enum_type, value)
    return value


def _short(name: str, kind: str) -> str:
    """Returns `not_serving` for NOT_SERVING of ServiceState, whose values start with SERVICE_STATE_."""
    prefix = "".join(f"_{letter}" if letter.isupper() else letter for letter in kind).strip("_").upper() + "_"
    return name.removeprefix(prefix).lower()
