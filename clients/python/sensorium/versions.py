"""The one order of versions, wherever models are listed, chosen or replaced."""

from __future__ import annotations

import re

_NUMBERS = re.compile(r"([0-9]+)")

VersionKey = tuple[tuple[tuple[int, int, str], ...], str]


def version_key(version: str) -> VersionKey:
    """Returns a sort key: runs of digits by value, so 1.10 comes after 1.9, and before all other text.

    Numbers of any length are compared as they are written, without zeros before them. The text itself decides between
    versions of the same numbers, as 1 and 01, so that no two versions have one place: a page may end between them.
    """
    parts = (part for part in _NUMBERS.split(version) if part)
    numbers = tuple(
        (1, len(part.lstrip("0")), part.lstrip("0")) if part.isascii() and part.isdigit() else (0, 0, part)
        for part in parts
    )
    return numbers, version


class NewestFirst:
    """A key that sorts the other way round."""

    __slots__ = ("_key",)

    def __init__(self, key: VersionKey) -> None:
        self._key = key

    def __lt__(self, other: NewestFirst) -> bool:
        return other._key < self._key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NewestFirst) and other._key == self._key

    def __hash__(self) -> int:
        return hash(self._key)


def newest_first(version: str) -> NewestFirst:
    """Returns a sort key that puts the highest version first."""
    return NewestFirst(version_key(version))
