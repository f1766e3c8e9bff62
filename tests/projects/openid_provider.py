"""A provider of OpenID Connect on loopback: discovery, codes with PKCE, signed tokens, userinfo.

It answers for one person at a time, who has signed in there already: `provider.person = {...}`.
"""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import LazySettings

CLIENT, SECRET = "distillhub", "a secret of the client"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Provider(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server_address[1]}"
        self.person: dict[str, Any] = {}
        self.codes: dict[str, dict[str, str]] = {}
        self.tokens: set[str] = set()
        self.refusals: list[str] = []  # why no tokens were given

    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        }

    def authorize(self, query: dict[str, str]) -> str:
        """Where the browser is sent back to."""
        assert query["client_id"] == CLIENT
        assert query["response_type"] == "code"
        assert "openid" in query["scope"]
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self.codes[code] = query
        back = urlencode({"code": code, "state": query["state"]})
        return f"{query['redirect_uri']}?{back}"

    def exchange(self, form: dict[str, str]) -> dict[str, Any] | None:
        asked = self.codes.pop(form.get("code", ""), None)
        challenge = (
            base64.urlsafe_b64encode(
                hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            )
            .decode()
            .rstrip("=")
        )
        if asked is None:
            self.refusals.append("unknown code")
        elif challenge != asked["code_challenge"]:
            self.refusals.append("another verifier")
        elif form.get("redirect_uri") != asked["redirect_uri"]:
            self.refusals.append("another address")
        elif (form.get("client_id"), form.get("client_secret")) != (CLIENT, SECRET):
            self.refusals.append("another client")
        else:
            now = int(time.time())
            told = self.person | {
                "iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300,
            }  # fmt: skip
            token = secrets.token_urlsafe(16)
            self.tokens.add(token)
            return {
                "access_token": token,
                "token_type": "Bearer",
                "expires_in": 300,
                "id_token": jwt.encode(told, KEY, "RS256", headers={"kid": "one"}),
            }
        return None

    def keys(self) -> dict[str, Any]:
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key()))
        return {"keys": [public | {"kid": "one", "use": "sig", "alg": "RS256"}]}


class Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        if address.path == "/.well-known/openid-configuration":
            self._json(200, self.server.discovery())
        elif address.path == "/keys":
            self._json(200, self.server.keys())
        elif address.path == "/authorize":
            self.send_response(302)
            self.send_header("Location", self.server.authorize(query))
            self.end_headers()
        elif address.path == "/userinfo":
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            known = token in self.server.tokens
            self._json(200 if known else 401, self.server.person if known else {})
        else:
            self._json(404, {})

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length", 0))
        sent = parse_qs(self.rfile.read(size).decode())
        form = {name: values[0] for name, values in sent.items()}
        if basic := self.headers.get("Authorization", "").removeprefix("Basic "):
            name, _, secret = base64.b64decode(basic).decode().partition(":")
            form |= {"client_id": name, "client_secret": secret}
        given = self.server.exchange(form)
        self._json(200 if given else 400, given or {"error": "invalid_grant"})

    def _json(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def running() -> Iterator[Provider]:
    with Provider() as provider:
        thread = threading.Thread(target=provider.serve_forever, daemon=True)
        thread.start()
        try:
            yield provider
        finally:
            provider.shutdown()
            thread.join()


def known(settings: LazySettings, provider: Provider) -> None:
    """What settings say with OIDC_ISSUER and its client; the provider is called Corp."""
    settings.OIDC_ISSUER = provider.issuer
    settings.OIDC_NAME = "Corp"
    app = {"provider_id": "oidc", "name": "Corp", "client_id": CLIENT, "secret": SECRET}
    settings.SOCIALACCOUNT_PROVIDERS = {
        "openid_connect": {
            "OAUTH_PKCE_ENABLED": True,
            "APPS": [app | {"settings": {"server_url": provider.issuer}}],
        }
    }
