"""Fetches an issuer's keys (a JWK set) from a URL, keeps them fresh, and never on the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from http.client import HTTPException

from sensorium.errors import Unavailable
from shared.serving.config import ConfigError
from shared.serving.jwts import Keys, read_keys

_log = logging.getLogger("sensorium.jwks")

_FETCH_S = 5.0  # the longest that one fetch may take
_EVERY_S = 600.0  # between fetches while nothing asks for one: how long a key that was taken back may stay
_AGAIN_S = 10.0  # between fetches at least, whatever key ids callers make up
_MAX_BYTES = 1 << 20
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class KeyUrl:
    """The keys at a URL. It is asked when `watched`, and once more where a token names a key that it lacks."""

    def __init__(self, url: str, *, again_s: float = _AGAIN_S, every_s: float = _EVERY_S) -> None:
        """Takes the URL; nothing is fetched before `watched`.

        Raises:
            ConfigError: it is neither https nor on this machine; whoever is on the way could send keys of their own.
        """
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise ConfigError(f"{url} (SENSORIUM_JWKS) is not https; give the issuer's jwks_uri, or a file")
        self._url = url
        self._again_s, self._every_s = again_s, every_s
        self._keys: Keys = {}
        self._tried = -again_s
        self._fetching: asyncio.Task[None] | None = None

    def known(self) -> Keys:
        """Returns the keys as they were fetched last; none before the first time."""
        return self._keys

    async def keys(self, unknown_kid: str | None = None) -> Keys:
        """Returns the keys; asks for them anew where there are none or one is missing, every ten seconds at most.

        Raises:
            Unavailable: there are none yet.
        """
        if not self._keys or unknown_kid is not None:
            await self._refresh()
        if not self._keys:
            raise Unavailable(
                "the keys of the tokens' issuer cannot be fetched, so no token can be checked; try again soon",
                metadata={"service": "jwks"},
                retry_after_s=self._again_s,
            )
        return self._keys

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Fetches the keys now and every ten minutes, while the block runs."""

        async def watch() -> None:
            while True:  # until cancelled
                await self._refresh()
                await asyncio.sleep(self._every_s if self._keys else self._again_s)

        watching = asyncio.create_task(watch())
        try:
            yield
        finally:
            running = [task for task in (watching, self._fetching) if task is not None]
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _refresh(self) -> None:
        """Waits for a fetch: the one that runs, or a new one where the last is long enough ago."""
        if self._fetching is None or self._fetching.done():
            if time.monotonic() - self._tried < self._again_s:
                return
            self._tried = time.monotonic()
            self._fetching = asyncio.create_task(self._fetch())
        await asyncio.shield(self._fetching)  # a caller that hangs up does not end it for the others

    async def _fetch(self) -> None:
        try:
            self._keys = read_keys(await asyncio.to_thread(_content, self._url))
        except (OSError, ValueError, HTTPException) as fault:
            _log.error("the issuer's keys cannot be fetched: %s", fault, extra={"f": {"url": self._url}})


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it could lead to plain text, or into the cluster."""

    def redirect_request(self, *_: object) -> None:
        """Returns no request, so that the redirect becomes an error."""


def _content(url: str) -> bytes:
    """Returns what is at a URL; raises OSError, ValueError or HTTPException."""
    ended = time.monotonic() + _FETCH_S
    content = b""
    with urllib.request.build_opener(_NoRedirect).open(url, timeout=_FETCH_S) as page:
        while chunk := page.read1(65_536):
            content += chunk
            if len(content) > _MAX_BYTES or time.monotonic() > ended:
                raise ValueError(f"it is over {_MAX_BYTES} bytes or takes more than {_FETCH_S:.0f} s")
    return content
