"""The site: its home folder, its address, and what it is put together from."""

import os
import secrets
from pathlib import Path

from distillhub.lib import env

BASE_DIR = Path(__file__).resolve().parent.parent.parent

# Where everything lives that is not code.
DISTILLHUB_HOME = env.path("DISTILLHUB_HOME", "~/.distillhub")
DISTILLHUB_HOME.mkdir(parents=True, exist_ok=True)


def _secret_key() -> str:
    """From the environment, else made once and kept readable by its owner only."""
    if key := env.text("SECRET_KEY"):
        return key
    file = DISTILLHUB_HOME / "secret_key"
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return file.read_text().strip()
    key = secrets.token_urlsafe(64)
    with os.fdopen(handle, "w") as out:
        out.write(key)
    return key


SECRET_KEY = _secret_key()
# What seals stored keys of APIs, newest first; none: a file in the home folder (lib/secrets.py).
DISTILLHUB_SECRET_KEYS = env.words("DISTILLHUB_SECRET_KEYS")
# Hosts and networks (10.0.0.0/8) inside, which API teachers and webhooks may reach nevertheless.
DISTILLHUB_OUTGOING_ALLOW = env.places("DISTILLHUB_OUTGOING_ALLOW")
# Where checkpoints and datasets of the hub are fetched.
HF_ENDPOINT = env.text("HF_ENDPOINT", "https://huggingface.co")
DEBUG = env.boolean("DEBUG", False)
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS")
SITE_URL = env.text("SITE_URL", "http://localhost:8000")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "distillhub.apps.StaticFiles",
    "django.contrib.humanize",
    "csp",
    "django_htmx",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.usersessions",
    "axes",
    "rest_framework",
    "drf_spectacular",
    "distillhub",
    "projects",
    "training",
]

MIDDLEWARE = [
    "distillhub.lib.request_ids.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "distillhub.lib.exposition.LatencyMiddleware",
    "distillhub.lib.answers.AnswersMiddleware",
    "csp.middleware.CSPMiddleware",
    "distillhub.lib.http.SecurityHeadersMiddleware",
    "distillhub.lib.http.RefuseNulMiddleware",
    "distillhub.lib.http.ProbesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "projects.views.auditing.AuditMiddleware",
    "distillhub.lib.http.RefuseNulInFormsMiddleware",
    "distillhub.lib.http.TimeZoneMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "distillhub.lib.http.DomainErrorMiddleware",
]

ROOT_URLCONF = "distillhub.urls"
ASGI_APPLICATION = "distillhub.asgi.application"
WSGI_APPLICATION = "distillhub.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "distillhub.lib.readiness.away",
                "projects.views.favourites.at_hand",
                "projects.services.sign_in.ways_in",
            ],
            "builtins": ["distillhub.templatetags.ui"],
        },
    },
]

LANGUAGE_CODE = "en-us"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"
