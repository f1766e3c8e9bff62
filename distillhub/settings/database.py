"""SQLite in the home folder, or the PostgreSQL of DATABASE_URL."""

from urllib.parse import parse_qsl, unquote, urlsplit

from distillhub.lib import env
from distillhub.settings.base import DISTILLHUB_HOME

#: Where the network swallows packets, a connection is given up within about half a minute instead
#: of two hours: idle (or waiting for an answer) after two probes, with something unacknowledged
#: after `tcp_user_timeout` milliseconds. libpq leaves out what an operating system has not.
KEEPALIVES = {
    "keepalives": 1,
    "keepalives_idle": 20,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
DATABASE_OPTIONS = {
    *("sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout", "options"),
    *KEEPALIVES,
}


def connection(url: str) -> dict[str, object]:
    """`postgres://user:password@host:port/name?sslmode=require`, or SQLite in the home folder."""
    if not url:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": DISTILLHUB_HOME / "distillhub.sqlite3",
            # A file, so that tests meet the same locks as people do.
            "TEST": {"NAME": DISTILLHUB_HOME / "test.sqlite3"},
            "OPTIONS": {
                # A writer takes the lock when its transaction begins and waits for its turn;
                # without IMMEDIATE, two writers meet "database is locked" in mid-transaction.
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,  # seconds
                "init_command": (
                    "PRAGMA journal_mode=WAL;"
                    "PRAGMA synchronous=NORMAL;"
                    "PRAGMA mmap_size=134217728;"
                    "PRAGMA cache_size=2000;"
                ),
            },
        }
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise env.BadSetting("DATABASE_URL must begin with postgres:// (or be unset, for SQLite).")
    asked = dict(parse_qsl(parts.query))
    is_pooled = asked.pop("pgbouncer", "false") == "true"
    if unknown := sorted(set(asked) - DATABASE_OPTIONS):
        raise env.BadSetting(f"DATABASE_URL has an option that is not known: {unknown[0]}.")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": parts.port or "",
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": True,
        # A pool that lends a connection for a transaction keeps no cursor between two.
        "DISABLE_SERVER_SIDE_CURSORS": is_pooled,
        "OPTIONS": {"connect_timeout": 5} | KEEPALIVES | asked,
    }


DATABASES = {"default": connection(env.text("DATABASE_URL"))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
