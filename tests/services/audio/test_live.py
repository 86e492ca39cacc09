"""Live sound: a message of any length costs what its windows cost."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.errors import InvalidInput
from sensorium.v1 import content_pb2
from services.audio.clips import Windows, pieces, read_samples
from services.audio.live import LiveWindows


def test_windows_of_one_large_message_are_those_of_many_small_ones_and_none_of_it_is_kept() -> None:
    sound = np.arange(16_000 * 60, dtype="<i2").tobytes()
    live = LiveWindows(Windows(1000, 500), 16_000)
    format_ = content_pb2.PCM_FORMAT_INT16
    got = [window for piece in pieces(sound, format_, 1) for window in live.push(piece)]
    kept = sum(each.nbytes if each.base is None else each.base.nbytes for each in live._held)
    assert kept <= 4 * 16_000
    whole = read_samples(sound, format_, 1)
    assert [(start, end) for start, end, _ in got] == [(at, at + 1000) for at in range(0, 59_001, 500)]
    for start_ms, end_ms, samples in got:
        assert np.array_equal(samples, whole[16 * start_ms : 16 * end_ms])


def test_a_message_that_is_no_whole_number_of_samples_is_refused_before_any_of_it_is_used() -> None:
    with pytest.raises(InvalidInput, match="no multiple of 2"):
        next(pieces(bytes((1 << 20) + 1), content_pb2.PCM_FORMAT_INT16, 1))
