"""What came back for many inputs, chunk by chunk, each thing by the place of its input; and how that is printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from sensorium.cli.inputs import Input
from sensorium.cli.loading import Part
from sensorium.cli.output import Format, error_facts, input_facts, print_json, receipt_facts, say_failures
from sensorium.errors import SensoriumError
from sensorium.v1.embedding_pb2 import Receipt

_Item = TypeVar("_Item")


class Answer(Protocol):
    """An answer of the client: errors by the place of the content, and what the call cost."""

    @property
    def errors(self) -> Mapping[int, SensoriumError]:
        """What went wrong."""

    @property
    def receipt(self) -> Receipt:
        """What the call cost."""


_Answer = TypeVar("_Answer", bound=Answer)


class Found(Generic[_Item]):
    """The items of answers by the place of their input, and errors.

    facts: what JSON says of an item (Any: JSON).
    """

    def __init__(self, inputs: Sequence[Input], form: Format, facts: Callable[[_Item], Mapping[str, Any]]) -> None:
        """Has nothing yet."""
        self.inputs = inputs
        self.items: dict[int, _Item] = {}
        self.errors: dict[int, SensoriumError] = {}
        self._form, self._item_facts = form, facts
        self._space = ""
        self._receipts: list[dict[str, Any]] = []  # Any: JSON

    def add(
        self,
        part: Part[_Answer],
        items: Callable[[_Answer], Sequence[_Item]],
        space: Callable[[_Answer], str] = lambda _: "",
    ) -> None:
        """Takes the answer to a chunk, and prints its lines if lines are wanted.

        items: returns one item a content. space: returns the embedding space of vectors.
        """
        answer = part.answer
        errors = part.loaded.at_inputs(answer.errors if answer else {}, part.offset)
        self.errors |= errors
        if answer is not None:
            self._receipts.append(receipt_facts(answer.receipt))
            self._space = self._space or space(answer)
            for place, item in zip(part.loaded.places, items(answer), strict=True):
                if part.offset + place not in errors:
                    self.items[part.offset + place] = item
        for at in range(part.offset, part.offset + len(part.inputs)) if self._form.as_lines else ():
            print_json({**self._facts(at), **self._shared()})
        say_failures(self.inputs, errors)

    def show(self) -> None:
        """Prints all as one JSON value, if that is wanted."""
        if self._form.as_json:
            items = [self._facts(at) for at in range(len(self.inputs))]
            print_json({**self._shared(), "items": items, "receipts": self._receipts})

    def _shared(self) -> dict[str, str]:
        return {"space": self._space} if self._space else {}

    def _facts(self, at: int) -> dict[str, Any]:
        """Returns what JSON says of an input. Any: JSON."""
        said = {"error": error_facts(self.errors[at])} if at in self.errors else self._item_facts(self.items[at])
        return {**input_facts(at, self.inputs[at]), **said}
