"""What goes around the sound in a file: tags before it, several streams one after the other, lengths that lie.

libsndfile reads the first stream of a file and believes what its header says of its length. So files are taken apart
here first, and a length that is unknown, as in what was written into a pipe, is replaced by what is there.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sensorium.errors import InvalidInput, Reason

# What writers into a pipe state for a length that they do not know: the largest number, or one a little below.
_UNKNOWN_32, _UNKNOWN_64 = 0x7FFFF000, 1 << 62
_OGG_BEGIN, _OGG_END = 2, 4  # flags of an Ogg page: the first and the last of a stream (RFC 3533, section 6)
_OGG_HEADER_BYTES = 27
# A FLAC marker and the header of its first block, of 34 bytes, which may be its last (RFC 9639, section 8).
_FLAC_BEGIN = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
_ID3_BYTES, _TAG_BYTES = 10, 128  # of the header of an ID3v2 tag, and of a whole ID3v1
_MOST_PARTS = 1000  # streams in one file; a guess that bounds what opening each costs


@dataclass(frozen=True, slots=True)
class Part:
    """One stream of a file, as libsndfile can read it.

    is_mpeg: whether it is MPEG audio, whose length may be a guess from its first frames.
    """

    data: bytes
    is_mpeg: bool = False


def parts(data: bytes) -> list[Part]:
    """Returns the streams of a sound file, in their order.

    Raises:
        InvalidInput: of the field `data`: MEDIA_TRUNCATED, where the file says that more should be there.
    """
    body = _behind_tags(data)
    head = body[:4]
    if head in (b"RIFF", b"RIFX", b"RF64"):
        return [Part(_whole_wav(wav)) for wav in _wav_parts(body)]
    if head == b"OggS":
        return [Part(link) for link in _ogg_links(body)]
    if head == b"fLaC":
        starts = [begin.start() for begin in _FLAC_BEGIN.finditer(body)][:_MOST_PARTS] or [0]
        return [Part(body[at:end]) for at, end in zip(starts, [*starts[1:], len(body)], strict=True)]
    if data[:3] == b"ID3" or _is_mpeg_frame(data[:4]):
        return [Part(part, is_mpeg=True) for part in _mpeg_parts(data)]
    return [Part(data)]


def truncated(problem: str) -> InvalidInput:
    """Returns the error of a file that says that more should be there."""
    return InvalidInput(f"{problem}; send the whole file", reason=Reason.MEDIA_TRUNCATED, field="data")


class Longer(io.BytesIO):
    """A file that says it is longer than it is, so that a length guessed from its size bounds nothing."""

    def __init__(self, data: bytes, times: int = 64) -> None:
        """Takes the bytes, and how many times as long they seem."""
        super().__init__(data)
        self._end = times * len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves as files do; the end lies where nothing is."""
        return super().seek(self._end + offset) if whence == io.SEEK_END else super().seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        """Reads as files do, and zeros where the last tag would be, of 128 bytes. Any: what takes bytes."""
        count = super().readinto(buffer)
        if count == 0 and self._end - _TAG_BYTES <= self.tell() < self._end:
            count = min(len(buffer), self._end - self.tell())
            buffer[:count] = bytes(count)
            super().seek(count, io.SEEK_CUR)
        return count


def _behind_tags(data: bytes) -> bytes:
    """Returns a file without the ID3v2 tags before it (https://id3.org/id3v2.4.0-structure, section 3.1)."""
    at = 0
    while data[at : at + 3] == b"ID3" and len(data) >= at + _ID3_BYTES:
        size = 0
        for byte in data[at + 6 : at + _ID3_BYTES]:
            size = size << 7 | byte & 0x7F
        has_footer = bool(data[at + 5] & 0x10)
        at += _ID3_BYTES + size + (_ID3_BYTES if has_footer else 0)
    return data[at:] if at else data


def _wav_parts(data: bytes) -> Iterator[bytes]:
    """Yields the WAV files that were joined into one: where one ends, as it says, the next begins."""
    start = 0
    for _ in range(_MOST_PARTS):
        end = start + 8 + int.from_bytes(data[start + 4 : start + 8], "little")
        if data[start : start + 4] != b"RIFF" or data[end : end + 4] != b"RIFF" or data[end + 8 : end + 12] != b"WAVE":
            break
        yield data[start:end]
        start = end
    yield data[start:]


def _whole_wav(data: bytes) -> bytes:
    """Returns a WAV or RF64 file whose sound chunk has the length that is there, where it states none."""
    order = "big" if data[:4] == b"RIFX" else "little"
    wide = 0  # of RF64: the length of the sound, in a chunk of its own (EBU Tech 3306)
    at = 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], order)  # type: ignore[arg-type]  # a literal
        if name == b"ds64":
            wide = int.from_bytes(data[at + 16 : at + 24], "little")
        if name == b"data":
            there = len(data) - at - 8
            stated = wide if data[:4] == b"RF64" and size == 0xFFFFFFFF else size
            is_unknown = stated >= (_UNKNOWN_64 if stated is wide and wide else _UNKNOWN_32) or (
                stated == 0 and there > 0 and not _is_empty_wav(data, at, order)
            )
            if is_unknown:
                return _relabelled(data, at, there, order)
            if stated > there:
                raise truncated(f"ends after {there} of {stated} bytes of sound")
            return data
        at += 8 + size + size % 2
    return data


