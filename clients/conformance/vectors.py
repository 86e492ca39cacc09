"""Holds numbers and embeddings in JSON against golden ones."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

TOLERANCE = 1e-5
_HALF = 1e-3  # a half float of a component below 1 is off by 2.4e-4 at most


def embedding_fault(wanted: Sequence[float], embedding: Mapping[str, Any]) -> str:
    """Returns how an Embedding, in whatever encoding, differs from the numbers it should have; "" where it does not.

    The tolerance is what the encoding can hold: 1e-5 for floats, one step for INT8, no wrong bit for BINARY but where
    the number is zero within 1e-5.
    """
    encoding = str(embedding.get("encoding") or "").removeprefix("VECTOR_ENCODING_")
    if encoding in ("", "FLOAT32", "UNSPECIFIED"):
        return numbers_fault(wanted, embedding.get("values") or [])
    if embedding.get("values"):
        return f"has values beside packed, with the encoding {encoding}"
    try:
        packed = _bytes(str(embedding.get("packed") or ""))
    except binascii.Error as fault:
        return f"packed is no base64: {fault}"
    if encoding == "FLOAT16":
        return numbers_fault(wanted, np.frombuffer(packed, "<f2").tolist(), _HALF)
    if encoding == "INT8":
        scale = float(embedding.get("scale") or 0)
        return numbers_fault(wanted, (np.frombuffer(packed, "i1") * scale).tolist(), scale)
    if encoding == "BINARY":
        return _bits_fault(wanted, np.unpackbits(np.frombuffer(packed, "u1")).tolist())
    return f"has the unknown encoding {encoding}"


def numbers_fault(wanted: Sequence[float | str], found: Sequence[Any], within: float = TOLERANCE) -> str:
    """Returns how two lists of numbers differ; "" where they do not."""
    if len(found) != len(wanted):
        return f"has {len(found)} numbers, not {len(wanted)}"
    pairs = zip(wanted, found, strict=True)
    wrong = [place for place, (one, other) in enumerate(pairs) if not is_near(one, other, within)]
    if not wrong:
        return ""
    first = wrong[0]
    return f"{len(wrong)} of {len(wanted)} numbers are wrong: [{first}] is {found[first]}, not {wanted[first]}"


def is_near(wanted: float | str, found: Any, within: float = TOLERANCE) -> bool:
    """Whether two numbers are the same within a tolerance, which grows with numbers above 1; NaN is the same as NaN."""
    one, other = number(wanted), number(found)
    return abs(one - other) <= within * max(1.0, abs(one)) or (math.isnan(one) and math.isnan(other))


def number(value: Any) -> float:
    """Returns a number of JSON; 64-bit integers and NaN may be strings. What is none becomes infinite, near nothing."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.inf


def _bits_fault(wanted: Sequence[float], bits: Sequence[int]) -> str:
    if len(bits) != -(-len(wanted) // 8) * 8:
        return f"has {len(bits)} bits, not {len(wanted)} filled up to whole bytes"
    expected = [value > 0 for value in wanted] + [False] * (len(bits) - len(wanted))
    sure = [abs(value) > TOLERANCE for value in wanted] + [True] * (len(bits) - len(wanted))
    wrong = sum(is_sure and bool(bit) != one for bit, one, is_sure in zip(bits, expected, sure, strict=True))
    return f"{wrong} of {len(bits)} bits are wrong" if wrong else ""


def _bytes(text: str) -> bytes:
    """Reads base64 in either of the two alphabets, with or without padding, as protobuf's JSON mapping allows."""
    plain = text.replace("-", "+").replace("_", "/").rstrip("=")
    return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
