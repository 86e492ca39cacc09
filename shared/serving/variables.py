"""Finds `SENSORIUM_*` variables that nobody reads, such as one with a letter wrong."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping

_PREFIX = "SENSORIUM_"

# What other programs of the mesh read: one set of variables may be given to all of them.
ELSEWHERE = frozenset(
    {
        "addr",
        "audio_addr",
        "ca",
        "cache_mb",
        "canary_interval_s",
        "canary_timeout_s",
        "breaker_failures",
        "cert",
        "decode",
        "decode_memory_mb",
        "decode_timeout_s",
        "default_model",
        "default_space",
        "engine_cache",
        "fusion_addr",
        "hedge_ratio",
        "insecure_token",
        "keep_old_s",
        "key",
        "leave_draining",
        "load_models",
        "lone_threads",
        "max_audio_bytes",
        "max_audio_ms",
        "max_audio_samples",
        "max_concurrency",
        "max_image_bytes",
        "max_pixels",
        "max_queue_batches",
        "max_text_bytes",
        "memory_budget_mb",
        "models",
        "peer_ca",
        "peer_cert",
        "peer_key",
        "peer_token",
        "precision",
        "providers",
        "text_addr",
        "token",
        "vision_addr",
        "watch_s",
        "workers",
    }
)

# Kubernetes tells every pod of each Service of its namespace so, unless enableServiceLinks is false.
_SERVICE_LINK = re.compile(r"(.+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)")


def unknown_variables(options: Collection[str], environ: Mapping[str, str]) -> list[str]:
    """Returns a sentence for each set variable that is no option of this program, nor of any other of the mesh.

    options: the names of this program's.
    """
    known = {name.upper() for name in {*options, *ELSEWHERE}}
    found = [name.removeprefix(_PREFIX) for name, value in environ.items() if name.startswith(_PREFIX) and value]
    return [_sentence(name, known) for name in sorted(found) if name not in known and not _is_link(name, environ)]


def _is_link(name: str, environ: Mapping[str, str]) -> bool:
    is_named_so = _SERVICE_LINK.fullmatch(name) is not None
    return is_named_so and ("SERVICE_" in name or "://" in environ[_PREFIX + name] or "_TCP" in name or "_UDP" in name)


def _sentence(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    hint = f"; is {_PREFIX}{close[0]} meant?" if close else "; --help lists those that are"
    return f"{_PREFIX}{name} is no option{hint}"
