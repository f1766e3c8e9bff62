"""Unsafe and broken settings are refused at the start, with what to do about them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core import checks

from distillhub.checks import TAG, is_local

ROOT = Path(__file__).resolve().parent.parent.parent
SAFE_KEY = "k9d_Vq0Zr7sTy2XwLmB4nCf8HjPu6EaGxQi1OoRtYvW3"
SAFE_KEY += "5eDcKz"


@pytest.fixture
def safe(settings: LazySettings) -> LazySettings:
    settings.SECRET_KEY = SAFE_KEY
    settings.DEBUG = False
    settings.SITE_URL = "http://localhost:8000"
    settings.ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
    settings.REDIS_URL = ""
    return settings


def found() -> list[str | None]:
    return [message.id for message in checks.run_checks(tags=[TAG])]


def test_the_defaults_raise_no_question(safe: LazySettings) -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("name", "value", "identifier"),
    [
        ("SECRET_KEY", "short", "distillhub.E001"),
        ("SECRET_KEY", "django-insecure-" + SAFE_KEY, "distillhub.E001"),
        ("SECRET_KEY", "a" * 60, "distillhub.E001"),
        ("SITE_URL", "https://distillhub.example", "distillhub.E003"),
        ("ALLOWED_HOSTS", ["*"], "distillhub.W003"),
        ("DISTILLHUB_HOME", Path("/proc/1"), "distillhub.E004"),
        ("SECURE_SSL_REDIRECT", True, "distillhub.E005"),
        ("REDIS_URL", "redis://queue:6379/0", "distillhub.W006"),
        ("DISTILLHUB_MAX_RUNS", 0, "distillhub.E008"),
    ],
)
def test_each_unsafe_setting_is_named(
    safe: LazySettings, name: str, value: object, identifier: str
) -> None:
    setattr(safe, name, value)
    assert found() == [identifier]


def test_debug_is_refused_where_others_can_reach_it(safe: LazySettings) -> None:
    safe.DEBUG = True
    assert found() == []
    safe.ALLOWED_HOSTS = ["distillhub.example"]
    assert found() == ["distillhub.E002"]


def test_a_site_without_a_certificate_is_warned_about(safe: LazySettings) -> None:
    safe.ALLOWED_HOSTS = [".example.org"]
    safe.SITE_URL = "http://distil.example.org"
    assert found() == ["distillhub.W005"]


def test_postgres_without_redis_is_one_machine(
    safe: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(safe.DATABASES["default"], "ENGINE", "django.db.backends.postgresql")
    assert found() == ["distillhub.W007"]


def test_every_message_says_what_to_do(safe: LazySettings) -> None:
    safe.SECRET_KEY = "short"
    safe.SITE_URL = "https://distillhub.example"
    safe.DISTILLHUB_MAX_RUNS = 0
    assert all(message.hint for message in checks.run_checks(tags=[TAG]))


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("[::1]", True),
        ("app.localhost", True),
        ("0.0.0.0", False),
        ("*", False),
        ("192.168.1.4", False),
        ("localhost.example.org", False),
    ],
)
def test_local_names_are_told_from_public_ones(host: str, answer: bool) -> None:
    assert is_local(host) is answer


@pytest.mark.parametrize("command", ["web", "worker", "beat", "prepare"])
def test_no_process_starts_with_unsafe_settings(tmp_path: Path, command: str) -> None:
    started = subprocess.run(
        [sys.executable, "-m", "distillhub.cli", command, "--home", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"SECRET_KEY": "short", "DISTILLHUB_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert started.returncode == 1
    assert "distillhub.E001" in started.stderr
    assert "Traceback" not in started.stderr
