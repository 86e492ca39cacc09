"""Files are decoded in other processes, and whatever one of them does there is its own misfortune."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sensorium.errors import InvalidInput, Reason
from shared.inference.isolation import Bounds, Isolation

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="isolation is for Linux")

ENTRY = "tests.shared.inference.hostile:set_up"
BOUNDS = Bounds(input_bytes=1 << 20, output_bytes=1 << 20, memory_bytes=100_000_000, timeout_s=60.0)
HASTY = dataclasses.replace(BOUNDS, timeout_s=1.0)


@pytest.fixture
def ends() -> list[str]:
    return []


@pytest.fixture
def isolation(ends: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Isolation]:
    monkeypatch.setenv("SENSORIUM_SECRET", "of the service")
    isolation = Isolation(ENTRY, {"note": 7}, BOUNDS, 2, ends.append)
    yield isolation
    isolation.close()


@pytest.fixture
def hasty(ends: list[str]) -> Iterator[Isolation]:
    isolation = Isolation(ENTRY, {"note": 7}, HASTY, 1, ends.append)
    yield isolation
    isolation.close()


def decoded(isolation: Isolation, data: bytes) -> bytes:
    with isolation.decoded(data) as (made, note):
        assert note == 7
        return made.tobytes()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_gone(pids: list[int], seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while any(map(is_alive, pids)):
        assert time.monotonic() < end, f"{[pid for pid in pids if is_alive(pid)]} are left"
        time.sleep(0.01)


def wait_until_busy(pid: int) -> None:
    """Returns once a decoder turns over a file: once it has taken some ticks of the CPU since now."""
    begun, end = ticks(pid), time.monotonic() + 20
    while ticks(pid) < begun + 5:
        assert time.monotonic() < end
        time.sleep(0.005)


def pids_of(isolation: Isolation, without: list[int]) -> list[int]:
    """Returns the pids of decoders that were not there before, once there are such."""
    end = time.monotonic() + 20
    while not (new := [pid for pid in isolation.pids if pid not in without]):
        assert time.monotonic() < end
        time.sleep(0.005)
    return new


def ticks(pid: int) -> int:
    """Returns the CPU time of a process in user mode, in hundredths of a second."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])


def test_what_a_decoder_makes_comes_back_as_it_is(isolation: Isolation, ends: list[str]) -> None:
    for size in (1, 63, 64, 65, 1 << 20, 3):
        data = np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()
        assert decoded(isolation, data) == data
    assert len(isolation.pids) == 1, "the second one was not needed"
    assert ends == []


def test_what_a_decoder_refuses_is_raised_with_all_that_it_said(isolation: Isolation, ends: list[str]) -> None:
    with pytest.raises(InvalidInput) as refusal:
        decoded(isolation, b"refuse")
    assert (refusal.value.reason, refusal.value.field) == (Reason.MEDIA_TRUNCATED, "data")
    assert (refusal.value.problem, refusal.value.metadata) == ("is refused", {"a": "b"})
    assert ends == []


@pytest.mark.parametrize(
    ("file", "said", "reason", "end"),
    [
        (b"segfault", "crashed the decoder (SIGSEGV)", Reason.MEDIA_UNDECODABLE, "crash"),
        (b"abort", "crashed the decoder (SIG", Reason.MEDIA_UNDECODABLE, "crash"),
        (b"exit", "crashed the decoder (exit code 3)", Reason.MEDIA_UNDECODABLE, "crash"),
        (b"hang", "took more than 1 s to decode", Reason.MEDIA_UNDECODABLE, "timeout"),
        (b"spin", "takes more of a CPU to decode than its pixels", Reason.MEDIA_TOO_LARGE, "timeout"),
        (b"bloat", "takes more than 100 MB of memory to decode", Reason.MEDIA_TOO_LARGE, "memory"),
        (b"nonsense", "made the decoder answer nonsense", Reason.MEDIA_UNDECODABLE, "crash"),
        (b"beyond", "made the decoder answer nonsense", Reason.MEDIA_UNDECODABLE, "crash"),
    ],
)
def test_a_file_that_ends_its_decoder_is_told_so_and_the_next_has_another(
    hasty: Isolation, ends: list[str], file: bytes, said: str, reason: Reason, end: str
) -> None:
    assert decoded(hasty, b"before") == b"before"
    before = hasty.pids
    with pytest.raises(InvalidInput) as refusal:
        decoded(hasty, file)
    assert said in refusal.value.problem
    assert (refusal.value.reason, refusal.value.field) == (reason, "data")
    wait_until_gone(before)
    assert decoded(hasty, b"after") == b"after"
    assert ends == [end]