def _is_empty_wav(data: bytes, at: int, order: str) -> bool:
    """Whether a sound chunk of length 0 is meant so: the file's own length fits, and chunks follow or nothing does."""
    stated = int.from_bytes(data[4:8], order) + 8  # type: ignore[arg-type]  # a literal
    following = at + 8
    while following + 8 <= len(data):
        size = int.from_bytes(data[following + 4 : following + 8], order)  # type: ignore[arg-type]  # as above
        following += 8 + size + size % 2
    return abs(stated - len(data)) <= 1 and abs(following - len(data)) <= 1


def _relabelled(data: bytes, at: int, there: int, order: str) -> bytes:
    """Returns a WAV file with the lengths that it really has."""
    size = there.to_bytes(4, order)  # type: ignore[arg-type]  # a literal
    head = (b"RIFF" if data[:4] == b"RF64" else data[:4]) + (len(data) - 8).to_bytes(4, order)  # type: ignore[arg-type]  # as above
    before = data[8:at].replace(b"ds64", b"JUNK", 1) if data[:4] == b"RF64" else data[8:at]
    return b"".join((head, before, b"data", size, memoryview(data)[at + 8 :]))


def _ogg_links(data: bytes) -> Iterator[bytes]:
    """Yields the links of a chained Ogg file (RFC 3533, section 4): each begins where streams begin after others."""
    start, is_begun, ended, count = 0, False, True, 0
    for at, flags, end in _ogg_pages(data):
        begins = bool(flags & _OGG_BEGIN)
        if begins and is_begun:
            yield data[start:at]
            start, is_begun, count = at, False, count + 1
            if count >= _MOST_PARTS:
                raise InvalidInput(
                    f"has more than {_MOST_PARTS} streams one after the other; send them apart",
                    reason=Reason.MEDIA_TOO_LARGE,
                    field="data",
                )
        is_begun |= not begins
        ended = bool(flags & _OGG_END)
        if end > len(data):
            raise truncated(f"ends {end - len(data)} bytes before its last page does")
    if not ended:
        raise truncated("ends before its last page, which would say so")
    yield data[start:]


def _ogg_pages(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yields the beginning, the flags and the end of every page."""
    at = 0
    while at + 4 <= len(data):
        if data[at : at + 4] != b"OggS":  # what is no page is passed over, as decoders do
            at = data.find(b"OggS", at)
            if at < 0:
                return
        if at + _OGG_HEADER_BYTES > len(data):
            yield at, 0, at + _OGG_HEADER_BYTES
            return
        count = data[at + 26]
        table = data[at + _OGG_HEADER_BYTES : at + _OGG_HEADER_BYTES + count]
        end = at + _OGG_HEADER_BYTES + count + sum(table)
        yield at, data[at + 5], end
        at = end


def _is_mpeg_frame(head: bytes) -> bool:
    """Whether four bytes begin a frame of MPEG audio, of layer I, II or III."""
    is_synchronized = len(head) == 4 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0
    return is_synchronized and head[1] & 0x06 != 0 and head[2] & 0xF0 != 0xF0


def _mpeg_parts(data: bytes) -> Iterator[bytes]:
    """Yields the files that were joined into one: where a frame says how long its file is, another may follow.

    The length is that of the Xing header, in the first frame of most files (`Xing` or `Info`, flags, frames, bytes).
    """
    start = 0
    for _ in range(_MOST_PARTS):
        end = _xing_end(data, start)
        following = end and _next_mpeg(data, end)
        if not following:
            break
        yield data[start:following]
        start = following
    yield data[start:]


def _xing_end(data: bytes, start: int) -> int:
    """Returns where the file that begins at `start` should end, as its header says; 0 where it does not say."""
    frame = start + len(data) - start - len(_behind_tags(data[start:]))
    head = data[frame : frame + 200]
    at = max(head.find(b"Xing"), head.find(b"Info"))
    if at < 0 or not _is_mpeg_frame(head[:4]) or not head[at + 7] & 2:
        return 0
    size_at = at + 8 + (4 if head[at + 7] & 1 else 0)
    return frame + int.from_bytes(head[size_at : size_at + 4], "big")


def _next_mpeg(data: bytes, end: int) -> int:
    """Returns where the next file begins behind `end`, tags aside; 0 where none does."""
    at = end
    if data[at : at + 3] == b"TAG":
        at += _TAG_BYTES
    if data[at : at + 3] == b"ID3" or _is_mpeg_frame(data[at : at + 4]):
        return at
    return 0
