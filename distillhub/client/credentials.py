"""Where the hub is and who asks: the environment, else a file of `distillhub login`, which only its
owner may read."""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

ADDRESS = "DISTILLHUB_URL"
TOKEN = "DISTILLHUB_TOKEN"  # noqa: S105 (the name of a variable)


class Unknown(Exception):
    """Nothing says which hub, or with which token."""


@dataclass(frozen=True, slots=True)
class Credentials:
    address: str
    token: str

    def __repr__(self) -> str:
        return f"Credentials({self.address!r})"  # a token belongs into no trace


def path() -> Path:
    """`$XDG_CONFIG_HOME/distillhub/hubs.json`."""
    config = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(config).expanduser() / "distillhub" / "hubs.json"


def find(address: str = "") -> Credentials:
    """Of that hub, or of the one that was logged in to last. Raises Unknown."""
    address = (address or os.environ.get(ADDRESS, "")).rstrip("/")
    token = os.environ.get(TOKEN, "")
    if address and token:
        return Credentials(address, token)
    kept = _read()
    for one in kept:
        if not address or one.address == address:
            return one
    place = f" for {address}" if address else ""
    raise Unknown(
        f"No token is known{place}: distillhub login ADDRESS, or set {ADDRESS} and {TOKEN}."
    )


def keep(credentials: Credentials) -> Path:
    """Put it first; the file is for its owner alone."""
    others = [one for one in _read() if one.address != credentials.address]
    return _write([credentials, *others])


def forget(address: str) -> bool:
    """Whether there was one."""
    kept = _read()
    left = [one for one in kept if one.address != address.rstrip("/")]
    if len(left) == len(kept):
        return False
    _write(left)
    return True


def _read() -> list[Credentials]:
    with suppress(OSError, ValueError, TypeError):
        return [Credentials(**one) for one in json.loads(path().read_text())]
    return []


def _write(kept: list[Credentials]) -> Path:
    file = path()
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = file.with_suffix(f".{os.getpid()}.part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as out:
        json.dump([asdict(one) for one in kept], out, indent=1)
    part.replace(file)
    return file
