"""Knows pictures and sounds by their first bytes, whatever their files are called."""

from __future__ import annotations

import re
from typing import Literal

Medium = Literal["image", "audio"]

HEAD_BYTES = 16

# A name is no proof, but "photo.jpg" that is not there is a slip and no text, and one that is there and whose bytes say
# nothing is a picture that is broken.
MEDIA_PATH = re.compile(
    r".\.((?P<image>jpe?g|jpe|png|webp|bmp|tiff?|gif|heic|avif|svg)"
    r"|(?P<audio>wave?|flac|og[ga]|opus|mp3|aiff?|m4a|aac))$",
    re.IGNORECASE,
)

# Signatures: https://www.garykessler.net/library/file_sigs.html; the formats are those of content.proto.
_IMAGES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM", b"II*\x00", b"MM\x00*")
_SOUNDS = (b"fLaC", b"OggS", b"ID3", b"RF64")


def medium_of(head: bytes) -> Medium | None:
    """Returns what a file with these first bytes (HEAD_BYTES of them) is; None for neither picture nor sound."""
    if head[:4] == b"RIFF":
        forms: dict[bytes, Medium] = {b"WAVE": "audio", b"WEBP": "image"}
        return forms.get(head[8:12])
    if head.startswith(_IMAGES):
        return "image"
    if head.startswith(_SOUNDS) or _is_mpeg_audio(head):
        return "audio"
    return None


def medium_of_name(name: str) -> Medium | None:
    """Returns what a file of this name claims to be."""
    claim = MEDIA_PATH.search(name)
    if claim is None:
        return None
    return "image" if claim["image"] else "audio"


def _is_mpeg_audio(head: bytes) -> bool:
    """Whether an MPEG audio frame starts here: 11 bits of sync, a known version, layer 3 (ISO 11172-3)."""
    if len(head) < 2 or head[0] != 0xFF:
        return False
    version, layer = head[1] >> 3 & 0b11, head[1] >> 1 & 0b11
    return head[1] & 0xE0 == 0xE0 and version != 0b01 and layer == 0b01
