"""JWTs of an issuer (OIDC): checked with the issuer's public keys, which are followed as they are rotated."""

from __future__ import annotations

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Protocol

import jwt

from shared.serving.auth import Caller, is_tenant, refusal
from shared.serving.config import ConfigError, ServerConfig
from shared.serving.files import Followed, read_file

# Those whose verifying key is public. HS256 and its kin would make a secret of what everybody may read, and "none" is
# no signature at all (RFC 8725, 3.1 and 3.2).
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")

_CACHED = 4096  # verified tokens: to check a signature takes 0.1 ms of the event loop, to find a token 2 microseconds

Keys = Mapping[str, jwt.PyJWK]


class KeySource(Protocol):
    """Where the issuer's keys come from."""

    def known(self) -> Keys:
        """Returns the keys that are known now, by their ids; the same object until they change."""

    async def keys(self, unknown_kid: str | None = None) -> Keys:
        """Returns the keys, if need be after asking for them.

        unknown_kid: one that a token names and the keys lack, so that they may have changed.

        Raises:
            Unavailable: there are none yet.
        """


class KeyFile:
    """The keys of a file."""

    def __init__(self, path: str) -> None:
        """Reads the file, which is followed.

        Raises:
            ConfigError: it cannot be read, or holds no key that will do.
        """

        def read() -> Keys:
            try:
                return read_keys(read_file(path, "jwks"))
            except ValueError as fault:
                raise ConfigError(f"{path} (SENSORIUM_JWKS) {fault}") from None

        self._keys = Followed([path], read)

    def known(self) -> Keys:
        """Returns what the file holds now."""
        return self._keys.current()

    async def keys(self, unknown_kid: str | None = None) -> Keys:
        """Returns the same."""
        return self.known()


class Jwts:
    """Verifies the JWTs of one issuer for one audience."""

    def __init__(self, config: ServerConfig, source: KeySource) -> None:
        """Takes what tokens must say, from `jwt_*`, and who has the keys."""
        self._config = config
        self._source = source
        self._used: Keys = {}
        self._verified: OrderedDict[bytes, Caller] = OrderedDict()  # by the token's digest, while `_used` is known

    async def verify(self, token: str) -> Caller | None:
        """Returns whom a JWT stands for; None where the token is none.

        Raises:
            Unauthenticated: it is not good; the metadata's `cause` says why.
            Unavailable: the keys cannot be had.
        """
        if token.count(".") != 2:
            return None
        digest = hashlib.sha256(token.encode()).digest()
        if self._source.known() is not self._used:  # one of them may have been taken back
            self._used = self._source.known()
            self._verified.clear()
        caller = self._verified.get(digest)
        if caller is not None and time.time() < caller.expires:
            self._verified.move_to_end(digest)
            return caller
        caller = self._read(token, await self._key(token))
        self._verified[digest] = caller
        self._verified.move_to_end(digest)
        if len(self._verified) > _CACHED:
            self._verified.popitem(last=False)
        return caller

    async def _key(self, token: str) -> jwt.PyJWK:
        """Returns the key that a token says to be signed with."""
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise refusal("holds something with two dots that is no JWT", "malformed") from None
        if header.get("alg") not in ALGORITHMS:
            raise refusal(
                f"holds a JWT whose algorithm is not allowed; sign it with one of {', '.join(ALGORITHMS)}", "algorithm"
            )
        kid = header.get("kid")
        keys = await self._source.keys()
        if kid is None and len(keys) == 1:
            return next(iter(keys.values()))
        key = keys.get(str(kid)) or (await self._source.keys(str(kid))).get(str(kid))
        if key is None:
            raise refusal("holds a JWT that is signed with a key which its issuer does not publish", "key")
        return key

    def _read(self, token: str, key: jwt.PyJWK) -> Caller:
        """Returns whom a token stands for, whose signature and claims are checked."""
        config = self._config
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=config.jwt_audience,
                issuer=config.jwt_issuer,
                leeway=config.jwt_leeway_s,
                options={"require": ["exp", "iss", "aud"], "enforce_minimum_key_length": True},
            )
        except (jwt.InvalidTokenError, jwt.InvalidKeyError) as fault:
            raise refusal(*_explained(fault)) from None
        tenant = _claim(claims, config.jwt_tenant_claim)
        if not is_tenant(tenant):
            raise refusal(
                f"holds a JWT whose claim {config.jwt_tenant_claim} is not 1 to 128 visible ASCII characters", "claims"
            )
        roles = _claim(claims, config.jwt_role_claim)
        listed = roles.split() if isinstance(roles, str) else roles if isinstance(roles, list) else ()
        return Caller(str(tenant), config.jwt_admin_role in listed, float(claims["exp"]) + config.jwt_leeway_s)


def _explained(fault: Exception) -> tuple[str, str]:
    """Returns what is wrong with a JWT and the word for it; nothing of the token is quoted."""
    for kind, problem, cause in (
        (jwt.ExpiredSignatureError, "holds a JWT that has expired; get a new one", "expired"),
        (jwt.ImmatureSignatureError, "holds a JWT that is not valid yet; is the issuer's clock ahead?", "early"),
        (jwt.InvalidAudienceError, "holds a JWT for another audience", "audience"),
        (jwt.InvalidIssuerError, "holds a JWT of another issuer", "issuer"),
        (jwt.MissingRequiredClaimError, "holds a JWT that lacks exp, iss or aud", "claims"),
        (jwt.InvalidAlgorithmError, "holds a JWT whose algorithm is not that of its key", "algorithm"),
        (jwt.InvalidSignatureError, "holds a JWT whose signature is not that of its issuer", "signature"),
    ):
        if isinstance(fault, kind):
            return problem, cause
    return "holds a JWT that is malformed", "malformed"


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """Returns a claim (Any: JSON) by its name, or else by its path, such as `realm_access.roles`; None for none."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def read_keys(content: bytes) -> Keys:
    """Returns the keys of a JWK set that may sign tokens, by their ids. Others are left out: secrets, encryption keys.

    Raises:
        ValueError: it is no JWK set, or holds no such key; the message says so.
    """
    try:
        listed = json.loads(content)["keys"]
    except (ValueError, KeyError, TypeError):
        raise ValueError('is no JWK set, {"keys": […]}') from None
    keys: dict[str, jwt.PyJWK] = {}
    for entry in listed if isinstance(listed, list) else ():
        if not isinstance(entry, dict) or entry.get("kty") == "oct" or entry.get("use", "sig") != "sig":
            continue
        try:
            key = jwt.PyJWK(entry)
        except jwt.PyJWTError:
            continue  # of a kind that is not known here; others may be
        if key.algorithm_name in ALGORITHMS:
            keys[str(entry.get("kid", ""))] = key
    if not keys:
        raise ValueError(f"holds no public key of {', '.join(ALGORITHMS)}")
    return keys
