"""The secrets that seal keys are changed, kept and looked after from the command line."""

from pathlib import Path

import pytest

from distillhub.lib import secrets
from projects.models import ApiKey, Project
from projects.services import api_keys
from tests import make

pytestmark = pytest.mark.django_db


@pytest.fixture
def kept(project: Project) -> ApiKey:
    version = make.model_version(project, "big", role="teacher")
    return ApiKey.objects.create(
        model=version.model,
        origin="https://api.example.com:443",
        sealed=secrets.seal("sk-0123456789"),
        ending="6789",
        changed_by=project.created_by,
    )


def test_all_keys_are_sealed_anew(kept: ApiKey) -> None:
    old = secrets.keys()
    secrets.write([secrets.make_key(), *old])
    assert api_keys.seal_again() == (1, [])
    secrets.write(secrets.keys()[:1])

    kept.refresh_from_db()
    assert secrets.unseal(kept.sealed) == "sk-0123456789"
    assert api_keys.unreadable() == []


def test_what_cannot_be_opened_is_named_and_left_as_it_is(kept: ApiKey) -> None:
    secrets.write([secrets.make_key()])
    assert api_keys.seal_again() == (0, [kept])
    assert api_keys.unreadable() == [kept]


def test_the_secrets_are_of_this_home_alone(kept: ApiKey) -> None:
    assert Path(secrets.file()).stat().st_mode & 0o077 == 0
