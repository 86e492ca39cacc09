"""The contents of a request, each with the path under which its errors are reported."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sensorium.contents import MODALITY_OF
from sensorium.errors import InvalidInput, Reason, SensoriumError
from sensorium.v1 import content_pb2
from sensorium.v1.content_pb2 import Content

# An encoder says `images[2].data`, the fusion service `embeddings[2].values`.
_ITEM = re.compile(r"^\w+\[\d+\]\.?")


@dataclass(frozen=True, slots=True)
class Piece:
    """One content of a request.

    path: where its value is in the request, such as `contents[3].image`.
    kind: `text`, `image`, `audio` or `embedding`; empty where the caller set none.
    prompt: the name of the prompt that goes before it; empty for all but texts.
    """

    content: Content
    path: str
    kind: str
    prompt: str = ""

    @property
    def modality(self) -> content_pb2.Modality.ValueType:
        """What the content is; UNSPECIFIED for an embedding."""
        return MODALITY_OF.get(self.kind, content_pb2.MODALITY_UNSPECIFIED)

    def rooted(self, error: SensoriumError) -> SensoriumError:
        """Returns an error that a peer gave for this content with the field as the caller knows it."""
        item = _ITEM.match(error.field)
        if item is None:  # the error speaks of the peer's call, not of one of its items
            return error.at(self.path) if isinstance(error, InvalidInput) else error
        rest = error.field[item.end() :]
        return error.at(rest).under(self.path)


def piece(content: Content, path: str, prompt: str = "") -> Piece:
    """Returns the content that lies at a path of the request; the prompt is for texts."""
    kind = content.WhichOneof("kind")
    return Piece(content, f"{path}.{kind}" if kind else path, kind or "", prompt if kind == "text" else "")


def pieces(name: str, contents: Iterable[Content], prompt: str = "") -> list[Piece]:
    """Returns the contents of the repeated field `name`; the prompt is for the texts among them."""
    return [piece(content, f"{name}[{index}]", prompt) for index, content in enumerate(contents)]


def without_kind(one: Piece) -> InvalidInput:
    """Returns the error of a content of which nothing is set."""
    return InvalidInput("has no kind; set text, image, audio or embedding", reason=Reason.FIELD_MISSING, field=one.path)


def named_text(name: str, template: str, path: str, prompt: str = "") -> Piece:
    """Returns a label's name, put through a template, as a text whose errors are the name's."""
    return Piece(Content(text=template.replace("{}", name)), path, "text", prompt)


def by_call(all_pieces: Sequence[Piece]) -> Mapping[tuple[str, str], list[int]]:
    """Returns the places, in order, of the pieces that can share a call: of each kind, and for texts of each prompt."""
    places: dict[tuple[str, str], list[int]] = {}
    for place, one in enumerate(all_pieces):
        places.setdefault((one.kind, one.prompt), []).append(place)
    return places
