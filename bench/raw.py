"""The limit: onnxruntime alone, one worker process a core, on model input that was made beforehand."""

from __future__ import annotations

import contextlib
import os
import random
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import NamedTuple

from bench.inputs import Feed, Inputs
from bench.load.calls import OK, Outcome

BATCHES = 32
_LONGEST_SLICE_S = 120.0
_START_S = 60.0
_LEAST_SHARE = 8  # batches; a guess: fewer of them, sorted by length, are no fair sample of the lengths

Batches = Sequence[tuple[Feed, int]]  # each with how many inputs it holds
Ways = Mapping[str, Batches]  # by the name of the way that they were made


class _Slice(NamedTuple):
    """One command to a worker."""

    way: str
    seconds: float


class Raw:
    """Worker processes with the graph loaded, that run it for a while when they are told to."""

    def __init__(self, pipes: Sequence[Pipe]) -> None:
        """Takes a pipe to each worker."""
        self._pipes = pipes

    def measure(self, way: str, seconds: float, workers: int | None = None) -> Outcome:
        """Runs the batches of one way in `workers` processes (all) side by side; latencies are a batch's.

        Each runs its share of the batches as a whole, once and again until `seconds` are over: long batches take
        most of the time, so the rate within a part of the share would be that of whatever came first.
        """
        taken = self._pipes[:workers]
        for pipe in taken:
            pipe.send(_Slice(way, seconds))
        outcomes = []
        for pipe in taken:
            if not pipe.poll(seconds + _LONGEST_SLICE_S):
                raise RuntimeError("a worker of the raw limit does not answer")
            outcomes.append(pipe.recv())
        whole = Outcome(seconds=max(each.seconds for each in outcomes), statuses=Counter())
        rate = sum(each.items / each.seconds for each in outcomes)
        whole.items = round(rate * whole.seconds)
        for each in outcomes:
            whole.cpu_s += each.cpu_s * whole.seconds / each.seconds
            whole.latencies_s.extend(each.latencies_s)
            whole.statuses.update(each.statuses)
        return whole

    def best(self, ways: Sequence[str], seconds: float) -> tuple[str, Mapping[str, float]]:
        """Returns the fastest way, and the rate of each."""
        rates = {way: self.measure(way, seconds).rate for way in ways}
        return max(rates, key=rates.__getitem__), rates


def ways(inputs: Inputs) -> Ways:
    """Returns the batches of each way: one by one, 32 as they come, 32 sorted by length."""
    if len(set(inputs.lengths)) == 1:
        return {"1": inputs.batches(1), "8": inputs.batches(8)}
    one_by_one, by_length = (inputs.batches(size, is_sorted=True) for size in (1, BATCHES))  # so shares are balanced
    return {"1": one_by_one, "32": inputs.batches(BATCHES), "32 sorted": by_length}


def share(batches: Batches, number: int, count: int) -> Batches:
    """Returns the batches of one of `count` workers, in a shuffled order that is the same in every run.

    Dealt to and fro along the list (0 1 1 0 0 1 …), so that of batches sorted by length all workers, and one alone,
    have the same mix. Too few for that, and each has all of them.
    """
    dealt = list(batches)
    if len(batches) >= count * _LEAST_SHARE:
        dealt = [
            batch for place, batch in enumerate(batches)
            if place % count == (number if place // count % 2 == 0 else count - 1 - number)
        ]  # fmt: skip
    random.Random(number).shuffle(dealt)  # noqa: S311  # the same order in every run
    return dealt


@contextlib.contextmanager
def raw(graph: Path, batches: Ways, workers: int | None = None) -> Iterator[Raw]:
    """Runs workers for the length of the block, one a core unless told otherwise."""
    context = get_context("spawn")
    count = workers or len(os.sched_getaffinity(0))
    pipes, processes = [], []
    try:
        for number in range(count):
            here, there = context.Pipe()
            shares = {way: share(cut, number, count) for way, cut in batches.items()}
            process = context.Process(target=_work, args=(str(graph), shares, there), daemon=True)
            process.start()
            there.close()
            pipes.append(here)
            processes.append(process)
        for pipe in pipes:
            if not pipe.poll(_START_S):
                raise RuntimeError(f"onnxruntime did not load {graph} within {_START_S:.0f} s")
            pipe.recv()
        yield Raw(pipes)
    finally:
        for pipe in pipes:
            pipe.close()  # the worker's recv ends
        for process in processes:
            process.join(5)
            if process.is_alive():
                process.kill()


def _work(graph: str, batches: Ways, pipe: Pipe) -> None:
    import onnxruntime  # here, so that a load generator does not load it

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    taken = {each.name for each in session.get_inputs()}
    fitting = {
        way: [({name: feed[name] for name in feed if name in taken}, count) for feed, count in cut]
        for way, cut in batches.items()
    }
    for cut in fitting.values():  # the arena grows to its size
        session.run(None, max(cut, key=_size)[0])
    pipe.send("ready")
    with contextlib.suppress(EOFError, OSError):
        while True:
            wish: _Slice = pipe.recv()
            pipe.send(_run(session.run, fitting[wish.way], wish))


def _size(batch: tuple[Feed, int]) -> int:
    return sum(array.size for array in batch[0].values())


def _run(run: Callable[..., object], batches: Batches, wish: _Slice) -> Outcome:
    outcome = Outcome(latencies_s=array("d"))
    cpu, started = time.process_time(), time.perf_counter()
    now = started
    while now - started < wish.seconds or not outcome.items:
        for feed, count in batches:  # never a part of them
            run(None, feed)
            begun, now = now, time.perf_counter()
            outcome.latencies_s.append(now - begun)
            outcome.items += count
            outcome.statuses[OK] += 1
    outcome.seconds, outcome.cpu_s = now - started, time.process_time() - cpu
    return outcome
