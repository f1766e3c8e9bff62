"""How often somebody may ask, over all web processes: of this machine in a file that they map into
memory, of several machines in Redis, where there is one.

Each key has one number, the moment at which all that was taken is paid off (the generic cell rate
algorithm): whoever stays below the rate is at rest, whoever was at rest may take a whole window's
worth at once, and nothing jumps when a window ends.
"""

import fcntl
import hashlib
import logging
import math
import mmap
import os
import struct
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from distillhub.lib.later import Later

redis = Later("redis")
logger = logging.getLogger(__name__)

SLOT = struct.Struct("<Qd")  # what the key is hashed to, and its moment
SLOTS = 1 << 15  # half a MiB
NEIGHBOURS = 8  # slots in which a key is looked for
PATIENCE = 0.25  # seconds for Redis; a limit that cannot be looked up refuses nobody


@dataclass(frozen=True, slots=True)
class Limit:
    name: str
    quota: int  # in a window; also at once, after a rest
    window: int = 60  # seconds

    @property
    def policy(self) -> str:
        """As the header `RateLimit-Policy` has it."""
        return f'"{self.name}";q={self.quota};w={self.window}'


@dataclass(frozen=True, slots=True)
class Taken:
    limit: Limit
    is_allowed: bool
    remaining: int
    reset: int  # seconds until all is there again
    wait: int  # seconds until one is there, for who was refused

    @property
    def told(self) -> str:
        """As the header `RateLimit` has it."""
        return f'"{self.limit.name}";r={self.remaining};t={self.reset}'


def take(limit: Limit, key: str) -> Taken | None:
    """Take one of what `key` may have. None where nobody can say, which refuses nobody."""
    name = hashlib.sha256(f"{limit.name}\n{limit.quota}\n{limit.window}\n{key}".encode()).digest()
    share = limit.window / limit.quota
    try:
        if settings.REDIS_URL:
            ahead, is_allowed = _in_redis(name.hex()[:32], share, limit.window)
        else:
            ahead, is_allowed = _file().take(
                int.from_bytes(name[:8], "little") or 1, share, limit.window, time.time()
            )
    except (OSError, ValueError) as fault:  # a full disk, a home that is gone
        logger.warning("no rate limit is held: %s", fault)
        return None
    except Exception as fault:
        if not _is_redis(fault):
            raise
        logger.warning("no rate limit is held: Redis says %s", fault)
        return None
    wait = 0 if is_allowed else max(1, math.ceil(ahead + share - limit.window))
    left = max(0, int((limit.window - ahead) / share + 1e-6))
    return Taken(limit, is_allowed, left, math.ceil(ahead), wait)


def _paid_off(before: float, now: float, share: float, window: float) -> tuple[float, bool]:
    """The moment after one more is taken, if there is one."""
    after = max(before, now) + share
    if after - now > window + 1e-9:
        return max(before, now), False
    return after, True


# A file ---------------------------------------------------------------------------------------


class Table:
    """Slots in a file. A key whose place is full takes that of who has been at rest the longest;
    with tens of thousands of keys at once that is somebody who is forgiven a part."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if os.fstat(self.handle).st_size != SLOT.size * SLOTS:
            os.ftruncate(self.handle, SLOT.size * SLOTS)
        self.map = mmap.mmap(self.handle, SLOT.size * SLOTS)
        self.lock = threading.Lock()

    def take(self, key: int, share: float, window: float, now: float) -> tuple[float, bool]:
        """Seconds until all is there again, and whether one was taken."""
        with self.lock:
            fcntl.flock(self.handle, fcntl.LOCK_EX)
            try:
                place, before = self._place(key)
                moment, is_allowed = _paid_off(before, now, share, window)
                SLOT.pack_into(self.map, place, key, moment)
            finally:
                fcntl.flock(self.handle, fcntl.LOCK_UN)
        return moment - now, is_allowed

    def _place(self, key: int) -> tuple[int, float]:
        oldest, least = 0, math.inf
        for step in range(NEIGHBOURS):
            place = (key + step) % SLOTS * SLOT.size
            found, moment = SLOT.unpack_from(self.map, place)
            if found == key:
                return place, moment
            if moment < least:
                oldest, least = place, moment
        return oldest, 0.0

    def close(self) -> None:
        self.map.close()
        os.close(self.handle)


_table: Table | None = None
_opening = threading.Lock()


def _file() -> Table:
    global _table
    path = Path(settings.DISTILLHUB_HOME) / "rates"
    with _opening:
        if _table is None or _table.path != path:
            if _table is not None:
                _table.close()
            _table = Table(path)
        return _table


# Redis ----------------------------------------------------------------------------------------

#: The same in one step, by Redis' own clock: machines need not agree about the time.
SCRIPT = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local share, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local before = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
local after = before + share
if after - now > window + 1e-9 then return {tostring(before - now), 0} end
redis.call('SET', KEYS[1], string.format('%.6f', after), 'PX', math.ceil((after - now) * 1000) + 1)
return {tostring(after - now), 1}
"""

_script: Any = None
_script_of = ""


def _in_redis(key: str, share: float, window: float) -> tuple[float, bool]:
    global _script, _script_of
    if _script is None or _script_of != settings.REDIS_URL:
        client = redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE
        )
        _script, _script_of = client.register_script(SCRIPT), settings.REDIS_URL
    ahead, is_allowed = _script(keys=[f"distillhub:rate:{key}"], args=[share, window])
    return float(ahead), bool(is_allowed)


def _is_redis(fault: Exception) -> bool:
    return bool(settings.REDIS_URL) and isinstance(fault, redis.RedisError)
