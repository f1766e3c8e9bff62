"""Secrets that are shown once and kept as digests only."""

import hashlib
import secrets


def make(prefix: str = "") -> str:
    """256 random bits in URL-safe letters, after a prefix that secret scanners can recognise."""
    return prefix + secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """sha256 in hexadecimal: the token has 256 bits of its own, so no slow hash is needed."""
    return hashlib.sha256(token.encode()).hexdigest()
