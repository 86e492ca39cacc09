"""Where a service decodes the files of its callers: in processes of their own, or in its threads."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from numpy.typing import NDArray

from sensorium.errors import FailedPrecondition, Reason
from shared.hosting.config import HostingConfig
from shared.inference.cpus import available_cpus
from shared.inference.isolation import Bounds, Decoder, Ended, Isolation
from shared.serving import checks
from shared.serving.config import option
from shared.serving.metrics import Metrics

_PLACES = ("isolated", "inline")


@dataclass(frozen=True)
class DecodingConfig:
    """Where files are decoded, and what one of them may take."""

    decode: str = option(
        "isolated",
        "isolated: files are decoded in processes of their own, so that one that crashes, hangs or bloats a codec ends "
        "that process and fails alone (Linux); inline: in the service itself",
        check=checks.one_of(*_PLACES),  # at start, with all other faults; `decoding` looks again, as code may build it
    )
    decode_memory_mb: int = option(
        1536, "what an isolated decoder may take for one file, in MB of a million bytes", low=16, high=1_000_000
    )
    decode_timeout_s: float = option(10.0, "seconds that an isolated decoder may take for one file", low=0.05, high=600)


@dataclass(frozen=True, slots=True)
class Codec:
    """How files of one modality are decoded.

    inline: a file's array, and a number that goes with it.
    check: refuses files that are too large or obviously none, before they go to another process.
    entry, arguments: the same decoder for a process of its own; see `Nursery`.
    input_bytes, output_bytes: the largest file, and the largest array made of one.
    """

    inline: Callable[[bytes], tuple[NDArray[Any], int]]  # Any: pixels or samples
    check: Callable[[bytes], object]
    entry: str
    arguments: Mapping[str, int]
    input_bytes: int
    output_bytes: int


@contextlib.contextmanager
def decoding(codec: Codec, config: DecodingConfig, hosting: HostingConfig, metrics: Metrics) -> Iterator[Decoder]:
    """Gives what decodes files; leaving the block ends the processes, so leave it last.

    Raises:
        FailedPrecondition: `decode` is neither of the two.
    """
    if config.decode not in _PLACES:
        raise FailedPrecondition(
            f"SENSORIUM_DECODE is {config.decode!r}; give {' or '.join(_PLACES)}", reason=Reason.FIELD_INVALID
        )
    if config.decode == "inline" or sys.platform != "linux":
        yield inline(codec)
        return
    for reason in get_args(Ended):
        metrics.decoder_ends.labels(reason)
    bounds = Bounds(codec.input_bytes, codec.output_bytes, config.decode_memory_mb * 1_000_000, config.decode_timeout_s)
    count = hosting.workers or available_cpus()  # as many as there are threads that ask

    def on_end(reason: Ended) -> None:
        metrics.decoder_ends.labels(reason).inc()

    isolation = Isolation(codec.entry, codec.arguments, bounds, count, on_end)
    try:
        yield isolated(codec, isolation)
    finally:
        isolation.close()


def inline(codec: Codec) -> Decoder:
    """Returns what decodes files where it is called."""
    return lambda data: contextlib.nullcontext(codec.inline(data))


def isolated(codec: Codec, isolation: Isolation) -> Decoder:
    """Returns what decodes files in other processes."""

    @contextlib.contextmanager
    def decoded(data: bytes) -> Iterator[tuple[NDArray[Any], int]]:
        codec.check(data)
        with isolation.decoded(data) as made:
            yield made

    return decoded
