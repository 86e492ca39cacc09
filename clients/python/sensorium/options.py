"""What calls can be told, and how that is put on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypedDict

from sensorium.channel import MAX_MESSAGE_BYTES
from sensorium.errors import InvalidInput, Reason
from sensorium.v1 import embedding_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message

Encoding = Literal["float32", "float16", "int8", "binary"]
_ENCODINGS = {
    "float32": embedding_pb2.VECTOR_ENCODING_FLOAT32,
    "float16": embedding_pb2.VECTOR_ENCODING_FLOAT16,
    "int8": embedding_pb2.VECTOR_ENCODING_INT8,
    "binary": embedding_pb2.VECTOR_ENCODING_BINARY,
}


class CallOptions(TypedDict, total=False):
    """What every call can be told.

    timeout_s: seconds until the call is given up; the client's `timeout_s` where it is not given.
    request_id: an id that also stands in the logs and traces of the mesh; made where it is not given.
    priority: `interactive` (the default) goes before `batch` in every queue.
    max_tries: how often the call is made at most; the client's `max_tries` where it is not given.
    """

    timeout_s: float
    request_id: str
    priority: Literal["interactive", "batch"]
    max_tries: int


class EncodeOptions(TypedDict, total=False):
    """How vectors are made and returned.

    normalize: whether they have length 1 (the default).
    dimensions: keep only the first so many components; 0 for all.
    encoding: how they travel: float32 (the default), float16, int8 or binary; they come back as float32 all the same.
    truncate: whether texts over the model's limit are cut (the default) or refused.
    """

    normalize: bool
    dimensions: int
    encoding: Encoding
    truncate: bool


class WindowOptions(EncodeOptions, CallOptions, total=False):
    """All of both, and `space`: the embedding space wanted, where it is not the mesh's default."""

    space: str


class EmbedOptions(WindowOptions, total=False):
    """All of these, and `prompt`: the name of what the text model puts before every text, such as `query`."""

    prompt: str


def check_names(options: Mapping[str, object], kind: type[CallOptions]) -> None:
    """Raises TypeError at an option that the call does not know: `Unpack` is for type checkers, Python takes any."""
    unknown = sorted(options.keys() - kind.__annotations__.keys())
    if unknown:
        known = ", ".join(sorted(kind.__annotations__))
        raise TypeError(f"{unknown[0]!r} is no option of this call; it takes {known}")


def header(name: str, value: str) -> tuple[str, str]:
    """Returns metadata that gRPC can send.

    Raises:
        InvalidInput: the value has other characters than visible ASCII ones; it may be a secret, and is not shown.
    """
    if not (value.isascii() and value.isprintable()):
        raise InvalidInput("has a character that no header can carry; is there a line break at its end?", field=name)
    return name, value


def refusal_of_size(request: Message, field: str) -> InvalidInput | None:
    """Returns the refusal of a message over the contract's limit, before it costs the way to the server."""
    size = request.ByteSize()
    if size <= MAX_MESSAGE_BYTES:
        return None
    return InvalidInput(
        f"the message has {size} bytes, over the limit of {MAX_MESSAGE_BYTES}; send "
        + ("a smaller one" if field else "fewer items in a call"),
        reason=Reason.MESSAGE_TOO_LARGE,
        field=field,
        metadata={"limit": str(MAX_MESSAGE_BYTES), "size": str(size)},
    )


def encode_options(options: WindowOptions) -> embedding_pb2.EncodeOptions:
    """Returns the message of the options, with the defaults where they say nothing."""
    encoding = options.get("encoding", "float32")
    if encoding not in _ENCODINGS:
        raise ValueError(f"encoding is {encoding!r}; give one of {', '.join(_ENCODINGS)}")
    return embedding_pb2.EncodeOptions(
        normalize=options.get("normalize", True),
        dimensions=options.get("dimensions", 0),
        encoding=_ENCODINGS[encoding],
        truncate=options.get("truncate", True),
    )
