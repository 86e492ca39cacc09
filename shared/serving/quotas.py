"""What each tenant may use: items a second, calls and streams at once. The bounds are those of one process.

An item is what a call brings to be worked on: a text, picture, sound or vector; for Classify also each label through
each template, and each example. A call brings at least one. A message of a stream is one item.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import tomllib
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from sensorium.errors import Overloaded, Reason
from sensorium.oip.open_inference_pb2 import ModelInferRequest
from shared.serving.config import ConfigError
from shared.serving.files import Followed, read_file
from shared.serving.metrics import Metrics

_T = TypeVar("_T")

_BURST_S = 10.0  # the default burst, in seconds of the rate
_BUSY_RETRY_S = 0.5  # when one of a tenant's running calls may have ended: a guess
_LONGEST_WAIT_S = 1.0  # of a stream between looks at its bucket, whose rate may have changed
_MOST_TENANTS = 10_000  # whose use is remembered; idle ones beyond are forgotten, which forgives them their last burst


@dataclass(frozen=True, slots=True)
class Quota:
    """What one tenant may use; infinite is no bound.

    items_per_s: how fast its bucket fills.
    burst_items: how many items the bucket holds.
    calls, streams: how many run at once.
    """

    items_per_s: float = float("inf")
    burst_items: float = float("inf")
    calls: float = float("inf")
    streams: float = float("inf")


@dataclass(frozen=True, slots=True)
class QuotaFile:
    """The quotas of a file: by tenant, and that of all others."""

    default: Quota
    tenants: Mapping[str, Quota]

    def of(self, tenant: str) -> Quota:
        """Returns the quota of a tenant."""
        return self.tenants.get(tenant, self.default)


def read_quotas(path: str) -> QuotaFile:
    """Returns the quotas of a file, JSON where its first character is {, else TOML.

    `default` holds the numbers of `Quota` for everyone; `tenants.<name>` those that are other for one tenant.

    Raises:
        ConfigError: it cannot be read, or an entry is wrong; the message names it.
    """
    text = read_file(path, "quotas").decode(errors="replace")
    try:
        content = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
        default = _quota(content.pop("default", {}), Quota(), "default")
        tenants = content.pop("tenants", {})
        if content:
            raise ValueError(f"{sorted(content)[0]!r} is neither default nor tenants")
        if not isinstance(tenants, dict):
            raise ValueError("tenants is not a table of tenants")
        quotas = {name: _quota(entry, default, f"tenants.{name}") for name, entry in tenants.items()}
    except ValueError as fault:  # those of JSON and TOML among them
        raise ConfigError(f"{path} (SENSORIUM_QUOTAS): {fault}") from None
    return QuotaFile(default, quotas)


def _quota(entry: object, base: Quota, name: str) -> Quota:
    """Returns what an entry says, and `base` where it says nothing; raises ValueError."""
    if not isinstance(entry, dict):
        raise ValueError(f"{name} is not a table of items_per_s, burst_items, calls, streams")
    for key, value in entry.items():
        if key not in Quota.__slots__:
            raise ValueError(f"{name}.{key} is none of {', '.join(Quota.__slots__)}")
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not value > 0:
            raise ValueError(f"{name}.{key} is {value!r}; give a number above 0, or leave it out")
    quota = replace(base, **entry)
    if "items_per_s" in entry and "burst_items" not in entry:
        quota = replace(quota, burst_items=max(1.0, quota.items_per_s * _BURST_S))
    return quota


@dataclass(slots=True)
class _Use:
    """What one tenant uses. The bucket starts full, and a call that is larger than it leaves a debt."""

    level: float
    filled: float = field(default_factory=time.monotonic)
    running: dict[str, int] = field(default_factory=lambda: {"calls": 0, "streams": 0})

    def wait_s(self, quota: Quota, items: float) -> float:
        """Returns the seconds until so many items are in the bucket, or until it is full where they are more."""
        if quota.items_per_s == float("inf"):
            self.level = quota.burst_items
            return 0.0
        now = time.monotonic()
        self.level = min(quota.burst_items, self.level + (now - self.filled) * quota.items_per_s)
        self.filled = now
        return max(0.0, min(items, quota.burst_items) - self.level) / quota.items_per_s


class Quotas:
    """Holds tenants to the quotas of a file, which is followed."""

    def __init__(self, path: str, metrics: Metrics) -> None:
        """Reads the file.

        Raises:
            ConfigError: it is wrong.
        """
        self._file = Followed([path], lambda: read_quotas(path))
        self._metrics = metrics
        self._uses: OrderedDict[str, _Use] = OrderedDict()

    @contextlib.contextmanager
    def running(self, tenant: str, kind: str) -> Iterator[None]:
        """Counts one of a tenant's `calls` or `streams` as running for the length of the block.

        Raises:
            Overloaded: as many as it may have run already.
        """
        quota, use, label = self._file.current().of(tenant), self._use(tenant), self._label(tenant)
        limit = getattr(quota, kind)
        if use.running[kind] >= limit:
            raise self._refusal(tenant, kind, limit, _BUSY_RETRY_S, f"has {limit:g} {kind} running, as many as it may")
        gauge = self._metrics.tenant_running.labels(label, kind)
        use.running[kind] += 1
        gauge.inc()
        try:
            yield
        finally:
            use.running[kind] -= 1
            gauge.dec()

    def charge(self, tenant: str, items: int) -> None:
        """Takes items from a tenant's bucket.

        Raises:
            Overloaded: it does not hold so many; the error says when it will.
        """
        quota, use = self._file.current().of(tenant), self._use(tenant)
        wait_s = use.wait_s(quota, items)
        if wait_s > 0:
            rate = quota.items_per_s
            problem = f"is over {rate:g} items a second; this call brings {items}; try again in {wait_s:.2f} s"
            raise self._refusal(tenant, "items_per_s", rate, wait_s, problem)
        self._take(tenant, use, items)

    async def paced(self, tenant: str, messages: AsyncIterator[_T]) -> AsyncIterator[_T]:
        """Yields the messages of a stream, as fast as the tenant's bucket fills."""
        async for message in messages:
            await self._pay(tenant, item_count(message) if isinstance(message, ModelInferRequest) else 1)
            yield message

    async def _pay(self, tenant: str, items: int) -> None:
        """Takes the items of a message from a tenant's bucket, as soon as they are there, or as it is full."""
        while True:
            use = self._use(tenant)
            wait_s = use.wait_s(self._file.current().of(tenant), items)
            if wait_s <= 0:
                break
            await asyncio.sleep(min(wait_s, _LONGEST_WAIT_S))
        self._take(tenant, use, items)

    def _take(self, tenant: str, use: _Use, items: float) -> None:
        use.level -= items  # of an infinite bucket too, which stays so
        self._metrics.tenant_items.labels(self._label(tenant)).inc(items)

    def _use(self, tenant: str) -> _Use:
        use = self._uses.get(tenant)
        if use is None:
            use = self._uses[tenant] = _Use(self._file.current().of(tenant).burst_items)
            self._forget_idle()
        self._uses.move_to_end(tenant)
        return use

    def _forget_idle(self) -> None:
        """Forgets the tenant that was silent for longest, where there are too many; one that is at work stays."""
        if len(self._uses) > _MOST_TENANTS:
            oldest = next(iter(self._uses))
            if any(self._uses[oldest].running.values()):
                self._uses.move_to_end(oldest)
            else:
                del self._uses[oldest]

    def _label(self, tenant: str) -> str:
        """Returns the tenant's name in metrics: only those of the file, so that callers cannot make up series."""
        return tenant if tenant in self._file.current().tenants else "other"

    def _refusal(self, tenant: str, limit: str, value: float, retry_after_s: float, problem: str) -> Overloaded:
        self._metrics.tenant_refusals.labels(self._label(tenant), limit).inc()
        return Overloaded(
            f"the tenant {tenant} {problem}",
            reason=Reason.QUOTA_EXCEEDED,
            metadata={"tenant": tenant, "limit": limit, "value": f"{value:g}"},
            retry_after_s=retry_after_s,
        )


def item_count(request: Message) -> int:
    """Returns how many items a call brings; see the module."""
    if isinstance(request, ModelInferRequest):
        # As its shapes say, which are held against its contents later: no more than there can be, or who lies owes 2⁶².
        said = sum(max(1, each.shape[0]) for each in request.inputs if each.shape)
        return max(1, min(said, request.ByteSize()))
    count = 0
    for descriptor, value in request.ListFields():
        if descriptor.name == "labels":
            templates = max(1, len(getattr(request, "templates", ())))
            count += sum(len(label.examples) + (0 if label.is_tag else templates) for label in value)
        elif descriptor.is_repeated and descriptor.type in _ITEMS and descriptor.name != "templates":
            parts = _parts(descriptor)
            count += sum(max(1, len(getattr(each, parts))) for each in value) if parts else len(value)
    return max(1, count)


_ITEMS = (FieldDescriptor.TYPE_MESSAGE, FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)


def _parts(descriptor: FieldDescriptor) -> str:
    """Returns the name of the repeated messages inside the messages of a field, such as a FuseItem's parts; or ""."""
    fields = descriptor.message_type.fields if descriptor.message_type is not None else ()
    return next((each.name for each in fields if each.is_repeated and each.message_type is not None), "")