def test_a_file_of_many_streams_has_no_more_of_a_cpu_than_one_of_one(isolation: Isolation, ends: list[str]) -> None:
    with pytest.raises(InvalidInput, match="takes more of a CPU to decode"):
        decoded(isolation, b"streams")
    assert decoded(isolation, b"after") == b"after"
    assert ends == ["timeout"]


def test_a_bug_of_a_decoder_is_a_bug_of_ours_and_ends_nothing(isolation: Isolation, ends: list[str]) -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        decoded(isolation, b"bug")
    assert decoded(isolation, b"after") == b"after"
    assert ends == []


def test_a_file_is_not_blamed_for_a_decoder_that_somebody_killed(isolation: Isolation, ends: list[str]) -> None:
    decoded(isolation, b"before")
    os.kill(isolation.pids[0], signal.SIGKILL)
    assert decoded(isolation, b"after") == b"after"
    assert ends == ["killed"]


def test_a_file_whose_decoder_is_killed_midway_is_decoded_by_another(isolation: Isolation, ends: list[str]) -> None:
    decoded(isolation, b"before")
    (pid,) = isolation.pids
    with ThreadPoolExecutor(1) as thread:
        slow = thread.submit(decoded, isolation, b"slow")
        wait_until_busy(pid)
        os.kill(pid, signal.SIGKILL)
        assert slow.result(10) == b"slow"
    assert ends == ["killed"]


def test_others_go_on_while_a_file_hangs_and_it_is_refused_once_it_took_two_decoders(
    isolation: Isolation, ends: list[str]
) -> None:
    with ThreadPoolExecutor(1) as thread:
        hanging = thread.submit(decoded, isolation, b"hang")
        (first,) = pids_of(isolation, without=[])
        for count in range(100):
            assert decoded(isolation, b"%d" % count) == b"%d" % count
        assert not hanging.done()
        others = [pid for pid in isolation.pids if pid != first]
        os.kill(first, signal.SIGKILL)
        (second,) = pids_of(isolation, without=[first, *others])
        os.kill(second, signal.SIGKILL)
        with pytest.raises(InvalidInput, match="killed twice"):
            hanging.result(10)
        assert isolation.pids == others
    assert ends == ["killed", "killed"]


def test_a_stopped_decoder_is_left_after_the_time_limit(hasty: Isolation, ends: list[str]) -> None:
    decoded(hasty, b"before")
    before = hasty.pids
    os.kill(before[0], signal.SIGSTOP)
    with pytest.raises(InvalidInput, match="took more than"):
        decoded(hasty, b"innocent")
    wait_until_gone(before)
    assert decoded(hasty, b"after") == b"after"
    assert ends == ["timeout"]


def test_the_process_that_forks_is_replaced_too(isolation: Isolation) -> None:
    decoded(isolation, b"before")
    before = [isolation.nursery.pid, *isolation.pids]
    os.kill(before[0], signal.SIGKILL)
    wait_until_gone(before[1:])
    assert decoded(isolation, b"after") == b"after"
    assert isolation.nursery.pid not in before


def test_a_decoder_can_do_nothing_but_decode(isolation: Isolation) -> None:
    assert decoded(isolation, b"confined").decode() == "-", "it could do these"


def test_none_are_left_after_close(ends: list[str]) -> None:
    isolation = Isolation(ENTRY, {"note": 7}, BOUNDS, 2, ends.append)
    start = threading.Barrier(2)

    def both() -> None:
        with isolation.decoded(b"x"):
            start.wait(5)

    with ThreadPoolExecutor(2) as threads:
        for each in [threads.submit(both) for _ in range(2)]:
            each.result(10)
    pids = [isolation.nursery.pid, *isolation.pids]
    assert len(pids) == 3
    isolation.close()
    assert not any(map(is_alive, pids))


@pytest.mark.parametrize("file", ["idle", "hang"])
def test_none_are_left_where_their_service_is_killed(file: str) -> None:
    program = f"""
import threading, time
from shared.inference.isolation import Bounds, Isolation
isolation = Isolation({ENTRY!r}, {{"note": 7}}, Bounds(1 << 20, 1 << 20, 100_000_000, 60.0), 1, print)
with isolation.decoded(b"idle"):
    pids = [isolation.nursery.pid, *isolation.pids]
print(*pids, flush=True)
with isolation.decoded({file.encode()!r}):
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pids = [int(pid) for pid in owner.stdout.readline().split()]
        assert len(pids) == 2
        if file == "hang":
            wait_until_busy(pids[1])
        owner.kill()
    wait_until_gone(pids)
