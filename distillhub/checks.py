"""Django system checks for unsafe or broken settings. An error (`distillhub.E…`) stops the start of
every process; a warning (`W…`) is printed. `distillhub doctor` shows both with their hints."""

import ipaddress
import os
from collections.abc import Sequence
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from distillhub.lib import secrets

TAG = "distillhub"
SHORTEST_KEY = 50  # characters, as Django's own deployment check has it


def is_local(host: str) -> bool:
    """Whether only this machine answers to the name."""
    name = host.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _public_hosts() -> list[str]:
    return [host for host in settings.ALLOWED_HOSTS if not is_local(host)]


@register(TAG)
def secret_key(app_configs: Sequence[AppConfig] | None, **kwargs: object) -> list[CheckMessage]:
    key = settings.SECRET_KEY
    if len(key) >= SHORTEST_KEY and len(set(key)) > 4 and "insecure" not in key.lower():
        return []
    return [
        Error(
            "SECRET_KEY is short or a well-known default: sessions could be forged.",
            hint="Unset it (one is made and kept in the home folder), or set 50 random characters.",
            id="distillhub.E001",
        )
    ]


@register(TAG)
def sealing_keys(app_configs: Sequence[AppConfig] | None, **kwargs: object) -> list[CheckMessage]:
    try:
        secrets.keys()
    except secrets.BadKeys as error:
        return [
            Error(
                str(error),
                hint="Make one: openssl rand -base64 32 | tr '+/' '-_'",
                id="distillhub.E009",
            )
        ]
    except OSError:
        return []  # E004 tells of the home folder
    return []


@register(TAG)
def debug(app_configs: Sequence[AppConfig] | None, **kwargs: object) -> list[CheckMessage]:
    public = _public_hosts()
    if not settings.DEBUG or not public:
        return []
    return [
        Error(
            f"DEBUG is on and {public[0]} can be reached by others: error pages show the code.",
            hint="Unset DEBUG, or leave only this machine's names in ALLOWED_HOSTS.",
            id="distillhub.E002",
        )
    ]


@register(TAG)
def hosts(app_configs: Sequence[AppConfig] | None, **kwargs: object) -> list[CheckMessage]:
    site = urlsplit(settings.SITE_URL).hostname or ""
    found: list[CheckMessage] = []
    if not is_local(site) and not _answers_to(site):
        found.append(
            Error(
                f"SITE_URL names {site}, but ALLOWED_HOSTS does not: every visit would be refused.",
                hint=f"Set ALLOWED_HOSTS={site},localhost,127.0.0.1",
                id="distillhub.E003",
            )
        )
    if "*" in settings.ALLOWED_HOSTS:
        found.append(
            Warning(
                "ALLOWED_HOSTS is *: a forged Host header is believed, also in links we make.",
                hint="Name the hosts this installation answers to.",
                id="distillhub.W003",
            )
        )
    return found


def _answers_to(site: str) -> bool:
    return any(
        host == "*" or site == host or (host.startswith(".") and f".{site}".endswith(host))
        for host in settings.ALLOWED_HOSTS
    )


@register(TAG)
def home(app_configs: Sequence[AppConfig] | None, **kwargs: object) -> list[CheckMessage]:
    if os.access(settings.DISTILLHUB_HOME, os.W_OK | os.X_OK):
        return []
    return [
        Error(
            f"The home folder {settings.DISTILLHUB_HOME} cannot be written to.",
            hint="Give this user the right to write there, or set DISTILLHUB_HOME (--home).",
            id="distillhub.E004",
        )
    ]


@register(TAG)
def https(app_configs: Sequence[AppConfig] | None, **kwargs: object) -> list[CheckMessage]:
    site = urlsplit(settings.SITE_URL)
    if settings.SECURE_SSL_REDIRECT and not settings.SECURE_PROXY_SSL_HEADER:
        return [
            Error(
                "HTTPS is on without BEHIND_PROXY: DistillHub speaks plain HTTP to its proxy, and "
                "would redirect every visit to itself for ever.",
                hint="Set BEHIND_PROXY=true where a proxy sets X-Forwarded-Proto, or "
                "SSL_REDIRECT=false.",
                id="distillhub.E005",
            )
        ]
    if site.scheme == "http" and not is_local(site.hostname or ""):
        return [
            Warning(
                f"SITE_URL is {settings.SITE_URL}: passwords and tokens travel unencrypted.",
                hint="Put a proxy with a certificate in front and set SITE_URL=https://...",
                id="distillhub.W005",
            )
        ]
    return []


@register(TAG)
def one_machine(app_configs: Sequence[AppConfig] | None, **kwargs: object) -> list[CheckMessage]:
    sqlite = str(settings.DATABASES["default"]["ENGINE"]).endswith("sqlite3")
    found: list[CheckMessage] = []
    if settings.REDIS_URL and sqlite:
        found.append(
            Warning(
                "REDIS_URL is set, but the database is a SQLite file: workers on other machines "
                "would each see a database of their own.",
                hint="Set DATABASE_URL=postgres://... for more than one machine.",
                id="distillhub.W006",
            )
        )
    if not settings.REDIS_URL and not sqlite:
        found.append(
            Warning(
                "DATABASE_URL is set without REDIS_URL: jobs travel through the home folder, so "
                "every process must be on this machine.",
                hint="Set REDIS_URL=redis://... for more than one machine.",
                id="distillhub.W007",
            )
        )
    return found


@register(TAG)
def limits(app_configs: Sequence[AppConfig] | None, **kwargs: object) -> list[CheckMessage]:
    names = ["DISTILLHUB_MAX_RUNS", "DISTILLHUB_RUN_THREADS", "DISTILLHUB_MAX_UPLOAD_MIB"]
    return [
        Error(
            f"{name} is {getattr(settings, name)}; it must be at least 1.",
            hint="Unset it for the default.",
            id="distillhub.E008",
        )
        for name in names
        if getattr(settings, name) < 1
    ]


@register(TAG)
def sign_up(app_configs: Sequence[AppConfig] | None, **kwargs: object) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    site, issuer = urlsplit(settings.SITE_URL), urlsplit(settings.OIDC_ISSUER)
    if settings.SIGN_UP == "open" and not is_local(site.hostname or "") and not settings.EMAIL_URL:
        found.append(
            Warning(
                "SIGN_UP is open and there is no mail server: whoever finds this site makes "
                "accounts, with addresses that nobody confirms.",
                hint="Set EMAIL_URL, or SIGN_UP=invitation.",
                id="distillhub.W010",
            )
        )
    if issuer.scheme == "http" and not is_local(issuer.hostname or ""):
        found.append(
            Error(
                "OIDC_ISSUER is http://: whoever sits between could sign in as anybody.",
                hint="Give its https:// address.",
                id="distillhub.E010",
            )
        )
    return found
