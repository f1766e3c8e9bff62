"""Typed readings of environment variables, each failing with a sentence that names the variable."""

import ipaddress
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit


class BadSetting(ValueError):
    """An environment variable holds a value that cannot be used."""


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, default).strip()


def boolean(name: str, default: bool) -> bool:
    raw = text(name).lower()
    if not raw:
        return default
    if raw in {"1", "true", "yes", "on"}:
        return True
    if raw in {"0", "false", "no", "off"}:
        return False
    raise BadSetting(f"{name} must be one of true, false, yes, no, on, off, 1, 0; it is {raw!r}.")


def one_of(name: str, choices: Sequence[str], default: str) -> str:
    found = text(name, default)
    if found not in choices:
        *but, last = choices
        raise BadSetting(f"{name} must be {', '.join(but)} or {last}; it is {found!r}.")
    return found


def integer(name: str, default: int) -> int:
    raw = text(name)
    if not raw:
        return default
    try:
        return int(raw)
    except ValueError:
        raise BadSetting(f"{name} must be a whole number; it is {raw!r}.") from None


def decimal(name: str, default: float | None) -> float | None:
    """A number that is not negative; the default (which may be none) where it is empty."""
    raw = text(name)
    if not raw:
        return default
    try:
        value = float(raw)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise BadSetting(f"{name} must be a number of at least 0; it is {raw!r}.")
    return value


def words(name: str, default: str = "") -> list[str]:
    """A comma-separated list; empty parts are dropped."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def places(name: str) -> list[str]:
    """Hosts and networks, such as `ollama.lan,10.0.0.0/8`."""
    found = words(name)
    for place in found:
        if "/" in place:
            try:
                ipaddress.ip_network(place)
            except ValueError:
                raise BadSetting(
                    f"{name} has {place!r}, which is no network such as 10.0.0.0/8."
                ) from None
    return found


def path(name: str, default: str) -> Path:
    return Path(text(name) or default).expanduser().resolve()


class MailServer(NamedTuple):
    host: str
    port: int
    user: str
    password: str
    starttls: bool
    tls: bool


#: Scheme: port, TLS after a plain beginning, TLS from the beginning.
MAIL = {"smtp": (587, True, False), "smtps": (465, False, True), "smtp+plain": (25, False, False)}


def mail_server(name: str) -> MailServer:
    """`smtp://user:password@host:587`; the sentence of a fault does not repeat the password."""
    try:
        parts = urlsplit(text(name))
        port = parts.port
    except ValueError:
        raise BadSetting(f"{name} must look like smtp://user:password@host:587.") from None
    if parts.scheme not in MAIL or not parts.hostname or parts.query or parts.path.strip("/"):
        raise BadSetting(
            f"{name} must look like smtp://user:password@host:587, and begin with one of "
            f"{', '.join(MAIL)}."
        )
    usual, starttls, tls = MAIL[parts.scheme]
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return MailServer(parts.hostname, port or usual, user, password, starttls, tls)
