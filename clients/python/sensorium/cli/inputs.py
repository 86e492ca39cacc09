"""Reads what the user gave: texts, files, globs and stdin, each told apart by rules that never guess in silence."""

from __future__ import annotations

import glob
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import sensorium
from sensorium.cli.failures import UsageFault, say
from sensorium.cli.magic import HEAD_BYTES, MEDIA_PATH, Medium, medium_of, medium_of_name
from sensorium.errors import InvalidInput, Reason
from sensorium.v1.content_pb2 import Content

Kind = Literal["text", "image", "audio"]
STDIN = "-"


@dataclass(frozen=True)
class Input:
    """One thing that the user gave.

    source: the text itself, the path of a file that is read when it is needed, or bytes from stdin.
    """

    kind: Kind
    source: str | Path | bytes

    @property
    def name(self) -> str:
        """What the user calls it: the text, the path, or `-`."""
        return STDIN if isinstance(self.source, bytes) else str(self.source)

    @property
    def size_bytes(self) -> int:
        """How large its content is; 0 for a file that cannot be looked at, which `content` then complains of."""
        if isinstance(self.source, Path):
            try:
                return self.source.stat().st_size
            except OSError:
                return 0
        return len(self.source)

    def content(self) -> Content:
        """Returns it as the mesh takes it.

        Raises:
            InvalidInput: the file cannot be read.
        """
        if isinstance(self.source, str):
            return sensorium.text(self.source)
        try:
            return sensorium.image(self.source) if self.kind == "image" else sensorium.audio(self.source)
        except OSError as fault:
            reason = Reason.MEDIA_UNDECODABLE
            raise InvalidInput(f"cannot be read: {fault.strerror}", reason=reason) from None


def read_inputs(
    mixed: Iterable[str] | None = None,
    texts: Iterable[str] | None = None,
    images: Iterable[str] | None = None,
    sounds: Iterable[str] | None = None,
    stdin: BinaryIO | None = None,
) -> list[Input]:
    """Returns the inputs of a command: those of unsaid kind first, then texts, pictures, sounds, each in their order.

    mixed: arguments whose kind follows from what they are; see `read_mixed`.
    images, sounds: paths, globs, or `-` for stdin.

    Raises:
        UsageFault: a file is missing, a glob matches nothing, or stdin is asked for twice.
    """
    if sum(given == STDIN for part in (mixed, images, sounds) for given in part or ()) > 1:
        raise UsageFault("stdin (-) can be read only once")
    inputs = [each for given in mixed or () for each in read_mixed(given, stdin)]
    inputs += [Input("text", given) for given in texts or ()]
    inputs += [each for given in images or () for each in _files(given, "image", stdin)]
    inputs += [each for given in sounds or () for each in _files(given, "audio", stdin)]
    return inputs


def read_mixed(given: str, stdin: BinaryIO | None = None) -> list[Input]:
    """Returns what an argument of unsaid kind means.

    `-` is stdin; an existing file, and a glob with matches, are files; what looks like the path of a picture or sound
    that does not exist is a slip; everything else is a text.

    Raises:
        UsageFault: the file is neither picture nor sound, or is not there.
    """
    if given == STDIN:
        return _from_stdin(stdin or sys.stdin.buffer)
    paths = _matches(given)
    if paths:
        return _media(given, paths)
    if broken := dangling(Path(given)):
        raise UsageFault(f"{given!r} {broken}")
    if MEDIA_PATH.search(given):
        raise UsageFault(f"there is no file {given!r}; if it is meant as a text, write: --text {given!r}")
    if given.endswith("/") and Path(given).is_dir():
        raise UsageFault(f"{given!r} is a folder; give its files, such as '{given}*'")
    return [Input("text", given)]


def read_files(given: str) -> list[Input]:
    """Returns the pictures and sounds that a path or glob names; a text is refused.

    Raises:
        UsageFault: there is no such file, or it is neither picture nor sound.
    """
    return _media(given, files_of(given))


def chunks(inputs: Sequence[Input], most_items: int, most_bytes: int) -> Iterator[Sequence[Input]]:
    """Yields runs of inputs in order, bounded in number and in size, so that few are in memory at once."""
    start, size = 0, 0
    for at, each in enumerate(inputs):
        if at > start and (at - start == most_items or size + each.size_bytes > most_bytes):
            yield inputs[start:at]
            start, size = at, 0
        size += each.size_bytes
    if start < len(inputs):
        yield inputs[start:]


def _files(given: str, kind: Kind, stdin: BinaryIO | None) -> list[Input]:
    if given == STDIN:
        return [Input(kind, (stdin or sys.stdin.buffer).read())]
    return [Input(kind, path) for path in files_of(given)]


def files_of(given: str) -> list[Path]:
    """Returns the file of that name, or the files that a glob matches, in order.

    Raises:
        UsageFault: there is none.
    """
    paths = _matches(given)
    if not paths:
        what = "is a folder" if Path(given).is_dir() else dangling(Path(given)) or "names no file"
        raise UsageFault(f"{given!r} {what}; give a file, or a glob that matches some")
    return paths


def dangling(path: Path) -> str:
    """Returns that a path is a link to what is not there; empty where it is none such."""
    try:
        return f"is a link to {path.readlink()}, which is not there" if path.is_symlink() and not path.exists() else ""
    except (OSError, ValueError):  # too long for a name, or with a NUL: no file is called so
        return ""


def _matches(given: str) -> list[Path]:
    """Returns the file of that name, or the files that a glob matches, in order; none is []."""
    try:
        if Path(given).is_file():
            return [Path(given)]
    except (OSError, ValueError):  # too long for a name, or with a NUL: no file is called so
        return []
    if not glob.has_magic(given):
        return []
    found = glob.glob(given, recursive=True)  # noqa: PTH207  # absolute patterns, too, which Path.glob refuses
    return [path for path in map(Path, sorted(found)) if path.is_file()]


def _media(given: str, paths: Sequence[Path]) -> list[Input]:
    """Returns the pictures and sounds among files; what else a glob matches is left out, and said to be."""
    media = [Input(medium, path) for path in paths if (medium := _medium(path)) is not None]
    others = [path for path in paths if path not in {each.source for each in media}]
    if not media:
        raise UsageFault(
            f"{given!r} is neither a picture nor a sound that is known; for its lines as texts, write: - < {others[0]}"
        )
    for path in others:
        say(f"{path} is left out: it is neither a picture nor a sound that is known")
    return media


def _medium(path: Path) -> Medium | None:
    try:
        with path.open("rb") as file:
            return medium_of(file.read(HEAD_BYTES)) or medium_of_name(path.name)
    except OSError as fault:
        raise UsageFault(f"{path} cannot be read: {fault.strerror}") from None


def _from_stdin(stdin: BinaryIO) -> list[Input]:
    """Returns the one picture or sound that comes in, or each line of text that is not blank."""
    data = stdin.read()
    medium = medium_of(data[:HEAD_BYTES])
    if medium is not None:
        return [Input(medium, data)]
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError:
        raise UsageFault("stdin is neither a known picture or sound nor text in UTF-8") from None
    return [Input("text", line.strip()) for line in lines if line.strip()]
