"""`sensorium embed --window-ms`: what is heard when, a vector for each window of sounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sensorium import Client, ClipWindows
from sensorium.cli.failures import UsageFault
from sensorium.cli.found import Found
from sensorium.cli.inputs import Input
from sensorium.cli.loading import ask_in_chunks
from sensorium.cli.output import Format, console, named, numbers, shortened, shown_as_it_goes, table
from sensorium.options import WindowOptions


def check_windows(given: Sequence[Input], window_ms: int, hop_ms: int) -> None:
    """Refuses windows of what is no sound.

    Raises:
        UsageFault: one of the inputs is none, or only the hop was given.
    """
    if hop_ms and not window_ms:
        raise UsageFault("--hop-ms needs --window-ms")
    if window_ms and (strange := [each for each in given if each.kind != "audio"]):
        raise UsageFault(f"--window-ms is for sounds, which {strange[0].name!r} is not")


def embed_windows(
    client: Client, given: Sequence[Input], form: Format, window_ms: int, hop_ms: int, asked: WindowOptions
) -> Found[ClipWindows]:
    """Asks for the windows of sounds, and prints them as is wanted; `.npy` has the windows of all sounds in a row."""
    found = Found(given, form, _facts)
    parts = ask_in_chunks(given, lambda sounds: client.embed_windows(sounds, window_ms, hop_ms, **asked))
    for part in shown_as_it_goes(parts, len(given), lambda part: len(part.inputs), "Embedding"):
        found.add(part, lambda answer: answer.clips, lambda answer: answer.space)
    found.show()
    rows = [clip.vectors for clip in found.items.values()]
    form.save(np.concatenate(rows) if rows else np.empty((0, 0), np.float32))
    if form.wants_table:
        _show_table(found)
    return found


def _facts(clip: ClipWindows) -> dict[str, Any]:
    """Returns a sound's windows. Any: JSON."""
    spans = zip(clip.start_ms.tolist(), clip.end_ms.tolist(), clip.vectors, strict=True)
    return {"windows": [{"start_ms": start, "end_ms": end, "vector": numbers(row)} for start, end, row in spans]}


def _show_table(found: Found[ClipWindows]) -> None:
    rows = table("input", "from ms#", "to ms#", "vector")
    for at, each in enumerate(found.inputs):
        clip = found.items.get(at)
        if clip is None:
            rows.add_row(named(each), "", "", "[red]failed[/red]")
            continue
        for number, (start, end, row) in enumerate(zip(clip.start_ms, clip.end_ms, clip.vectors, strict=True)):
            rows.add_row(named(each) if number == 0 else "", str(start), str(end), shortened(row))
    console().print(rows)
