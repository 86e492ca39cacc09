"""An issuer of JWTs for tests: its keys, its tokens, and the page that publishes its keys."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

ISSUER, AUDIENCE = "https://issuer.test", "sensorium"
_KINDS = {
    "RS256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


@dataclass
class Issuer:
    """Signs with the newest of its keys. Any: keys of three kinds, claims of any type."""

    keys: dict[str, tuple[str, Any]] = field(default_factory=dict)
    fetches: int = 0

    def rotate(self, algorithm: str = "ES256", kid: str = "") -> str:
        """Adds a key, which signs from now on; returns its id."""
        kid = kid or f"key{len(self.keys)}"
        self.keys[kid] = (algorithm, _KINDS[algorithm]())
        return kid

    def sign(self, **claims: Any) -> str:
        """Returns a token that is good but for what `claims` say; None takes a claim away."""
        kid = list(self.keys)[-1]
        algorithm, key = self.keys[kid]
        now = time.time()
        full = {"iss": ISSUER, "aud": AUDIENCE, "sub": "acme", "iat": now, "nbf": now, "exp": now + 600, **claims}
        return jwt.encode({name: each for name, each in full.items() if each is not None}, key, algorithm,
                          headers={"kid": kid})  # fmt: skip

    def jwks(self) -> str:
        """Returns what it publishes."""
        return json.dumps({"keys": [self._jwk(kid) for kid in self.keys]})

    def _jwk(self, kid: str) -> dict[str, Any]:
        algorithm, key = self.keys[kid]
        known = jwt.get_algorithm_by_name(algorithm)
        return {**json.loads(known.to_jwk(key.public_key())), "kid": kid, "alg": algorithm, "use": "sig"}

    @contextlib.contextmanager
    def published(self) -> Iterator[str]:
        """Yields the URL of its keys; `fetches` counts."""
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.fetches += 1
                body = issuer.jwks().encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Stays silent."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/jwks"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
